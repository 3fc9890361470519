"""Before a model is logged: its files are loaded as a user would, and keep all rules."""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from trackml.backends import full_float32
from trackml.checks.answers import Predict, ask, check_answers, request_changed, type_name
from trackml.checks.detections import check_detector
from trackml.checks.pickles import find_pickles
from trackml.data import ImageData, TableData
from trackml.data.canvases import Data, DetectionData
from trackml.errors import ModelRejected, TrackmlError, first_line
from trackml.model_files.saving import (
    framework_of,
    load_saved,
    no_list_of_packages,
    save_model,
)
from trackml.process.system import environment
from trackml.tasks import Framework

_OPERATORS = re.compile(rb"torch\.ops\.(\w+)\.")
_OF_TORCH = {b"aten", b"prim", b"prims", b"higher_order", b"quantized"}
_HINTS: Mapping[Framework, str] = {
    "keras": "build it of Keras's layers and operations",
    "torch": "branch on no tensor's values, and keep each tensor as a parameter or a buffer",
    "sklearn": "build it of scikit-learn's own estimators",
    "numpy": "make it with trackml.models.numpy.dense_network",
    "ensemble": "make it with trackml.training.ensemble.fit, while its members' files are there",
}


def save_checked(path: str, model: Any, framework: Framework, data: Data, predict: Predict) -> None:
    """Write the files of a model, and check that they are what they say.

    Args:
        path: of a folder that does not exist yet.
        predict: the trained model: as `Run.finish` takes it.

    Raises:
        ModelRejected: the model cannot be saved, or breaks a rule.
    """
    if (made_of := framework_of(model)) != framework:
        instead = f"use Task(framework={made_of!r})" if made_of else "hand finish() the model"
        raise ModelRejected(
            "framework", f"the task is of {framework!r}; received {type_name(model)}: {instead}"
        )
    try:
        with _quiet():
            save_model(path, model, framework, data)
    except (TrackmlError, OSError):
        raise
    except Exception as error:
        raise ModelRejected(
            "can be saved",
            f"{framework} cannot write it: {first_line(error)}; {_HINTS[framework]}",
        ) from error
    if framework == "torch" and not isinstance(data, DetectionData):
        _check_input_kept(model, data)
    check_files(Path(path), data, predict)


def check_files(folder: Path, data: Data, predict: Predict) -> None:
    """Raise ModelRejected unless the files of a model keep all rules.

    Args:
        folder: as MLflow has it.
        predict: the trained model: inputs → answers; of a detector, canvases → objects.
    """
    if pickles := list(find_pickles(folder)):
        raise ModelRejected(
            "no pickle",
            f"expected arrays and declarations alone; found {pickles[0]}: "
            "replace the layer or function that is stored so",
        )
    for file in folder.rglob("*.keras"):
        _check_keras_classes(file)
    for file in folder.rglob("*.pt2"):
        _check_torch_operators(file)
    try:
        no_pickles = environment(MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false")
        with _quiet(), no_pickles, no_list_of_packages():
            model = load_saved(str(folder))
    except Exception as error:
        raise ModelRejected(
            "loads",
            f"mlflow.pyfunc.load_model raised {first_line(error)}; "
            "build the model of layers that need no code of yours",
        ) from error
    with _quiet(), full_float32():
        if isinstance(data, DetectionData):
            check_detector(partial(ask, model), data, predict)
        else:
            check_answers(partial(ask, model), data, predict)


def _check_input_kept(network: Any, data: ImageData | TableData) -> None:
    """Its exported program gets copies of rows; but in training it would change the data."""
    import torch

    device = next((weight.device for weight in network.parameters()), None)
    rows = torch.tensor(data.validation.arrays[0][:2], device=device)
    before = rows.clone()
    with torch.no_grad():
        network.eval()(rows)
    if not torch.equal(rows, before):
        raise request_changed()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars, and the pages that frameworks log about a model."""
    logs = [logging.getLogger(name) for name in ("tensorflow", "torch", "mlflow")]
    levels = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.CRITICAL)
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _check_keras_classes(file: Path) -> None:
    with ZipFile(file) as archive:
        config = json.loads(archive.read("config.json"))
    own: list[str] = []

    def visit(part: Any) -> None:
        if isinstance(part, dict) and {"class_name", "config"} <= part.keys():
            name, package = str(part["class_name"]), str(part.get("module")).partition(".")[0]
            if name == "function":
                own.append(str(part["config"]))
            elif package != "keras" and not name.startswith("__"):  # such as __tensor__
                own.append(name)
        for each in part.values() if isinstance(part, dict) else part:
            if isinstance(each, dict | list):
                visit(each)

    visit(config)
    if own:
        raise ModelRejected(
            "importable",
            f"expected classes and functions of Keras alone; found {', '.join(sorted({*own}))}, "
            "which other programs do not have: build it of Keras's layers and operations",
        )


def _check_torch_operators(file: Path) -> None:
    with ZipFile(file) as archive:
        programs = [archive.read(name) for name in archive.namelist() if name.endswith(".json")]
    used = {name for program in programs for name in _OPERATORS.findall(program)}
    if own := used - _OF_TORCH:
        raise ModelRejected(
            "importable",
            f"expected operators of torch alone; found {b', '.join(sorted(own)).decode()}, "
            "which other programs do not have: build it of torch's operators",
        )
