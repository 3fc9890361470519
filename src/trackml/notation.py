"""Spaces of parameters as people write them: in a line, or in a YAML file."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from trackml.errors import UsageError
from trackml.params import Params
from trackml.space import Choices, Range, Space, WholeRange, shown

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})(\s*log)?\s*")
_RANGE_KEYS = {"low", "high", "log"}
_LARGEST = 2**53  # integer that a float can tell from the next one


def read_space(
    text: str, params: type[Params], fixed: Mapping[str, Any], refused: Mapping[str, str]
) -> Space:
    """A space from a YAML file's path, or from a text such as `a=1|2, b=0.1..0.5, c=1..9 log`.

    In YAML, a list of values, a text as above, or low, high and log for each name.

    Args:
        params: of the pipeline; refuses what is out of its range or of the wrong type.
        fixed: those of its parameters that are not searched.
        refused: names that may not be in a space, each with the reason.

    Raises:
        UsageError: the space cannot be read, or the pipeline would refuse something in it.
    """
    written = _read_yaml(text) if _is_path(text) else read_values(text, "--space")
    if not written:
        raise UsageError("--space: there is nothing in it; for example dropout=0.1|0.2|0.3")
    space = {}
    for name, value in written.items():
        if name in refused:
            raise UsageError(f"--space: {name} cannot be searched: {refused[name]}")
        if name not in params.flags():
            raise UsageError(f"--space: the pipeline has no parameter {name}{_meant(name, params)}")
        if name in fixed:
            raise UsageError(f"--space: {name} is searched and fixed at once; drop one of the two")
        space[name] = _read_one(name, value, params)
    return space


def read_values(text: str, flag: str) -> dict[str, str]:
    """The names and values in a text such as `a=1, b=64,32`.

    Raises:
        UsageError: it is not such a text, or has a name twice.
    """
    values: dict[str, str] = {}
    # A comma ends a value only if a name and = follow: values such as 64,32 have commas too.
    for part in re.split(r",(?=\s*[A-Za-z_]\w*\s*=)", text) if text.strip() else []:
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (equals and re.fullmatch(r"[A-Za-z_]\w*", name) and value):
            hint = ", or the path of a YAML file" if flag == "--space" else ""
            raise UsageError(
                f"{flag} {part.strip()!r}: expected name=value, with commas between{hint}"
            )
        if name in values:
            raise UsageError(f"{flag}: {name} is there twice")
        values[name] = value
    return values


def _is_path(text: str) -> bool:
    return text.endswith((".yaml", ".yml")) or "=" not in text


class _Loader(yaml.SafeLoader):
    """Refuses a name that is there twice, of which YAML would take the second."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"--space: {name} is there twice")
        return super().construct_mapping(node, deep)


def _read_yaml(text: str) -> dict[str, Any]:
    path = Path(text)
    try:
        written = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  # a safe one
    except OSError as error:
        raise UsageError(
            f"--space {text}: {error.strerror or error}; expected a YAML file, or name=value with "
            "commas between"
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no path, or no UTF-8
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        raise UsageError(f"--space {text!r}{line}: this is not YAML") from None
    written = {} if written is None else written
    if not isinstance(written, dict) or not all(isinstance(name, str) for name in written):
        raise UsageError(f"--space {text}: expected a name and its values in each line")
    return written


def _read_one(name: str, value: Any, params: type[Params]) -> Choices | Range | WholeRange:
    """What a parameter may be; a text, a list, or a mapping of YAML's."""

    def checked(one: Any) -> Any:
        try:
            return params.parse_value(name, one)
        except UsageError as error:
            raise UsageError(f"--space, {error}") from None

    match value:
        case dict() if {"low", "high"} <= value.keys() <= _RANGE_KEYS:
            low, high, log = value["low"], value["high"], value.get("log", False)
        case dict():
            raise UsageError(f"--space: {name} needs low and high, and may have log: true")
        case list():
            return _choices(name, [checked(one) for one in value])
        case str() if found := _RANGE.fullmatch(value):
            low, high, log = found[1], found[2], bool(found[3])
        case str():
            return _choices(name, [checked(one.strip()) for one in value.split("|")])
        case _:
            return _choices(name, [checked(value)])
    return _range(name, checked(low), checked(high), log)


def _choices(name: str, values: Sequence[Any]) -> Choices:
    if not values:
        raise UsageError(f"--space: {name} has no values")
    if len(set(values)) < len(values):
        raise UsageError(f"--space: {name} has the same value twice")
    return Choices(tuple(values))


def _range(name: str, low: Any, high: Any, log: object) -> Range | WholeRange:
    words = f"--space: {name}={shown(low)}..{shown(high)}"
    kinds = {type(low), type(high)}
    if kinds not in ({int}, {float}):
        raise UsageError(f"{words}: only numbers have ranges; list the values, with | between")
    if not isinstance(log, bool):
        raise UsageError(f"--space: log of {name} is true or false")
    if low >= high:
        raise UsageError(f"{words}: a range goes from a smaller to a larger number")
    if kinds == {int} and max(-low, high) > _LARGEST:
        raise UsageError(f"{words}: ranges of integers go up to 2**53")
    if log and low <= 0:
        raise UsageError(f"{words} log: a logarithmic range begins above 0")
    return WholeRange(low, high, log) if kinds == {int} else Range(low, high, log)


def _meant(name: str, params: type[Params]) -> str:
    near = get_close_matches(name, params.flags(), n=1)
    return f"; did you mean {near[0]}?" if near else f"; it has {', '.join(params.flags())}"
