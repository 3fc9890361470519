"""Each documented recipe can still be run, by the command that its page names."""

import shlex
from typing import Any

import mlflow
import pytest

from tests.pages import rows
from trackml.tasks import entry_point
from trackml.tracking.queries import ParentRun

COMMANDS = [command.strip("`") for _, command in rows("docs/documented-recipes.md", "Commands")]
BRIEF = {"limit": 200, "epochs": 1, "validation_split": 0.01, "register": False}
SMALL: dict[str, dict[str, Any]] = {
    "transfer": {"weights": "none"}
}  # ImageNet's cannot be fetched here

ADAM = {"learning_rate": 0.001, "schedule": "constant", "batch_size": 64}
PLAIN = {"augment": False, "ema_decay": 0.0}
BY_HAND = PLAIN | {"learning_rate": 0.5, "momentum": 0.0, "schedule": "constant", "epochs": 20}
FASHION = ADAM | {"ema_decay": 0.0, "epochs": 20, "dropout": 0.3}
TURNED = {"rotation": 10.0, "zoom": 0.1, "shift": 0.1, "augment_policy": "documented"}
DOCUMENTED: dict[str, dict[str, Any]] = {
    "dense_mnist": ADAM | PLAIN | {"batch_size": 128, "epochs": 5, "optimizer": "adam"},
    "cnn": ADAM | PLAIN | {"epochs": 8, "optimizer": "adam", "variant": "plain"},
    "cnn_suite": PLAIN | {"schedule": "constant", "epochs": 8, "learning_rate": 0.0},
    "transfer": PLAIN | {"epochs": 2, "batch_size": 64},
    "detector": {"fresh": False, "ema_decay": 0.0, "epochs": 2, "learning_rate": 0.002},
    "scratch_mnist": BY_HAND | {"batch_size": 128, "patience": 5},
    "fashion": FASHION | {"augment": False},
    "fashion_aug": FASHION | TURNED | {"augment": True},
    "housing": ADAM
    | {"epochs": 100, "batch_size": 32, "optimizer": "adam", "ema_decay": 0.0}
    | {"target": "raw", "features": "standard", "hidden_units": "64,32"},
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_recipe_is_what_was_documented(command: str) -> None:
    name, values = parsed(command)
    entry = entry_point(name)
    params = entry.params.parse({**entry.preset, **values}).resolved()
    assert params.model_dump().items() >= DOCUMENTED[name].items()


def parsed(command: str) -> tuple[str, dict[str, Any]]:
    """The entry point of a command, and the parameters that it gives."""
    words = shlex.split(command)
    return words[words.index("-e") + 1], dict(w.split("=", 1) for w in words if "=" in w)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[pytest.mark.slow] if "vgg16" in command else [])
        for command in COMMANDS
        if "cnn_suite" not in command  # whose trials are runs of cnn
    ],
)
def test_a_documented_recipe_runs(command: str) -> None:
    name, values = parsed(command)
    entry = entry_point(name)
    params = entry.params.parse({**entry.preset, **values, **BRIEF, **SMALL.get(name, {})})
    # As a trial, which is not tested.
    parent = ParentRun.of_run(mlflow.MlflowClient().create_run("0"), scores_test=False)
    result = entry.main(params, parent=parent.of_trial("trial", "here"))
    assert len(result.history.rows) == 1
