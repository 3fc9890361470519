"""From the outbox to MLflow, step by step, and what happens while MLflow does not respond."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import MappingProxyType

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run as MlflowRun, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils import name_utils

from trackml.errors import Pruned, Terminated, TrackmlError, one_line
from trackml.process.signals import deferred_signals, stop_at_next_call
from trackml.tracking import queries, registry, server
from trackml.tracking.address import is_configured
from trackml.tracking.descriptions import Descriptions
from trackml.tracking.lease import check_lease, forget_death, heartbeat, run_lock
from trackml.tracking.logged_model import log_model
from trackml.tracking.outbox import (
    FAILURE_TAG,
    OUTBOX_TAG,
    Outbox,
    RunMetric,
    RunState,
    Status,
    now_ms,
    outbox_folders,
)
from trackml.tracking.queries import PRUNED_TAG, find_run
from trackml.tracking.system_metrics import Sample, sampling
from trackml.ui.cards import NOTE_TAG

_ROWS_PER_REQUEST = 900  # of metrics: MLflow accepts 1,000

_log = logging.getLogger(__name__)


@contextmanager
def uploading(
    client: MlflowClient, outbox: Outbox, *, must_respond: bool = True
) -> Iterator["Uploader"]:
    """Upload an outbox as it grows. The run's final status reflects how the block exited.

    FINISHED; FAILED on an error; KILLED when asked to stop, or pruned.

    Raises:
        TrackmlError: the store must respond, and does not; or at the end it lacks a part of a
            temporary outbox.
    """
    uploader = Uploader(client, outbox)
    try:
        with deferred_signals():
            uploader.begin(must_respond=must_respond)
        with heartbeat(client, outbox), sampling(uploader.samples):
            yield uploader
            uploader.push(seconds=None)
        with deferred_signals():
            uploader.end("FINISHED")
    except BaseException as error:
        if outbox.state.status == "RUNNING":
            with deferred_signals():
                uploader.end(*_outcome(error))
        raise
    if not (uploader.is_complete or outbox.is_kept):
        address = server.shown_address()
        raise TrackmlError(f"{address} has not accepted all of it: {uploader.unreachable}")


def _outcome(error: BaseException) -> tuple[Status, dict[str, str]]:
    """The status of a run that did not finish, and the tags that say why."""
    if isinstance(error, Pruned):
        return "KILLED", {PRUNED_TAG: f"after epoch {error.epoch}"}
    if isinstance(error, KeyboardInterrupt | Terminated):
        return "KILLED", {FAILURE_TAG: "stopped by a signal"}
    return "FAILED", {FAILURE_TAG: one_line(error)}


class Uploader:
    """Brings MLflow up to date with an outbox, as far as MLflow accepts it.

    Each step may be done again: by this process, which leaves out what it has uploaded; by one that
    resumes the run; by `sync`. So nothing on disk says what was uploaded, but for the run's id.

    Attributes:
        unreachable: why the store did not accept something; "" if it did.
        is_complete: whether the store has all of the outbox.
        registration: of the model, once it is in the registry.
        experiment_id: of the run, once the store has it; before "".
        samples: of system metrics; those that were not uploaded die with the process.
    """

    def __init__(self, client: MlflowClient, outbox: Outbox) -> None:
        self.client, self._outbox = client, outbox
        self.unreachable, self.is_complete, self.experiment_id = "", False, ""
        self.registration: registry.Registration | None = None
        self.samples: list[Sample] = []
        self._may_exist = not outbox.is_new  # the run, though its id is unknown here
        # What the store has, as far as this process knows.
        self._has_run = self._has_dataset = self._has_predecessors = False
        self._tags: dict[str, str] = {}
        self._artifacts: dict[str, int] = {}
        self._params: set[str] = set()
        self._metrics: set[str] = set()
        self._epochs: set[int] = set()
        self._model_id: str | None = None
        self._samples, self._descriptions = 0, Descriptions(client, outbox)
        self._status: Status = "RUNNING"

    def begin(self, *, must_respond: bool) -> None:
        """Begin the run in the store; a store that need not respond may get it later."""
        if must_respond or server.responds():
            # A sweep that continues looks at the children that its predecessors had.
            self.push(seconds=None if self._outbox.state.predecessors else server.BRIEF_SECONDS)
        else:
            self.mark_unreachable("no answer")
        if must_respond and self.unreachable:
            address = server.shown_address()
            raise TrackmlError(f"{address} does not accept a run: {self.unreachable}")

    def push(self, *, seconds: int | None = server.BRIEF_SECONDS) -> None:
        """Upload what the store does not have; if it is unreachable, note that and return.

        Args:
            seconds: time-out of a request, and when to leave the rest to the next push: training
                waits. None allows all the time that large files take.
        """
        self.is_complete = False
        if self.unreachable and not server.responds():
            return
        until = math.inf if seconds is None else monotonic() + seconds
        try:
            # A request to stop inside a transaction would leave a database locked.
            with server.request_timeout(seconds), stop_at_next_call() as stop:
                for _ in self._steps():
                    stop()
                    if monotonic() > until:
                        return
        except Exception as error:
            if not server.is_unreachable(error):
                raise
            self.mark_unreachable(server.reason_of(error))
            return
        self.is_complete = True
        if self.unreachable:
            self.unreachable = ""
            _log.info("%s responds again, and has all of the run", server.shown_address())

    def mark_unreachable(self, reason: str) -> None:
        """Treat the server as unreachable until it responds."""
        if not self.unreachable:
            _log.warning(
                "warning: %s does not accept what is logged (%s); it is kept here, and uploaded "
                "again after each epoch",
                server.shown_address(),
                reason,
            )
        self.unreachable = reason

    def end(
        self, status: Status, tags: Mapping[str, str] = MappingProxyType({}), at: int | None = None
    ) -> None:
        """End the run with a status, at that time or now, in the outbox and in the store."""
        self._outbox.end(status, tags, at)
        is_finished = status == "FINISHED"
        try:
            self.push(seconds=server.END_SECONDS if is_finished else server.BRIEF_SECONDS)
        except Exception:  # a failed or stopped run's own error is the one to report
            if is_finished:
                with suppress(TrackmlError):
                    self._outbox.update(status="RUNNING", ended=0)
                raise
        if not self.is_complete and not self.unreachable:
            with suppress(Exception):
                self._set_status()  # if nothing else
        self._outbox.settle(is_delivered=self.is_complete)

    def _steps(self) -> Iterator[None]:
        """Do all there is to do, a step per iteration; each builds on those before."""
        state = self._outbox.state
        self._find_or_create_run()
        yield
        self._log_params_and_tags()
        yield
        self._replace_predecessors()
        self._log_dataset()
        yield
        self._descriptions.describe_experiment(self.experiment_id)
        load = f"models:/{self._model_id}" if self._model_id else ""
        self._descriptions.describe_run(self._tags, load)
        yield
        self._log_epochs()
        self._log_samples()
        yield
        if state.has_model and not self._model_id:
            run = self.client.get_run(self._run_id)
            card_of = self._descriptions.card_of
            self._model_id = log_model(self.client, run, self._outbox.model_folder, card_of)
            yield
        self._log_metrics()
        yield
        for name, written in self._outbox.artifacts.items():
            if self._artifacts.get(name) != written:
                self._log_artifact(name)
                self._artifacts[name] = written
                yield
        is_good = state.status in ("RUNNING", "FINISHED")
        if state.wants_version and is_good and not self.registration:
            self.registration = registry.register_run(self.client, self._run_id)
            yield
        self._set_status()

    @property
    def _run_id(self) -> str:
        return self._outbox.state.run_id

    def _find_or_create_run(self) -> None:
        if self._has_run:
            return
        state = self._outbox.state
        if state.run_id:
            run = self.client.get_run(state.run_id)
        else:
            run = self._create_run(state)
            self._outbox.update(run_id=run.info.run_id)
        if run.info.status != "RUNNING" and not state.ended:
            self.client.update_run(run.info.run_id, status="RUNNING")
        forget_death(self.client, run, self._outbox)
        if _is_invented(run.info.run_name):
            self.client.update_run(run.info.run_id, name=state.name)
        self.experiment_id, self._tags = run.info.experiment_id, dict(run.data.tags)
        # What `mlflow run` logged stays the text that was typed.
        self._params = set(run.data.params)
        self._has_dataset = bool(run.inputs and run.inputs.dataset_inputs)
        self._has_run = True

    def _create_run(self, state: RunState) -> MlflowRun:
        experiment = state.experiment_id or server.experiment_id(self.client, state.experiment)
        if self._may_exist:
            # A process that was killed, or a response that was lost, may have created it.
            own = f"tags.`{OUTBOX_TAG}` = '{self._outbox.name}'"
            if runs := self.client.search_runs([experiment], own, max_results=1):
                return runs[0]
        self._may_exist = True
        return self.client.create_run(experiment, state.started, {**state.tags}, state.name)

    def _log_params_and_tags(self) -> None:
        state = self._outbox.state
        params = {key: text for key, text in state.params.items() if key not in self._params}
        tags = {key: text for key, text in state.tags.items() if self._tags.get(key) != text}
        tags.pop(NOTE_TAG, None)  # it may be a person's by now
        if params or tags:
            new_params = [Param(key, text) for key, text in params.items()]
            new_tags = [RunTag(key, text) for key, text in tags.items()]
            self.client.log_batch(self._run_id, params=new_params, tags=new_tags)
        self._params |= params.keys()
        self._tags |= tags

    def _replace_predecessors(self) -> None:
        if not self._has_predecessors:
            for run_id in self._outbox.state.predecessors:
                if run := find_run(self.client, run_id):
                    queries.replace_run(self.client, run, self._run_id)
            self._has_predecessors = True

    def _log_dataset(self) -> None:
        dataset = self._outbox.state.dataset
        if not dataset or self._has_dataset:
            return
        inputs = [DatasetInput(Dataset(**dataset), [InputTag("mlflow.data.context", "training")])]
        try:
            self.client.log_inputs(self._run_id, inputs)
        except MlflowException as error:
            if server.is_unreachable(error):
                raise
            # Of runs that begin at the same moment only one can create the dataset; the others
            # find it now.
            self.client.log_inputs(self._run_id, inputs)
        self._has_dataset = True

    def _log_epochs(self) -> None:
        new = {key: row for key, row in self._outbox.epochs.items() if key not in self._epochs}
        rows = [
            Metric(name, value, at, epoch, run_id=self._run_id)
            for epoch, (metrics, at) in new.items()
            for name, value in metrics.items()
        ]
        self._log_rows(rows)
        self._epochs |= new.keys()

    def _log_samples(self) -> None:
        count = len(self.samples)  # a thread adds further ones
        rows = [  # a step each second, so that charts and time agree
            Metric(name, value, at, (at - self._outbox.state.started) // 1_000, run_id=self._run_id)
            for name, value, at in self.samples[self._samples : count]
        ]
        self._log_rows(rows)
        self._samples = count

    def _log_metrics(self) -> None:
        new = {
            name: metric
            for name, metric in self._outbox.state.metrics.items()
            if metric.at and name not in self._metrics
        }
        self._log_rows([self._row(name, metric) for name, metric in new.items()])
        self._metrics |= new.keys()

    def _row(self, name: str, metric: RunMetric) -> Metric:
        dataset = self._outbox.state.dataset if metric.linked else {}
        return Metric(
            name,
            metric.value,
            metric.at,
            0,
            model_id=self._model_id if metric.linked == "model" else None,
            dataset_name=dataset.get("name"),
            dataset_digest=dataset.get("digest"),
            run_id=self._run_id,
        )

    def _log_rows(self, rows: Sequence[Metric]) -> None:
        for first in range(0, len(rows), _ROWS_PER_REQUEST):
            self.client.log_batch(self._run_id, metrics=rows[first : first + _ROWS_PER_REQUEST])

    def _log_artifact(self, name: str) -> None:
        """Upload an artifact. They are optional: the run goes on without one that is refused."""
        folder = Path(name).parent.as_posix()
        file = str(self._outbox.artifact_folder / name)
        try:
            self.client.log_artifact(self._run_id, file, None if folder == "." else folder)
        except Exception as error:
            if server.is_unreachable(error):
                raise
            self._outbox.set_missing([name], among=[])
            reason = server.reason_of(error)
            _log.warning("warning: the store refuses %s, an artifact: %s", name, reason)

    def _set_status(self) -> None:
        state = self._outbox.state
        if state.ended and state.run_id and self._status != state.status:
            try:
                self._log_params_and_tags()  # tags say why
                forget_death(self.client, self.client.get_run(state.run_id), self._outbox)
            finally:
                self.client.set_terminated(state.run_id, state.status, state.ended)
            self._status = state.status


def _is_invented(name: str) -> bool:
    """True if MLflow made up the name of a run that got none, such as "bold-auk-521"."""
    adjectives, nouns = name_utils._GENERATOR_PREDICATES, name_utils._GENERATOR_NOUNS  # noqa: SLF001
    parts = name.split("-")
    return len(parts) == 3 and parts[0] in adjectives and parts[1] in nouns


@dataclass(frozen=True)
class Synced:
    """An outbox after `sync`. `problem` is why the store still lacks something of it, or ""."""

    run_id: str
    folder: Path
    status: str
    registration: registry.Registration | None = None
    problem: str = ""


def sync() -> Iterator[Synced]:
    """Upload all outboxes that are not in MLflow yet, the oldest run first, each to its own store.

    A run whose process was killed becomes KILLED, and can still be resumed. A run that a process is
    at work on is left alone. Doing it twice changes nothing more.
    """
    # With its password, which an outbox does not have.
    configured = mlflow.get_tracking_uri() if is_configured() else ""
    for folder in reversed(outbox_folders()):
        run_id, status = folder.name, "unknown"
        try:
            with suppress(TrackmlError):  # it may have finished by now
                run_id = RunState.read(folder).run_id or run_id
            with run_lock(folder, run_id) as is_certain:
                if not folder.exists() or (state := RunState.read(folder)).is_delivered:
                    continue
                run_id, status = state.run_id or run_id, state.status
                yield _sync(folder, state, configured, is_certain=is_certain)
        except Exception as error:  # noqa: BLE001  # of any kind: the other runs go on
            yield Synced(run_id, folder, status, problem=one_line(error))


def _sync(folder: Path, state: RunState, configured: str, *, is_certain: bool) -> Synced:
    """Upload one outbox, to the configured address if there is one."""
    client = _client_of(state, configured)
    may_be_copy = state.status == "RUNNING" and not is_certain
    if may_be_copy and (run := find_run(client, state.run_id)):
        check_lease(run)
    outbox = Outbox.read(folder)
    uploader = Uploader(client, outbox)
    if state.status == "RUNNING":
        died = max((at for _, at in outbox.epochs.values()), default=now_ms())
        uploader.end("KILLED", {FAILURE_TAG: "its process was killed"}, died)
    uploader.push(seconds=None)
    outbox.settle(is_delivered=uploader.is_complete)
    status, registration = outbox.state.status, uploader.registration
    return Synced(outbox.run_id, folder, status, registration, uploader.unreachable)


def _client_of(state: RunState, configured: str) -> MlflowClient:
    mlflow.set_tracking_uri(configured or state.store)
    client = server.connect()
    run = find_run(client, state.run_id)
    if server.shown_address() != state.store and not run:
        message = f"this run belongs to {state.store}: set MLFLOW_TRACKING_URI={state.store}"
        raise TrackmlError(message)
    if state.run_id and not run:
        raise TrackmlError(
            f"it was deleted there: restore it with `mlflow runs restore --run-id {state.run_id}`, "
            "or remove this folder"
        )
    return client
