"""All artifacts are optional: one that cannot be made, kept or uploaded is a warning and a tag."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mlflow.artifacts import load_text
from mlflow.tracking import MlflowClient

from pipelines import cnn, compare, housing, scratch_mnist
from tests.comparison import test_leaderboard, test_side_by_side
from tests.conftest import files
from tests.evaluation import test_detection, test_graph, test_regression
from tests.evaluation.test_classification import HISTORY
from tests.pipelines.expected import EXPECTED
from tests.sweeps import test_report
from tests.tracking.toy import Store, finish, raised
from trackml.comparison.leaderboard import as_table, report_leaderboard
from trackml.comparison.side_by_side import compare_architectures, report_models
from trackml.data import ImageData
from trackml.errors import Terminated
from trackml.evaluation.classification import evaluate_classifier
from trackml.evaluation.exploration import explore
from trackml.evaluation.graph import draw_graph
from trackml.evaluation.report import Report
from trackml.evaluation.weights import draw_weights
from trackml.metrics import ACCURACY
from trackml.models.torch import mnist_cnn
from trackml.tracking.outbox import MISSING_TAG

NOTES = {"reports/note.txt": lambda: "a", "reports/other.txt": lambda: "b"}
ERRORS = [ValueError("no\nnumber"), KeyError("x"), OSError("no font"), MemoryError(), SystemError()]


def fail() -> Any:
    raise RuntimeError("no LaTeX")


def check_complete(store: Store, missing: str, run_id: str = "") -> None:
    """All there is but for what is missing."""
    run = store.run(run_id)
    assert (run.info.status, run.data.tags.get(MISSING_TAG, "")) == ("FINISHED", missing)
    assert run.data.metrics["test_accuracy"] == 0.3
    champion = store.client.get_model_version_by_alias("blobs", "champion")
    assert champion.run_id == run.info.run_id
    expected = {"history.json", *NOTES} - set(missing.split(", "))
    assert set(files(store.client, run.info.run_id)) == expected


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_what_cannot_be_made_is_missing_and_all_else_is_there(
    store: Store, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    figures = {"figures/x.png": lambda: raised(error), "figures/none.png": lambda: None}
    with store.tracked() as run:
        finish(run, Report({"test_accuracy": 0.3}, NOTES, figures))
    check_complete(store, "figures/x.png")
    (line,) = caplog.messages
    reason = type(error).__name__
    assert line.startswith(f"warning: the run goes on without figures/x.png ({reason}: ")
    assert "\n" not in line


def test_a_disk_that_refuses_an_artifact_refuses_no_model(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with store.tracked() as run:
        run.outbox.artifact_folder.mkdir()
        (run.outbox.artifact_folder / "reports").touch()  # where a folder is to be
        finish(run, Report({"test_accuracy": 0.3}, NOTES))
    check_complete(store, ", ".join(NOTES))
    (line,) = caplog.messages
    assert line.count("cannot write to") == 1


def test_a_store_that_refuses_an_artifact_gets_the_others(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with store.tracked() as run:
        folder = Path(store.run().info.artifact_uri.removeprefix("file://"))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "reports").touch()  # where MLflow is to make a folder
        finish(run, Report({"test_accuracy": 0.3}, NOTES))
    (folder / "reports").unlink()
    check_complete(store, ", ".join(NOTES))
    assert [line.split(",")[0] for line in caplog.messages] == [
        f"warning: the store refuses {name}" for name in NOTES
    ]


@pytest.mark.parametrize("request_to_stop", [KeyboardInterrupt(), Terminated()], ids=repr)
def test_a_request_to_stop_in_a_drawing_is_none_of_its_errors(
    store: Store, request_to_stop: BaseException
) -> None:
    figures = {"figures/x.png": lambda: raised(request_to_stop)}
    with pytest.raises(type(request_to_stop)), store.tracked() as run:
        finish(run, Report({"test_accuracy": 0.3}, figures=figures))
    assert store.status() == "KILLED"


def test_what_is_made_later_is_missing_no_more(store: Store) -> None:
    with store.tracked() as run:
        run.log_report(Report(texts={"a.txt": fail, "b.txt": fail}))
        run.log_report(Report(texts={"a.txt": lambda: "a", "c.txt": fail}))
        assert store.tags()[MISSING_TAG] == "b.txt, c.txt"
    assert load_text(f"{store.run().info.artifact_uri}/a.txt") == "a"


def leaderboard() -> Report:
    ranking = pd.DataFrame([test_leaderboard.row(rank) for rank in (1, 2)])
    return report_leaderboard(as_table("mnist", ranking), ACCURACY, {1: {1: 0.8}})


def side_by_side() -> Report:
    values = {"cnn": {"accuracy": 0.9}, "cnn-aug": {"accuracy": 0.8}}
    return compare_architectures(values, ["accuracy"])


def classification(blobs: ImageData) -> Report:
    def predict(images: Any) -> Any:
        return np.full((len(images), 3), 1 / 3, np.float32)

    return evaluate_classifier(predict, blobs, HISTORY)


UNITS = [np.ones((3, 81))]
FAMILIES: dict[str, Callable[[ImageData], Report]] = {
    "classification": classification,
    "regression": lambda _: test_regression.report(),
    "detection": lambda _: test_detection.example(),
    "exploration": lambda _: explore(test_regression.table()),
    "weights": lambda blobs: draw_weights(UNITS, UNITS, (9, 9), blobs.classes),
    "graph": lambda _: draw_graph(mnist_cnn(10), test_graph.EXAMPLE),
    "sweep": lambda _: test_report.report(test_report.TRIED),
    "suite": lambda _: test_report.suite(),
    "leaderboard": lambda _: leaderboard(),
    "models": lambda _: report_models(test_side_by_side.example()),
    "side by side": lambda _: side_by_side(),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_artifact_of_each_report_can_fail_alone(
    store: Store, blobs: ImageData, caplog: pytest.LogCaptureFixture, family: str
) -> None:
    """The others are small ones in their places: to draw them all again and again takes minutes."""
    report = FAMILIES[family](blobs)
    with store.tracked() as run:
        for path in report.paths:
            run.outbox.artifacts.clear()
            texts: dict[str, Any] = dict.fromkeys(report.texts, lambda: "text")
            figures: dict[str, Any] = dict.fromkeys(report.figures, lambda: Figure((1, 1)))
            (texts if path in texts else figures)[path] = fail
            run.log_report(Report(report.metrics, texts, figures))
            assert set(run.outbox.artifacts) == {*report.paths} - {path}
            assert run.outbox.state.tags[MISSING_TAG] == path
        assert len(caplog.messages) == len(report.paths)
        finish(run, Report({"test_accuracy": 0.3}, NOTES))
    metrics = store.run().data.metrics
    assert (store.status(), metrics.items() >= report.metrics.items()) == ("FINISHED", True)
    assert store.client.get_model_version_by_alias("blobs", "champion").run_id == run.run_id


DRAWING = (
    "trackml.evaluation.figures.axes.Figure",
    "trackml.evaluation.classification.classification_report",
    "trackml.evaluation.classification.confusion_matrix",
    "trackml.evaluation.classification.as_json",
    "trackml.evaluation.graph.torchviz.make_dot",
    "trackml.evaluation.figures.progress.draw_progress",
    "trackml.evaluation.report.Table.as_markdown",
    "trackml.tracking.run.as_json",
    "pandas.DataFrame.to_csv",
)
"""What no text or figure of a pipeline can be made without."""


@pytest.mark.parametrize("pipeline", [scratch_mnist, housing, cnn])
def test_a_pipeline_that_can_draw_nothing_leaves_its_numbers_and_its_model(
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    pipeline: Any,
) -> None:
    for name in DRAWING:
        monkeypatch.setattr(name, lambda *_, **__: fail())
    result = pipeline.main(pipeline.Params.parse({"limit": 300, "epochs": 1}))
    (expected,) = (
        each
        for each in EXPECTED.values()
        if pipeline.__name__ == f"pipelines.{each.pipeline}" and not each.flags
    )
    run = client.get_run(result.run_id)
    assert run.info.status == "FINISHED"
    assert set(run.data.metrics) == expected.metrics
    champion = client.get_model_version_by_alias(result.task, "champion")
    assert champion.run_id == result.run_id
    assert set(files(client, result.run_id)) == {"model_summary.txt"}
    missing = run.data.tags[MISSING_TAG].split(", ")
    assert {*missing, "model_summary.txt"} >= expected.artifacts
    warned = [line for line in caplog.messages if line.startswith("warning: ")]
    assert sum(line.count("no LaTeX") for line in warned) == len(warned)
    for path in missing:
        assert sum(path in line for line in warned) == 1

    caplog.clear()
    compare.main(compare.Params.parse({"task": result.task}))
    (run, *_) = client.search_runs([run.info.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "compare")
    assert "figures/ranking.png" in run.data.tags[MISSING_TAG]
    assert not list(files(client, run.info.run_id))
    assert len(caplog.messages) == 1
