"""A run, and others around it: in another container, of another user, started by mistake."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.conftest import ROOT, execute, read, runs, start, user_environment
from tests.pipelines.families import MARK, wait_for_the_end, wait_until
from tests.pipelines.places import (
    OTHER_USER,
    container,
    needs_containers,
    needs_users,
    user,
)
from tests.pipelines.servers import Server, free_port
from tests.pipelines.test_resume import (
    FLAGS,
    Whole,
    check_same,
    epochs_of,
    metric_rows,
    values,
    whole,
)
from trackml.data.cache import data_dir

__all__ = ["whole"]

TRAIN = ("pipelines.scratch_mnist", *FLAGS["scratch_mnist"])
LONGER = ("--limit", "3000", "--epochs", "300", "--patience", "0", "--model", "mlp")
# Trains as TRAIN does, and waits at an epoch until it is killed, or may go on.
WAITING = """
import sys, time
from pathlib import Path
from pipelines import scratch_mnist
def wait(epoch, _metrics):
    if epoch == 3:
        Path("waits").touch()
        while not Path("may go on").exists():
            time.sleep(0.1)
flags = sys.argv[1:]
values = {flag[2:]: value for flag, value in zip(flags[::2], flags[1::2])}
scratch_mnist.main(scratch_mnist.Params.parse(values), [wait])
"""


def module(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *words)


def waiting(folder: Path, *, by: Sequence[str] = (), **environment: str) -> "subprocess.Popen[str]":
    """A training that waits after its third epoch."""
    process = subprocess.Popen(
        [*by, sys.executable, "-c", WAITING, *TRAIN[1:], "--resume", "true"],
        cwd=folder,
        env=user_environment() | environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until((folder / "waits").exists, process)
    return process


@needs_containers
@pytest.mark.parametrize("name", [pytest.param("another", marks=pytest.mark.slow), "box"])
def test_killed_in_a_container_it_goes_on_in_the_next(
    name: str, whole: Whole, store_folder: Path
) -> None:
    """With another name, or with the same name and the same process number, 1."""
    process = waiting(store_folder, by=container("box"))
    process.kill()
    process.communicate()
    assert [run.info.status for run in runs(store_folder)] == ["RUNNING"]
    said = execute(*container(name), *module(*TRAIN, "--resume", "true"), folder=store_folder)
    assert said.returncode == 0, said.stderr
    run = check_same(store_folder, whole("scratch_mnist", *FLAGS["scratch_mnist"]))
    assert f"resume: run {run.info.run_id} goes on" in said.stderr


def shared(folder: Path) -> tuple[Path, dict[str, str]]:
    """A store that all users of the machine can write, and another user's place and settings."""
    theirs, artifacts = folder / "theirs", folder / "mlruns" / "mnist"
    for path in (theirs, artifacts):
        path.mkdir(parents=True, exist_ok=True)
    os.chown(theirs, OTHER_USER, OTHER_USER)
    for path in (folder, artifacts):
        path.chmod(0o777)
    (folder / "mlflow.db").chmod(0o666)
    settings = {"HOME": str(theirs), "TRACKML_DATA_DIR": str(data_dir()), "LOGNAME": "other"}
    return theirs, settings | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}


@needs_containers
@needs_users
@pytest.mark.slow
def test_a_live_run_is_left_alone_whoever_starts_whatever_beside_it(
    whole: Whole, store_folder: Path
) -> None:
    live = waiting(store_folder)
    theirs, settings = shared(store_folder)
    resume, new = (*TRAIN, "--resume", "true"), (*TRAIN, "--epochs", "1")
    programs = [resume, ("trackml", "runs"), new, ("trackml", "sync"), resume]
    places = [(), container("box"), user(OTHER_USER), container("another")]
    for program, place in islice(zip(cycle(programs), cycle(places), strict=False), 50):
        is_other = place == user(OTHER_USER)
        said = execute(
            *place,
            *module(*program),
            folder=theirs if is_other else store_folder,
            **(settings if is_other else {}),
        )
        # Another user, who does not see the folder, begins a run of their own instead.
        codes = {75} if program == resume and not is_other else {0}
        codes |= {3} if program == ("trackml", "sync") else set()
        assert said.returncode in codes, (place, program, said.stdout, said.stderr)
    (store_folder / "may go on").touch()
    live.communicate()
    assert live.returncode == 0
    run, *others = runs(store_folder)  # the oldest is the live one
    same = [other for other in others if other.data.params["epochs"] == run.data.params["epochs"]]
    assert {other.data.tags["mlflow.user"] for other in same} <= {"other"}
    assert {other.info.status for other in others} <= {"FINISHED"}
    assert (run.info.status, "trackml.failure" in run.data.tags) == ("FINISHED", False)
    undisturbed = whole("scratch_mnist", *FLAGS["scratch_mnist"])
    assert metric_rows(read(store_folder), run) == metric_rows(
        read(undisturbed), *runs(undisturbed)
    )
    champion = read(store_folder).get_model_version_by_alias("mnist", "champion")
    # Of equal results the first one stays champion.
    assert champion.run_id in {each.info.run_id for each in (run, *same)}


