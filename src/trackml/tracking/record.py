"""A run of MLflow in progress, whatever it is of: what it logs, and how it ends."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Dataset, Metric, Param, RunTag
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils import name_utils

import trackml
from trackml.errors import Pruned, Terminated, one_line
from trackml.params import Params
from trackml.signals import deferred_signals
from trackml.tracking import family, store

if TYPE_CHECKING:
    from trackml.evaluation.report import Report

VERSION_TAG = "trackml.version"


@dataclass(frozen=True)
class Record:
    """A run in progress; its methods log what they are given."""

    client: MlflowClient
    run_id: str
    logged: frozenset[str] = frozenset()  # metrics that a run which goes on has already

    @property
    def dataset(self) -> Dataset | None:
        """What its metrics are of."""
        return None

    def name(self, name: str) -> None:
        """Name the run, unless a person has."""
        if _is_invented(self.client.get_run(self.run_id).info.run_name):
            self.log_tags({"mlflow.runName": name})

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Log tags."""
        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_params(self, values: Mapping[str, str]) -> None:
        """Log parameters, but for those that `mlflow run` logged, as the text that was typed."""
        logged = self.client.get_run(self.run_id).data.params
        params = [Param(key, value) for key, value in values.items() if key not in logged]
        self.client.log_batch(self.run_id, params=params)

    def log_metrics(
        self,
        metrics: Mapping[str, float],
        step: int = 0,
        *,
        at: int | None = None,
        model_id: str | None = None,
        dataset: Dataset | None = None,
    ) -> None:
        """Log metrics in one request, linked to a model and a dataset if they are of such.

        Args:
            at: their time in milliseconds; now, unless given. The same rows with the same time are
                one row. Without it, what the run has at step 0 already is not logged again.
        """
        if at is None:
            at = time.time_ns() // 1_000_000
            known = self.logged if step == 0 else frozenset()
            metrics = {name: value for name, value in metrics.items() if name not in known}
        rows = [
            Metric(
                name,
                value,
                at,
                step,
                model_id=model_id,
                dataset_name=dataset.name if dataset else None,
                dataset_digest=dataset.digest if dataset else None,
                run_id=self.run_id,
            )
            for name, value in metrics.items()
        ]
        self.client.log_batch(self.run_id, metrics=rows)

    def log_report(self, report: "Report", model_id: str | None = None) -> None:
        """Log a report's texts and figures, and its numbers, linked to the dataset and a model."""
        self.log_metrics(report.metrics, model_id=model_id, dataset=self.dataset)
        with tempfile.TemporaryDirectory(prefix="trackml-") as folder:
            for name, text in report.texts.items():
                _inside(folder, name).write_text(text, encoding="utf-8")
            for name, figure in report.figures.items():
                figure.savefig(_inside(folder, name))
            self.client.log_artifacts(self.run_id, folder)


@contextmanager
def recorded(params: Params, *, experiment: str, name: str) -> Iterator[Record]:
    """A run that trains nothing; its final status is true, as that of `tracked_run`.

    Raises:
        TrackmlError: the store cannot be used.
    """
    client = store.connect()
    with ending(client, lambda: new_run(client, experiment, name)) as run_id:
        record = Record(client, run_id)
        record.log_tags({VERSION_TAG: trackml.__version__})
        record.name(name)
        record.log_params(params.as_text())
        yield record


@contextmanager
def ending(client: MlflowClient, start: Callable[[], str]) -> Iterator[str]:
    """The id of a run that `start` makes, and that ends with the block: how, its status says.

    FINISHED, FAILED on an error, KILLED when asked to stop, or pruned.
    """
    run_id = None
    try:
        with deferred_signals():
            run_id = start()
        yield run_id
    except BaseException as error:
        if run_id:
            with deferred_signals():
                _end(client, run_id, error)
        raise
    with deferred_signals():
        client.set_terminated(run_id, "FINISHED")


def given_run() -> str | None:
    """The run that `mlflow run` has made for this process, if it started it."""
    return os.environ.get("MLFLOW_RUN_ID")


def new_run(client: MlflowClient, experiment: str, name: str) -> str:
    """The id of that run, else of one that is made, by the name and in the experiment given."""
    # Made by the client, not by mlflow.start_run: that would set the status at exit too.
    if given := given_run():
        return given
    number = os.environ.get("MLFLOW_EXPERIMENT_ID") or store.experiment_id(
        client, os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment
    )
    return str(client.create_run(number, tags=resolve_tags(), run_name=name).info.run_id)


def _end(client: MlflowClient, run_id: str, error: BaseException) -> None:
    """Say what became of a run that did not finish."""
    if isinstance(error, Pruned):
        family.mark_pruned(client, run_id, error.epoch)
        return
    stopped = isinstance(error, KeyboardInterrupt | Terminated)
    reason = "stopped by a signal" if stopped else one_line(error)
    try:
        client.set_tag(run_id, family.FAILURE_TAG, reason)
    finally:
        client.set_terminated(run_id, "KILLED" if stopped else "FAILED")


def _is_invented(name: str) -> bool:
    """Whether MLflow made up the name of a run that got none, such as "bold-auk-521"."""
    adjectives, nouns = name_utils._GENERATOR_PREDICATES, name_utils._GENERATOR_NOUNS  # noqa: SLF001
    parts = name.split("-")
    return len(parts) == 3 and parts[0] in adjectives and parts[1] in nouns


def _inside(folder: str, name: str) -> Path:
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
