"""Search spaces as people write them: a text on the command line, or a YAML file."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from trackml.errors import UsageError
from trackml.params import Params
from trackml.sweeps.space import Distribution, Space, shown

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})(\s*log)?\s*")
_MAX_INTEGER = 2**53  # a float cannot tell larger ones from the next


def read_space(
    text: str, params: type[Params], fixed: Mapping[str, Any], refused: Mapping[str, str]
) -> Space:
    """A space from a YAML file's path, or from a text such as `a=1|2, b=0.1..0.5, c=1..9 log`.

    In YAML each name has a list of values, a text as above, or a mapping of low, high and log.

    Args:
        params: the pipeline's class, which refuses values out of range or of the wrong type.
        fixed: parameters that are not searched.
        refused: names that may not be in a space, each with the reason.

    Raises:
        UsageError: the space cannot be read, or the pipeline would refuse a value.
    """
    is_path = text.endswith((".yaml", ".yml")) or "=" not in text
    entries = _read_yaml(text) if is_path else read_values(text, "--space")
    if not entries:
        raise UsageError("--space: it is empty; expected for example dropout=0.1|0.2|0.3")
    flags = params.flags()
    for name in entries:
        if name in refused:
            raise UsageError(f"--space: {name} cannot be searched; {refused[name]}")
        if name not in flags:
            near = get_close_matches(name, flags, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(flags)}"
            raise UsageError(f"--space: the pipeline has no parameter {name}; {hint}")
        if name in fixed:
            raise UsageError(f"--space: {name} is both searched and fixed; drop one of the two")
    return {name: _read_distribution(name, entry, params) for name, entry in entries.items()}


def read_values(text: str, flag: str) -> dict[str, str]:
    """The names and values in a text such as `a=1, b=64,32`.

    Raises:
        UsageError: it is not such a text, or has a name twice.
    """
    values: dict[str, str] = {}
    # A comma ends a value only before a name and =: values such as 64,32 have commas too.
    for part in re.split(r",(?=\s*[A-Za-z_]\w*\s*=)", text) if text.strip() else []:
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (equals and re.fullmatch(r"[A-Za-z_]\w*", name) and value):
            hint = ", or the path of a YAML file" if flag == "--space" else ""
            raise UsageError(
                f"{flag} {part.strip()!r}: expected name=value, with commas between{hint}"
            )
        if name in values:
            raise UsageError(f"{flag}: {name} appears twice")
        values[name] = value
    return values


class _Loader(yaml.SafeLoader):
    """Refuses a repeated name, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"--space: {name} appears twice")
        return super().construct_mapping(node, deep)


def _read_yaml(path: str) -> dict[str, Any]:
    try:
        entries = yaml.load(Path(path).read_text("utf-8"), _Loader) or {}  # noqa: S506  # a safe one
    except OSError as error:
        raise UsageError(
            f"--space {path}: {error.strerror or error}; expected a YAML file, or name=value with "
            "commas between"
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not a path, or not UTF-8
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"--space {path!r}{line}: this is not YAML") from None
    if not isinstance(entries, dict) or not all(isinstance(name, str) for name in entries):
        raise UsageError(f"--space {path}: expected a name and its values in each line")
    return entries


def _read_distribution(name: str, entry: Any, params: type[Params]) -> Distribution:
    """The values of a parameter, from a text, or from a value, list or mapping of YAML's."""

    def checked(value: Any) -> Any:
        try:
            return params.parse_value(name, value)
        except UsageError as error:
            raise UsageError(f"--space, {error}") from None

    match entry:
        case dict() if {"low", "high"} <= entry.keys() <= {"low", "high", "log"}:
            log = entry.get("log", False)
            return _range(name, checked(entry["low"]), checked(entry["high"]), log)
        case dict():
            raise UsageError(f"--space: {name} needs low and high, and may have log: true")
        case str() if ends := _RANGE.fullmatch(entry):
            return _range(name, checked(ends[1]), checked(ends[2]), bool(ends[3]))
        case str():
            entry = [part.strip() for part in entry.split("|")]
    values = [checked(value) for value in (entry if isinstance(entry, list) else [entry])]
    if not values:
        raise UsageError(f"--space: {name} has no values")
    if len(set(values)) < len(values):
        raise UsageError(f"--space: {name} has the same value twice")
    return CategoricalDistribution(values)


def _range(name: str, low: Any, high: Any, log: object) -> Distribution:
    text = f"--space: {name}={shown(low)}..{shown(high)}"
    types = {type(low), type(high)}
    if types not in ({int}, {float}):
        raise UsageError(f"{text}: only numbers have ranges; list the values, with | between")
    if not isinstance(log, bool):
        raise UsageError(f"--space: log of {name} is true or false")
    if low >= high:
        raise UsageError(f"{text}: a range goes from a smaller to a larger number")
    if types == {int} and max(-low, high) > _MAX_INTEGER:
        raise UsageError(f"{text}: ranges of integers go up to 2**53")
    if log and low <= 0:
        raise UsageError(f"{text} log: a logarithmic range begins above 0")
    distribution = IntDistribution if types == {int} else FloatDistribution
    return distribution(low, high, log=log)
