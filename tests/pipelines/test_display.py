"""The display is taken away while a program trains: it goes on, or ends as if asked to stop."""

import random
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ROOT, read, runs
from tests.pipelines.expected import EXPECTED
from tests.pipelines.families import MARK, in_states, wait_for_the_end
from tests.terminals import Display, begun_in_pipe, begun_in_terminal

EPOCHS = 5
PROGRAM = (
    *("pipelines.scratch_mnist", "--limit", "500", "--validation_split", "0.02"),
    *("--epochs", str(EPOCHS), "--patience", "0", "--register", "false"),
)
TREES = ("pipelines.housing_trees", "--iterations", "2", "--register", "false")
Begin = Callable[..., Display]
NOHUP = 'trap "" HUP; exec "$@"'
NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@dataclass(frozen=True)
class Way:
    """How a program prints, and what ends that.

    Attributes:
        shell: starts the program, "$@". variables: of its environment.
        in_terminal: else it prints into a pipe. Either is closed.
        number: a signal that it gets too.
    """

    status: str = "FINISHED"
    shell: str = 'exec "$@"'
    in_terminal: bool = False
    number: int = signal.SIGCONT
    variables: dict[str, str] = field(default_factory=dict)


WAYS = {
    "terminal": Way("KILLED", in_terminal=True),
    "terminal, nohup": Way(shell=NOHUP, in_terminal=True),
    "pipe": Way(),
    "all closed": Way(shell='exec "$@" <&- >&- 2>&-'),
    "SIGXCPU": Way("KILLED", number=signal.SIGXCPU),
    "stdout closed": Way(shell='exec "$@" >&-'),
    "stderr closed": Way(shell='exec "$@" 2>&-'),
    "stdin closed": Way(shell='exec "$@" <&-'),
    "disk full": Way(shell='exec "$@" >/dev/full 2>&1'),
    "ASCII": Way(variables={"PYTHONIOENCODING": "ascii"}),
    "Latin-1": Way(in_terminal=True, shell=NOHUP, variables={"PYTHONIOENCODING": "latin-1"}),
    "LC_ALL=C": Way(variables=NO_UTF8),
    "SIGHUP": Way("KILLED", number=signal.SIGHUP),
    "SIGQUIT": Way("KILLED", in_terminal=True, number=signal.SIGQUIT),
    "SIGUSR1": Way("KILLED", number=signal.SIGUSR1),
}


def pulled(number: int) -> object:
    """A way and a random epoch; the first ways in each test run, thirty in the slow ones."""
    name = list(WAYS)[number % len(WAYS)]
    epoch = random.Random(number).randint(1, EPOCHS - 1)
    marks = [pytest.mark.slow] if number >= 4 else []
    return pytest.param(WAYS[name], epoch, marks=marks, id=f"{name}, epoch {epoch}")


@pytest.mark.parametrize(("way", "epoch"), [pulled(number) for number in range(30)])
def test_a_run_whose_display_is_taken_away_in_an_epoch_finishes_or_ends_in_order(
    way: Way, epoch: int, tmp_path: Path, blank_database: Path
) -> None:
    shutil.copy(blank_database, tmp_path / "mlflow.db")
    begun = begun_in_terminal if way.in_terminal else begun_in_pipe
    program = ("tests.failpoints", f"SIGSTOP@after:epoch:{epoch}", *PROGRAM)
    display = begun(*program, folder=tmp_path, shell=way.shell, variables=way.variables)
    display.read(until_stopped=True)
    display.close()
    display.process.send_signal(way.number)
    display.process.send_signal(signal.SIGCONT)
    code = display.process.wait()
    (run,) = runs(tmp_path)
    assert (run.info.status, code) == (way.status, 143 if way.status == "KILLED" else 0)
    assert run.data.tags.get("trackml.failure", "stopped by a signal") == "stopped by a signal"
    rows = read(tmp_path).get_metric_history(run.info.run_id, "val_loss")
    last = EPOCHS if way.status == "FINISHED" else epoch
    assert sorted(row.step for row in rows) == list(range(last + 1))


