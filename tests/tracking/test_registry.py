"""Who becomes champion: by the real registry, by properties of the rule, and by hand."""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pytest
from hypothesis import given, strategies as st
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import trackml
from tests.conftest import start
from tests.tracking.toy import HISTORY, ROW, Store, finish, network
from trackml.comparison.champion import ALIASES_TAG, Candidate, challenge, limit_of
from trackml.data import ImageData
from trackml.errors import TrackmlError, UsageError
from trackml.metrics import ACCURACY, MAE
from trackml.model_files.saving import save_model
from trackml.process.signals import stop_requests
from trackml.tracking import server
from trackml.tracking.logged_model import log_model
from trackml.tracking.registry import (
    Registration,
    check_names,
    promote,
    register_run,
    version_behind,
)

CNN = Candidate("keras", "cnn", ACCURACY, 0.9, "sum", 6_000)


@pytest.fixture
def registered(client: MlflowClient, blobs: ImageData) -> Callable[..., Registration]:
    """Registers the model of a new run that has logged what CNN says, but for the changes."""
    save_model("model", network(blobs), "numpy", blobs)

    def register(**changes: Any) -> Registration:
        candidate = replace(CNN, **changes)
        tags = {"trackml.task": "toys", **candidate.tags}
        tags[ALIASES_TAG] = " ".join(candidate.aliases)
        run_id = client.create_run(server.experiment_id(client, "toys"), tags=tags).info.run_id
        client.log_param(run_id, "validation_samples", candidate.validation_samples)
        client.log_param(run_id, "limit", candidate.limit)
        client.log_metric(run_id, f"best_val_{candidate.metric}", candidate.value)
        log_model(client, client.get_run(run_id), Path("model"), str)
        return register_run(client, run_id)

    return register


def held_by(client: MlflowClient, *aliases: str, task: str = "toys") -> list[str | None]:
    """The versions behind some aliases."""
    versions = [version_behind(client, task, alias) for alias in aliases]
    return [str(version.version) if version else None for version in versions]


def break_method(monkeypatch: pytest.MonkeyPatch, method: str, alias: str) -> None:
    """Let a method of all clients fail for an alias."""
    usual = getattr(MlflowClient, method)

    def fail(self: MlflowClient, task: str, name: str, *version: str) -> Any:
        if name == alias:
            raise MlflowException("down")
        return usual(self, task, name, *version)

    monkeypatch.setattr(MlflowClient, method, fail)


def test_versions_get_tags_aliases_and_a_champion_that_is_only_beaten(
    client: MlflowClient, registered: Callable[..., Registration]
) -> None:
    first = registered()
    assert (first.version, first.aliases) == ("1", ("cnn", "champion"))

    worse = registered(value=0.8)
    assert worse.aliases == ("cnn",)
    assert worse.reason == "validation accuracy 0.8000 does not beat version 1's 0.9000"
    assert held_by(client, "champion") == ["1"]

    better = registered(architecture="dense", value=0.95)
    assert better.is_champion
    assert better.reason == "validation accuracy 0.9500 beats version 1's 0.9000"
    assert held_by(client, "champion", "cnn", "dense") == ["3", "2", "3"]
    assert client.get_model_version("toys", "3").tags == {
        "trackml.framework": "keras",
        "trackml.architecture": "dense",
        "trackml.best_val_accuracy": "0.95",
        "trackml.data_sha256": "sum",
        "trackml.validation_samples": "6000",
        "trackml.limit": "0",
    }


def test_a_score_that_is_no_number_neither_wins_nor_holds() -> None:
    nan = float("nan")
    version: Any = SimpleNamespace(version="7", tags=replace(CNN, value=nan).tags)
    assert challenge(version, replace(CNN, value=0.1))[0]
    assert not challenge(version, replace(CNN, value=nan))[0]
    version.tags = CNN.tags
    assert not challenge(version, replace(CNN, value=nan))[0]


def test_a_full_run_takes_the_championship_of_a_trial_on_any_data() -> None:
    version: Any = SimpleNamespace(version="7", tags=replace(CNN, data_sha256="few").tags)
    assert challenge(version, replace(CNN, value=0.1), champion_limit=600)[0]


