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
SMALL = {"transfer": {"weights": "none"}}  # ImageNet's cannot be fetched here


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    "command",
    [pytest.param(c, marks=[pytest.mark.slow] if "vgg16" in c else []) for c in COMMANDS],
)
def test_a_documented_recipe_runs(command: str) -> None:
    words = shlex.split(command)
    name: str = words[words.index("-e") + 1]
    values: dict[str, Any] = dict(word.split("=", 1) for word in words if "=" in word)
    entry = entry_point(name)
    params = entry.params.parse({**entry.preset, **values, **BRIEF, **SMALL.get(name, {})})
    # As a trial, which is not tested.
    parent = ParentRun.of_run(mlflow.MlflowClient().create_run("0"), scores_test=False)
    result = entry.main(params, parent=parent.of_trial("trial", "here"))
    assert len(result.history.rows) == 1
