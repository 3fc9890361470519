"""Parameters as MLflow has them, texts: which affect a result, and which runs have the same."""

from collections.abc import Mapping

# They change neither the result of a run nor what trials find.
_WITHOUT_EFFECT = {"resume", "register", "tracking", "concurrency", "ray_address"}


def with_effect(params: Mapping[str, str]) -> dict[str, str]:
    """Of parameters as texts, those that affect the result."""
    return {name: text for name, text in params.items() if name not in _WITHOUT_EFFECT}


def are_same(params: Mapping[str, str], logged: Mapping[str, str]) -> bool:
    """True if all of `params` were logged, and those that affect the result are equal."""
    return params.keys() <= logged.keys() and not differences(params, logged)


def differences(params: Mapping[str, str], logged: Mapping[str, str]) -> tuple[str, ...]:
    """The parameters that affect the result and were logged with another value."""
    return tuple(
        name
        for name, text in with_effect(params).items()
        if name in logged and parse_text(logged[name]) != parse_text(text)
    )


def parse_text(text: str) -> float | str:
    """A logged parameter: `mlflow run` logs what was typed, so 1e-3 is 0.001, True is true."""
    try:
        return float(text)
    except ValueError:
        return text.lower()