@pytest.mark.parametrize(
    ("holder", "reason"),
    [
        (replace(CNN, validation_samples=600).tags, "validated on other rows"),
        (replace(CNN, data_sha256="other").tags, "validated on other rows"),
        ({}, "version 7 has no validation accuracy to compare with"),  # registered by other means
    ],
)
def test_a_champion_that_does_not_compare_is_not_pushed_aside(
    holder: dict[str, str], reason: str
) -> None:
    version: Any = SimpleNamespace(version="7", tags=holder)
    wins, why = challenge(version, replace(CNN, value=0.99))
    assert not wins
    assert reason in why


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_tie_changes_nothing_and_the_direction_is_the_metrics(a: float, b: float) -> None:
    for metric, wins in ((ACCURACY, b > a), (MAE, b < a)):
        held = Candidate("keras", "x", metric, a, "sum", 5)
        version: Any = SimpleNamespace(version="7", tags=held.tags)
        assert challenge(version, replace(held, value=b))[0] is wins


def test_a_trial_takes_nothing_from_a_full_run_however_good_it_is(
    client: MlflowClient, registered: Callable[..., Registration]
) -> None:
    registered(value=0.9438, aliases=("cnn-dropout",))
    trial = registered(value=0.99, limit=600, aliases=("cnn-dropout", "cnn-plain"))
    reason = "version 1 was trained on all rows, this one on 600"
    assert (trial.aliases, trial.reason) == (("cnn-plain",), reason)
    assert trial.withheld == {"cnn": reason, "cnn-dropout": reason}
    assert held_by(client, "cnn", "cnn-dropout", "cnn-plain", "champion") == ["1", "1", "2", "1"]
    run_id = str(client.get_model_version("toys", "2").run_id)
    client.set_terminated(run_id)
    promote("toys", run_id, ["cnn"])  # a person may
    assert held_by(client, "cnn") == ["2"]


def test_a_full_run_takes_all_from_a_trial_and_trials_from_each_other(
    client: MlflowClient, registered: Callable[..., Registration]
) -> None:
    assert registered(limit=600).is_champion
    worse = registered(limit=600, value=0.8)
    assert (worse.aliases, worse.withheld) == (("cnn",), {})
    full = registered(value=0.5, validation_samples=5_000)
    assert full.aliases == ("cnn", "champion")
    assert full.reason == "version 1 was trained on 600 rows, this one on all"
    assert held_by(client, "cnn", "champion") == ["3", "3"]
    assert not registered(value=0.99, data_sha256="other").is_champion


def test_of_a_version_without_the_tag_its_run_says_on_how_many_rows_it_was_trained(
    client: MlflowClient, registered: Callable[..., Registration]
) -> None:
    registered(limit=600)
    client.delete_model_version_tag("toys", "1", "trackml.limit")
    assert registered(limit=500, value=0.8).aliases == ("cnn",)
    assert registered(value=0.5).is_champion
    client.delete_model_version_tag("toys", "3", "trackml.limit")
    assert registered(limit=600, value=0.99).aliases == ()


@pytest.mark.parametrize(
    ("params", "limit"),
    [
        ({"limit": "600", "train_samples": "600"}, 600),
        ({"limit": "600.0", "train_samples": "600"}, 600),  # as it may be typed
        ({"limit": "0", "train_samples": "54000"}, 0),
        ({"limit": "99999", "train_samples": "54000"}, 0),
        ({"limit": "none"}, 0),
        ({}, 0),
    ],
)
def test_a_limit_that_leaves_no_row_out_is_none(params: dict[str, str], limit: int) -> None:
    assert limit_of(params) == limit


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1)), min_size=1))
def test_the_champion_is_the_best_full_run_if_there_is_one(runs: list[tuple[int, float]]) -> None:
    champion: Any = None
    for limit, value in runs:
        candidate = replace(CNN, limit=limit, value=value)
        held = int(champion.tags["trackml.limit"]) if champion else 0
        if challenge(champion, candidate, champion_limit=held)[0]:
            champion = SimpleNamespace(version="1", tags=candidate.tags)
    full = [value for limit, value in runs if not limit]
    best = repr(max(full or [value for _, value in runs]))
    assert champion.tags["trackml.best_val_accuracy"] == best
    assert champion.tags["trackml.limit"] == "0" or not full