@needs_users
@pytest.mark.slow
def test_two_users_of_a_store_are_in_nobody_s_way(store_folder: Path) -> None:
    """Killed, started, resumed, promoted and delivered, in the same temporary folder."""
    live = waiting(store_folder)
    theirs, settings = shared(store_folder)
    live.kill()
    live.communicate()
    (ours,) = runs(store_folder)

    def other(*words: str) -> "subprocess.CompletedProcess[str]":
        said = execute(*user(OTHER_USER), *module(*words), folder=theirs, **settings)
        assert said.returncode == 0, (words, said.stderr)
        return said

    other(*TRAIN, "--resume", "true")
    for command in ("runs", "sync"):
        other("trackml", command)
    (own,) = (run for run in runs(store_folder) if run.data.tags["mlflow.user"] == "other")
    assert own.info.status == "FINISHED"
    said = execute(*module(*TRAIN, "--resume", "true"), folder=store_folder)
    assert f"resume: run {ours.info.run_id} goes on" in said.stderr, said.stderr
    assert read(store_folder).get_run(ours.info.run_id).info.status == "FINISHED"
    other("trackml", "promote", "mnist", "--run", ours.info.run_id)


@needs_users
@pytest.mark.slow
def test_two_users_of_a_server_are_in_nobody_s_way(tmp_path: Path) -> None:
    """Each is killed, and resumes after the other has started, resumed, promoted and delivered."""
    resume = (*TRAIN, "--resume", "true")
    with Server(tmp_path / "server") as server:
        places: dict[str, tuple[str, ...]] = {"one": user(OTHER_USER), "two": user(OTHER_USER + 1)}
        for name, place in places.items():
            (tmp_path / name).mkdir()
            number = int(place[1].partition("=")[2])
            os.chown(tmp_path / name, number, number)

        def settings(name: str) -> dict[str, str]:
            data = {"TRACKML_DATA_DIR": str(data_dir()), "MLFLOW_TRACKING_URI": server.uri}
            return data | {"HOME": str(tmp_path / name), "LOGNAME": name}

        def start_as(name: str, *words: str) -> str:
            folder = tmp_path / name
            said = execute(*places[name], *module(*words), folder=folder, **settings(name))
            assert said.returncode == 0, (name, words, said.stderr)
            return said.stderr

        for killed, other in (("one", "two"), ("two", "one")):
            live = waiting(tmp_path / killed, by=places[killed], **settings(killed))
            run = runs(server.uri)[-1].info
            start_as(other, *resume)  # before it is killed, and after
            live.kill()
            live.communicate()
            for words in (("trackml", "runs"), ("trackml", "sync"), TRAIN, resume):
                start_as(other, *words)
            assert f"resume: run {run.run_id} goes on" in start_as(killed, *resume)
            for name in (other, killed):
                start_as(name, "trackml", "promote", "mnist", "--run", run.run_id)
                start_as(name, "trackml", "sync")
        assert {run.info.status for run in runs(server.uri)} == {"FINISHED"}


@pytest.mark.slow
def test_a_run_of_a_git_address_goes_on_from_the_next_copy(
    whole: Whole, store_folder: Path
) -> None:
    """MLflow clones the repository into a temporary folder each time."""
    source = store_folder / "served" / "project"
    for name in ("pipelines", "src"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("MLproject", "python_env.yaml", "requirements.txt", "Makefile"):
        shutil.copy(ROOT / name, source)
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    steps: list[tuple[str, ...]] = [("init", "-q"), ("add", ".")]
    for step in (*steps, (*author, "commit", "-qm", "Project")):
        assert execute("git", *step, folder=source).returncode == 0
    port = str(free_port())
    serving = ("git", "daemon", "--export-all", f"--base-path={source.parent}", f"--port={port}")
    pairs = [f"{name}={value}" for name, value in values(LONGER).items()]
    given = [word for value in (*pairs, "resume=true") for word in ("-P", value)]
    command = ("mlflow", "run", f"git://127.0.0.1:{port}/project", "-e", "scratch_mnist")
    settings = {
        "XDG_STATE_HOME": str(store_folder),
        "MLFLOW_TRACKING_URI": f"sqlite:///{store_folder}/mlflow.db",
    }
    with subprocess.Popen(serving, start_new_session=True) as daemon:
        try:
            words = [sys.executable, "-m", *command, "--env-manager", "local", *given]
            environment = user_environment() | settings | {MARK: str(store_folder)}
            process = subprocess.Popen(words, cwd=store_folder, env=environment, text=True)
            wait_until(lambda: epochs_of(store_folder) > 1, process)
            process.kill()
            process.wait()
            wait_for_the_end(store_folder)  # what it began stops with it
            said = start(
                *command, "--env-manager", "local", *given, folder=store_folder, **settings
            )
        finally:
            os.killpg(daemon.pid, signal.SIGTERM)
    assert said.returncode == 0, said.stderr
    assert "goes on" in said.stderr
    assert "make ui" not in said.stdout + said.stderr  # nobody can run it there
    first, second = runs(store_folder)
    assert first.data.tags["trackml.successor"] == second.info.run_id
    undisturbed = whole("scratch_mnist", *LONGER)
    assert metric_rows(read(store_folder), second) == metric_rows(
        read(undisturbed), *runs(undisturbed)
    )
