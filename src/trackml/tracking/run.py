"""One MLflow run, from its parameters to its registered model: what a pipeline talks to."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import trackml
from trackml.backends import standard_settings
from trackml.checks.model import save_checked
from trackml.comparison.runs import BaselineRun
from trackml.data import TableData
from trackml.data.canvases import Data
from trackml.errors import ModelRejected
from trackml.evaluation.report import Report, as_json
from trackml.history import Callbacks, History
from trackml.metrics import LOSS, metric_tags
from trackml.params import Params, RunParams
from trackml.progress import Progress, progress_of
from trackml.tasks import Task
from trackml.tracking import queries, registry, server
from trackml.tracking.artifacts import add_picture, add_report, caption_of
from trackml.tracking.initial_state import VERSION_TAG, initial_state, logged_params, new_state
from trackml.tracking.outbox import Outbox
from trackml.tracking.queries import ParentRun
from trackml.tracking.registry import Registration
from trackml.tracking.resume import open_outbox
from trackml.tracking.uploader import Uploader, uploading
from trackml.training.checkpoint import Checkpoint, TakeCheckpoint
from trackml.ui.cards import NOTE_TAG

if TYPE_CHECKING:
    import pandas as pd

Parent = ParentRun | None
PREPARING = "preparing the model"  # a stage, until another one is named
MAX_CALLS_OF_FIT = 20  # of each callback: a fit may have thousands of iterations

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended. `folder` is its outbox, until the store has all of it."""

    run_id: str
    experiment_id: str = field(default="", kw_only=True)
    folder: Path | None = field(default=None, kw_only=True)

    @property
    def is_pending(self) -> bool:
        """True if the store does not have all of it yet."""
        return self.folder is not None and self.folder.exists()


@dataclass(frozen=True)
class Result(EndedRun):
    """What a pipeline returns: its run, how training went, and its model in the registry.

    `registration` is None if the parameters forbid it, or the store does not have the model yet.
    """

    task: str
    architecture: str
    history: History
    report: Report
    registration: Registration | None


