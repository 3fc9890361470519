"""The view of a pipeline: a line per epoch, and the result."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.table import Table

from trackml.console.bar import lines_above_bar, wide_console
from trackml.console.closing import close
from trackml.history import EpochHook
from trackml.params import TrainingParams

if TYPE_CHECKING:
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
    close(console, result, [result.registration] if result.registration else [], params)
