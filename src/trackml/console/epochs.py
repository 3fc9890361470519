"""The view of a pipeline: a line per epoch, and the result."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.table import Table

from trackml.console.bar import lines_above_bar, wide_console
from trackml.errors import TrackingIncomplete
from trackml.history import EpochHook
from trackml.params import TrainingParams

if TYPE_CHECKING:
    from trackml.tracking.registry import Registration
    from trackml.tracking.run import Result


@contextmanager
def progress(params: TrainingParams) -> Iterator[EpochHook]:
    """A hook that prints a line per epoch, on a terminal above a bar that shows the time."""
    epochs = params.epochs
    with lines_above_bar("epoch", epochs) as show:

        def line(epoch: int, metrics: Mapping[str, float]) -> str:
            scores = [
                f"{name} {value:.4f}"
                for name, value in metrics.items()
                if name.startswith(("train_", "val_"))
                and name.count("_") == 1  # not parts of a loss
            ]
            number = f"epoch {epoch:>{len(str(epochs))}}/{epochs}"
            seconds = metrics.get("epoch_seconds")  # not of an untrained model
            time = [] if seconds is None else [f"{seconds:.1f} s"]
            return "  ".join([number, *scores, *time])

        yield lambda epoch, metrics: show(line(epoch, metrics), epoch, epochs)


def show_result(result: "Result", params: TrainingParams) -> None:
    """Print the test results, what became of the model, and how to look at it all.

    Raises:
        TrackingIncomplete: after that, if the store does not have all of it.
    """
    from trackml.tracking.reach import shown_address
    from trackml.tracking.store import ui_command

    console = wide_console()
    history = result.history
    if history.stopped:
        done = f"epoch {len(history.rows)} of {params.epochs}"
        console.print(f"stopped after {done}: {history.stopped}")
    title = f"{result.task}: {result.architecture}"
    table = Table("result", "value", title=title, title_justify="left")
    table.columns[1].justify = "right"
    for name, value in (history.summary | dict(result.report.metrics)).items():
        if "_class_" not in name:
            table.add_row(name, f"{value:g}" if name.endswith("_epoch") else f"{value:.4f}")
    console.print(table)
    if result.registration:
        for line in in_words(result.registration):
            console.print(line)
    elif not result.is_owed:
        console.print("not registered (--register false)")
    console.print(f"to compare runs: {ui_command()}")
    if result.is_owed:
        raise TrackingIncomplete(
            f"trained, but {shown_address()} does not have all of run {result.run_id} yet: it is "
            f"kept in {result.folder}; once the store answers, `python -m trackml sync` delivers it"
        )


def in_words(registration: "Registration") -> list[str]:
    """What became of a model in the registry."""
    verdict = "new champion" if registration.is_champion else "not the champion"
    return [
        f"registered {registration.task} version {registration.version}, aliases: "
        + ", ".join(registration.aliases),
        f"{verdict}: {registration.reason}",
    ]