@dataclass(frozen=True)
class Run:
    """A run that trains a model, or several; `tracked_run` makes one.

    What it logs is kept in the outbox, and uploaded at once. `scores_test` is false for a candidate
    of a sweep: it is chosen among on validation data.
    """

    outbox: Outbox
    uploader: Uploader
    params: RunParams
    task: Task[Any]
    data: Data
    architecture: str
    callbacks: Callbacks = ()
    scores_test: bool = True

    @property
    def progress(self) -> Progress:
        """Shows what is done; found among the callbacks."""
        return progress_of(self.callbacks)

    @property
    def client(self) -> MlflowClient:
        return self.uploader.client

    @property
    def run_id(self) -> str:
        """In MLflow; until it has one, the outbox's name."""
        return self.outbox.run_id

    @property
    def caption(self) -> str:
        """What each figure of the run says of it: model, data and run."""
        return caption_of(self.outbox.state, self.run_id)

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Log tags."""
        self.outbox.update(tags=tags)
        self._upload()

    def log_params(self, params: Mapping[str, str]) -> None:
        """Log parameters. Those that `mlflow run` logged stay the text that was typed."""
        self.outbox.update(params=params)
        self._upload()

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics of the run as a whole. A metric is logged once."""
        self.outbox.add_metrics(metrics)
        self._upload()

    def log_report(self, report: Report) -> None:
        """Log a report's texts, figures, and metrics, which are linked to the dataset."""
        add_report(self.outbox, report, "dataset", self.progress)
        self.progress.stage(PREPARING)
        self._upload()

    def log_architecture(self, parameters: int, summary: str) -> None:
        """Log the number of trainable parameters, and the model's layers as text."""
        self.progress.fact("model", f"{self.architecture}, {parameters:,} trainable parameters")
        self.outbox.update(params={"model_parameters": str(parameters)})
        self.log_report(Report(texts={"model_summary.txt": lambda: summary}))

    def _upload(self) -> None:
        if not self.uploader.unreachable:  # after each epoch it is tried again
            self.uploader.push()

    def resume_point(self) -> Checkpoint | None:
        """Where training continues; None if it begins. One training can have it."""
        return self.outbox.take_resume_point()

    def show_progress(self, epoch: int, epochs: int, answers: Any) -> None:
        """Keep a picture of a few validation images with the answers to them, every few epochs.

        A trial keeps none.

        Args:
            epochs: how many there are to be.
            answers: to all validation images: class probabilities (N, C), or objects.
        """
        if self.outbox.is_kept and not isinstance(self.data, TableData):
            add_picture(self.outbox, self.data, epoch, epochs, answers)

    def log_epoch(
        self, epoch: int, metrics: Mapping[str, float], checkpoint: TakeCheckpoint | None = None
    ) -> str | None:
        """Save a checkpoint if the run is kept, log the metrics at that step, call the callbacks.

        Returns why training is to stop, if a callback says so.
        """
        self.outbox.add_epochs({epoch: metrics}, checkpoint)
        self.uploader.push()
        reasons = [callback(epoch, metrics) for callback in self.callbacks]
        return next(filter(None, reasons), None)

    def log_fit(self, history: History) -> None:
        """Log all rows of a fit at once, and call the callbacks for some of them.

        Those of iterations are logged as epochs, the row of any other fit without a step. A run
        that resumes repeats its fit, and keeps the rows that it has logged.
        """
        rows = dict(enumerate(history.rows, start=1))
        if not self.outbox.has_trained and history.is_iterative:
            self.outbox.add_epochs(rows, lambda: Checkpoint({}, [], history.rows, {}))
        elif not self.outbox.has_trained:
            self.outbox.add_metrics(rows[1])
        self.uploader.push()
        calls = min(len(rows), MAX_CALLS_OF_FIT)
        for epoch in (len(rows) * number // calls for number in range(1, calls + 1)):
            for callback in self.callbacks:
                callback(epoch, rows[epoch])

    def finish(
        self, model: Any, history: History, evaluate: Callable[..., Report], predict: Any
    ) -> Result:
        """Evaluate the model, log all results, and register it unless the parameters forbid it.

        The model is logged before the report, as MLflow links the test metrics to it, and
        registered last: nothing unfinished may be in the registry. Of a candidate no model is kept.

        Args:
            model: Keras's with raw inputs; a network of PyTorch with raw inputs, and probabilities
                as outputs; a fitted estimator of scikit-learn; a network of
                `trackml.models.mlp`.
            evaluate: takes `predict`, the data and the history; returns a report on the test data.
            predict: the same model: raw inputs (N, ...) → answers (N, outputs).

        Raises:
            ModelRejected: the model, loaded from its files, does not answer as `predict` does, or
                breaks another rule. Everything else is logged by then.
        """
        outbox, progress, rejection = self.outbox, self.progress, None
        progress.stage("scoring on the test data")
        report = evaluate(predict, self.data, history) if self.scores_test else Report()
        if self.scores_test:
            progress.stage("writing the model's files, and asking them for answers")
            rejection = self._add_model(model, predict)
        epochs = {"history.json": lambda: as_json(history.as_dict())}
        add_report(outbox, Report(history.summary, epochs) | report, "model", progress)
        outbox.update(
            tags={
                "trackml.precision": history.precision,
                "trackml.device": history.device,
                **metric_tags(self.task.metric if history.metric == LOSS else history.metric),
            },
            wants_version=self.scores_test and self.params.register_model and not rejection,
        )
        progress.stage("uploading, and registering the model")
        self.uploader.push(seconds=None)
        if rejection:
            raise rejection
        return Result(
            self.run_id,
            self.data.name,
            self.architecture,
            history,
            report,
            self.uploader.registration,
            experiment_id=self.uploader.experiment_id,
            folder=outbox.folder,
        )

    def _add_model(self, model: Any, predict: Any) -> ModelRejected | None:
        """Keep a model that is what it says; return why it is not."""
        save = partial(
            save_checked,
            model=model,
            framework=self.task.framework,
            data=self.data,
            predict=predict,
        )
        try:
            self.outbox.add_metrics({"model_size_bytes": self.outbox.add_model(save)}, "model")
        except ModelRejected as rejection:
            return rejection
        return None

    def nearest_baseline(self, architecture: str, metrics: Sequence[str]) -> BaselineRun | None:
        """The finished run of another architecture on this data whose parameters differ least.

        Only runs that have all of `metrics`. None for a candidate, which has no test scores to
        compare, and while the store is unreachable.
        """
        if not self.scores_test or self.uploader.unreachable:
            return None
        identity = {
            "trackml.task": self.data.name,
            "trackml.architecture": architecture,
            "trackml.data_sha256": self.data.sha256,
        }
        try:
            return queries.nearest_baseline(
                self.client, logged_params(self.params), identity, metrics
            )
        except MlflowException as error:
            if not server.is_unreachable(error):
                raise
            self.uploader.mark_unreachable(server.reason_of(error))
            return None

    def as_parent(self, *, scores_test: bool = True) -> ParentRun:
        """This run as the parent of trials."""
        return ParentRun.of_run(self.client.get_run(self.run_id), scores_test=scores_test)

    def child_table(self, **columns: Sequence[str]) -> "pd.DataFrame":
        """The child runs of this run, as `queries.child_table` gives them."""
        return queries.child_table(self.client, self.run_id, **columns)


@contextmanager
def tracked_run(
    task: Task[Any],
    params: RunParams,
    data: Data,
    architecture: str,
    callbacks: Callbacks = (),
    parent: Parent = None,
    *,
    aliases: Sequence[str] = (),
) -> Iterator[Run]:
    """A run whose final status reflects how the block exited: FINISHED, FAILED, or KILLED.

    Inside the block, libraries have their `standard_settings`, whatever the caller has set.
    KILLED is a run that was stopped by SIGINT or, in a program of `trackml.cli`, by SIGTERM or a
    warning such as SIGHUP. Under `mlflow run` it is the run that MLflow has made, else a new one,
    in the experiment of the dataset's name.

    Args:
        architecture: with which the run's name begins, and the alias of its registered model.
        callbacks: called after each epoch.
        parent: below which run it goes, as a trial: it begins anew, and its outbox is not kept.
        aliases: further ones of its registered model.

    Raises:
        AlreadyActive: a process is at work on the run that is to continue.
        TrackmlError: the store cannot be used, or the disk.
    """
    registry.check_names(data.name, architecture, *aliases)
    progress = progress_of(callbacks)
    progress.fact("data", _rows_of(data, params))
    progress.stage("opening the run in the store")
    if parent:
        mlflow.set_tracking_uri(parent.tracking_uri)
    client = server.prepare()
    must_respond = parent is not None or params.waits_for_store
    is_reachable = server.responds(must=must_respond, can_defer=parent is None)
    if is_reachable and not parent:
        server.check_variables(client, resume=params.resume)
    state = initial_state(task, params, data, architecture, aliases, parent)
    with ExitStack() as stack:
        stack.enter_context(standard_settings())
        opened = (
            Outbox.temporary(state)
            if parent
            else open_outbox(client, state, resume=params.resume, is_reachable=is_reachable)
        )
        outbox = stack.enter_context(opened)
        uploader = stack.enter_context(uploading(client, outbox, must_respond=must_respond))
        scores_test = parent is None or parent.scores_test
        if uploader.experiment_id:
            progress.tracked(outbox.run_id, uploader.experiment_id)
        progress.stage(PREPARING)
        yield Run(outbox, uploader, params, task, data, architecture, callbacks, scores_test)


def log_reports(
    params: Params,
    reports: Iterable[Report],
    *,
    experiment: str,
    name: str,
    note: str = "",
    progress: Progress | None = None,
) -> None:
    """Log reports in a run that trains nothing; its status is as that of `tracked_run`.

    Args:
        note: the description of the run, in Markdown.
    """
    client = server.connect()
    server.check_variables(client)
    tags = {VERSION_TAG: trackml.__version__} | ({NOTE_TAG: note} if note else {})
    state = new_state(experiment, name, params.as_text(), tags)
    with standard_settings(), Outbox.temporary(state) as outbox, uploading(client, outbox):
        for report in reports:
            add_report(outbox, report, "dataset", progress)


def _rows_of(data: Data, params: RunParams) -> str:
    limit = getattr(params, "limit", 0)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    rows = ", ".join(f"{len(split):,} {name}" for name, split in splits.items())
    return f"{data.name}: {rows}" + (f" (limit {limit:,})" if limit else "")
