"""Each parameter does what it says, on real data; and the same ones give the same numbers."""

from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import mlflow
import pytest

from pipelines.cnn import LEARNING_RATES, ONE_CYCLE_PEAK, VARIANTS
from tests.conftest import entry_points, read, runs
from tests.pipelines.expected import EXPECTED, without_times
from trackml.history import NonFiniteLoss
from trackml.metrics import LATENCY
from trackml.tracking.queries import ParentRun
from trackml.tracking.run import Result

pytestmark = pytest.mark.usefixtures("client")  # a store of each test's own

QUICK = [name for name in EXPECTED if name not in ("transfer", "detector", "fashion_best")]
NEAR_TWINS = (
    "fashion",
    "fashion_aug",
    "cnn_best",
    "housing",
    "scratch_mlp",
)  # of others in the same framework
TURNED: dict[str, dict[str, Any]] = {
    "fashion_aug": {"augment": True},
    "scratch_mlp": {"model": "mlp"},
    "housing_trees": {"iterations": 5},
    "mnist_sklearn": {"components": 50},
}
BRIEF = {"limit": 1000, "epochs": 2, "validation_split": 0.02, "register": False}


def trained(pipeline: str, parent: ParentRun | None = None, **values: Any) -> Result:
    module = import_module(f"pipelines.{pipeline}")
    brief = {name: value for name, value in BRIEF.items() if name in module.Params.flags()}
    result: Result = module.main(module.Params.parse(brief | values), parent=parent)
    return result


def tried(pipeline: str, **values: Any) -> Result:
    """The result of a trial: it takes a third of the time, as it is not tested, and not kept."""
    parent = ParentRun.of_run(mlflow.MlflowClient().create_run("0"), scores_test=False)
    return trained(pipeline, parent.of_trial("trial", "here"), **values)


def rows(pipeline: str, **values: Any) -> list[dict[str, Any]]:
    return without_times(tried(pipeline, **values).history)


def logged(result: Result) -> dict[str, str]:
    params: dict[str, str] = mlflow.get_run(result.run_id).data.params
    return params


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in NEAR_TWINS else []) for n in QUICK],
)
def test_the_same_seed_repeats_and_another_does_not(name: str) -> None:
    pipeline, turned = EXPECTED[name].pipeline, TURNED.get(name, {})
    first, again = (trained(pipeline, seed=3, **turned) for _ in range(2))
    assert without_times(first.history) == without_times(again.history)
    for name in first.report.metrics.keys() - {LATENCY}:
        assert first.report.metrics[name] == again.report.metrics[name], name
    assert without_times(first.history) != rows(pipeline, seed=4, **turned)


@pytest.mark.parametrize(
    ("pipeline", "turned"),
    {
        "dense_mnist": "batch_size=64 learning_rate=0.01 hidden_units=64 hidden_layers=2 "
        "dropout=0.5 activation=gelu batch_norm=true optimizer=rmsprop schedule=cosine "
        "precision=bfloat16",
        "cnn": "batch_size=32 learning_rate=0.01 conv_layers=3 variant=dropout_batchnorm "
        "optimizer=rmsprop weight_decay=0.01 schedule=constant augment=false precision=bfloat16",
        "scratch_mnist": "batch_size=64 learning_rate=0.01 model=mlp momentum=0.5 "
        "weight_decay=0.01 schedule=constant ema_decay=0 label_smoothing=0.1 augment=true",
        "housing": "batch_size=32 learning_rate=0.001 hidden_units=64,16 dropout=0.3 "
        "activation=elu optimizer=adam schedule=constant ema_decay=0 target=raw "
        "features=quantile precision=bfloat16",
    }.items(),
)
def test_a_parameter_that_is_turned_changes_the_training(pipeline: str, turned: str) -> None:
    brief: dict[str, Any] = {"limit": 300, "epochs": 1}
    if "precision" in EXPECTED[pipeline].params.flags():
        brief["precision"] = "float32"
    usual = rows(pipeline, **brief)
    for pair in turned.split():
        name, value = pair.split("=")
        assert rows(pipeline, **(brief | {name: value})) != usual, pair


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "adam", "learning_rate": 0.001, "activation": "relu"},
        {"optimizer": "adam", "learning_rate": 0.001, "activation": "leaky_relu"},
        {"optimizer": "sgd", "learning_rate": 0.05, "activation": "elu"},
        {"optimizer": "rmsprop", "learning_rate": 0.001, "activation": "gelu"},
    ],
    ids=lambda values: values["activation"],
)
def test_all_optimizers_and_activations_learn(values: dict[str, Any]) -> None:
    batch_norm = values["activation"] in ("leaky_relu", "gelu")
    result = tried("dense_mnist", epochs=4, batch_norm=batch_norm, **values)
    assert result.history.best["val_accuracy"] > 0.8
    assert logged(result).items() >= {name: str(value) for name, value in values.items()}.items()


