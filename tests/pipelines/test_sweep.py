"""Sweeps on real data: what they leave, what they do not see, and what survives kills."""

import io
import shlex
import signal
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
from mlflow.entities import Run

from pipelines import sweep
from pipelines.searchable import PIPELINES
from tests.conftest import ROOT, read, runs, start
from tests.pipelines.families import (
    MARK,
    PARENT,
    artifact,
    family,
    names,
    wait_for_the_end,
)
from trackml.errors import UsageError

MLP = ("--pipeline", "scratch_mnist", "--fixed", "model=mlp, hidden_units=32")
BRIEF = (*MLP, "--epochs", "4", "--limit", "2000")
LONG = (*MLP, "--epochs", "40", "--limit", "20000")  # seconds each
RATES = ("--space", "learning_rate=1e-3..0.5 log, batch_size=16..128")
TRIALS = 6


def trials(folder: Path) -> pd.DataFrame:
    parent, _ = family(folder)
    return pd.read_csv(io.StringIO(artifact(parent, "trials.csv")))


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A search by TPE with pruning; steps of 1e-6 learn nothing."""
    folder = tmp_path_factory.mktemp("sweep")
    space = ("--space", "learning_rate=1e-6|1e-5|0.1|0.2|0.5, batch_size=32|64|128")
    search = ("--search", "tpe", "--trials", "9", "--prune", "true", "--seed", "3")
    ends = ("--repeat_best", "1", "--concurrency", "1")
    said = start("pipelines.sweep", *BRIEF, *space, *search, *ends, folder=folder)
    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    return folder, said.stdout


def test_each_trial_is_a_child_with_its_parameters_and_its_state(pruned: tuple[Path, str]) -> None:
    parent, children = family(pruned[0])
    assert (parent.info.status, parent.info.run_name) == ("FINISHED", "sweep")
    candidates = [child for child in children if "trackml.candidate" in child.data.tags]
    assert len(candidates) == 9
    assert len(set(names(candidates))) == 9
    given_up = [child for child in candidates if "trackml.pruned" in child.data.tags]
    assert given_up
    assert {child.info.status for child in given_up} == {"KILLED"}
    assert all(len(read_epochs(pruned[0], child.info.run_id)) < 4 for child in given_up)
    # As it happened, one after the other, and not when all was over.
    assert min(child.info.end_time for child in given_up) < max(
        child.info.start_time for child in candidates
    )
    for child in candidates:
        values = dict(pair.split("=") for pair in str(child.info.run_name).split())
        for name, value in values.items():
            assert float(child.data.params[name]) == float(value)
        assert child.data.params["hidden_units"] == "32"
        assert child.data.tags["trackml.architecture"] == "scratch-mlp"
        assert "trackml.failure" not in child.data.tags
        if child not in given_up:
            assert child.info.status == "FINISHED"
            assert child.data.metrics["best_val_accuracy"] > 0


def read_epochs(folder: Path, run_id: str) -> list[int]:
    history = read(folder).get_metric_history(run_id, "train_loss")
    return [row.step for row in history if row.step]


def test_only_the_best_sees_the_test_data_once_per_seed(pruned: tuple[Path, str]) -> None:
    folder, _ = pruned
    _, children = family(folder)
    scored = [child for child in children if "trackml.candidate" not in child.data.tags]
    best = trials(folder).iloc[0]
    assert len(scored) == 2
    assert {child.data.params["seed"] for child in scored} == {"3", "4"}
    for child in scored:
        assert float(child.data.params["learning_rate"]) == best["learning_rate"]
        history = read(folder).get_metric_history(child.info.run_id, "test_accuracy")
        assert len(history) == 1
    for child in children:
        if child not in scored:
            assert not [name for name in child.data.metrics if name.startswith("test_")]
            assert not child.outputs or not child.outputs.model_outputs


def test_the_best_on_validation_is_chosen_and_registered(pruned: tuple[Path, str]) -> None:
    folder, said = pruned
    table = trials(folder)
    finished = table[table["state"] == "finished"]
    assert table["best_val_accuracy"].iloc[0] == finished["best_val_accuracy"].max()
    _, children = family(folder)
    scored = [child for child in children if "trackml.candidate" not in child.data.tags]
    best = max(scored, key=lambda child: child.data.metrics["best_val_accuracy"])
    (version,) = read(folder).search_model_versions("name = 'mnist'")
    assert version.run_id == best.info.run_id
    assert "registered mnist version 1, aliases: scratch-mlp, champion" in said
    (again,) = (child for child in scored if child.data.params["seed"] == "3")
    assert again.data.metrics["best_val_accuracy"] == table["best_val_accuracy"].iloc[0]


def test_the_parent_has_the_table_the_command_and_the_figures(
    pruned: tuple[Path, str], tmp_path: Path
) -> None:
    folder, said = pruned
    parent, _ = family(folder)
    table = trials(folder)
    assert len(table) == 9
    assert set(table["state"]) == {"finished", "pruned"}
    assert parent.data.metrics["trials_finished"] + parent.data.metrics["trials_pruned"] == 9
    drawn = read(folder).list_artifacts(parent.info.run_id, "figures")
    assert {file.path.split("/")[1] for file in drawn} == {
        "optimization_history.png",
        "parallel_coordinates.png",
        "parameter_importances.png",
    }
    command = artifact(parent, "best_command.txt").strip()
    assert command in said
    words = shlex.split(command)
    assert words[:5] == ["mlflow", "run", ".", "-e", "scratch_mnist"]
    flags = [flag for pair in words[6::2] for flag in ("--" + pair).split("=", 1)]
    done = start("pipelines.scratch_mnist", *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = runs(tmp_path)
    (version,) = read(folder).search_model_versions("name = 'mnist'")
    registered = read(folder).get_run(str(version.run_id)).data
    assert run.data.params["seed"] == registered.params["seed"]
    assert run.data.metrics["best_val_accuracy"] == registered.metrics["best_val_accuracy"]


def test_a_person_reads_a_line_per_trial_and_the_best(pruned: tuple[Path, str]) -> None:
    said = pruned[1]
    assert "trial 9/9" in said
    for words in ("pruned after epoch 1", "best on validation: learning_rate=", "(n = 2)"):
        assert words in said


@pytest.mark.slow
def test_the_documented_grid_is_what_mlflow_run_does(tmp_path: Path) -> None:
    said = start(
        *("mlflow", "run", str(ROOT), "-e", "sweep", "--env-manager", "local"),
        *("-P", "epochs=1", "-P", "limit=500", "-P", "register=false"),
        folder=tmp_path,
    )
    assert said.returncode == 0, said.stderr
    parent, children = family(tmp_path)
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    assert len(set(names(children))) == len(children) == 17
    table = trials(tmp_path)
    assert set(table["hidden_units"]) == {128, 256, 512, 1024}
    assert set(table["dropout"]) == {0.1, 0.2, 0.3, 0.5}
    assert not read(tmp_path).search_registered_models()


def test_a_trial_that_fails_is_marked_and_the_best_of_the_others_is_found(tmp_path: Path) -> None:
    space = ("--space", "learning_rate=1e30|0.1")
    said = start("pipelines.sweep", *BRIEF, *space, folder=tmp_path)
    assert said.returncode == 0, said.stderr
    _, children = family(tmp_path)
    states = {str(child.info.run_name): child.info.status for child in children}
    assert states == {
        "learning_rate=1e+30": "FAILED",
        "learning_rate=0.1": "FINISHED",
        "best learning_rate=0.1 seed 0": "FINISHED",
    }
    assert "failed: learning_rate=1e+30: " in said.stdout
    assert "--resume true tries again" in said.stdout
    assert list(trials(tmp_path)["state"]) == ["finished", "failed"]


def kill_in_the_middle(folder: Path, *flags: str) -> set[str]:
    """Begin a sweep that is killed after two trials; the ids of those that had ended."""
    command = ("after:trial:2", "pipelines.sweep", *flags)
    said = start("tests.failpoints", *command, folder=folder, **{MARK: str(folder)})
    assert said.returncode == -signal.SIGKILL, said.stderr
    wait_for_the_end(folder, but="Agent")
    children = [run for run in runs(folder) if PARENT in run.data.tags]
    return {child.info.run_id for child in children if has_ended(child)}


def has_ended(child: Run) -> bool:
    return child.info.status == "FINISHED" or "trackml.pruned" in child.data.tags


def resumed(folder: Path, done: set[str], *flags: str) -> None:
    said = start("pipelines.sweep", *flags, "--resume", "true", folder=folder)
    assert said.returncode == 0, said.stderr
    parent, children = family(folder)
    assert f"resume: run {parent.info.run_id} goes on" in said.stderr
    assert parent.info.status == "FINISHED"
    candidates = [child for child in children if "trackml.candidate" in child.data.tags]
    assert len(set(names(candidates))) == len(candidates) == TRIALS
    assert all(has_ended(child) for child in candidates)
    assert done <= {child.info.run_id for child in candidates}
    assert len(children) == TRIALS + 1
    assert len(trials(folder)) == TRIALS
    ran = [line for line in said.stdout.splitlines() if line.startswith("trial ")]
    assert len(ran) == TRIALS - len(done) + 1


@pytest.mark.slow
def test_a_sweep_that_was_killed_ends_with_every_trial_once(tmp_path: Path) -> None:
    flags = (*LONG, *RATES, "--search", "random", "--prune", "true", "--trials", str(TRIALS))
    resumed(tmp_path, kill_in_the_middle(tmp_path, *flags), *flags)


def test_on_two_machines_a_killed_sweep_ends_with_every_trial_once(
    two_nodes: str, tmp_path: Path
) -> None:
    cluster = ("--ray_address", two_nodes)
    flags = (*LONG, *RATES, "--search", "tpe", "--trials", str(TRIALS), *cluster)
    resumed(tmp_path, kill_in_the_middle(tmp_path, *flags), *flags)
    _, children = family(tmp_path)
    assert len({child.data.tags["trackml.ray_node"] for child in children}) == 2


def params(**values: object) -> sweep.Params:
    return sweep.Params.parse(values)


def test_every_pipeline_that_can_be_named_can_be_searched() -> None:
    named = get_args(sweep.Params.model_fields["pipeline"].annotation)
    assert named == tuple(PIPELINES)
    for name, pipeline in PIPELINES.items():
        asked = params(pipeline=name, space="batch_size=16|32", limit=50)
        assert [point["batch_size"] for point in asked.points] == [16, 32]
        given = pipeline.params.parse({**asked.common, **asked.points[0]})
        assert len(pipeline.read(given).train) == 50


def test_the_command_of_an_entry_point_leaves_out_what_that_sets() -> None:
    asked = params(pipeline="fashion_aug", space="rotation=5|10", epochs=2, fixed="zoom=0.2")
    command = asked.command_for({"rotation": 5.0})
    expected = "-P zoom=0.2 -P epochs=2 -P limit=0 -P seed=0 -P rotation=5"
    assert command == f"mlflow run . -e fashion_aug {expected}"
    assert asked.common["augment"] is True


def test_a_space_that_has_changed_is_another_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs are continued by those of the same texts."""
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text("learning_rate: [0.2, 0.1]\n")
    before = params(space="space.yaml").as_text()
    Path("space.yaml").write_text("learning_rate: [0.2, 0.3]\n")
    after = params(space="space.yaml").as_text()
    assert before["searched"] == "learning_rate=0.2|0.1"
    assert {name for name in before if before[name] != after[name]} == {"searched"}


