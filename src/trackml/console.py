"""What a person sees while a program runs, and at its end: a view per kind of program."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trackml.errors import TrackingIncomplete
from trackml.history import Callback
from trackml.params import Params, RunParams, TrainingParams
from trackml.tasks import IS_INSTALLED

if TYPE_CHECKING:
    from trackml.evaluation.report import Table
    from trackml.sweeps.runner import SweepResult
    from trackml.sweeps.tuner import TrialCallback
    from trackml.sweeps.worker import Outcome
    from trackml.tasks import EntryPoint
    from trackml.tracking.registry import Registration
    from trackml.tracking.run import EndedRun, Result

WIDTH = 130  # characters of a table, into a file or a pipe
LEADERBOARD_WIDTH = 200  # it has many columns


@dataclass(frozen=True)
class View:
    """What a person sees of a program.

    Attributes:
        progress: parameters → a callback for `main`, or None, for as long as it runs.
        show_result: prints what `main` gave back.
    """

    progress: Callable[[Any], AbstractContextManager[Any]]
    show_result: Callable[[Any, Any], None]


def run_shown(entry: "EntryPoint", params: Any) -> Any:
    """Run an entry point, print its progress, and return its result."""
    with (entry.view or TRAINING).progress(params) as callback:
        return entry.main(params, [callback] if callback else [])


def show_result(entry: "EntryPoint", result: Any, params: Any) -> None:
    """Print the result of an entry point.

    Raises:
        TrackingIncomplete: after that, if the store does not have all of it.
    """
    (entry.view or TRAINING).show_result(result, params)


def show_entry_points(entries: "Mapping[str, EntryPoint]") -> None:
    """Print the names of entry points, and what each does."""
    rows = [
        [name, (entry.main.__doc__ or "").partition("\n")[0]] for name, entry in entries.items()
    ]
    print_table(console(), table_of_texts("entry points", ["name", "what it does"], rows))


def line_width() -> int | None:
    """The characters of a line, of the terminal or as COLUMNS says; None into a file or a pipe."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return Console().width
    return None


def console(width: int = WIDTH) -> Console:
    """A console that prints texts as they are, and leaves it to the terminal to break lines.

    Args:
        width: what tables have room for, in characters, into a file or a pipe.
    """
    return Console(
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        width=line_width() or width,
        force_jupyter=False,  # there, text among the other output, and not a picture for each line
    )


def print_table(out: Console, table: "Table") -> None:
    """Print a table and its notes; its rows below each other on a terminal that is too narrow."""
    if table.min_width > (line_width() or table.min_width):
        out.print(table.as_blocks())
    else:
        out.print(table.as_rich(out.width))
    for note in table.notes:
        out.print(note)


def table_of_texts(title: str, headings: list[str], rows: Iterable[Sequence[str]]) -> "Table":
    """A table of texts."""
    import pandas as pd

    from trackml.evaluation.report import Table, text_of

    data = pd.DataFrame(rows, columns=headings)
    return Table(title, data, {name: text_of(name) for name in headings})


