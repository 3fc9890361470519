"""Pipelines as others see them: a task's data, framework and metric, and its entry points."""

import hashlib
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar, get_args

from trackml.metrics import ACCURACY, Metric

Framework = Literal["keras", "torch", "sklearn", "numpy"]


D = TypeVar("D")


@dataclass(frozen=True)
class Task(Generic[D]):
    """What the runs of a pipeline have in common.

    Attributes:
        load: parameters → the data; the same for the same parameters.
        metric: by which training ranks epochs, and sweeps their trials, on validation data.
        entry_points: name in MLproject → the parameters that it sets. Without any there is one, of
            the pipeline's own name.

    Raises:
        ValueError: there is no such framework.
    """

    load: Callable[[Any], D]
    framework: Framework
    metric: Metric = ACCURACY
    entry_points: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.framework not in (allowed := get_args(Framework)):
            raise ValueError(
                f"framework must be {', '.join(allowed[:-1])} or {allowed[-1]}. "
                f"Received: {self.framework!r}"
            )


@dataclass(frozen=True)
class EntryPoint:
    """A name that `mlflow run . -e NAME` takes: its pipeline, and the parameters that it sets."""

    name: str
    module: ModuleType
    preset: Mapping[str, Any]

    @property
    def params(self) -> type[Any]:
        """Its class of parameters."""
        params: type[Any] = self.module.Params
        return params

    @property
    def main(self) -> Callable[..., Any]:
        main: Callable[..., Any] = self.module.main
        return main

    @property
    def task(self) -> Task[Any] | None:
        """None of a program that trains no model of its own."""
        return getattr(self.module, "TASK", None)


def find_entry_points() -> dict[str, EntryPoint]:
    """The entry points of all pipelines, by name: the modules of `pipelines` with `Params`."""
    found: dict[str, EntryPoint] = {}
    for each in pkgutil.iter_modules(import_module("pipelines").__path__):
        module = import_module(f"pipelines.{each.name}")
        if not hasattr(module, "Params"):
            continue
        task: Task[Any] | None = getattr(module, "TASK", None)
        names = (task and task.entry_points) or {each.name: {}}
        found |= {name: EntryPoint(name, module, preset) for name, preset in names.items()}
    return found


def source_sha256(module: str) -> str:
    """SHA-256 of trackml's sources, and of those beside the file of a loaded module."""
    file = getattr(sys.modules[module], "__file__", None)
    beside = sorted(Path(file).absolute().parent.glob("*.py")) if file else []
    total = hashlib.sha256()
    for source in [*sorted(Path(__file__).parent.rglob("*.py")), *beside]:
        total.update(hashlib.sha256(source.read_bytes()).digest())
    return total.hexdigest()