@pytest.mark.parametrize("method", ["get_model_version_by_alias", "set_registered_model_alias"])
def test_a_store_that_fails_takes_the_version_back_and_leaves_all_aliases_where_they_were(
    client: MlflowClient,
    registered: Callable[..., Registration],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    registered()
    with monkeypatch.context() as broken:
        break_method(broken, method, "champion")
        with pytest.raises(MlflowException, match="down"):
            registered(value=0.99)
    (version,) = client.search_model_versions("name='toys'")
    assert str(version.version) == "1"
    assert held_by(client, "cnn", "champion") == ["1", "1"]


def test_a_request_to_stop_waits_for_the_registration(
    client: MlflowClient, registered: Callable[..., Registration], monkeypatch: pytest.MonkeyPatch
) -> None:
    register_model = mlflow.register_model

    def stopped(*arguments: Any, **options: Any) -> Any:
        version = register_model(*arguments, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return version

    monkeypatch.setattr(mlflow, "register_model", stopped)
    with pytest.raises(KeyboardInterrupt), stop_requests():
        registered()
    assert held_by(client, "champion") == ["1"]


@pytest.mark.parametrize("architecture", ["champion", "latest", "v3", "cnn v2", ""])
def test_names_that_mlflow_would_refuse_are_refused_before_training(architecture: str) -> None:
    with pytest.raises(ValueError, match="an alias has letters"):
        check_names("mnist", architecture)
    with pytest.raises(ValueError, match="a task's name"):
        check_names("mnist/2", "cnn")


def test_load_uses_the_store_that_this_process_has_chosen_or_says_what_is_missing(
    client: MlflowClient,
    registered: Callable[..., Registration],
    empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registered()
    uri = mlflow.get_tracking_uri()
    elsewhere = empty_folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    mlflow.set_tracking_uri(uri)
    answer = np.asarray(trackml.load("toys").predict(np.zeros((2, 9, 9), np.uint8)))
    assert answer.shape == (2, 3)
    assert not list(elsewhere.iterdir())
    with pytest.raises(TrackmlError) as failure:
        trackml.load("mnist")
    expected = f"sqlite:///{empty_folder}/mlflow.db has no model 'mnist' with alias 'champion'; "
    expected += "there: toys. "
    assert str(failure.value).startswith(expected)


def trained(
    store: Store,
    accuracy: float = 0.9,
    *,
    data: ImageData | None = None,
    aliases: Sequence[str] = (),
    register: bool = True,
) -> str:
    """The id of a finished run with a model."""
    history = replace(HISTORY, rows=({**ROW, "val_accuracy": accuracy},))
    with store.tracked("toy", data=data, aliases=aliases, register=register) as run:
        finish(run, history=history)
    return run.run_id


def versions(store: Store) -> list[Any]:
    return list(store.client.search_model_versions("name = 'blobs'"))


def champion(store: Store) -> str | None:
    version = version_behind(store.client, "blobs", "champion")
    return str(version.run_id) if version else None


def other(data: ImageData, side: int = 9, classes: int = 3) -> ImageData:
    """Data of the same name with another content, perhaps of another shape."""
    images = np.ones((20, side, side), np.uint8)
    part = images, np.arange(20) % classes
    names = ("top", "middle", "bottom", "none")[:classes]
    return ImageData.from_arrays(data.name, part, part, classes=names, validation_split=0.25)


def test_a_run_is_registered_once_however_often_that_is_asked_for(store: Store) -> None:
    run_id = trained(store, aliases=["toy-plain"], register=False)
    for _ in range(2):
        registration = register_run(store.client, run_id)
        assert registration.version == "1"
        assert registration.aliases == ("toy", "toy-plain", "champion")
    assert len(versions(store)) == 1


def test_a_person_may_prefer_a_version_that_was_beaten(store: Store) -> None:
    best, beaten = trained(store, 0.9), trained(store, 0.8)
    promote("blobs", beaten, ["staging", "blue"])
    assert champion(store) == best
    assert held_by(store.client, "staging", "blue", task="blobs") == ["2", "2"]
    promotion = promote("blobs", beaten)
    assert champion(store) == beaten
    assert (promotion.version, promotion.before) == ("2", {"champion": "1"})


def test_a_model_that_was_not_registered_is_registered_once_when_it_is_promoted(
    store: Store,
) -> None:
    run_id = trained(store, register=False)
    assert promote("blobs", run_id).before == {"champion": None}
    promote("blobs", run_id)
    assert champion(store) == run_id
    (version,) = versions(store)
    assert version.tags["trackml.best_val_accuracy"] == "0.9"


@pytest.mark.parametrize("has_champion", [True, False])
@pytest.mark.parametrize(
    ("side", "classes", "words"),
    [
        (9, 3, ["its data sum is "]),
        (8, 3, ["its data sum is ", "its inputs are ", "-1, 8, 8", "-1, 9, 9"]),
        (9, 4, ["its data sum is ", "its outputs are ", "-1, 4", "-1, 3"]),
    ],
)
def test_a_model_that_other_code_could_not_swap_is_refused_with_the_difference(
    store: Store, side: int, classes: int, words: list[str], has_champion: bool
) -> None:
    """From the champion, else from the newest version."""
    best = trained(store)
    if not has_champion:
        store.client.delete_registered_model_alias("blobs", "champion")
    another = trained(store, 0.95, data=other(store.data, side, classes), register=has_champion)
    before = len(versions(store))
    with pytest.raises(TrackmlError, match="in place of version 1: ") as refusal:
        promote("blobs", another, [] if has_champion else ["staging"])
    for word in (*words, store.data.sha256):
        assert word in str(refusal.value)
    assert champion(store) == (best if has_champion else None)
    assert len(versions(store)) == before


def test_an_error_half_way_through_a_promotion_leaves_everything_as_it_was(store: Store) -> None:
    best, another = trained(store), trained(store, 0.8, register=False)
    break_method(store.monkeypatch, "set_registered_model_alias", "green")
    with pytest.raises(MlflowException, match="down"):
        promote("blobs", another, ["blue", "champion", "green"])
    assert champion(store) == best
    assert held_by(store.client, "blue", task="blobs") == [None]
    assert len(versions(store)) == 1


@pytest.mark.parametrize("alias", ["latest", "Latest", "v3", "V3", "a b", "", "a" * 256])
def test_an_alias_that_mlflow_does_not_take_is_refused(alias: str) -> None:
    with pytest.raises(UsageError, match="--alias"):
        promote("blobs", "no matter", [alias])


def test_only_finished_runs_of_the_task_with_a_model_are_promoted(store: Store) -> None:
    run_id = trained(store)

    def refused(words: str, run_id: str = run_id, task: str = "blobs") -> None:
        with pytest.raises(TrackmlError, match=words):
            promote(task, run_id)

    refused("it is of the task blobs, not of mnist", task="mnist")
    refused("there is no such run", "0" * 32)
    store.client.delete_run(run_id)
    refused("it is in the trash")
    store.client.restore_run(run_id)
    store.client.update_run(run_id, status="KILLED")
    refused("it is KILLED; expected a finished run")
    bare = store.client.create_run("0", tags={"trackml.task": "blobs"}).info.run_id
    store.client.set_terminated(bare)
    refused("it has no model; expected", bare)


def test_promote_as_a_command(store: Store, empty_folder: Path) -> None:
    best, beaten = trained(store), trained(store, 0.8)
    result = start("trackml", "promote", "blobs", "--run", beaten, folder=empty_folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "blobs@champion is version 2 (before, version 1)\n"
    arguments = ("promote", "blobs", "--run", best, "--alias", "blue", "--alias", "green")
    result = start("trackml", *arguments, folder=empty_folder)
    assert result.stdout.splitlines()[1] == "blobs@green is version 1 (before, none)"
    result = start("trackml", "promote", "blobs", "--run", "nobody", folder=empty_folder)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: --run nobody: there is no such run in sqlite:")
    assert result.stderr.count("\n") == 1
