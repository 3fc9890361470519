"""One MLflow run, from its parameters to its registered model, under the names of the contract."""

import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

import trackml
from trackml.data import ImageData, TableData
from trackml.errors import Terminated
from trackml.params import Params
from trackml.tracking import registry, store
from trackml.tracking.flavors import log_model
from trackml.training.history import History

if TYPE_CHECKING:
    from trackml.evaluation.report import Report

Data = ImageData | TableData

_RECENT = 200  # runs among which the best match is looked for

# Names that MLflow invents for runs that got none, such as "bold-auk-521".
_INVENTED_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")


class Origin(DatasetSource):
    """Whence a dataset came, in words, as MLflow keeps it."""

    def __init__(self, source: str) -> None:
        self.source = source

    @staticmethod
    def _get_source_type() -> str:
        return "trackml"

    def load(self, dst_path: str | None = None) -> None:
        raise NotImplementedError("trackml.data.load loads and verifies this dataset")

    @staticmethod
    def _can_resolve(_raw_source: Any) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> "Origin":
        return cls(str(raw_source))

    def to_dict(self) -> dict[str, Any]:
        return {"source": self.source}

    @classmethod
    def from_dict(cls, source_dict: dict[str, Any]) -> "Origin":
        return cls(source_dict["source"])


@dataclass(frozen=True)
class PastRun:
    """A finished run: its last metrics, and the parameters in which it differs from this one."""

    run_id: str
    metrics: Mapping[str, float]
    differences: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What a reader of a comparison with this run must know."""
        return [
            f"Compared with run {self.run_id}; one run each (n = 1), so no spread is known.",
            f"The runs differ in: {', '.join(self.differences) or 'nothing'}.",
        ]


@dataclass
class Run:
    """A run in progress. `tracked_run` makes one; its methods log what they are given."""

    client: MlflowClient
    run_id: str
    params: Params
    data: Data
    framework: str
    architecture: str
    metrics: dict[str, float] = field(default_factory=dict)
    """What is logged at the end: best_* and test_*."""
    registration: registry.Registration | None = None
    _model_id: str | None = None

    @property
    def dataset(self) -> MetaDataset:
        # MLflow keeps 36 characters of a digest; the tag trackml.data_sha256 has all of it.
        return MetaDataset(  # type: ignore[abstract]  # MLflow itself instantiates it
            Origin(self.data.source), name=self.data.name, digest=self.data.sha256[:36]
        )

    def log_params(self, values: Mapping[str, str]) -> None:
        """Log parameters, but for those that `mlflow run` logged, as the text that was typed."""
        logged = self.client.get_run(self.run_id).data.params
        params = [Param(key, value) for key, value in values.items() if key not in logged]
        self.client.log_batch(self.run_id, params=params)

    def log_architecture(self, parameters: int, summary: str) -> None:
        """Log the number of trainable parameters, and the model's layers as text."""
        self.log_params({"model_parameters": str(parameters)})
        self.client.log_text(self.run_id, summary, "model_summary.txt")

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log one epoch's metrics at step `epoch`, in one request."""
        now = time.time_ns() // 1_000_000
        self.client.log_batch(
            self.run_id,
            metrics=[Metric(name, value, now, epoch) for name, value in metrics.items()],
        )

    def log_result(self, model: Any, history: History, report: "Report") -> None:
        """Log what came of training, and register the model unless the parameters say no.

        The model comes first, as MLflow links the test metrics to it; the registry comes last, as
        it must not know of anything unfinished.
        """
        self.metrics |= history.summary
        mlflow.log_metrics(history.summary, run_id=self.run_id)
        self.client.set_tag(self.run_id, "trackml.precision", history.precision)
        self.client.log_dict(
            self.run_id,
            {"best_epoch": history.best_epoch, "epochs": [dict(row) for row in history.rows]},
            "history.json",
        )
        self._model_id = log_model(model, self.framework, self.data)
        self.log_report(report)
        if self.params.register_model:
            self.registration = self._register(self._model_id, history)

    def log_report(self, report: "Report") -> None:
        """Log a report's numbers, linked to the model and the dataset, its texts and figures."""
        self.metrics |= report.metrics
        if report.metrics:
            mlflow.log_metrics(
                dict(report.metrics),
                run_id=self.run_id,
                model_id=self._model_id,
                dataset=self.dataset,
            )
        with tempfile.TemporaryDirectory(prefix="trackml-") as folder:
            for name, text in report.texts.items():
                _inside(folder, name).write_text(text, encoding="utf-8")
            for name, figure in report.figures.items():
                figure.savefig(_inside(folder, name))
            self.client.log_artifacts(self.run_id, folder)

    def previous(self, architecture: str) -> "PastRun | None":
        """The newest finished run of `architecture` on this data; best if its parameters agree.

        A run whose parameters differ in no more than what tells the architectures apart is
        preferred to a newer one that differs in more.
        """
        tags = {
            "trackml.task": self.data.name,
            "trackml.architecture": architecture,
            "trackml.data_sha256": self.data.sha256,
        }
        conditions = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
        found = self.client.search_runs(
            [experiment.experiment_id for experiment in self.client.search_experiments()],
            " and ".join([*conditions, "attributes.status = 'FINISHED'"]),
            order_by=["attributes.start_time DESC"],
            max_results=_RECENT,
        )
        own = self.client.get_run(self.run_id).data.params
        past = [
            PastRun(run.info.run_id, run.data.metrics, _differences(own, run.data.params))
            for run in found
        ]
        return min(past, key=lambda run: len(run.differences), default=None)

    def _register(self, model_id: str, history: History) -> registry.Registration:
        candidate = registry.Candidate(
            framework=self.framework,
            architecture=self.architecture,
            metric=history.metric,
            value=history.summary[f"best_val_{history.metric}"],
            data_sha256=self.data.sha256,
            validation_samples=len(self.data.validation),
        )
        return registry.register(
            self.client, task=self.data.name, model_id=model_id, candidate=candidate
        )


