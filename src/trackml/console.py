"""What a person sees while a pipeline runs, and at its end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from trackml.history import EpochHook

if TYPE_CHECKING:
    from trackml.tracking.run import Result


@contextmanager
def progress(epochs: int) -> Iterator[EpochHook]:
    """A hook that prints a line per epoch, on a terminal above a bar that shows the time."""
    console = Console(highlight=False, markup=False)

    def line(epoch: int, metrics: Mapping[str, float]) -> str:
        scores = [
            f"{name} {value:.4f}"
            for name, value in metrics.items()
            if name.startswith(("train_", "val_"))
        ]
        number = f"epoch {epoch:>{len(str(epochs))}}/{epochs}"
        return "  ".join([number, *scores, f"{metrics['epoch_seconds']:.1f} s"])

    if not console.is_terminal:
        yield lambda epoch, metrics: print(line(epoch, metrics), flush=True)
        return
    columns = (TextColumn("epoch"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("epochs", total=epochs)

        def show(epoch: int, metrics: Mapping[str, float]) -> None:
            console.print(line(epoch, metrics), soft_wrap=True)
            bar.update(task, completed=epoch)

        yield show


def show_result(result: "Result", epochs: int) -> None:
    """Print the test results, what became of the model, and how to look at it all.

    Args:
        epochs: how many were asked for; fewer were done if no better one came for too long.
    """
    from trackml.tracking.store import ui_command

    console = Console(highlight=False, markup=False, soft_wrap=True)
    done = len(result.history.rows)
    if done < epochs:
        console.print(
            f"stopped after epoch {done} of {epochs}: none better since epoch "
            f"{result.history.best_epoch} (--patience)"
        )
    title = f"{result.task}: {result.architecture}"
    table = Table("result", "value", title=title, title_justify="left")
    table.columns[1].justify = "right"
    for name, value in (result.history.summary | dict(result.report.metrics)).items():
        if "_class_" not in name:
            table.add_row(name, f"{value:g}" if name.endswith("_epoch") else f"{value:.4f}")
    console.print(table)
    if registration := result.registration:
        console.print(
            f"registered {registration.task} version {registration.version}, "
            f"aliases: {', '.join(registration.aliases)}"
        )
        verdict = "new champion" if registration.is_champion else "not the champion"
        console.print(f"{verdict}: {registration.reason}")
    else:
        console.print("not registered (--register false)")
    console.print(f"to compare runs: {ui_command()}")
