"""Trained models, averaged: which may be, what is logged, and that the mean is loaded anywhere."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from torch import Tensor, nn

from pipelines import ensemble
from tests.conftest import ABSENT, execute, small_model
from tests.tracking.toy import HISTORY, Store, finish
from trackml.comparison.leaderboard import rank_task
from trackml.comparison.runs import run_table
from trackml.data import ImageData, TableData
from trackml.errors import UsageError
from trackml.evaluation.report import Report
from trackml.metrics import MAP
from trackml.model_files.saving import load_saved
from trackml.models.torch import with_probabilities
from trackml.params import PipelineParams
from trackml.tasks import Framework, Task
from trackml.tracking.queries import finished_runs, search_runs
from trackml.tracking.run import Result, tracked_run
from trackml.training.keras import predictor
from trackml.training.sklearn import fit, predictor as predictor_of_estimator
from trackml.training.torch import predict as predict_torch


class Scores(nn.Module):
    """The scores of images 9 x 9 for three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(81, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.dense(x.flatten(1).float() / 255)
        return scores


def logged(store: Store, framework: Framework, model: Any, predict: Any, **options: Any) -> str:
    """The run of a model that was never trained, with its framework's name as its architecture."""
    task: Task[Any] = Task(lambda _params: None, framework=framework)
    with store.tracked(framework, task=task, **options) as run:
        return run.finish(model, HISTORY, lambda *_: Report(), predict).run_id


def keras_run(store: Store, **options: Any) -> str:
    model = small_model()
    return logged(store, "keras", model, predictor(model), **options)


def torch_run(store: Store, **options: Any) -> str:
    network = Scores()
    predict = partial(predict_torch, network)
    return logged(store, "torch", with_probabilities(network), predict, **options)


def numpy_run(store: Store, architecture: str = "numpy", **options: Any) -> str:
    with store.tracked(architecture, **options) as run:
        return finish(run).run_id


def averaged(data: Any, members: str, **values: Any) -> Result:
    params = {**values, "task": data.name, "members": members}
    return ensemble.main(ensemble.Params.parse(params), data=data)


ANSWER = """
import mlflow, numpy as np
from pathlib import Path
rows = np.load("rows.npy")
np.save("answers", mlflow.pyfunc.load_model(sys.argv[1]).predict(rows))
assert {"tensorflow", "torch"} <= sys.modules.keys()
print(*Path().glob("*"))
"""


@pytest.mark.parametrize(
    "order",
    ["@keras,@torch,@numpy", pytest.param("@torch,@numpy,@keras", marks=pytest.mark.slow)],
)
def test_members_of_three_frameworks_are_one_model_without_trackml_in_any_order(
    order: str, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    by_alias = {"@keras": keras_run(store), "@torch": torch_run(store), "@numpy": numpy_run(store)}
    result = averaged(store.data, order, weights="equal")  # chosen ones could leave one out
    assert result.registration
    assert result.registration.aliases[0] == "ensemble"
    run, runs = store.run(result.run_id), [by_alias[name] for name in order.split(",")]
    versions = {"@keras": "blobs/1", "@torch": "blobs/2", "@numpy": "blobs/3"}
    assert run.data.params["members"] == ",".join(versions[name] for name in order.split(","))
    assert run.data.params["member_runs"] == ",".join(runs)
    assert run.data.tags["trackml.members"] == " ".join(runs)
    assert run.data.tags["trackml.framework"] == "ensemble"
    assert str(run.info.run_name).startswith("ensemble ")
    assert run.data.metrics["test_accuracy"] == result.report.metrics["test_accuracy"]
    described = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/reports/weights.json")
    weights = [member["weight"] for member in described["members"]]
    assert [member["run_id"] for member in described["members"]] == runs
    assert weights == [run.data.metrics[f"member_{number}_weight"] for number in (1, 2, 3)]
    assert weights == [1 / 3] * 3
    assert len(store.rows(result.run_id)) == 1

    images, folder = store.data.test.images.copy(), tmp_path_factory.mktemp("elsewhere")
    members: list[Any] = [load_saved(f"models:/blobs@{name[1:]}") for name in order.split(",")]
    expected = np.tensordot(weights, np.stack([each.predict(images) for each in members]), 1)
    np.save(folder / "rows.npy", images)
    files = mlflow.artifacts.download_artifacts("models:/blobs@ensemble", dst_path=str(folder))
    program = (sys.executable, "-c", ABSENT + ANSWER, "trackml,pipelines", files)
    said = execute(*program, folder=folder, PYTHONPATH="")
    assert said.returncode == 0, said.stderr
    assert "mlflow.db" not in said.stdout  # no store is asked
    answers = np.load(folder / "answers.npy")
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-6)
    assert answers.dtype == np.float32
    needed = Path(files, "requirements.txt").read_text()
    assert all(f"{name}==" in needed for name in ("mlflow", "numpy", "torch", "tensorflow"))


def test_a_table_with_texts_is_averaged_and_the_best_becomes_champion(store: Store) -> None:
    random = np.random.default_rng(0)
    features = np.stack([random.normal(size=200), random.integers(2, size=200)], axis=1)
    target = features[:, 0] + 3 * features[:, 1] + random.normal(size=200)
    data = TableData.from_arrays(
        "homes", (features, target), columns=["rooms", "town"], categories={"town": ["Bath", "Ulm"]}
    )
    task: Task[Any] = Task(lambda _params: None, framework="sklearn")
    for number, columns in enumerate((["rooms"], ["town"])):
        encode = make_column_transformer(
            (OneHotEncoder() if columns == ["town"] else "passthrough", columns)
        )
        model = make_pipeline(encode, LinearRegression())
        params = PipelineParams.parse({"limit": 90} if number else {})
        with tracked_run(task, params, data, f"linear-{columns[0]}") as run:
            history = fit(model, data, params, run=run)
            predict = predictor_of_estimator(model, data)
            run.finish(model, history, lambda *_: Report(), predict)
    equal = averaged(data, "1,2", weights="equal")
    assert equal.report.metrics["member_1_weight"] == 0.5
    result = averaged(data, "@linear-rooms,homes/2")
    alone = [result.report.metrics[f"member_{number}_val_loss"] for number in (1, 2)]
    assert result.history.best["val_loss"] < min(alone)
    assert {"test_rmse", "test_mae"} <= result.report.metrics.keys()
    # One of its members has seen 90 rows only, so it is a trial too.
    assert store.run(result.run_id).data.params["limit"] == "90"
    assert result.registration
    assert "version 1 was trained on all rows, this one on 90" in result.registration.reason
    board, metric = rank_task(
        "homes", run_table(finished_runs(store.client, "homes")), list, "auto", 1
    )
    assert (str(metric), "ensemble" in set(board.data["framework"])) == ("mae", True)
    with pytest.raises(UsageError, match="homes/4: it is an ensemble; name its members instead"):
        averaged(data, "1,homes/4")


def test_a_run_that_was_stopped_goes_on_with_the_members_that_it_had(store: Store) -> None:
    numpy_run(store, "a")
    numpy_run(store, "b")
    names: dict[str, Any] = {"task": "blobs", "members": "@a,@b", "register": False}

    def stop(_epoch: int, _row: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensemble.main(ensemble.Params.parse(names), [stop], data=store.data)
    (stopped,) = search_runs(store.client, "tags.`trackml.framework` = 'ensemble'")
    assert stopped.info.status == "KILLED"
    result = averaged(store.data, **names, resume=True)
    assert (result.run_id, store.status(result.run_id)) == (stopped.info.run_id, "FINISHED")
    assert len(store.rows(result.run_id)) == 1
    numpy_run(store, "a")  # another model has the alias now
    assert averaged(store.data, **names, resume=True).run_id != result.run_id


REFUSED: dict[str, tuple[Callable[[Store], str], str]] = {
    "none": (lambda _: "none", "--members none: expected two models or more"),
    "one": (lambda _: "@a", "--members @a: expected two models or more"),
    "no name": (lambda _: "1,a b", "--members a b: expected a version such as blobs/3 or 3"),
    "absent version": (lambda _: "1,9", "--members 9: .* has no such version of blobs"),
    "absent alias": (lambda _: "1,@z", "--members @z: .* has no such version of blobs"),
    "absent run": (lambda _: f"1,{'0' * 32}", "there is no such run"),
    "twice": (lambda _: "@a,blobs/1", "@a and blobs/1 are the same model, of run"),
    "another task": (lambda _: "1,others@a", "it is of the task others, not of blobs"),
    "a run of another task": (
        lambda store: f"1,{numpy_run(store, data=replace(store.data, name='others'))}",
        "it is of the task others, not of blobs",
    ),
    "other data": (
        lambda store: f"1,{numpy_run(store, data=replace(store.data, sha256='f' * 64))}",
        "validated on other rows, so no weights suit both .data_sha256 .* and ffffffffffff",
    ),
    "other rows": (
        lambda store: f"1,{numpy_run(store, data=fewer_to_validate(store.data))}",
        "validated on other rows, so no weights suit both .validation_samples 50 and 40",
    ),
    "not finished": (lambda store: f"1,{store.failed(after=1)}", "it is FAILED; expected a finish"),
    "a detector": (
        lambda store: f"1,{detector_run(store)}",
        "it finds objects, and such answers have no mean",
    ),
}


def fewer_to_validate(data: ImageData) -> ImageData:
    split = type(data.validation)(data.validation.images[:40], data.validation.labels[:40])
    return replace(data, validation=split)


def detector_run(store: Store) -> str:
    run_id = numpy_run(store)
    store.client.set_tag(run_id, "trackml.metric", MAP.name)
    store.client.log_metric(run_id, "best_val_map", 0.5)
    return run_id


def test_members_that_have_no_mean_are_refused_before_a_run_is_made(store: Store) -> None:
    numpy_run(store, "a")
    numpy_run(store, "b")
    for name, (make, message) in REFUSED.items():
        members = make(store)
        before = search_runs(store.client)
        with pytest.raises(UsageError, match=message):
            averaged(store.data, members)
        assert len(search_runs(store.client)) == len(before), name
    with pytest.raises(UsageError, match=r"50 rows of blobs .* here are 40 rows of blobs"):
        averaged(fewer_to_validate(store.data), "@a,@b")
