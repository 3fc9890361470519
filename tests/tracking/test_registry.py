"""Who becomes champion: by the real registry, and by properties of the rule."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR
from mlflow.tracking import MlflowClient

import trackml
from tests.conftest import small_model
from trackml.data import ImageData
from trackml.errors import TrackmlError
from trackml.evaluation.report import Report
from trackml.fields import BatchSize, Epochs, LearningRate
from trackml.history import History
from trackml.params import TrainingParams
from trackml.signals import stop_requests
from trackml.tracking import store
from trackml.tracking.flavors import log_model, save_model
from trackml.tracking.registry import (
    Candidate,
    Registration,
    challenge,
    check_names,
    register,
    register_run,
    version_behind,
)
from trackml.tracking.run import tracked_run

CNN = Candidate("keras", "cnn", "accuracy", 0.9, "sum", 6_000)


@pytest.fixture
def model_id(client: MlflowClient, blobs: ImageData) -> str:
    run = client.create_run(store.experiment_id(client, "toys"))
    save_model("model", small_model(), "keras", blobs)
    return log_model(client, run, Path("model"))


def registered(client: MlflowClient, model_id: str, candidate: Candidate) -> Registration:
    return register(client, task="toys", model_id=model_id, candidate=candidate)


def holder(client: MlflowClient) -> str:
    version = version_behind(client, "toys", "champion")
    assert version
    return str(version.version)


def test_versions_get_tags_aliases_and_a_champion_that_is_only_beaten(
    client: MlflowClient, model_id: str
) -> None:
    first = registered(client, model_id, CNN)
    assert (first.version, first.aliases) == ("1", ("cnn", "champion"))

    worse = registered(client, model_id, replace(CNN, value=0.8))
    assert worse.aliases == ("cnn",)
    assert worse.reason == "validation accuracy 0.8000 does not beat version 1's 0.9000"
    assert holder(client) == "1"

    better = registered(client, model_id, replace(CNN, architecture="dense", value=0.95))
    assert better.is_champion
    assert better.reason == "validation accuracy 0.9500 beats version 1's 0.9000"
    assert holder(client) == "3"

    for alias, number in (("cnn", "2"), ("dense", "3")):
        assert str(client.get_model_version_by_alias("toys", alias).version) == number
    assert client.get_model_version("toys", "3").tags == {
        "trackml.framework": "keras",
        "trackml.architecture": "dense",
        "trackml.best_val_accuracy": "0.95",
        "trackml.data_sha256": "sum",
        "trackml.validation_samples": "6000",
    }


@pytest.mark.parametrize(
    "other", [{"validation_samples": 600}, {"data_sha256": "other"}], ids=["rows", "data"]
)
def test_scores_on_other_rows_do_not_compare(
    client: MlflowClient, model_id: str, other: dict[str, Any]
) -> None:
    registered(client, model_id, CNN)
    result = registered(client, model_id, replace(CNN, value=0.99, **other))
    assert not result.is_champion
    assert "validated on other rows" in result.reason
    assert holder(client) == "1"


def test_a_champion_registered_by_other_means_is_not_pushed_aside(
    client: MlflowClient, model_id: str
) -> None:
    mlflow.register_model(f"models:/{model_id}", "toys")
    client.set_registered_model_alias("toys", "champion", "1")
    result = registered(client, model_id, CNN)
    assert result.reason == "version 1 has no validation accuracy to compare with"
    assert holder(client) == "1"


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_tie_changes_nothing_and_the_direction_is_the_metrics(a: float, b: float) -> None:
    for metric, wins in (("accuracy", b > a), ("mae", b < a)):
        held = Candidate("keras", "x", metric, a, "sum", 5)  # type: ignore[arg-type]
        version: Any = SimpleNamespace(version="7", tags=held.tags)
        assert challenge(version, replace(held, value=b))[0] is wins


def test_a_store_that_fails_makes_nobody_champion(
    client: MlflowClient, model_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(client, model_id, CNN)

    def fail(*_: object) -> None:
        raise MlflowException("down", error_code=INTERNAL_ERROR)

    with monkeypatch.context() as broken:
        broken.setattr(client, "get_model_version_by_alias", fail)
        with pytest.raises(MlflowException, match="down"):
            registered(client, model_id, replace(CNN, value=0.99))
    assert holder(client) == "1"


def test_load_uses_the_store_that_this_process_has_chosen(
    client: MlflowClient, model_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(client, model_id, CNN)
    uri = mlflow.get_tracking_uri()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    mlflow.set_tracking_uri(uri)
    answer = np.asarray(trackml.load("toys").predict(np.zeros((2, 9, 9), np.uint8)))
    assert answer.shape == (2, 3)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_an_alias_that_fails_takes_the_version_back_and_leaves_the_others_where_they_were(
    client: MlflowClient, model_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(client, model_id, CNN)
    set_alias = client.set_registered_model_alias

    def fail_for_the_champion(task: str, alias: str, version: str) -> None:
        if alias == "champion":
            raise MlflowException("down", error_code=INTERNAL_ERROR)
        set_alias(task, alias, version)

    with monkeypatch.context() as broken:
        broken.setattr(client, "set_registered_model_alias", fail_for_the_champion)
        with pytest.raises(MlflowException, match="down"):
            registered(client, model_id, replace(CNN, value=0.99))
    (version,) = client.search_model_versions("name='toys'")
    assert str(version.version) == "1"
    for alias in ("cnn", "champion"):
        assert str(client.get_model_version_by_alias("toys", alias).version) == "1"


def test_a_request_to_stop_waits_for_the_registration(
    client: MlflowClient, model_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_model = mlflow.register_model

    def stopped(*arguments: Any, **options: Any) -> Any:
        version = register_model(*arguments, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return version

    monkeypatch.setattr(mlflow, "register_model", stopped)
    with pytest.raises(KeyboardInterrupt), stop_requests():
        registered(client, model_id, CNN)
    assert holder(client) == "1"


@pytest.mark.parametrize("architecture", ["champion", "latest", "v3", "cnn v2", ""])
def test_names_that_mlflow_would_refuse_are_refused_before_training(architecture: str) -> None:
    with pytest.raises(ValueError, match="an alias has letters"):
        check_names("mnist", architecture)
    with pytest.raises(ValueError, match="a task's name"):
        check_names("mnist/2", "cnn")


def test_load_says_what_is_missing(empty_folder: Path, client: MlflowClient) -> None:
    with pytest.raises(TrackmlError) as failure:
        trackml.load("mnist")
    expected = f"sqlite:///{empty_folder}/mlflow.db has no model 'mnist' with alias 'champion'; "
    assert str(failure.value).startswith(expected)


def test_a_run_is_registered_once_however_often_that_is_asked_for(
    client: MlflowClient, blobs: ImageData
) -> None:
    class Example(TrainingParams):
        epochs: Epochs = 1
        batch_size: BatchSize = 8
        learning_rate: LearningRate = 0.001

    row = {"train_loss": 1.0, "val_loss": 1.0, "train_accuracy": 0.5, "val_accuracy": 0.5}
    params = Example.parse({"register": False})
    with tracked_run(
        params, blobs, framework="keras", architecture="cnn", aliases=["cnn-plain"]
    ) as run:
        run.log_params({"model_parameters": "1"})
        run.log_result(small_model(), History("accuracy", "float32").extended(row), Report())
    first, second = (register_run(client, run.run_id) for _ in range(2))
    assert first.version == second.version == "1"
    assert first.aliases == second.aliases == ("cnn", "cnn-plain", "champion")
    assert len(client.search_model_versions("name = 'blobs'")) == 1
