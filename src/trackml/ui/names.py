"""Names of runs, and the commands that repeat them: what differs from an entry point."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackml.comparison.logged_params import with_effect
from trackml.params import Params
from trackml.tasks import run_command

MAX_NAME, MAX_VALUE = 60, 24  # characters
ORDER = {"limit": 1, "seed": 2}  # behind the others
_PIPELINES = ("pipelines", "trackml.pipelines")


@dataclass(frozen=True)
class Request:
    """How a person would ask for a run.

    Attributes:
        name: of the entry point, or its file; "" for a program that has none.
        defaults: flag → value, those of the entry point.
        changes: flag → text, the parameters that affect the result and have another value.
    """

    name: str
    defaults: Mapping[str, Any]
    changes: Mapping[str, str]

    @property
    def command(self) -> str:
        """What to type; "" for a program that has no name."""
        return run_command(self.name, self.changes) if self.name else ""


def request_of(
    params: Params, entry_points: Mapping[str, Mapping[str, Any]] = {}, name: str = ""
) -> Request:
    """The entry point that has most of the parameters as its defaults, and the others.

    So augmented runs of `fashion` are runs of `fashion_aug`. A value that follows from others, by
    `resolved`, is no change.

    Args:
        entry_points: of a task of the project: name → the parameters that it sets.
        name: by which the program was started, if it is known.
    """
    package, own = _program(params)
    name = name or own
    values, fields = params.model_dump(by_alias=True), params.flags()
    unused = params.without_effect()
    presets = entry_points if package in _PIPELINES else {}

    fitting = [each for each, preset in presets.items() if preset.items() <= values.items()]
    name = max(fitting, key=lambda each: (len(presets[each]), each == name), default=name)
    optional = {flag: field.default for flag, field in fields.items() if not field.is_required()}
    defaults = optional | dict(presets.get(name, {}))
    changes = {
        flag: text
        for flag, text in with_effect(params.as_text()).items()
        if flag in fields.keys() - unused
        and not (flag in defaults and _is_default(params, flag, defaults[flag]))
    }
    # What tells runs apart comes first: MLflow's tables cut names off.
    ordered = dict(sorted(changes.items(), key=lambda change: ORDER.get(change[0], 0)))
    return Request(name, defaults, ordered)


def _is_default(params: Params, flag: str, default: Any) -> bool:
    fields = type(params).model_fields.items()
    name = next(name for name, field in fields if flag in (name, field.alias))
    if getattr(params, name) == default:
        return True
    return params.model_copy(update={name: default}).resolved() == params


def _program(params: Params) -> tuple[str, str]:
    """The package of the pipeline that has these parameters, and its name or file, "" for none."""
    module = sys.modules[type(params).__module__]
    spec, file = getattr(module, "__spec__", None), getattr(module, "__file__", None)
    package, _, stem = (spec.name if spec else module.__name__).rpartition(".")
    if package in _PIPELINES:
        return package, stem
    is_pipeline = file and hasattr(module, "main") and hasattr(module, "Params")
    return package, Path(str(file)).name if is_pipeline else ""


def run_name(architecture: str, changes: Mapping[str, str]) -> str:
    """The name of a run: its architecture, then what differs from the defaults; 60 characters.

    >>> run_name("cnn-aug", {"epochs": "2", "limit": "500"})
    'cnn-aug epochs=2 limit=500'
    >>> run_name("cnn", {f"parameter{n}": "1" for n in range(9)})
    'cnn parameter0=1 parameter1=1 parameter2=1 parameter3=1 …'
    """
    name = architecture
    for parameter, text in changes.items():
        short = text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"
        if len(name) + len(parameter) + len(short) + 4 > MAX_NAME:
            return f"{name} …"
        name += f" {parameter}={short}"
    return name