def test_values_that_go_together_are_taken_whatever_the_others_defaults_are() -> None:
    """AlexNet, the default, would need 63 pixels."""
    asked = params(pipeline="transfer", space="backbone=vgg16, image_size=32|64")
    assert [point["image_size"] for point in asked.points] == [32, 64]
    asked = params(pipeline="transfer", search="tpe", space="image_size=0..224")
    assert all(point["image_size"] == 0 or point["image_size"] >= 63 for point in asked.points)


def test_a_long_text_is_no_path() -> None:
    many = "|".join(f"{number / 1000:.3f}" for number in range(1, 200))
    assert params(space=f"dropout={many}").count == 199


def test_there_are_never_more_trials_than_points() -> None:
    assert params().count == 16
    assert params(search="random").count == 16
    assert params(search="tpe", space="dropout=0.1..0.5").count == 20
    assert params(search="random", space="dropout=0.1..0.5", trials=7).count == 7
    assert params(trials=100).count == 16


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"trials": 3}, "--trials 3: the grid has 16 points; leave it out to run them all"),
        ({"space": "dropout=0.1..0.5"}, "--search grid: dropout=0.1..0.5"),
        ({"space": "hidden_units=1..10000, batch_size=1..9"}, "it has 90,000 points, more than"),
        ({"space": "seed=1|2"}, "seed cannot be searched: luck"),
        ({"space": "limit=10|20"}, "limit cannot be searched: on other data scores do not compare"),
        ({"space": "epochs=1|2", "epochs": 3}, "epochs is searched and fixed at once"),
        ({"fixed": "dropout=0.1"}, "dropout is searched and fixed at once"),
        ({"fixed": "seed=1"}, "--fixed: seed is not to be fixed"),
        ({"fixed": "epochs=1", "epochs": 2}, "--fixed: epochs is there, and --epochs too"),
        ({"fixed": "batch_size=0"}, "--fixed, --batch_size 0: expected an integer >= 1"),
        ({"fixed": "batchsize=1"}, "--fixed, --batchsize: there is no such flag"),
        ({"space": "x" * 5000}, "File name too long"),
        ({"pipeline": "cnn"}, "the pipeline has no parameter hidden_units"),
        ({"pipeline": "fashion_aug", "space": "augment=true|false"}, "augment is searched and"),
        (
            {"pipeline": "transfer", "space": "image_size=16|64"},
            "--space, image_size=16: ",
        ),
        ({"pipeline": "transfer", "space": "image_size=1..9", "search": "tpe"}, "--image_size "),
        ({"space": "batch_size=" + "|".join(map(str, range(1, 2000)))}, "longer than 6,000 char"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as error:
        sweep.main(params(**values))
    assert words in str(error.value)


def test_a_seed_that_the_last_repetition_would_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="--seed 4294967296"):
        sweep.main(params(seed=2**32 - 1, repeat_best=1))


def test_nothing_is_made_before_the_space_is_checked(tmp_path: Path) -> None:
    said = start("pipelines.sweep", "--space", "hidden_units=0|1", folder=tmp_path)
    assert said.returncode == 2
    assert said.stderr.startswith("error: --space, --hidden_units 0: expected an integer >= 1")
    assert said.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
