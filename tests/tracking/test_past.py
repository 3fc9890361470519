"""Finding runs to compare: which are one configuration, and what is read of them."""

from collections.abc import Mapping
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from trackml.errors import Terminated
from trackml.params import Params
from trackml.tracking.past import finished_runs, known_tasks, with_best_epoch
from trackml.tracking.record import recorded

METRICS = ["test_accuracy", "train_accuracy"]


def made(
    client: MlflowClient,
    params: Mapping[str, str] = {},  # never written to
    *,
    tags: Mapping[str, str] = {},
    curves: Mapping[str, list[float]] = {},
    without: tuple[str, ...] = (),
    status: str = "FINISHED",
) -> str:
    """A run as `cnn` leaves it, but for what is said otherwise; its id."""
    run_id = str(client.create_run("0").info.run_id)
    known = {"trackml.framework": "torch", "trackml.task": "mnist", "trackml.architecture": "cnn"}
    sums = {"trackml.data_sha256": "sum", "trackml.device": "cpu", "trackml.precision": "float32"}
    for key, tag in (known | sums | dict(tags)).items():
        client.set_tag(run_id, key, tag)
    usual = {"seed": "0", "model_parameters": "7", "validation_samples": "50", "dropout": "0.3"}
    for key, value in (usual | dict(params)).items():
        if key not in without:
            client.log_param(run_id, key, value)
    for metric in (*METRICS, "best_val_accuracy"):
        if metric not in without:
            client.log_metric(run_id, metric, 0.5)
    client.log_metric(run_id, "best_epoch", 2)
    for metric, values in curves.items():
        for epoch, score in enumerate(values, start=1):
            client.log_metric(run_id, metric, score, step=epoch)
    client.set_terminated(run_id, status)
    return run_id


def found(client: MlflowClient) -> Any:
    return finished_runs(client, "mnist")


@pytest.mark.parametrize(
    ("params", "tags", "same"),
    [
        ({"seed": "1"}, {}, True),
        ({"register": "false", "resume": "true"}, {}, True),
        ({"dropout": "3e-1"}, {}, True),
        ({"dropout": "0.4"}, {}, False),
        ({"limit": "100"}, {}, False),
        ({}, {"trackml.device": "cuda"}, False),
        ({}, {"trackml.precision": "bfloat16"}, False),
        ({}, {"trackml.data_sha256": "another"}, False),
    ],
)
def test_runs_that_differ_in_their_seed_alone_are_one_configuration(
    params: dict[str, str], tags: dict[str, str], same: bool, client: MlflowClient
) -> None:
    made(client)
    made(client, params, tags=tags)
    runs = found(client)
    assert len(runs) == 2
    assert (runs["configuration"].nunique() == 1) is same


def test_a_seed_is_a_number_however_it_was_typed(client: MlflowClient) -> None:
    made(client, {"seed": "1"})
    made(client, {"seed": "1.0"})
    assert found(client)["seed"].nunique() == 1


@pytest.mark.parametrize("params", [{"validation_samples": "60"}])
def test_runs_say_on_which_rows_they_were_validated(
    params: dict[str, str], client: MlflowClient
) -> None:
    made(client)
    made(client, params)
    made(client, tags={"trackml.data_sha256": "another"})
    assert found(client)["rows"].nunique() == 3


def test_all_finished_runs_of_the_task_whatever_the_framework(client: MlflowClient) -> None:
    torch = made(client)
    made(client, status="FAILED")
    made(client, tags={"trackml.task": "fashion_mnist"})
    keras = made(client, tags={"trackml.framework": "keras", "trackml.architecture": "dense"})
    runs = found(client).set_index("run_id")
    assert set(runs.index) == {torch, keras}
    assert runs.loc[keras, ["framework", "architecture"]].tolist() == ["keras", "dense"]
    assert known_tasks(client) == ["fashion_mnist", "mnist"]


def test_what_a_run_has_not_logged_is_not_known(client: MlflowClient) -> None:
    missing = ("test_accuracy", "model_parameters", "seed", "validation_samples")
    run_ids = [made(client), made(client, without=missing), made(client, without=missing)]
    runs = found(client).set_index("run_id").loc[run_ids]
    for name in ("test_accuracy", "parameters"):
        assert runs[name].isna().tolist() == [False, True, True]
    assert runs["validation_samples"].tolist() == [50, 0, 0]
    assert runs["seed"].nunique() == 3


def test_without_a_run_there_are_the_columns(client: MlflowClient) -> None:
    assert {"run_id", "rows", "configuration"} <= set(found(client).columns)


def test_training_scores_are_those_of_the_best_epoch_by_its_step(client: MlflowClient) -> None:
    seconds = [5.0, 5.0, 5.0]
    losses, accuracies = [3.0, 2.0, 1.0], [0.7, 0.8, 0.9]
    made(
        client,
        curves={"train_accuracy": accuracies, "train_loss": losses, "epoch_seconds": seconds},
    )
    (run,) = with_best_epoch(client, found(client)).to_dict("records")
    assert (run["train_accuracy"], run["train_loss"], run["seconds"]) == (0.8, 2, 15)


def test_a_score_that_is_not_known_per_epoch_stays_what_it_is(client: MlflowClient) -> None:
    curves = {"train_loss": [3.0, 2.0], "epoch_seconds": [5.0, 5.0]}
    run_id = made(client, curves=curves)
    client.log_metric(run_id, "frozen_seconds", 100.0)
    (run,) = with_best_epoch(client, found(client)).to_dict("records")
    assert (run["train_accuracy"], run["seconds"]) == (0.5, 110)


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), "FAILED"), (Terminated(), "KILLED")]
)
def test_a_record_that_breaks_off_says_so(
    error: BaseException, status: str, client: MlflowClient
) -> None:
    def broken() -> None:
        with recorded(Params(), experiment="mnist", name="compare"):
            raise error

    with pytest.raises(type(error)):
        broken()
    everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(everywhere)
    assert (run.info.status, run.info.run_name) == (status, "compare")
    assert run.data.tags["trackml.failure"]
