"""Pipelines as others see them: a task's data, framework and metric, and its entry points."""

import hashlib
import inspect
import os
import pkgutil
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args, get_type_hints

from trackml.errors import UsageError
from trackml.metrics import ACCURACY, Metric

if TYPE_CHECKING:
    from trackml.console import View

_SOURCES = Path(__file__).parent
_IN_WHEEL = _SOURCES / "pipelines"  # in a checkout they are beside src
IS_INSTALLED = _IN_WHEEL.is_dir()

Framework = Literal["keras", "torch", "sklearn", "numpy", "ensemble"]


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
    """What `mlflow run . -e NAME` or `trackml run NAME` runs.

    Attributes:
        params: the class of its parameters. preset: those that it sets.
        task: None of a program that trains no model of its own.
        view: what a person sees of it; that of a training unless given.
    """

    name: str
    main: Callable[..., Any]
    params: type[Any]
    preset: Mapping[str, Any] = field(default_factory=dict)
    task: Task[Any] | None = None
    view: "View | None" = None

    @property
    def module(self) -> ModuleType:
        """In which `main` is."""
        return sys.modules[self.main.__module__]


def find_entry_points() -> dict[str, EntryPoint]:
    """The entry points of all pipelines, by name: their modules with `Params`."""
    entry_points: dict[str, EntryPoint] = {}
    package = pipelines()
    for each in pkgutil.iter_modules(package.__path__):
        module = import_module(f"{package.__name__}.{each.name}")
        if not hasattr(module, "Params"):
            continue
        task: Task[Any] | None = getattr(module, "TASK", None)
        names = (task and task.entry_points) or {each.name: {}}
        entry_points |= {name: _of_module(name, module, preset) for name, preset in names.items()}
    return entry_points


def pipelines() -> ModuleType:
    """The package of the pipelines: a part of trackml in its wheel, beside src in a checkout."""
    if IS_INSTALLED:
        return import_module("trackml.pipelines")
    checkout = str(_SOURCES.parents[1])
    if checkout not in sys.path:
        sys.path.append(checkout)
    return import_module("pipelines")


def entry_point(pipeline: str | Path | ModuleType | Callable[..., Any]) -> EntryPoint:
    """An entry point by its name, or of a pipeline: the path of its file, its module, its `main`.

    >>> entry_point("fashion_aug").preset
    {'augment': True}

    Raises:
        UsageError: there is none of that name, or what was given is no pipeline.
    """
    match pipeline:
        case ModuleType():
            return _of_module(pipeline.__name__, pipeline)
        case Path():
            return _of_module(str(pipeline), _import_file(pipeline))
        case str() if pipeline.endswith(".py") or os.sep in pipeline:
            return _of_module(pipeline, _import_file(Path(pipeline)))
        case str():
            entry_points = find_entry_points()
            if pipeline not in entry_points:
                near = get_close_matches(pipeline, entry_points, n=1)
                hint = (
                    f"did you mean {near[0]}?" if near else f"there are {', '.join(entry_points)}"
                )
                raise UsageError(f"{pipeline}: there is no such entry point; {hint}")
            return entry_points[pipeline]
    return _of_function(pipeline)


def _of_module(name: str, module: ModuleType, preset: Mapping[str, Any] = {}) -> EntryPoint:
    missing = [part for part in ("Params", "main") if not hasattr(module, part)]
    if missing:
        raise UsageError(
            f"{name}: a pipeline has a class Params and a function main; no {missing[0]} was found"
        )
    task, view = getattr(module, "TASK", None), getattr(module, "VIEW", None)
    return EntryPoint(name, module.main, module.Params, preset, task, view)


