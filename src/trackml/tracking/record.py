"""A run in progress, whatever it is of: what it logs, and how it ends."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags

import trackml
from trackml.errors import Pruned, Terminated, TrackmlError, one_line
from trackml.params import Params
from trackml.signals import deferred_signals
from trackml.tracking import family, reach, store
from trackml.tracking.delivery import Delivery
from trackml.tracking.journal import Facts, Journal, Link, Status, new_name, now_ms, remove
from trackml.tracking.last_word import keep_status

if TYPE_CHECKING:
    from trackml.evaluation.report import Report

VERSION_TAG = "trackml.version"


@dataclass(frozen=True)
class Record:
    """A run in progress; its methods note what they are given, and offer it to MLflow at once."""

    delivery: Delivery

    @property
    def client(self) -> MlflowClient:
        return self.delivery.client

    @property
    def journal(self) -> Journal:
        return self.delivery.journal

    @property
    def run_id(self) -> str:
        """Of the run in MLflow; while it does not know of it, of what is kept here."""
        return self.journal.facts.run_id or self.journal.id

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Log tags."""
        self.journal.facts.tags |= tags
        self._offer()

    def log_params(self, values: Mapping[str, str]) -> None:
        """Log parameters, but for those that `mlflow run` logged, as the text that was typed."""
        self.journal.facts.params |= values
        self._offer()

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics of the run as a whole. What has been logged already is not logged again."""
        self.journal.add_metrics(metrics)
        self._offer()

    def log_text(self, text: str, name: str) -> None:
        """Log a text as an artifact of that name."""
        self.journal.add_artifact(name, partial(_write, text))
        self._offer()

    def log_report(self, report: "Report") -> None:
        """Log a report's texts, figures, and numbers, which are linked to the dataset."""
        self.note_report(report)
        self._offer()

    def note_report(self, report: "Report", linked: Link = "dataset") -> None:
        """Note a report, to be offered later."""
        self.journal.add_metrics(report.metrics, linked)
        for name, text in report.texts.items():
            self.journal.add_artifact(name, partial(_write, text))
        for name, figure in report.figures.items():
            self.journal.add_artifact(name, figure.savefig)

    def _offer(self) -> None:
        """Keep what is noted; deliver it unless the store is away, which each epoch looks into."""
        self.journal.keep()
        if not self.delivery.away:
            self.delivery.push()


@contextmanager
def recorded(params: Params, *, experiment: str, name: str) -> Iterator[Record]:
    """A run that trains nothing; its final status is true, as that of `tracked_run`.

    Raises:
        TrackmlError: the store cannot be used.
    """
    client = store.connect()
    facts = new_facts(experiment, name)
    facts.tags[VERSION_TAG] = trackml.__version__
    facts.params = params.as_text()
    with passing(facts) as journal, delivered(client, journal) as delivery:
        yield Record(delivery)


@contextmanager
def passing(facts: Facts) -> Iterator[Journal]:
    """A journal that is kept for no longer than the block: what the store does not take is lost."""
    with tempfile.TemporaryDirectory(prefix="trackml-") as folder:
        yield Journal(Path(folder, new_name()), facts, is_kept=False)


@contextmanager
def delivered(
    client: MlflowClient, journal: Journal, *, is_new: bool = True, must_answer: bool = True
) -> Iterator[Delivery]:
    """Deliver a journal as it grows; the run ends with the block: how, its status says.

    FINISHED, FAILED on an error, KILLED when asked to stop, or pruned. What the store does not take
    stays in a journal that is kept.

    Args:
        must_answer: whether the store has to take the run when the block begins.

    Raises:
        TrackmlError: it did not; or at the end, has not taken all of a journal that is not kept.
    """
    delivery = Delivery(client, journal, is_new=is_new)
    journal.keep()  # what cannot be kept does not begin
    try:
        with deferred_signals():
            delivery.begin(must_answer=must_answer)
        yield delivery
        delivery.push(seconds=None)
        with deferred_signals():
            delivery.end("FINISHED")
    except BaseException as error:
        if journal.facts.status == "RUNNING":
            with deferred_signals():
                delivery.end(*_outcome(error))
        if not journal.facts.run_id and not journal.epochs:
            remove(journal.folder)  # it has not begun
        if isinstance(error, KeyboardInterrupt | Terminated) and journal.is_kept:
            with deferred_signals():
                keep_status(journal.facts)
        raise
    if not (delivery.is_complete or journal.is_kept):
        raise TrackmlError(f"{reach.shown_address()} has not taken all of it: {delivery.away}")


def given_run() -> str | None:
    """The run that `mlflow run` has made for this process, if it started it."""
    return os.environ.get("MLFLOW_RUN_ID")


def new_facts(experiment: str, name: str) -> Facts:
    """Of the run that `mlflow run` has made, else of one of that name, in that experiment."""
    # Made by the client, not by mlflow.start_run: that would set the status at exit too.
    return Facts(
        store=reach.shown_address(),
        experiment=os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment,
        experiment_id=os.environ.get("MLFLOW_EXPERIMENT_ID", ""),
        name=name,
        started=now_ms(),
        run_id=given_run() or "",
        tags={} if given_run() else dict(resolve_tags()),
    )


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _outcome(error: BaseException) -> tuple[Status, dict[str, str]]:
    """What became of a run that did not finish, and the tags that say why."""
    if isinstance(error, Pruned):
        return "KILLED", {family.PRUNED_TAG: f"after epoch {error.epoch}"}
    if isinstance(error, KeyboardInterrupt | Terminated):
        return "KILLED", {family.FAILURE_TAG: "stopped by a signal"}
    return "FAILED", {family.FAILURE_TAG: one_line(error)}
