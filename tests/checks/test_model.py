"""Wrong models are refused before anything of them is logged, in one line that names the rule."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.models import Model
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor, nn

from tests.conftest import small_model
from tests.tracking.toy import HISTORY, Store, train
from trackml.backends import keras
from trackml.checks.answers import check_answers
from trackml.checks.detections import check_detector
from trackml.checks.model import check_files, save_checked
from trackml.data import ImageData, TableData
from trackml.data.canvases import Canvases, DetectionData, Objects, on_canvases
from trackml.errors import ModelRejected
from trackml.evaluation.report import Report
from trackml.model_files.signatures import signature
from trackml.models.keras import dense_regressor, mirror_mean, with_named_columns
from trackml.models.mlp import Layer, Network
from trackml.models.torch import MirrorMean, with_probabilities
from trackml.tasks import Framework, Task
from trackml.training.keras import predictor
from trackml.training.torch import predict as predict_torch

layers = keras.layers
RANDOM = np.random.default_rng(0)


class Scores(nn.Module):
    """The scores of images 9 x 9 for three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(81, 3)
        self.register_buffer("requests", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.changed(self.dense(x.flatten(1).float() / 255))

    def changed(self, z: Tensor) -> Tensor:
        return z


class LooksAtItsBatch(Scores):
    def changed(self, z: Tensor) -> Tensor:
        return z - z.mean(dim=0)


class Random(Scores):
    def changed(self, z: Tensor) -> Tensor:
        return nn.functional.dropout(z, training=True)


class Counts(Scores):
    """Has a state that each request changes."""

    requests: Tensor

    def changed(self, z: Tensor) -> Tensor:
        self.requests += 1
        return z * self.requests


class NotANumber(Scores):
    def changed(self, z: Tensor) -> Tensor:
        return (-1 - z.abs()).log()


class Branches(Scores):
    def changed(self, z: Tensor) -> Tensor:
        return z if z.sum() > 0 else -z


class AnotherWhenExported(Scores):
    def changed(self, z: Tensor) -> Tensor:
        return -z if torch.compiler.is_exporting() else z


class ChangesItsInput(Scores):
    def forward(self, x: Tensor) -> Tensor:
        x += 1
        return super().forward(x)


@torch.library.custom_op("tests::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    return x * 2


twice.register_fake(torch.empty_like)


class CallsAnOperatorOfItsOwn(Scores):
    def changed(self, z: Tensor) -> Tensor:
        doubled: Tensor = twice(z)
        return doubled


class Recurrent(Scores):
    """Reads an image row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(9, 4, batch_first=True)
        self.dense = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.dense(self.lstm(x.float() / 255)[0][:, -1])
        return z


class Attentive(Scores):
    """Compares the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(9, nhead=3, dim_feedforward=4, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.dense(self.encoder(x.float() / 255).flatten(1))
        return z


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.double()


@keras.saving.register_keras_serializable("tests")
class Own(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    def call(self, x: Any) -> Any:
        return x + 0


def after(*more: Any) -> Any:
    """A model of Keras, with more behind it."""
    model = small_model()
    x = model.output
    for layer in more:
        x = layer(x)
    return keras.Model(model.input, x)


def recalibrated() -> Any:
    """Has statistics that its configuration does not have."""
    scale = layers.Normalization(mean=0.0, variance=1.0)
    model = after(scale, layers.Activation("softmax"))
    scale.mean = keras.ops.convert_to_tensor([[1.0, 0.0, -1.0]])
    return model


def averaged() -> tuple[nn.Module, Any]:
    """The weights that were scored are others than those that are saved."""
    network, average = Scores(), Scores()
    return with_probabilities(network), partial(predict_torch, average)


def of_torch(kind: type[nn.Module], *more: nn.Module) -> tuple[nn.Module, Any]:
    network = kind()
    return nn.Sequential(network, nn.Softmax(dim=1), *more), partial(predict_torch, network)


def of_mirrored(network: nn.Module) -> tuple[nn.Module, Any]:
    mirrored = MirrorMean(network)
    return with_probabilities(mirrored), partial(predict_torch, mirrored)


def of_keras(model: Any) -> tuple[Any, Any]:
    return model, predictor(model)


def of_objects() -> tuple[Network, Any]:
    model = (Layer(np.ones((3, 81), object), np.zeros(3)),)
    return model, lambda _inputs: np.full((8, 3), 1 / 3, np.float32)


# A mistake that is natural in scikit-learn, such as StandardScaler(copy=False), belongs here too.
WRONG: dict[str, tuple[Framework, Callable[[], tuple[Any, Any]], str]] = {
    "logits": ("torch", lambda: (Scores(), None), "probabilities"),
    "logits of Keras": ("keras", lambda: of_keras(after(layers.Dense(3))), "probabilities"),
    "another shape": ("keras", lambda: of_keras(after(layers.Reshape((3, 1)))), "shape"),
    "a class too many": ("keras", lambda: of_keras(after(layers.Dense(4, "softmax"))), "shape"),
    "float64": ("torch", lambda: of_torch(Scores, Double()), "dtype"),
    "float16": (
        "keras",
        lambda: of_keras(after(layers.Activation("linear", dtype="float16"))),
        "dtype",
    ),
    "not a number": ("torch", lambda: of_torch(NotANumber), "finite"),
    "looks at its batch": ("torch", lambda: of_torch(LooksAtItsBatch), "any batch size"),
    "random": ("torch", lambda: of_torch(Random), "repeatable"),
    "counts requests": ("torch", lambda: of_torch(Counts), "repeatable"),
    "another when exported": ("torch", lambda: of_torch(AnotherWhenExported), "as trained"),
    "averaged weights": ("torch", averaged, "as trained"),
    "statistics that are lost": ("keras", lambda: of_keras(recalibrated()), "as trained"),
    "weights of objects": ("numpy", of_objects, "no pickle"),
    "a Python function": (
        "keras",
        lambda: of_keras(after(layers.Lambda(lambda x: x * 1))),
        "no pickle",
    ),
    "a class of its own": ("keras", lambda: of_keras(after(Own())), "importable"),
    "an operator of its own": ("torch", lambda: of_torch(CallsAnOperatorOfItsOwn), "importable"),
    "an answer is missing": (
        "keras",
        lambda: of_keras(after(lambda x: x[1:, :])),
        "an answer per row",
    ),
    "changes its input": ("torch", lambda: of_torch(ChangesItsInput), "request unchanged"),
    "branches": ("torch", lambda: of_torch(Branches), "can be saved"),
    "another framework": ("numpy", lambda: (RandomForestClassifier(), None), "framework"),
    "no model": ("keras", lambda: (5, None), "framework"),
}


@pytest.mark.parametrize(("framework", "make", "rule"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_model_is_refused_before_anything_of_it_is_logged(
    store: Store,
    framework: Framework,
    make: Callable[[], tuple[Any, Any]],
    rule: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model, predict = make()
    task: Task[Any] = Task(lambda _params: None, framework)
    report = Report({"test_accuracy": 0.3}, {"reports/note.txt": lambda: "kept"})
    with pytest.raises(ModelRejected) as refusal, store.tracked(task=task, register=False) as run:  # noqa: PT012
        train(run, 1)
        run.finish(model, HISTORY, lambda *_: report, predict)
    said = str(refusal.value)
    assert refusal.value.rule == rule
    assert said.startswith(f"model not registered: {rule}: ")
    assert "\n" not in said
    assert len(said) < 500
    assert (refusal.value.exit_code, capfd.readouterr()) == (1, ("", ""))
    # Of the run nothing else is lost.
    logged = store.run()
    assert (logged.info.status, logged.data.tags["trackml.failure"]) == ("FAILED", said)
    assert logged.data.metrics["test_accuracy"] == 0.3
    assert logged.data.metrics["best_val_accuracy"] == 0.4
    assert store.rows(run.run_id) == [(1, 1.0)]
    artifacts = {file.path for file in store.client.list_artifacts(run.run_id, "reports")}
    assert artifacts == {"reports/note.txt"}
    assert not store.client.search_logged_models([logged.info.experiment_id])
    assert not run.outbox.model_folder.exists()


@pytest.mark.parametrize(
    ("framework", "make"),
    [
        ("keras", lambda: of_keras(small_model(dropout=0.5))),
        ("torch", lambda: of_torch(Scores)),
        ("torch", lambda: of_torch(Recurrent)),
        ("torch", lambda: of_torch(Attentive)),
        ("keras", lambda: of_keras(mirror_mean(small_model(dropout=0.5)))),
        ("torch", lambda: of_mirrored(Scores())),
    ],
)
def test_a_right_model_passes(
    framework: Framework, make: Callable[[], tuple[Any, Any]], blobs: ImageData, tmp_path: Path
) -> None:
    model, predict = make()
    save_checked(str(tmp_path / "model"), model, framework, blobs, predict)
    assert (tmp_path / "model/MLmodel").exists()


FROM_CODE = """
from typing import Any
import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

class Model(PythonModel):
    def predict(self, context, model_input: np.ndarray, params: Any = None) -> Any:
        answers = np.full((len(model_input), 3), 1 / 3, np.float32)
        {line}
        return answers

{first}
set_model(Model())
"""


@pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning")
@pytest.mark.parametrize(
    ("line", "first", "rule"),
    [
        ("answers = answers.astype(object)", "", "dtype"),
        ("answers = answers.tolist()", "", "array"),
        ("model_input += 1", "", "request unchanged"),
        ("assert len(model_input) == 8", "", "answers"),
        ("", "import a_module_that_is_not_there", "loads"),
        ("", "", None),
    ],
)
def test_code_that_is_a_model_keeps_the_rules(
    line: str, first: str, rule: str | None, blobs: ImageData, tmp_path: Path
) -> None:
    (tmp_path / "wrong.py").write_text(FROM_CODE.format(line=line, first=""))
    path = tmp_path / "model"
    mlflow.pyfunc.save_model(
        str(path),
        python_model=str(tmp_path / "wrong.py"),
        mlflow_model=Model(),
        signature=signature(blobs),
        pip_requirements=["mlflow"],
    )
    (path / "wrong.py").write_text(FROM_CODE.format(line=line, first=first))
    trained = np.full((8, 3), 1 / 3, np.float32)
    if rule is None:
        check_files(path, blobs, lambda _inputs: trained)
        return
    with pytest.raises(ModelRejected) as refusal:
        check_files(path, blobs, lambda _inputs: trained)
    assert refusal.value.rule == rule


@pytest.fixture
def homes() -> TableData:
    random = np.random.default_rng(0)
    part = random.normal(size=(60, 3)), random.normal(size=60)
    return TableData.from_arrays("homes", part, part, columns=["rooms", "age", "size"])


@pytest.mark.parametrize("columns", [["rooms", "age", "size"], ["size", "age", "rooms"]])
def test_a_table_is_asked_for_by_the_names_of_its_columns(
    columns: list[str], homes: TableData, tmp_path: Path
) -> None:
    model = dense_regressor(np.zeros(3), np.ones(3), [4])
    served = with_named_columns(model, columns)
    save = partial(save_checked, str(tmp_path / "model"), served, "keras", homes)
    if columns == list(homes.columns):
        save(predictor(model))
        return
    with pytest.raises(ModelRejected, match="as trained: "):
        save(predictor(model))


@pytest.mark.parametrize(("factor", "is_same"), [(1 + 1e-6, True), (1 + 1e-3, False)])
def test_last_digits_may_differ_whatever_the_unit(
    factor: float, is_same: bool, homes: TableData
) -> None:
    def value(inputs: Any) -> Any:
        return np.asarray(inputs, np.float32)[:, :1] * 1e6

    check = partial(check_answers, value, homes, lambda inputs: value(inputs)[:, 0] * factor)
    if is_same:
        check()
        return
    with pytest.raises(ModelRejected, match="as trained: "):
        check()


def raising(_inputs: Any) -> Any:
    raise KeyError("rooms")


@pytest.mark.parametrize(
    ("later", "trained", "rule", "words"),
    [
        (lambda _: np.ones((5, 1), np.float32), None, "repeatable", "it answered differently"),
        (lambda _: None, None, "repeatable", "it answered differently"),
        (None, raising, "as trained", "the `predict` of the trained model raised KeyError"),
        (None, lambda _: [object()] * 8, "as trained", "the trained model raised TypeError"),
        (None, lambda _: [[1], [1, 2]], "as trained", "the trained model raised ValueError"),
        (None, lambda _: None, "as trained", "the trained model answers nan"),
    ],
)
def test_an_answer_of_another_kind_breaks_a_rule(
    later: Any, trained: Any, rule: str, words: str, homes: TableData
) -> None:
    requests: list[Any] = []

    def answer(rows: Any) -> Any:
        requests.append(rows)
        return later(rows) if later and len(requests) > 1 else np.ones((len(rows), 1), np.float32)

    with pytest.raises(ModelRejected, match=re.escape(words)) as refusal:
        check_answers(answer, homes, trained)
    assert refusal.value.rule == rule


@pytest.fixture(scope="module")
def canvases() -> DetectionData:
    images = np.full((30, 28, 28), 200, np.uint8), np.arange(30) % 3
    digits = ImageData.from_arrays("d", images, images, classes="abc", validation_split=0.4)
    return on_canvases("canvases", digits, size=40, max_digits=1, seed=0)


def found(images: Any) -> pd.DataFrame:
    """An object in the corner of each image."""
    corners = dict.fromkeys(("x1", "y1"), np.float32(1)) | dict.fromkeys(
        ("x2", "y2"), np.float32(9)
    )
    table = pd.DataFrame({"image": np.arange(len(images)), **corners})
    return table.assign(label=np.int64(2), score=np.float32(0.5))


def as_objects(table: pd.DataFrame) -> Objects:
    boxes = table[["x1", "y1", "x2", "y2"]].to_numpy()
    columns = (table[name].to_numpy() for name in ("label", "score"))
    return Objects(table["image"].to_numpy(), boxes, *columns)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda table: table, None),
        (lambda table: table.assign(x2=table["x2"] + np.float32(0.01)), None),
        (lambda table: table.iloc[:0], "as trained"),
        (lambda table: table.assign(label=np.int64(1)), "as trained"),
        (lambda table: table.drop(columns="score"), "columns"),
        (lambda table: table.assign(score=0.5), "columns"),
        (lambda table: table.to_dict("records"), "columns"),
        (lambda table: table.assign(score=np.float32("nan")), "finite"),
        (lambda table: table.assign(score=np.float32(1.5)), "score"),
        (lambda table: table.assign(label=np.int64(3)), "label"),
        (lambda table: table.assign(image=table["image"] + 1), "image"),
        (lambda table: table.assign(x2=np.float32(41)), "boxes"),
        (lambda table: table.assign(x1=np.float32(10)), "boxes"),
        (lambda table: table if len(table) > 1 else table.iloc[:0], "any batch size"),
        (lambda table: table if len(table) > 1 else None, "columns"),
        (lambda table: table.assign(score=np.float32(RANDOM.random())), "repeatable"),
    ],
)
def test_what_a_detector_finds(
    change: Callable[[pd.DataFrame], Any], rule: str | None, canvases: DetectionData
) -> None:
    def find(canvases: Canvases) -> Objects:
        return as_objects(found(canvases.images))

    check = partial(check_detector, lambda images: change(found(images)), canvases, find)
    if rule is None:
        check()
        return
    with pytest.raises(ModelRejected) as refusal:
        check()
    assert refusal.value.rule == rule


def test_a_detector_whose_own_answers_fail_is_refused(canvases: DetectionData) -> None:
    with pytest.raises(ModelRejected, match="as trained: the `predict` of the trained model"):
        check_detector(found, canvases, lambda _canvases: None)


def test_a_framework_that_is_none_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match=r"keras, .* numpy or ensemble. Received: 'numpi'"):
        Task(lambda _params: None, framework="numpi")  # type: ignore[arg-type]
