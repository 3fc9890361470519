"""What a person sees while a program runs, and at its end: a view per kind of program."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console

from trackml.display.lines import Versions, width, wrapped, wrapped_command
from trackml.display.live import Display, displayed
from trackml.display.recipe import about_recipe, full_recipe
from trackml.errors import Terminated, TrackingIncomplete
from trackml.params import Params, RunParams, TrainingParams
from trackml.params.fields import as_text
from trackml.tasks import is_in_checkout
from trackml.ui.names import request_of

if TYPE_CHECKING:
    from trackml.evaluation.report import Table
    from trackml.history import Callback
    from trackml.sweeps.runner import SweepResult
    from trackml.sweeps.worker import Outcome
    from trackml.tasks import EntryPoint
    from trackml.tracking.registry import Registration
    from trackml.tracking.run import EndedRun, Result

CONFUSIONS = "figures/confusion_matrix.png"
MEANINGS = {
    "best_epoch": "the epoch whose weights are kept",
    "convergence_epoch": "the first within 0.001 of the best",
    "loss": "to be minimized, {} data",
    "accuracy": "share that is right, {} data",
    "precision_macro": "how often a named class is right",
    "recall_macro": "how much of a class is found",
    "f1_macro": "both in one: their harmonic mean",
    "expected_calibration_error": "how far confidence is from accuracy",
    "mae": "mean absolute error",
    "mse": "mean squared error",
    "rmse": "root of the mean squared error",
    "r2": "share of the variance explained",
    "map": "mean average precision of boxes",
    "map_50": "the same, half an overlap is enough",
    "mean_iou": "overlap of boxes found and there",
    "prediction_seconds_per_1000": "time to predict 1,000 examples",
}
"""What a score says, by the end of its name."""


@dataclass(frozen=True)
class View:
    """What a person sees of a program.

    Attributes:
        progress: parameters → a callback for `main`, for as long as it runs. With `shows_facts` it
            also says what runs, on what, and where.
        show_result: prints what `main` gave back.
    """

    progress: Callable[..., AbstractContextManager[Display]]
    show_result: Callable[[Any, Any], None]


def run_shown(entry: "EntryPoint", params: Any, *, shows_facts: bool = False) -> Any:
    """Run an entry point, print its progress, and return its result.

    Args:
        shows_facts: print what runs, on what and where, and what its full recipe costs.
    """
    view = entry.view or TRAINING
    request = request_of(params, entry.task.entry_points if entry.task else {}, entry.name)
    with view.progress(params, shows_facts=shows_facts) as display:
        callbacks: list[Callback] = [display]
        about = (entry.main.__doc__ or "").partition("\n")[0]
        display.fact("program", f"{request.name}: {about}")
        epochs = getattr(params, "epochs", 0)
        if shows_facts and view is TRAINING and (recipe := full_recipe(entry, request, epochs)):
            display.fact("epochs", f"{epochs} of the full recipe's {recipe.epochs}")
            callbacks.append(partial(about_recipe, recipe, display))
        try:
            return entry.main(params, callbacks)
        except (KeyboardInterrupt, Terminated):
            if display.is_tracked and isinstance(params, RunParams):
                flag = "-P resume=true" if "MLFLOW_RUN_ID" in os.environ else "--resume true"
                of_make = " among ARGS" if is_in_checkout() and flag.startswith("-P") else ""
                display.fact("resume", f"the same command with {flag}{of_make} goes on from here")
            raise


def show_result(entry: "EntryPoint", result: Any, params: Any) -> None:
    """Print the result of an entry point.

    Raises:
        TrackingIncomplete: after that, if the store does not have all of it.
    """
    (entry.view or TRAINING).show_result(result, params)


def show_entry_points(entries: "Mapping[str, EntryPoint]") -> None:
    """Print the names of entry points, and what each does."""
    rows = []
    for name, entry in entries.items():
        preset = "".join(f" {flag}={as_text(value)}" for flag, value in entry.preset.items())
        about = (entry.main.__doc__ or "").partition("\n")[0]
        rows.append([name, about + f" With{preset}." * bool(preset)])
    print_table(console(), table_of_texts("entry points", ["name", "what it does"], rows))


def console() -> Console:
    """A console that prints texts as they are, and leaves it to the terminal to break lines."""
    return Console(
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        width=width(),
        force_jupyter=False,  # there, text among the other output, and not a picture for each line
    )


def print_table(out: Console, table: "Table") -> None:
    """Print a table and its notes; its rows below each other where lines are too short for it."""
    out.print(table.as_blocks(width()) if table.min_width > width() else table.as_rich(out.width))
    for note in table.notes:
        out.print(wrapped(note))


def table_of_texts(title: str, headings: list[str], rows: Iterable[Sequence[str]]) -> "Table":
    """A table of texts."""
    import pandas as pd

    from trackml.evaluation.report import Table, text_of

    data = pd.DataFrame(rows, columns=headings)
    return Table(title, data, {name: text_of(name) for name in headings})


def _epoch_progress(
    params: RunParams, *, shows_facts: bool = False
) -> AbstractContextManager[Display]:
    """A callback that prints a line per epoch.

    Where the parameters have no epochs, it prints the iterations of a fit that is done, or the fit
    as a whole.
    """
    if not isinstance(params, TrainingParams):
        return displayed(_fit_line, shows_facts=shows_facts)
    epochs = params.epochs

    def line(epoch: int, metrics: Mapping[str, float]) -> Versions:
        return _epoch_line(f"epoch {epoch:>{len(str(epochs))}}/{epochs}", metrics)

    return displayed(line, shows_facts=shows_facts)


def _fit_line(epoch: int, metrics: Mapping[str, float]) -> Versions:
    if "learning_rate" not in metrics:  # which all iterations have
        return _epoch_line("fit", metrics)
    untimed = {name: value for name, value in metrics.items() if name != "epoch_seconds"}
    return _epoch_line(f"iteration {epoch:>4}", untimed)


def _epoch_line(number: str, metrics: Mapping[str, float]) -> Versions:
    """A line in versions: all; of training the loss; nothing; without time; the last score."""
    scores = [
        f"{name} {value:.4f}"
        for name, value in metrics.items()
        if name.startswith(("train_", "val_")) and name.count("_") == 1  # not parts of a loss
    ]
    val = [score for score in scores if score.startswith("val_")]
    loss = [score for score in scores if score.startswith("train_loss")]
    seconds = metrics.get("epoch_seconds")  # not of an untrained model
    time = [] if seconds is None else [f"{seconds:.1f} s"]
    parts = [[*scores, *time], [*loss, *val, *time], [*val, *time], val, val[-1:]]
    return [[number, *each] for each in parts]


def _show_training(result: "Result", params: RunParams) -> None:
    """Print the test results, what became of the model, and how to look at it all.

    Raises:
        TrackingIncomplete: after that, if the store does not have all of it.
    """
    out = console()
    history = result.history
    if history.stopped:
        done = f"epoch {len(history.rows)} of {getattr(params, 'epochs', len(history.rows))}"
        out.print(wrapped(f"stopped after {done}: {history.stopped}"))
    scores = history.summary | dict(result.report.metrics)
    names = [name for name in scores if "_class_" not in name]
    rows = [
        [name, format(scores[name], "g" if name.endswith("_epoch") else ".4f"), meaning_of(name)]
        for name in names
    ]
    title = f"{result.task}: {result.architecture}"
    print_table(out, table_of_texts(title, ["result", "value", "what it says"], rows))
    if CONFUSIONS in result.report.figures:
        out.print(f"which classes are confused: {CONFUSIONS}, an artifact of the run")
    _close(out, result, [result.registration] if result.registration else [], params)


def meaning_of(name: str) -> str:
    """What a result says, in a few words; "" for one of the user's own.

    >>> meaning_of("test_accuracy"), meaning_of("best_val_loss")
    ('share that is right, test data', 'to be minimized, validation data')
    """
    prefixes = {"best_val_": "validation", "test_": "test", "train_": "training"}
    prefix = next(filter(name.startswith, prefixes), "")
    return MEANINGS.get(name.removeprefix(prefix), "").format(prefixes.get(prefix, ""))


def _trial_progress(
    _params: Params, *, shows_facts: bool = False
) -> AbstractContextManager[Display]:
    """A callback that prints a line per trial that has ended."""
    return displayed(_trial_line, shows_facts=shows_facts)


def _trial_line(outcome: "Outcome", done: int, total: int) -> Versions:
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
    out.print(wrapped(report.summary))
    if report.command:
        out.print(f"to run it again:\n{wrapped_command(report.command)}")
    _close(out, result, result.registrations, params)


def _show_leaderboard(tables: "Sequence[Table]", _params: Params) -> None:
    """Print the leaderboard, what is left out of it, and how to look at it all."""
    from trackml.tracking.address import ui_line

    out = console()
    for table in tables:
        print_table(out, table)
    out.print(
        wrapped("mean ± standard deviation over n runs of different seeds; ranked by validation")
    )
    out.print(f"to compare runs:\n{wrapped_command(ui_line())}")


TRAINING = View(_epoch_progress, _show_training)
SWEEP = View(_trial_progress, _show_sweep)
LEADERBOARD = View(_trial_progress, _show_leaderboard)  # of no trials: it shows what lasts


def _close(
    out: Console, result: "EndedRun", registrations: "Sequence[Registration]", params: RunParams
) -> None:
    """Print the last lines: what became of models, how to see it all, and what is owed.

    Raises:
        TrackingIncomplete: after them, if the store does not have all of the run.
    """
    from trackml.tracking.address import ui_line
    from trackml.tracking.server import shown_address

    for registration in registrations:
        for line in registration_lines(registration):
            out.print(wrapped(line))
    for registration in registrations[-1:]:
        out.print("to use it in Python:")
        for line in loading_lines(registration):
            out.print(f"  {line}")
    if not params.register_model:
        out.print("not registered (--register false)")
    out.print(f"to compare runs:\n{wrapped_command(ui_line(result.experiment_id))}")
    if result.is_pending:
        raise TrackingIncomplete(
            f"done, but {shown_address()} does not have all of run {result.run_id} yet: it is "
            f"kept in {result.folder}; once the store answers, `python -m trackml sync` delivers it"
        )


def loading_lines(registration: "Registration") -> list[str]:
    """The two lines of Python that load a registered model."""
    task, aliases = registration.task, registration.aliases
    if not aliases:
        uri = f"models:/{task}/{registration.version}"
        return ["import mlflow", f'model = mlflow.pyfunc.load_model("{uri}")']
    alias = "" if registration.is_champion else f', "{aliases[0]}"'
    return ["import trackml", f'model = trackml.load("{task}"{alias})']


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