@contextmanager
def _lines_above_bar(
    unit: str, total: int | None
) -> Iterator[Callable[[Sequence[Sequence[str]], int, int], None]]:
    """A function that prints a line and moves the bar: (line, so many done, of so many).

    A line comes in versions, each a list of its parts: the first that fits is printed, or the last.

    Args:
        total: None where it is not known yet.
    """
    # Not `is_terminal` alone: FORCE_COLOR makes it true for a log.
    out = Console(highlight=False, markup=False, emoji=False)
    if not (sys.stdout.isatty() and out.is_terminal):
        yield lambda versions, _done, _total: print(_fitting(versions), flush=True)
        return
    # The bar alone gets narrower with the terminal.
    columns = (TextColumn(unit), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task(unit, total=total)

        def show(versions: Sequence[Sequence[str]], done: int, total: int) -> None:
            out.print(_fitting(versions), soft_wrap=True)
            bar.update(task, completed=done, total=total)

        yield show


def _fitting(versions: Sequence[Sequence[str]]) -> str:
    lines = ["  ".join(parts) for parts in versions]
    width = line_width() or len(lines[0])
    return next((line for line in lines if len(line) <= width), lines[-1])


@contextmanager
def _epoch_progress(params: RunParams) -> Iterator[Callback]:
    """A callback that prints a line per epoch, on a terminal above a bar that shows the time.

    Where the parameters have no epochs, it prints the iterations of a fit that is done, without a
    bar, or the fit as a whole.
    """
    if not isinstance(params, TrainingParams):
        yield lambda epoch, metrics: print(_fitting(_fit_line(epoch, metrics)), flush=True)
        return
    epochs = params.epochs
    with _lines_above_bar("epoch", epochs) as show:

        def callback(epoch: int, metrics: Mapping[str, float]) -> None:
            number = f"epoch {epoch:>{len(str(epochs))}}/{epochs}"
            show(_epoch_line(number, metrics), epoch, epochs)

        yield callback


def _fit_line(epoch: int, metrics: Mapping[str, float]) -> list[list[str]]:
    if "learning_rate" not in metrics:  # which all iterations have
        return _epoch_line("fit", metrics)
    untimed = {name: value for name, value in metrics.items() if name != "epoch_seconds"}
    return _epoch_line(f"iteration {epoch:>4}", untimed)


def _epoch_line(number: str, metrics: Mapping[str, float]) -> list[list[str]]:
    """A line in versions: all; without training scores; without the time; the last score."""
    scores = [
        f"{name} {value:.4f}"
        for name, value in metrics.items()
        if name.startswith(("train_", "val_")) and name.count("_") == 1  # not parts of a loss
    ]
    val = [score for score in scores if score.startswith("val_")]
    seconds = metrics.get("epoch_seconds")  # not of an untrained model
    time = [] if seconds is None else [f"{seconds:.1f} s"]
    return [[number, *scores, *time], [number, *val, *time], [number, *val], [number, *val[-1:]]]


def _show_training(result: "Result", params: RunParams) -> None:
    """Print the test results, what became of the model, and how to look at it all.

    Raises:
        TrackingIncomplete: after that, if the store does not have all of it.
    """
    out = console()
    history = result.history
    if history.stopped:
        done = f"epoch {len(history.rows)} of {getattr(params, 'epochs', len(history.rows))}"
        out.print(f"stopped after {done}: {history.stopped}")
    scores = history.summary | dict(result.report.metrics)
    names = [name for name in scores if "_class_" not in name]
    values = [format(scores[name], "g" if name.endswith("_epoch") else ".4f") for name in names]
    rows = zip(names, values, strict=True)
    title = f"{result.task}: {result.architecture}"
    print_table(out, table_of_texts(title, ["result", "value"], rows))
    _close(out, result, [result.registration] if result.registration else [], params)


@contextmanager
def _trial_progress(_params: Params) -> "Iterator[TrialCallback]":
    """A callback that prints a line per trial that has ended, on a terminal above a bar."""
    with _lines_above_bar("trial", None) as show:
        yield lambda outcome, done, total: show(_trial_line(outcome, done, total), done, total)


def _trial_line(outcome: "Outcome", done: int, total: int) -> list[list[str]]:
    """A line in versions: all; the score alone; without the time."""
    number, time = f"trial {done:>{len(str(total))}}/{total}", f"{outcome.seconds:.1f} s"
    start = [number, outcome.name]
    if outcome.failure:
        return [[*start, f"failed: {outcome.failure}"]]
    if outcome.pruned_after:
        pruned = [*start, f"pruned after epoch {outcome.pruned_after}"]
        return [[*pruned, time], pruned]
    scores = {
        name: f"{name} {value:g}" if name.endswith("_epoch") else f"{name} {value:.4f}"
        for name, value in outcome.summary.items()
    }
    best = [text for name, text in scores.items() if name.startswith("best_val_")][-1:]
    return [[*start, *scores.values(), time], [*start, *best, time], [*start, *best]]


def _show_sweep(result: "SweepResult", params: RunParams) -> None:
    """Print the best, what failed, and how to look at it all.

    Raises:
        TrackingIncomplete: after that, if the store does not have all of it.
    """
    out, report = console(), result.report
    print_table(out, report.table)
    out.print(report.summary)
    if report.command:
        out.print(f"to run it again: {report.command}")
    _close(out, result, result.registrations, params)


@contextmanager
def _no_progress(_params: Params) -> Iterator[None]:
    """Nothing: it takes seconds."""
    yield None


def _show_leaderboard(tables: "Sequence[Table]", _params: Params) -> None:
    """Print the leaderboard, what is left out of it, and how to look at it all."""
    out = console(LEADERBOARD_WIDTH)
    for table in tables:
        print_table(out, table)
    out.print("mean ± standard deviation over n runs of different seeds; ranked by validation")
    out.print(f"to compare runs: {ui_command()}")


TRAINING = View(_epoch_progress, _show_training)
SWEEP = View(_trial_progress, _show_sweep)
LEADERBOARD = View(_no_progress, _show_leaderboard)


def _close(
    out: Console, result: "EndedRun", registrations: "Sequence[Registration]", params: RunParams
) -> None:
    """Print the last lines: what became of models, how to see it all, and what is owed.

    Raises:
        TrackingIncomplete: after them, if the store does not have all of the run.
    """
    from trackml.tracking.server import shown_address

    for registration in registrations:
        for line in registration_lines(registration):
            out.print(line)
    if not params.register_model:
        out.print("not registered (--register false)")
    out.print(f"to compare runs: {ui_command()}")
    if result.is_pending:
        raise TrackingIncomplete(
            f"done, but {shown_address()} does not have all of run {result.run_id} yet: it is "
            f"kept in {result.folder}; once the store answers, `python -m trackml sync` delivers it"
        )


def ui_command() -> str:
    """The command, or the address, that shows the store."""
    import mlflow

    from trackml.tracking.address import database_path, is_server, without_password

    uri = mlflow.get_tracking_uri()
    if is_server(uri):
        return f"open {without_password(uri)}"
    if path := database_path(uri):
        is_default = path == Path("mlflow.db").absolute()
        if is_default and IS_INSTALLED:
            return "trackml ui"
        uri = "sqlite:///mlflow.db" if is_default else shlex.quote(uri)
        return f"mlflow ui --backend-store-uri {uri}"
    return 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'  # it may hold a password


def registration_lines(registration: "Registration") -> list[str]:
    """What became of a model in the registry."""
    from trackml.tracking.registry import STILL_CHAMPION

    verdict = "new champion" if registration.is_champion else "not the champion"
    return [
        f"registered {registration.task} version {registration.version}, aliases: "
        + (", ".join(registration.aliases) or "none"),
        STILL_CHAMPION
        if registration.reason == STILL_CHAMPION
        else f"{verdict}: {registration.reason}",
        *(f"alias {alias} stays: {why}" for alias, why in registration.withheld.items()),
    ]
