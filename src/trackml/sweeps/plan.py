"""What a sweep runs: trials, checked against the parameters of their pipeline."""

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from trackml.errors import UsageError
from trackml.metrics import Metric
from trackml.params import PipelineParams
from trackml.sweeps import DEFAULT_TRIALS, MAX_TRIALS
from trackml.sweeps.space import Point, Space, as_text, grid, name_of, sample, shown, size
from trackml.sweeps.space_parser import read_space, read_values
from trackml.tasks import run_command

_EXAMPLES = 100  # random points for TPE, one of which the pipeline must take
_MAX_TEXT = 6_000  # characters of a parameter in MLflow
_OTHER_DATA = "scores on other data do not compare"
_NOT_SEARCHED = {
    "seed": "use --repeat_best to see its effect",
    "register": "only the best model is registered",
    "resume": "it belongs to the sweep",
    "tracking": "it belongs to the sweep",
    "device": "it changes nothing but the time",
    **dict.fromkeys(["limit", "validation_split", "canvas_size", "digits"], _OTHER_DATA),
}
_SET_BY_SWEEP = {"seed", "register", "resume", "tracking", "limit"}


@dataclass(frozen=True)
class Trial:
    """One run of a sweep: its name among its siblings, and its parameters by flag."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The trials that the flags of a sweep ask for.

    Attributes:
        params: the pipeline's class of parameters. preset: what its entry point sets.
        metric: ranks trials.
        searched: the space as a text, or the path of a file.
        trials: 0 for the whole grid, or the default number. epochs: 0 for the pipeline's own.
        repeat_best: further seeds for the best point.
    """

    entry_point: str
    params: type[PipelineParams]
    preset: Mapping[str, Any]
    metric: Metric
    searched: str
    fixed: str = "none"
    search: Literal["grid", "random", "tpe"] = "grid"
    trials: int = 0
    epochs: int = 0
    limit: int = 0
    seed: int = 0
    repeat_best: int = 0

    @cached_property
    def common(self) -> dict[str, Any]:
        """The parameters of all trials, by flag."""
        given = read_values(self.fixed, "--fixed") if self.fixed != "none" else {}
        for name in given.keys() & (_SET_BY_SWEEP | self.preset.keys()):
            raise UsageError(f"--fixed: {name} cannot be fixed; the sweep sets it")
        if self.epochs and "epochs" not in self.params.flags():
            raise UsageError(f"--epochs: {self.entry_point} has no epochs; leave it out")
        if self.epochs and "epochs" in given:
            raise UsageError("--fixed: epochs is set by --epochs too; drop one of the two")
        epochs = {"epochs": self.epochs} if self.epochs else {}
        values = {**given, **epochs, **self.preset}
        try:
            self.params.parse(values)
        except UsageError as error:
            raise UsageError(f"--fixed, {error}") from None
        own = {"limit": self.limit, "seed": self.seed, "register": False, "resume": False}
        return values | own

    @cached_property
    def space(self) -> Space:
        """What is searched."""
        space = read_space(self.searched, self.params, self.common, _NOT_SEARCHED)
        if max(len(self.searched), len(as_text(space))) > _MAX_TEXT:
            raise UsageError(f"--space: it is longer than {_MAX_TEXT:,} characters")
        return space

    @cached_property
    def points(self) -> Sequence[Point]:
        """The points to try; of a search by TPE, which finds its own, an example.

        Raises:
            UsageError: the pipeline would refuse a trial.
        """
        if self.search == "grid":
            points = self._grid()
        elif self.search == "random":
            points = sample(self.space, self.trials or DEFAULT_TRIALS, self.seed)
        else:
            examples = sample(self.space, _EXAMPLES, self.seed)
            points = list(filter(self.allows, examples))[:1] or examples[:1]
        for point in points:
            self.parse(point)
        self.params.parse(self.repeats(points[0])[-1].values)
        return points

    def _grid(self) -> list[dict[str, Any]]:
        if MAX_TRIALS < size(self.space) < math.inf:
            raise UsageError(
                f"--search grid: it has {size(self.space):,.0f} points, more than {MAX_TRIALS:,}; "
                "take random or tpe"
            )
        points = grid(self.space)
        if 0 < self.trials < len(points):
            raise UsageError(
                f"--trials {self.trials}: the grid has {len(points):,} points; leave it out to run "
                "them all, or take random or tpe"
            )
        return points

    def __len__(self) -> int:
        """How many trials there are to be."""
        if self.search == "tpe":
            return int(min(self.trials or DEFAULT_TRIALS, size(self.space)))
        return len(self.points)

    def trial(self, point: Point) -> Trial:
        """The run of a point."""
        return Trial(name_of(point), {**self.common, **point})

    def point_of(self, name: str) -> dict[str, Any]:
        """The point that `name_of` has given this name."""
        texts = re.fullmatch(" ".join(f"{re.escape(flag)}=(.*)" for flag in self.space), name)
        pairs = zip(self.space, texts.groups() if texts else (), strict=True)
        return {flag: self.params.parse_value(flag, text) for flag, text in pairs}

    def repeats(self, point: Point) -> list[Trial]:
        """Runs of the best point with the sweep's seed and further ones."""
        seeds = range(self.seed, self.seed + self.repeat_best + 1)
        name, values = name_of(point), self.trial(point).values
        return [Trial(f"best {name} seed {seed}", {**values, "seed": seed}) for seed in seeds]

    def parse(self, point: Point) -> PipelineParams:
        """The parameters of a trial.

        Raises:
            UsageError: the pipeline does not take these values together.
        """
        try:
            return self.params.parse(self.trial(point).values)
        except UsageError as error:
            raise UsageError(f"--space, {name_of(point)}: {error}") from None

    def allows(self, point: Point) -> bool:
        """True if the pipeline takes these values together."""
        with suppress(UsageError):
            return bool(self.parse(point))
        return False

    def command(self, point: Point, seed: int) -> str:
        """What to type to run the entry point with the values of a point, and a seed."""
        left_out = {"register", "resume", "tracking", *self.preset}
        values = {**self.trial(point).values, "seed": seed}
        texts = {name: shown(value) for name, value in values.items() if name not in left_out}
        return run_command(self.entry_point, texts)
