"""What code tells of its work while it lasts: facts, stages, and how far a stage is."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Scores = Callable[[], Mapping[str, float]]


class Progress:
    """Gets what there is to show. This one shows nothing; `trackml.display.live` has one that does.

    It comes among the callbacks of a pipeline's `main`, whatever they are called with.
    """

    def __call__(self, *_event: Any) -> None:
        """As a callback: an epoch, a fit or a trial has ended."""

    def fact(self, name: str, text: str) -> None:
        """Something that is known now, such as ("device", "cpu, float32")."""

    def command(self, text: str, name: str = "") -> None:
        """A command or a link; without a name it belongs to the fact before."""

    def tracked(self, run_id: str, experiment_id: str) -> None:
        """The run has begun in the store."""

    def stage(
        self, text: str, unit: str = "", total: int = 0, *, number: int = 1, of: int = 1
    ) -> None:
        """What is done from now on, such as "scoring on the test data".

        Args:
            unit, total: what `advance` counts, and how many there are, such as batches.
            number, of: which of several such stages it is, such as epochs.
        """

    def advance(self, share: float, scores: Scores = dict) -> None:
        """How much of the stage is done, from 0 to 1. Called before each step: it returns at once.

        Args:
            scores: metrics so far. It is called every few seconds, in the thread of the caller.
        """


def progress_of(callbacks: Iterable[object]) -> Progress:
    """The one among the callbacks; one that shows nothing if there is none."""
    return next((each for each in callbacks if isinstance(each, Progress)), Progress())
