"""NumPy alone: what is loaded, and what the figures of the weights are of."""

import sys
from pathlib import Path

import mlflow
import pytest

from tests.conftest import ABSENT, Finished, execute, runs
from tests.pipelines.test_parameters import logged, rows, tried

RUN = """
import runpy
try:
    runpy.run_module("pipelines.scratch_mnist", run_name="__main__", alter_sys=True)
finally:
    print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "absent",
    [pytest.param("none", marks=pytest.mark.slow), "torch,torchvision,tensorflow,keras,ray"],
)
def test_it_loads_no_framework_and_needs_none(absent: str, tmp_path: Path) -> None:
    flags = ("--model", "mlp", "--epochs", "1", "--limit", "500")
    result = execute(sys.executable, "-c", ABSENT + RUN, absent, *flags, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    loaded = set(result.stderr.split())
    assert {"numpy", "mlflow"} <= loaded
    assert not loaded & {"torch", "torchvision", "tensorflow", "keras", "jax", "ray"}
    (run,) = runs(tmp_path)
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize("name", ["scratch_mnist", "scratch_mlp"])
def test_the_score_before_training_is_that_of_chance(name: str, finished: Finished) -> None:
    history = finished.client.get_metric_history(finished.run(name).info.run_id, "val_accuracy")
    first, second, _ = (row.value for row in history)
    assert 0.02 < first < 0.25
    assert second > 0.7


@pytest.mark.parametrize("alias", ["scratch-softmax", "scratch-mlp"])
def test_a_registered_model_needs_mlflow_and_numpy_and_nothing_else(
    alias: str, finished: Finished
) -> None:
    folder = finished.model_folder("mnist", alias)
    needed = (folder / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in needed] == ["mlflow", "numpy"]


@pytest.mark.usefixtures("client")
def test_hidden_units_are_those_of_the_mlp() -> None:
    assert rows("scratch_mnist", hidden_units="32") == rows("scratch_mnist")
    wider = tried("scratch_mnist", model="mlp", hidden_units="32,16")
    assert logged(wider)["model_parameters"] == str(785 * 32 + 33 * 16 + 17 * 10)


@pytest.mark.usefixtures("client")
def test_it_ends_when_the_loss_is_low_enough_and_finishes() -> None:
    result = tried("scratch_mnist", model="mlp", epochs=30, target_loss=0.3)
    assert 1 < len(result.history.rows) < 30
    assert result.history.rows[-1]["train_loss"] < 0.3 <= result.history.rows[-2]["train_loss"]
    assert mlflow.get_run(result.run_id).info.status == "FINISHED"