def test_mlflow_run_whose_terminal_is_closed_ends_its_program_in_order(
    tmp_path: Path, blank_database: Path
) -> None:
    shutil.copy(blank_database, tmp_path / "mlflow.db")
    values = ["-P", "epochs=1000000", "-P", "limit=500", "-P", "validation_split=0.02"]
    display = begun_in_terminal(
        *("mlflow", "run", str(ROOT), "-e", "scratch_mnist", "--env-manager", "local"),
        *(*values, "-P", "patience=0"),
        folder=tmp_path,
        variables={MARK: str(tmp_path)},
    )
    display.read(until="val_loss")
    display.close()
    display.process.wait()
    wait_for_the_end(tmp_path)
    (run,) = runs(tmp_path)
    assert run.info.status == "KILLED"
    assert run.data.tags["trackml.failure"] == "stopped by a signal"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "epochs", "code", "status"),
    [('exec "$@"', "100000", 143, "KILLED"), (NOHUP, "2", 0, "FINISHED")],
)
def test_a_suite_whose_terminal_is_closed_ends_with_all_its_processes(
    shell: str, epochs: str, code: int, status: str, tmp_path: Path
) -> None:
    display = begun_in_terminal(
        *("pipelines.cnn_suite", "--variants", "plain", "--optimizers", "adam,sgd"),
        *("--limit", "500", "--epochs", epochs, "--register", "false"),
        folder=tmp_path,
        shell=shell,
        variables={MARK: str(tmp_path)},
    )
    while not in_states(tmp_path, RUNNING=1):
        display.read_some()
        assert display.process.poll() is None, display.shown
    display.close()
    assert display.process.wait() == code
    assert {run.info.status for run in runs(tmp_path)} == {status}
    wait_for_the_end(tmp_path)


def shown_by(begin: Begin, folder: Path, *program: str) -> Display:
    """What a program showed to its end: in lines of 80 columns, and never silent for long."""
    display = begin(*program, folder=folder)
    display.read()
    display.close()
    assert display.process.returncode == 0, display.shown
    assert max(map(len, display.lines)) <= 80, max(display.lines, key=len)
    assert display.silence < 10, (program, display.shown)
    assert "…" not in display.shown
    return display


@pytest.mark.parametrize("begin", [begun_in_terminal, begun_in_pipe])
@pytest.mark.parametrize("program", [PROGRAM, TREES])
def test_no_line_wraps_and_nothing_is_silent_for_long(
    program: tuple[str, ...], begin: Begin, store_folder: Path
) -> None:
    display = shown_by(begin, store_folder, *program)
    last = r"epoch 5/5  train_loss \S+  val_loss \S+  val_accuracy \S+  \S+ s|iteration +2  .*"
    assert any(re.fullmatch(last, line) for line in display.lines)


@pytest.mark.slow
@pytest.mark.parametrize("begin", [begun_in_terminal, begun_in_pipe])
def test_no_entry_point_is_silent_for_long(begin: Begin, store_folder: Path) -> None:
    for expected in EXPECTED.values():
        shown_by(begin, store_folder, *expected.command)
    few = ("--limit", "500", "--epochs", "2")
    shown_by(begin, store_folder, "pipelines.cnn_suite", "--variants", "plain", *few)
    shown_by(begin, store_folder, "pipelines.sweep", "--space", "dropout=0.1|0.2", *few)
    members = ("--task", "california_housing", "--members", "@dense,@boosted-trees")
    shown_by(begin, store_folder, "pipelines.ensemble", *members)
    shown_by(begin, store_folder, "pipelines.ensemble", "--members", "@dense,@cnn")
    shown_by(begin, store_folder, "pipelines.compare")
