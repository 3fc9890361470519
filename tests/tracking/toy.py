"""An empty store, and small runs in it, for the tests of tracking."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow.tracking import MlflowClient

from trackml.data import ImageData
from trackml.evaluation.report import Report
from trackml.history import Callback, History
from trackml.metrics import ACCURACY
from trackml.models.mlp import Network, predict
from trackml.models.numpy import dense_network
from trackml.params import BatchSize, Epochs, LearningRate, TrainingParams
from trackml.tasks import Task
from trackml.tracking.queries import ParentRun
from trackml.tracking.run import Result, Run, tracked_run
from trackml.training.checkpoint import Checkpoint

TASK: Task[Any] = Task(lambda _params: None, framework="numpy")
ROW = {"train_loss": 0.9, "val_loss": 1.0, "train_accuracy": 0.5, "val_accuracy": 0.4}
HISTORY = History(ACCURACY, "bfloat16").extended(ROW)


class Example(TrainingParams):
    epochs: Epochs = 2
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 0.001


@dataclass(frozen=True)
class Store:
    """The store of the current folder, and runs on `data`."""

    client: MlflowClient
    data: ImageData
    monkeypatch: pytest.MonkeyPatch

    def tracked(
        self,
        architecture: str = "cnn",
        *,
        data: ImageData | None = None,
        aliases: Sequence[str] = (),
        callbacks: Sequence[Callback] = (),
        parent: ParentRun | None = None,
        task: Task[Any] = TASK,
        **values: Any,
    ) -> AbstractContextManager[Run]:
        return tracked_run(
            task,
            Example.parse(values),
            data or self.data,
            architecture,
            callbacks,
            parent,
            aliases=aliases,
        )

    def failed(self, *, after: int = 0, **options: Any) -> str:
        """The id of a run that an error has ended, after so many epochs."""
        with suppress(ValueError), self.tracked(**options) as run:
            train(run, after)
            raise ValueError("broken")
        return run.run_id

    def made_by_mlflow(self, name: str | None = None) -> str:
        """The id of a run for this process, as `mlflow run` makes it."""
        run_id = str(self.client.create_run("0", run_name=name).info.run_id)
        self.monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        return run_id

    def use(self, client: object) -> None:
        """Let runs talk to this client."""
        self.monkeypatch.setattr("trackml.tracking.server.MlflowClient", lambda: client)

    def run(self, run_id: str = "") -> MlflowRun:
        """A run; the only one unless one is named."""
        if run_id:
            return self.client.get_run(run_id)
        experiments = [each.experiment_id for each in self.client.search_experiments()]
        (run,) = self.client.search_runs(experiments)
        return run

    def status(self, run_id: str = "") -> str:
        return str(self.run(run_id).info.status)

    def tags(self, run_id: str = "") -> dict[str, str]:
        tags: dict[str, str] = self.run(run_id).data.tags
        return tags

    def rows(self, run_id: str, metric: str = "val_loss") -> list[tuple[int, float]]:
        return [(row.step, row.value) for row in self.client.get_metric_history(run_id, metric)]


def train(run: Run, epochs: int) -> None:
    """Log epochs up to this one, from the resume point on."""
    saved = run.resume_point()
    rows = list(saved.rows) if saved else []
    while len(rows) < epochs:
        rows.append({**ROW, "val_loss": 1 / (len(rows) + 1)})
        run.log_epoch(len(rows), rows[-1], lambda: Checkpoint({"w": np.ones(1)}, [], rows, {}))


def network(data: Any) -> Network:
    pixels = int(np.prod(data.test.images.shape[1:]))
    random = np.random.default_rng(0)
    return dense_network(pixels, (), classes=len(data.classes), random=random)


def finish(run: Run, report: Report | None = None, history: History = HISTORY) -> Result:
    """End a run with a model that was never trained."""
    given, model = report or Report({"test_accuracy": 0.3}), network(run.data)
    return run.finish(model, history, lambda *_: given, partial(predict, model))


def raised(error: BaseException) -> Any:
    raise error


def unavailable() -> MlflowException:
    return MlflowException("the database is locked", error_code=TEMPORARILY_UNAVAILABLE)


def refuse(*_: object, **__: object) -> None:
    raise PermissionError("no")
