"""Names of runs, and the commands that repeat them: what differs from the defaults."""

import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic.fields import FieldInfo

from trackml.comparison.logged_params import with_effect
from trackml.params import Params
from trackml.tasks import run_command

MAX_NAME, MAX_VALUE = 60, 24  # characters
ORDER = {"limit": 1, "seed": 2}  # behind the others
_PIPELINES = ("pipelines", "trackml.pipelines")


def changed(params: Params) -> dict[str, str]:
    """The parameters that affect the result and differ from the defaults, as texts.

    A value that follows from the others, by `resolved`, does not count.
    """
    fields = {
        field.alias or name: (name, field) for name, field in type(params).model_fields.items()
    }
    unused = params.without_effect()
    changes = {
        flag: text
        for flag, text in with_effect(params.as_text()).items()
        if flag in fields.keys() - unused and not _is_default(params, *fields[flag])
    }
    # What tells runs apart comes first: MLflow's tables cut names off.
    return dict(sorted(changes.items(), key=lambda change: ORDER.get(change[0], 0)))


def _is_default(params: Params, name: str, field: FieldInfo) -> bool:
    if field.is_required():
        return False
    if getattr(params, name) == field.default:
        return True
    return params.model_copy(update={name: field.default}).resolved() == params


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


def command_of(params: Params, changes: Mapping[str, str]) -> str:
    """What to type to run a pipeline with these parameters; "" for one that has no file."""
    module = sys.modules[type(params).__module__]
    spec, file = getattr(module, "__spec__", None), getattr(module, "__file__", None)
    name = spec.name if spec else module.__name__
    package, _, stem = name.rpartition(".")
    if package in _PIPELINES:
        return run_command(stem, changes)
    is_pipeline = file and hasattr(module, "main") and hasattr(module, "Params")
    return run_command(Path(str(file)).name, changes) if is_pipeline else ""