def _of_function(main: Callable[..., Any]) -> EntryPoint:
    """Of a pipeline's `main`, whose first parameter is annotated with the class of parameters."""
    name = getattr(main, "__name__", repr(main))
    first = next(iter(inspect.signature(main).parameters.values()), None)
    params: object = first and first.annotation
    if isinstance(params, str):  # by `from __future__ import annotations`
        holder: Any = SimpleNamespace(__annotations__={"params": params})
        params = get_type_hints(holder, main.__globals__)["params"]
    if not (isinstance(params, type) and hasattr(params, "parse")):
        raise UsageError(
            f"{name}: expected a pipeline's main, with its class of parameters as the annotation "
            "of the first parameter, such as `def main(params: Params, ...)`"
        )
    module = sys.modules[main.__module__]
    return EntryPoint(name, main, params, view=getattr(module, "VIEW", None))


def _import_file(path: Path) -> ModuleType:
    """Import a file by the name that other processes can import it by, anew if it was before.

    A file in a package is a module of it. Any other one is imported as `python FILE` would import
    its neighbors: their folder is then where modules are looked for first.
    """
    file = Path(os.path.abspath(path))  # noqa: PTH100  # not resolved: a link has its own name
    if not file.is_file():
        raise UsageError(f"{path}: there is no such file")
    folder, name = file.parent, file.stem
    while (folder / "__init__.py").exists():
        folder, name = folder.parent, f"{folder.name}.{name}"
    if (module := sys.modules.get(name)) and _is_from(module, file):
        del sys.modules[name]  # it may have been edited, as a notebook's user does
        module = None
    if not module:
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        invalidate_caches()
        module = import_module(name)
    if not _is_from(module, file):
        raise UsageError(f"{path}: Python has another module named {name}; rename the file")
    return module


def _is_from(module: ModuleType, file: Path) -> bool:
    return bool(module.__file__) and Path(str(module.__file__)).resolve() == file.resolve()


def run_command(name: str, values: Mapping[str, str]) -> str:
    """What to type to run an entry point, here, with these values of its parameters.

    >>> run_command("digits.py", {"epochs": "3", "space": "a|b"})
    "trackml run digits.py epochs=3 'space=a|b'"
    """
    pairs = [shlex.quote(f"{flag}={value}") for flag, value in values.items()]
    if IS_INSTALLED or name.endswith(".py"):
        return shlex.join(["trackml", "run", name]) + "".join(f" {pair}" for pair in pairs)
    return f"mlflow run . -e {name}" + "".join(f" -P {pair}" for pair in pairs)


def make_command(name: str, values: Mapping[str, str]) -> str:
    """The `make run` command for an entry point, which needs no active environment.

    >>> make_command("cnn", {"epochs": "8", "optimizer": "sgd"})
    "make run ENTRY=cnn ARGS='-P epochs=8 -P optimizer=sgd'"
    """
    pairs = [f"-P {shlex.quote(f'{flag}={value}')}" for flag, value in values.items()]
    args = " ".join(pairs).replace("$", "$$")  # as make wants it
    return f"make run ENTRY={name} ARGS={shlex.quote(args)}"


def is_in_checkout() -> bool:
    """True in the root folder of a checkout that stays, where `make` works."""
    root = _SOURCES.resolve().parents[1]
    is_root = Path.cwd().resolve() == root and (root / "Makefile").exists()
    return is_root and not IS_INSTALLED and not is_in_copy_of_mlflow()


def is_in_copy_of_mlflow() -> bool:
    """True in a program of `mlflow run` in its copy of an address of git, which is gone after it.

    Such a copy is a folder as tempfile.mkdtemp makes them.
    """
    temporary, here = Path(tempfile.gettempdir()).resolve(), Path.cwd()
    if "MLFLOW_RUN_ID" not in os.environ or not here.is_relative_to(temporary):
        return False
    return here.relative_to(temporary).as_posix().startswith(tempfile.gettempprefix())


def source_sha256(module: str) -> str:
    """SHA-256 of trackml's sources, and of those beside the file of a loaded module."""
    file = getattr(sys.modules[module], "__file__", None)
    beside = sorted(Path(file).absolute().parent.glob("*.py")) if file else []
    own = [each for each in sorted(_SOURCES.rglob("*.py")) if _IN_WHEEL not in each.parents]
    total = hashlib.sha256()
    for source in [*own, *beside]:
        total.update(hashlib.sha256(source.read_bytes()).digest())
    return total.hexdigest()