@contextmanager
def tracked_run(params: Params, data: Data, *, framework: str, architecture: str) -> Iterator[Run]:
    """A run whose final status is true: FINISHED, FAILED on an error, KILLED on SIGINT or SIGTERM.

    Under `mlflow run` it is the run that MLflow has started, else a new one, in the experiment of
    the dataset's name.

    Args:
        framework: "keras", "torch" or "numpy".
        architecture: the run's name, and the alias of its registered model.

    Raises:
        TrackmlError: the store cannot be used.
    """
    client = store.connect()
    active = _start(client, data.name, architecture)
    run = Run(client, active.info.run_id, params, data, framework, architecture)
    try:
        _describe(run, active.info.run_name)
        yield run
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | Terminated)
        reason = "stopped by a signal" if stopped else str(error) or type(error).__name__
        client.set_tag(run.run_id, "trackml.failure", " ".join(reason.split())[:5000])
        mlflow.end_run("KILLED" if stopped else "FAILED")
        raise
    mlflow.end_run("FINISHED")


def _start(client: MlflowClient, experiment: str, name: str) -> mlflow.ActiveRun:
    """The run that `mlflow run` has made for this process, else a new one."""
    if os.environ.get("MLFLOW_RUN_ID"):
        return mlflow.start_run()
    if os.environ.get("MLFLOW_EXPERIMENT_ID") or os.environ.get("MLFLOW_EXPERIMENT_NAME"):
        return mlflow.start_run(run_name=name)
    return mlflow.start_run(experiment_id=store.experiment_id(client, experiment), run_name=name)


def _describe(run: Run, name: str) -> None:
    """Log what is known before training: parameters, tags, the dataset."""
    tags = {
        "trackml.task": run.data.name,
        "trackml.framework": run.framework,
        "trackml.architecture": run.architecture,
        "trackml.data_sha256": run.data.sha256,
        "trackml.version": trackml.__version__,
    }
    if _INVENTED_NAME.fullmatch(name):
        tags["mlflow.runName"] = run.architecture
    run.client.log_batch(run.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    run.log_params(
        run.params.as_text()
        | {
            "train_samples": str(len(run.data.train)),
            "validation_samples": str(len(run.data.validation)),
            "test_samples": str(len(run.data.test)),
        }
    )
    mlflow.log_input(run.dataset, context="training")


def _differences(own: Mapping[str, str], other: Mapping[str, str]) -> tuple[str, ...]:
    """Names of parameters that both have with different values; 0.001 and 1e-3 are the same."""
    return tuple(
        name for name in own.keys() & other.keys() if _value(own[name]) != _value(other[name])
    )


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.lower()


def _inside(folder: str, name: str) -> Path:
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
