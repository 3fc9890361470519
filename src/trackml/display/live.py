"""What a person sees while a program runs: lines, and on a terminal a bar below them.

Nothing is silent for long: where there is no terminal, a thread prints a line about what lasts.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TextColumn

from trackml.display.lines import (
    Versions,
    duration,
    fitted,
    fitting,
    width,
    wrapped,
    wrapped_command,
)
from trackml.progress import Progress, Scores

LABEL = 9  # of the names of facts
SILENCE_SECONDS = 8.0  # without a line, where there is no terminal
TICK_SECONDS = 0.5
SCORES_SECONDS = 4.0  # from one look at the scores of an epoch to the next
ENOUGH_SECONDS = 3.0  # to tell how long the rest takes


@dataclass(frozen=True)
class _Stage:
    """As `Progress.stage` has it. `before` is what was done of all such stages at `first`."""

    text: str
    began: float
    unit: str = ""
    total: int = 0
    number: int = 1
    of: int = 1
    first: float = 0.0
    before: int = 0

    def seconds_left(self, share: float) -> float | None:
        """Of all such stages; None as long as that cannot be told."""
        done, seconds = self.number - 1 + share - self.before, monotonic() - self.first
        if done <= 0 or seconds < ENOUGH_SECONDS:
            return None
        return seconds / done * (self.of - self.number + 1 - share)


class Display(Progress):
    """Shows what it gets.

    Args:
        line: makes a line of what the callback is called with.
        shows_facts: else only lines and stages.
    """

    def __init__(
        self, line: Callable[..., Versions], bar: Bar | None = None, *, shows_facts: bool = False
    ) -> None:
        self._line, self._bar, self._shows_facts = line, bar, shows_facts
        # Kept, as others redirect sys.stdout while they are at work.
        self._out, self._lock, self._printed = sys.stdout, Lock(), monotonic()
        self.is_tracked = False
        self._stage, self._share = _Stage("loading the framework and the data", monotonic()), 0.0
        self._counted: _Stage | None = None  # the last one that was counted
        self._scores: Mapping[str, float] = {}
        self._scores_due = 0.0
        self._task = bar.add_task(self._stage.text, total=None, state="") if bar else None

    def __call__(self, *event: Any) -> None:
        self._print(fitted(self._line(*event), self._width))

    def fact(self, name: str, text: str) -> None:
        if self._shows_facts:
            self._print(wrapped(text, f"{name:<{LABEL}}", " " * LABEL))

    def command(self, text: str, name: str = "") -> None:
        if self._shows_facts:
            self._print(wrapped_command(text, f"{name:<{LABEL}}"))

    def tracked(self, run_id: str, experiment_id: str) -> None:
        self.is_tracked = True
        if not self._shows_facts:
            return
        from trackml.tracking.address import experiment_name, ui_line

        self.fact("run", f"{run_id} in experiment {experiment_name(experiment_id)}")
        self.command(ui_line(experiment_id), "see it")

    def stage(
        self, text: str, unit: str = "", total: int = 0, *, number: int = 1, of: int = 1
    ) -> None:
        now, last = monotonic(), self._counted
        first, before = now, number - 1
        if last and of > 1 and last.of == of:  # a further one
            first, before = last.first, last.before
        self._share, self._scores, self._scores_due = 0.0, {}, now + SCORES_SECONDS
        self._stage = _Stage(text, now, unit, total, number, of, first, before)
        if total:
            self._counted = self._stage

    def advance(self, share: float, scores: Scores = dict) -> None:
        self._share = share
        if monotonic() >= self._scores_due:
            self._scores = scores()
            self._scores_due = monotonic() + SCORES_SECONDS

    def tick(self) -> None:
        """Move the bar, or end a silence."""
        stage, share = self._stage, self._share
        if self._bar and self._task is not None:
            room = self._width - len(stage.text) - 12
            state = fitting(_state(stage, share, self._scores), room)
            total, done = (stage.total, int(share * stage.total)) if stage.total else (None, 0)
            self._bar.update(
                self._task, description=stage.text, total=total, completed=done, state=state
            )
            self._bar.refresh()
        elif monotonic() - self._printed >= SILENCE_SECONDS:
            versions = _state(stage, share, self._scores)
            self._print(fitting([[stage.text, *parts] for parts in versions], self._width))

    @property
    def _width(self) -> int:
        return self._bar.console.width if self._bar else width()

    def _print(self, text: str) -> None:
        with self._lock:
            self._printed = monotonic()
            if self._bar:
                self._bar.console.print(text, soft_wrap=True)
            else:
                self._out.write(f"{text}\n")
                self._out.flush()


def _state(stage: _Stage, share: float, scores: Mapping[str, float]) -> Versions:
    """How far a stage is, and how long it takes."""
    left = stage.seconds_left(share) if stage.total else None
    time = duration(monotonic() - stage.began)
    if left is not None:
        time = f"about {duration(left)} left"
    if not stage.total:
        return [[time]]
    count = f"{int(share * stage.total)}/{stage.total}"
    values = [f"{name} {value:.4f}" for name, value in scores.items()]
    full = [f"{stage.unit} {count}", *values, time]
    return [full, [count, *values, time], [count, *values[-1:], time], [count, time], [count]]


@contextmanager
def displayed(line: Callable[..., Versions], *, shows_facts: bool = False) -> Iterator[Display]:
    """A display that shows what lasts until the end of the block."""
    # Not `is_terminal` alone: FORCE_COLOR makes it true for a log.
    out = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if sys.stdout.isatty() and out.is_terminal:
        # The bar alone gets narrower with the terminal. Our thread draws it.
        text = TextColumn("{task.description}", markup=False)
        state = TextColumn("{task.fields[state]}", markup=False)
        bar = Bar(text, BarColumn(None), state, console=out, transient=True, auto_refresh=False)
        with bar, _ticking(Display(line, bar, shows_facts=shows_facts)) as display:
            yield display
    else:
        with _ticking(Display(line, shows_facts=shows_facts)) as display:
            yield display


@contextmanager
def _ticking(display: Display) -> Iterator[Display]:
    ended = Event()

    def tick() -> None:
        while not ended.wait(TICK_SECONDS):
            display.tick()

    thread = Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield display
    finally:
        ended.set()
        thread.join()
