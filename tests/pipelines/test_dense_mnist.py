"""Each parameter of `dense_mnist` does what it says, on real images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pytest

from pipelines.dense_mnist import Params, main
from tests.conftest import entry_points
from trackml.params import Activation
from trackml.tracking.run import Result

TIMES = {"epoch_seconds", "samples_per_second"}


def trained(**values: Any) -> Result:
    return main(Params.parse({"limit": 2000, "epochs": 2, "register": False} | values))


def metrics_of(result: Result) -> list[Mapping[str, float]]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in result.history.rows]


@pytest.fixture(autouse=True)
def _store(client: object) -> None:
    """Runs go to a folder of their own."""


def test_main_is_dense_mnist() -> None:
    assert entry_points()["main"] == entry_points()["dense_mnist"]


def test_the_same_seed_repeats_and_another_does_not(empty_folder: Path) -> None:
    first, again, other = (trained(seed=seed) for seed in (3, 3, 4))
    assert metrics_of(first) == metrics_of(again) != metrics_of(other)
    assert first.report.metrics == again.report.metrics != other.report.metrics


def test_called_as_a_function_it_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    epochs: list[int] = []
    main(Params.parse({"limit": 500, "epochs": 2}), lambda epoch, metrics: epochs.append(epoch))
    assert epochs == [1, 2]
    assert capfd.readouterr() == ("", "")


def summary_of(result: Result) -> str:
    run = mlflow.get_run(result.run_id)
    return str(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/model_summary.txt"))


def test_hidden_layers_and_units_and_batch_norm_make_the_network() -> None:
    summary = summary_of(trained(hidden_layers=3, hidden_units=20, batch_norm=True, epochs=1))
    assert summary.count("N x 20") == 3 * 4  # dense, batch normalisation, activation, dropout
    assert summary.count("BatchNormalization") == 3
    dense = 784 * 20 + 20 + 2 * (20 * 20 + 20) + 20 * 10 + 10
    assert f"{dense + 3 * 2 * 20:,}" in summary.splitlines()[-1]


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_all_optimizers_learn(optimizer: str) -> None:
    rate = 0.05 if optimizer == "sgd" else 0.001
    result = trained(optimizer=optimizer, learning_rate=rate, epochs=4)
    assert result.report.metrics["test_accuracy"] > 0.8


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu"])
def test_all_activations_learn_and_differ(activation: Activation, batch_norm: bool) -> None:
    result = trained(activation=activation, batch_norm=batch_norm, dropout=0)
    assert result.report.metrics["test_accuracy"] > 0.75
    run = mlflow.get_run(result.run_id)
    assert run.data.params["activation"] == activation
    assert run.data.params["batch_norm"] == str(batch_norm).lower()


def test_the_schedule_reaches_the_optimizer_and_the_log() -> None:
    result = trained(schedule="cosine", epochs=4)
    history = mlflow.MlflowClient().get_metric_history(result.run_id, "learning_rate")
    rates = [row.value for row in history]
    assert rates[0] == pytest.approx(0.001)
    assert rates[2] == pytest.approx(0.0005)
    assert metrics_of(result) != metrics_of(trained(epochs=4))


def test_patience_ends_a_run_that_gets_no_better() -> None:
    result = trained(patience=1, learning_rate=1e-12, epochs=9)
    assert len(result.history.rows) == 2
    assert mlflow.get_run(result.run_id).info.status == "FINISHED"
