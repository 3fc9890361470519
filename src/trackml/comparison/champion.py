"""What a model is judged by, and whether it becomes champion in another one's place."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from trackml.comparison.logged_params import parse_text
from trackml.metrics import Metric, ranking_metric

ALIASES_TAG = "trackml.aliases"
LIMIT_TAG = "trackml.limit"


class Version(Protocol):
    """A version in the registry, as MLflow has it."""

    @property
    def version(self) -> Any: ...

    @property
    def tags(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Candidate:
    """What a version is judged by: its validation score, and on which rows it was reached.

    `aliases` are further ones, beside its architecture's. `limit` is how many of the training rows
    a trial was trained on; 0 of a full run, which was trained on all.
    """

    framework: str
    architecture: str
    metric: Metric
    value: float
    data_sha256: str
    validation_samples: int
    aliases: tuple[str, ...] = ()
    limit: int = 0

    @classmethod
    def of_run(
        cls, tags: Mapping[str, str], params: Mapping[str, str], metrics: Mapping[str, float]
    ) -> "Candidate":
        """The model of a run, from what the run has logged."""
        metric = ranking_metric(metrics, tags)
        return cls(
            framework=tags["trackml.framework"],
            architecture=tags["trackml.architecture"],
            metric=metric,
            value=metrics[f"best_val_{metric}"],
            data_sha256=tags["trackml.data_sha256"],
            validation_samples=int(params["validation_samples"]),
            aliases=tuple(tags.get(ALIASES_TAG, "").split()),
            limit=limit_of(params),
        )

    @property
    def tags(self) -> dict[str, str]:
        """Tags of its version."""
        return {
            "trackml.framework": self.framework,
            "trackml.architecture": self.architecture,
            f"trackml.best_val_{self.metric}": repr(self.value),
            "trackml.data_sha256": self.data_sha256,
            "trackml.validation_samples": str(self.validation_samples),
            LIMIT_TAG: str(self.limit),
        }


def challenge(
    champion: Version | None, candidate: Candidate, *, champion_limit: int = 0
) -> tuple[bool, str]:
    """True if a candidate becomes champion, and why or why not.

    A trial never beats a full run, and a full run always beats a trial. Otherwise
    scores compare only if they were reached on the same rows: the same data, of which the last
    `validation_samples` training rows were held out.

    Args:
        champion_limit: as `Candidate.limit`.
    """
    score = f"{candidate.metric} {candidate.value:.4f}"
    if champion is None:
        return True, f"the first one, with validation {score}"
    if candidate.limit and not champion_limit:
        return False, of_all_rows(champion, candidate)
    version, held, ours = f"version {champion.version}", champion.tags, candidate.tags
    different = [
        name
        for name in ("data_sha256", "validation_samples")
        if held.get(f"trackml.{name}") != ours[f"trackml.{name}"]
    ]
    if champion_limit and not candidate.limit:
        return True, f"{version} was trained on {champion_limit:,} rows, this one on all"
    best = held.get(f"trackml.best_val_{candidate.metric}")
    if best is None:
        return False, f"{version} has no validation {candidate.metric} to compare with"
    if different:
        name, tag = different[0], f"trackml.{different[0]}"
        return False, (
            f"{version} was validated on other rows, so the two do not compare "
            f"({name} {str(held.get(tag))[:12]}, here {ours[tag][:12]})"
        )
    wins = candidate.metric.better(candidate.value, float(best))
    wins |= math.isnan(float(best)) and not math.isnan(candidate.value)
    verb = "beats" if wins else "does not beat"
    return wins, f"validation {score} {verb} {version}'s {float(best):.4f}"


def of_all_rows(version: Version, candidate: Candidate) -> str:
    """Why a trial takes nothing from a version."""
    return f"version {version.version} was trained on all rows, this one on {candidate.limit:,}"


def limit_of(params: Mapping[str, str]) -> int:
    """As `Candidate.limit`. A limit beyond the rows that there are is none."""
    limit = parse_text(params.get("limit", "0"))
    samples = float(params.get("train_samples", "inf"))
    return int(limit) if isinstance(limit, float) and limit <= samples else 0
