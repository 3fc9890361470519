"""The last lines of each view: what became of models, how to see it all, and what is owed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trackml.errors import TrackingIncomplete

if TYPE_CHECKING:
    from rich.console import Console

    from trackml.params import RunParams
    from trackml.tracking.registry import Registration
    from trackml.tracking.run import Tracked


def close(
    console: "Console",
    result: "Tracked",
    registrations: Sequence["Registration"],
    params: "RunParams",
) -> None:
    """Print the last lines.

    Raises:
        TrackingIncomplete: after them, if the store does not have all of the run.
    """
    from trackml.tracking.reach import shown_address
    from trackml.tracking.store import ui_command

    for registration in registrations:
        for line in in_words(registration):
            console.print(line)
    if not params.register_model:
        console.print("not registered (--register false)")
    console.print(f"to compare runs: {ui_command()}")
    if result.is_owed:
        raise TrackingIncomplete(
            f"done, but {shown_address()} does not have all of run {result.run_id} yet: it is "
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
