"""Sweeps on real data: what they leave, what they do not see, and what survives kills."""

import shlex
import signal
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import Run

from pipelines import sweep
from tests.conftest import ROOT, read, runs, start
from tests.pipelines.families import MARK, PARENT, Ended, names, wait_for_the_end
from trackml.errors import UsageError
from trackml.tasks import find_entry_points

MLP = ("--pipeline", "scratch_mnist", "--fixed", "model=mlp, hidden_units=32")
BRIEF = (*MLP, "--epochs", "4", "--limit", "2000")
LONG = (*MLP, "--epochs", "40", "--limit", "20000")  # seconds each
RATES = ("--space", "learning_rate=1e-3..0.5 log, batch_size=16..128")
TRIALS = 6


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A search by TPE with pruning; steps of 1e-6 learn nothing."""
    folder = tmp_path_factory.mktemp("sweep")
    space = ("--space", "learning_rate=1e-6|1e-5|0.1|0.2|0.5, batch_size=32|64|128")
    search = ("--search", "tpe", "--trials", "9", "--prune", "true", "--seed", "3")
    ends = ("--repeat_best", "1", "--concurrency", "1")
    said = start("pipelines.sweep", *BRIEF, *space, *search, *ends, folder=folder)
    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    for words in ("trial 9/9", "pruned after epoch 1", "best on validation: learning_rate="):
        assert words in said.stdout
    return Ended(folder, said.stdout)


def test_each_trial_is_a_child_with_its_parameters_and_its_state(pruned: Ended) -> None:
    parent, candidates = pruned.parent, pruned.candidates
    assert parent.info.status == "FINISHED"
    assert str(parent.info.run_name).startswith("sweep pipeline=")
    assert len(candidates) == len(set(names(candidates))) == 9
    stopped = [child for child in candidates if "trackml.pruned" in child.data.tags]
    assert {child.info.status for child in stopped} == {"KILLED"}
    assert all(max(pruned.history(child, "train_loss")) < 4 for child in stopped)
    # As it happened, one after the other, and not when all was over.
    first_end = min(child.info.end_time for child in stopped)
    assert first_end < max(child.info.start_time for child in candidates)
    for child in candidates:
        values = dict(pair.split("=") for pair in str(child.info.run_name).split())
        for name, value in values.items():
            assert float(child.data.params[name]) == float(value)
        assert child.data.params["hidden_units"] == "32"
        assert child.data.tags["trackml.architecture"] == "scratch-mlp"
        assert "trackml.failure" not in child.data.tags
        if child not in stopped:
            assert child.info.status == "FINISHED"
            assert child.data.metrics["best_val_accuracy"] > 0


def test_only_the_best_sees_the_test_data_once_per_seed(pruned: Ended) -> None:
    assert [child.data.params["seed"] for child in pruned.scored] == ["3", "4"]
    best = pruned.table("trials.csv")["learning_rate"][0]
    for child in pruned.scored:
        assert float(child.data.params["learning_rate"]) == best
        assert len(pruned.history(child, "test_accuracy")) == 1
    for child in pruned.candidates:
        assert not [name for name in child.data.metrics if name.startswith("test_")]
        assert not child.outputs or not child.outputs.model_outputs


def test_the_best_on_validation_is_chosen_and_registered(pruned: Ended) -> None:
    table = pruned.table("trials.csv")
    scores = table["best_val_accuracy"]
    assert scores[0] == scores[table["state"] == "finished"].max()
    best = max(pruned.scored, key=lambda child: child.data.metrics["best_val_accuracy"])
    assert pruned.registered_run.info.run_id == best.info.run_id
    assert "registered mnist version 1, aliases: scratch-mlp, champion" in pruned.stdout
    assert pruned.scored[0].data.metrics["best_val_accuracy"] == scores[0]  # of the same seed


def test_the_parent_has_the_table_and_the_figures(pruned: Ended) -> None:
    states = list(pruned.table("trials.csv")["state"])
    assert (len(states), set(states)) == (9, {"finished", "pruned"})
    metrics = pruned.parent.data.metrics
    assert metrics["trials_finished"] + metrics["trials_pruned"] == 9
    means = pd.DataFrame([child.data.metrics for child in pruned.scored]).mean()
    for score in ("best_val_accuracy", "test_accuracy"):
        assert metrics[score] == pytest.approx(means[score])
    best = pruned.scored[0].data.params
    assert pruned.parent.data.params["learning_rate"] == best["learning_rate"]
    assert pruned.parent.data.tags["trackml.trials"] == str(len(pruned.children))
    names = {"optimization_history", "parallel_coordinates", "parameter_importances"}
    assert pruned.figures == names


def test_the_command_runs_the_registered_run_again(pruned: Ended, store_folder: Path) -> None:
    command = pruned.artifact("best_command.txt").strip()
    assert command in " ".join(pruned.stdout.replace("\\\n", " ").split())
    words = shlex.split(command)
    assert words[:5] == ["mlflow", "run", ".", "-e", "scratch_mnist"]
    flags = [flag for pair in words[6::2] for flag in ("--" + pair).split("=", 1)]
    done = start("pipelines.scratch_mnist", *flags, folder=store_folder)
    assert done.returncode == 0, done.stderr
    (run,), registered = runs(store_folder), pruned.registered_run.data
    assert run.data.params["seed"] == registered.params["seed"]
    assert run.data.metrics["best_val_accuracy"] == registered.metrics["best_val_accuracy"]


@pytest.mark.slow
def test_the_documented_grid_is_what_mlflow_run_does(store_folder: Path) -> None:
    said = start(
        *("mlflow", "run", str(ROOT), "-e", "sweep", "--env-manager", "local"),
        *("-P", "epochs=1", "-P", "limit=500", "-P", "register=false"),
        folder=store_folder,
    )
    assert said.returncode == 0, said.stderr
    ended = Ended(store_folder, said.stdout)
    assert {run.info.status for run in runs(store_folder)} == {"FINISHED"}
    assert len(set(names(ended.children))) == len(ended.children) == 17
    table = ended.table("trials.csv")
    assert set(table["hidden_units"]) == {128, 256, 512, 1024}
    assert set(table["dropout"]) == {0.1, 0.2, 0.3, 0.5}
    assert not read(store_folder).search_registered_models()


@pytest.mark.slow
def test_a_trial_that_fails_is_marked_and_the_best_of_the_others_is_found(
    store_folder: Path,
) -> None:
    space = ("--space", "learning_rate=1e30|0.1")
    said = start("pipelines.sweep", *BRIEF, *space, folder=store_folder)
    assert said.returncode == 0, said.stderr
    ended = Ended(store_folder, said.stdout)
    states = {str(child.info.run_name): child.info.status for child in ended.children}
    assert states == {
        "learning_rate=1e+30": "FAILED",
        "learning_rate=0.1": "FINISHED",
        "best learning_rate=0.1 seed 0": "FINISHED",
    }
    assert "failed: learning_rate=1e+30: " in said.stdout
    assert "--resume true tries again" in said.stdout
    assert list(ended.table("trials.csv")["state"]) == ["finished", "failed"]


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
    ended = Ended(folder, said.stdout)
    assert f"resume: run {ended.parent.info.run_id} goes on" in said.stderr
    assert ended.parent.info.status == "FINISHED"
    assert len(set(names(ended.candidates))) == len(ended.candidates) == TRIALS
    assert all(has_ended(child) for child in ended.candidates)
    assert done <= {child.info.run_id for child in ended.candidates}
    assert (len(ended.scored), len(ended.table("trials.csv"))) == (1, TRIALS)
    ran = [line for line in said.stdout.splitlines() if line.startswith("trial ")]
    assert len(ran) == TRIALS - len(done) + 1


@pytest.mark.slow
def test_a_sweep_that_was_killed_ends_with_every_trial_once(store_folder: Path) -> None:
    flags = (*LONG, *RATES, "--search", "random", "--prune", "true", "--trials", str(TRIALS))
    resumed(store_folder, kill_in_the_middle(store_folder, *flags), *flags)


@pytest.mark.slow
def test_on_two_machines_a_killed_sweep_ends_with_every_trial_once(
    two_nodes: str, store_folder: Path
) -> None:
    cluster = ("--ray_address", two_nodes)
    flags = (*LONG, *RATES, "--search", "tpe", "--trials", str(TRIALS), *cluster)
    resumed(store_folder, kill_in_the_middle(store_folder, *flags), *flags)
    children = [run for run in runs(store_folder) if PARENT in run.data.tags]
    assert len({child.data.tags["trackml.ray_node"] for child in children}) == 2


def params(**values: object) -> sweep.Params:
    return sweep.Params.parse(values)


OTHERS = {"main", "compare", "cnn_suite", "sweep", "ensemble"}  # main is dense_mnist


def test_every_pipeline_that_can_be_named_can_be_searched() -> None:
    assert sweep.PIPELINES.keys() == find_entry_points().keys() - OTHERS
    for name, pipeline in sweep.PIPELINES.items():
        own = {"mnist_sklearn": "components", "housing_trees": "leaves"}
        searched = own.get(name, "batch_size")
        plan = params(pipeline=name, space=f"{searched}=16|32", limit=50).plan
        assert [point[searched] for point in plan.points] == [16, 32]
        assert len(pipeline.module.TASK.load(plan.parse(plan.points[0])).train) == 50


def test_the_command_of_an_entry_point_leaves_out_what_that_sets() -> None:
    asked = params(pipeline="fashion_aug", space="rotation=5|10", epochs=2, fixed="zoom=0.2")
    command = asked.plan.command({"rotation": 5.0}, seed=3)
    expected = "-P zoom=0.2 -P epochs=2 -P limit=0 -P seed=3 -P rotation=5"
    assert command == f"mlflow run . -e fashion_aug {expected}"
    assert asked.plan.common["augment"] is True


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
    assert [point["image_size"] for point in asked.plan.points] == [32, 64]
    asked = params(pipeline="transfer", search="tpe", space="image_size=0..224")
    assert all(point["image_size"] == 0 or point["image_size"] >= 63 for point in asked.plan.points)


MANY = "|".join(f"{number / 1000:.3f}" for number in range(1, 200))


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({}, 16),
        ({"search": "random"}, 16),
        ({"trials": 100}, 16),
        ({"search": "tpe", "space": "dropout=0.1..0.5"}, 20),
        ({"search": "random", "space": "dropout=0.1..0.5", "trials": 7}, 7),
        ({"space": f"dropout={MANY}"}, 199),  # a long text is no path
    ],
)
def test_there_are_never_more_trials_than_points(values: dict[str, object], count: int) -> None:
    assert len(params(**values).plan) == count


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"trials": 3}, "--trials 3: the grid has 16 points; leave it out to run them all"),
        ({"space": "dropout=0.1..0.5"}, "--search grid: dropout=0.1..0.5"),
        ({"space": "hidden_units=1..10000, batch_size=1..9"}, "it has 90,000 points, more than"),
        ({"space": "seed=1|2"}, "seed cannot be searched; use --repeat_best"),
        ({"space": "limit=10|20"}, "limit cannot be searched; scores on other data do not"),
        ({"space": "epochs=1|2", "epochs": 3}, "epochs is both searched and fixed"),
        ({"fixed": "dropout=0.1"}, "dropout is both searched and fixed"),
        ({"fixed": "seed=1"}, "--fixed: seed cannot be fixed; the sweep sets it"),
        ({"fixed": "epochs=1", "epochs": 2}, "--fixed: epochs is set by --epochs too"),
        ({"fixed": "batch_size=0"}, "--fixed, --batch_size 0: expected an integer >= 1"),
        ({"fixed": "batchsize=1"}, "--fixed, --batchsize: there is no such flag"),
        ({"space": "x" * 5000}, "File name too long"),
        ({"pipeline": "cnn"}, "the pipeline has no parameter hidden_units"),
        (
            {"pipeline": "fashion_aug", "space": "augment=true|false"},
            "augment is both searched",
        ),
        ({"pipeline": "transfer", "space": "image_size=16|64"}, "--space, image_size=16: "),
        ({"pipeline": "transfer", "space": "image_size=1..9", "search": "tpe"}, "--image_size "),
        ({"space": "batch_size=" + "|".join(map(str, range(1, 2000)))}, "longer than 6,000 char"),
        ({"seed": 2**32 - 1, "repeat_best": 1}, "--seed 4294967296: expected an integer >= 0"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as error:
        sweep.main(params(**values))
    assert words in str(error.value)


def test_nothing_is_made_before_the_space_is_checked(tmp_path: Path) -> None:
    said = start("pipelines.sweep", "--space", "hidden_units=0|1", folder=tmp_path)
    assert said.returncode == 2
    assert said.stderr.startswith("error: --space, --hidden_units 0: expected an integer >= 1")
    assert said.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