@pytest.mark.parametrize("pipeline", ["dense_mnist", "housing", "scratch_mnist"])
def test_patience_ends_a_run_that_gets_no_better(pipeline: str) -> None:
    result = tried(pipeline, patience=2, learning_rate=1e-12, epochs=9)
    assert len(result.history.rows) < 9
    assert mlflow.get_run(result.run_id).info.status == "FINISHED"


def test_plateau_halves_the_rate_of_a_run_that_gets_no_better() -> None:
    """Steps as small as these change nothing, so that no epoch is better than the first."""
    result = tried("dense_mnist", schedule="plateau", learning_rate=1e-12, epochs=6)
    history = mlflow.MlflowClient().get_metric_history(result.run_id, "learning_rate")
    halves = [row.value / 1e-12 for row in history]
    assert halves == pytest.approx([1, 1, 1, 0.5, 0.5, 0.25], rel=1e-6)


def test_a_loss_that_is_not_a_number_fails_the_run_and_registers_nothing(
    empty_folder: Path,
) -> None:
    with pytest.raises(NonFiniteLoss, match="is nan in epoch 1"):
        trained("fashion", learning_rate=1e10, register=True)
    (run,) = runs(empty_folder)
    assert run.info.status == "FAILED"
    assert "epoch 1" in run.data.tags["trackml.failure"]
    assert not read(empty_folder).search_registered_models()


def test_called_as_a_function_a_pipeline_prints_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    epochs: list[int] = []
    module = import_module("pipelines.dense_mnist")
    module.main(module.Params.parse(BRIEF), [lambda epoch, metrics: epochs.append(epoch)])
    assert epochs == [1, 2]
    assert capfd.readouterr() == ("", "")


# Each variant once; the other pairs are slow.
USUAL_PAIRS = {
    *(("plain", "adam"), ("dropout", "rmsprop")),
    *(("batchnorm", "adam"), ("dropout_batchnorm", "sgd")),
}


@pytest.mark.parametrize(
    ("variant", "optimizer"),
    [
        pytest.param(*pair, marks=[] if pair in USUAL_PAIRS else pytest.mark.slow)
        for pair in product(VARIANTS, LEARNING_RATES)
    ],
)
def test_all_variants_of_the_cnn_learn_with_all_optimizers(variant: str, optimizer: str) -> None:
    result = tried("cnn", epochs=3, limit=2000, variant=variant, optimizer=optimizer)
    assert result.history.best["val_accuracy"] > 0.85
    suits = ONE_CYCLE_PEAK * LEARNING_RATES[optimizer]
    assert float(logged(result)["learning_rate"]) == suits


def test_a_learning_rate_that_is_given_is_used_as_it_is() -> None:
    result = tried("cnn", epochs=1, limit=64, optimizer="sgd", learning_rate=0.01)
    assert logged(result)["learning_rate"] == "0.01"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_variants_have_the_layers_that_their_names_say(variant: str) -> None:
    result = tried("cnn", epochs=1, limit=64, variant=variant, conv_layers=3)
    uri = mlflow.get_run(result.run_id).info.artifact_uri
    summary = mlflow.artifacts.load_text(f"{uri}/model_summary.txt")
    assert summary.count("Conv2d") == 3
    assert summary.count("BatchNorm2d") == (3 if "batchnorm" in variant else 0)
    assert summary.count("Dropout") == (4 if "dropout" in variant else 0)


def test_dropout_and_its_absence_are_the_variants() -> None:
    usual = rows("cnn", variant="plain")
    assert rows("cnn", variant="plain", dropout=0.6) == usual
    assert rows("cnn", variant="dropout", dropout=0.6) != rows("cnn", variant="dropout")


def test_main_is_dense_mnist() -> None:
    assert entry_points()["main"] == entry_points()["dense_mnist"]
