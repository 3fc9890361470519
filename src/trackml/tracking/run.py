"""One MLflow run, from its parameters to its registered model, under the names of the contract."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import trackml
from trackml.code import digest_of
from trackml.history import History
from trackml.params import RunParams
from trackml.tracking import family, registry, store
from trackml.tracking.claims import claimed
from trackml.tracking.family import FAILURE_TAG
from trackml.tracking.flavors import Data, Framework, log_model
from trackml.tracking.journal import Journal
from trackml.tracking.past import CODE_TAG, PastRun, closest_run
from trackml.tracking.record import VERSION_TAG, Record, ending, given_run, new_run
from trackml.tracking.repair import PROCESS_TAG, repair, this_process
from trackml.tracking.resume import (
    PREDECESSOR_TAG,
    find_unfinished,
    logged_before,
    replace_predecessor,
)
from trackml.training.checkpoint import keeping

if TYPE_CHECKING:
    import pandas as pd

    from trackml.evaluation.report import Report


P = ParamSpec("P")
_SIZE = "model_size_bytes"


@dataclass(frozen=True)
class Result:
    """What a pipeline gives back: its run, how training went, and what became of the model.

    `registration` is None where the parameters say that the model is not to be registered.
    """

    run_id: str
    task: str
    architecture: str
    history: History
    report: "Report"
    registration: registry.Registration | None


@dataclass(frozen=True, kw_only=True)
class Run(Record):
    """A run that trains a model, or several. `tracked_run` makes one.

    `scores_test` is false for one that is only to be chosen among.
    """

    params: RunParams
    data: Data
    framework: Framework
    architecture: str
    aliases: tuple[str, ...] = ()
    scores_test: bool = True
    journal: Journal | None = None

    @property
    def dataset(self) -> Dataset:
        # MLflow keeps 36 characters of a digest; the tag trackml.data_sha256 has all of it.
        return Dataset(
            name=self.data.name,
            digest=self.data.sha256[:36],
            source_type="trackml",
            source=json.dumps({"source": self.data.source}),
        )

    def log_architecture(self, parameters: int, summary: str) -> None:
        """Log the number of trainable parameters, and the model's layers as text."""
        self.log_params({"model_parameters": str(parameters)})
        self.client.log_text(self.run_id, summary, "model_summary.txt")

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log one epoch's metrics at step `epoch`, in one request."""
        self.log_metrics(metrics, epoch, at=self.journal.time_of(epoch) if self.journal else None)

    def evaluate(
        self, evaluation: Callable[P, "Report"], *args: P.args, **options: P.kwargs
    ) -> "Report":
        """What `evaluation` says of the trained model; nothing of a run that is only a trial.

        A sweep chooses among trials by validation, so none of them is scored on the test data.
        """
        from trackml.evaluation.report import Report

        return evaluation(*args, **options) if self.scores_test else Report()

    def log_result(self, model: Any, history: History, report: "Report") -> Result:
        """Log what came of training, and register the model unless the parameters say no.

        The model is logged before the report, as MLflow links the test metrics to it, and
        registered last, as the registry must not know of anything unfinished. Of a run that is
        only a trial no model is kept.
        """
        self.log_metrics(history.summary)
        self.client.set_tag(self.run_id, "trackml.precision", history.precision)
        self.client.set_tag(self.run_id, "trackml.device", history.device)
        self.client.log_dict(self.run_id, history.as_dict(), "history.json")
        if not self.scores_test:
            return Result(self.run_id, self.data.name, self.architecture, history, report, None)
        logged_run = self.client.get_run(self.run_id)
        known = registry.model_of(self.client, logged_run) if self.logged else None
        if known and _SIZE in self.logged:  # it was complete when the run was broken off
            model_id = known
        else:
            model_id, size = log_model(self.client, logged_run, model, self.framework, self.data)
            self.log_metrics({_SIZE: size})
        self.log_report(report, model_id)
        wanted = self.params.register_model
        registration = registry.register_run(self.client, self.run_id) if wanted else None
        return Result(self.run_id, self.data.name, self.architecture, history, report, registration)

    def closest(self, architecture: str, metrics: Sequence[str]) -> PastRun | None:
        """The finished run of another architecture on this data that compares best with this.

        Only runs that have all of `metrics`. None to a trial, which has no test scores to compare.
        """
        if not self.scores_test:
            return None
        return closest_run(
            self.client,
            self.params,
            task=self.data.name,
            architecture=architecture,
            data_sha256=self.data.sha256,
            metrics=metrics,
        )

    def trials(
        self, *, params: Sequence[str] = (), metrics: Sequence[str] = (), curves: Sequence[str] = ()
    ) -> "pd.DataFrame":
        """The children of this run, as `family.children_table` has them."""
        me = self.client.get_run(self.run_id)
        return family.children_table(self.client, me, params=params, metrics=metrics, curves=curves)


@contextmanager
def tracked_run(
    params: RunParams,
    data: Data,
    *,
    framework: Framework,
    architecture: str,
    aliases: Sequence[str] = (),
) -> Iterator[Run]:
    """A run whose final status is true: FINISHED, FAILED on an error, KILLED when asked to stop.

    Asked by SIGINT, and in a program of `trackml.cli` by SIGTERM.

    Under `mlflow run` it is the run that MLflow has started, else a new one, in the experiment of
    the dataset's name.

    Args:
        architecture: the run's name, and the alias of its registered model.
        aliases: further ones of its registered model.

    Raises:
        TrackmlError: the store cannot be used.
    """
    registry.check_names(data.name, architecture, *aliases)
    client = store.connect()
    with ExitStack() as stack:
        old = None
        if params.resume:
            old = find_unfinished(
                client,
                params,
                task=data.name,
                architecture=architecture,
                data_sha256=data.sha256,
                claims=stack,
            )
        place = family.current_place()
        if not place:
            repair(client)

        def start() -> str:
            run_id = _start(client, data.name, architecture, old)
            if not old or run_id != old.info.run_id:
                stack.enter_context(claimed(run_id))
            return run_id

        with ending(client, start) as run_id:
            # One of many runs is begun anew, not continued.
            journal = None if place else Journal(run_id, predecessor=old.info.run_id if old else "")
            stack.enter_context(keeping(journal))
            run = Run(
                client,
                run_id,
                logged_before(client, client.get_run(run_id)) if old else frozenset(),
                params=params,
                data=data,
                framework=framework,
                architecture=architecture,
                aliases=tuple(aliases),
                scores_test=place is None or place.scores_test,
                journal=journal,
            )
            _describe(run)
            if journal:
                replace_predecessor(client, run_id)
                for epoch, metrics in journal.rows.items():
                    run.log_epoch(epoch, metrics)
            yield run
        Journal.remove(run_id)


def _start(client: MlflowClient, experiment: str, name: str, old: MlflowRun | None) -> str:
    """The id of the run that `mlflow run` has made for this process, of `old`, or of a new one."""
    if place := family.current_place():
        run = client.create_run(place.experiment_id, tags=place.tags, run_name=place.name)
        return str(run.info.run_id)
    if not old:
        return new_run(client, experiment, name)
    family.discard_unfinished(client, old)
    if given := given_run():
        client.set_tag(given, PREDECESSOR_TAG, old.info.run_id)
        return given
    client.update_run(old.info.run_id, status="RUNNING")
    if FAILURE_TAG in old.data.tags:
        client.delete_tag(old.info.run_id, FAILURE_TAG)
    return str(old.info.run_id)


def _describe(run: Run) -> None:
    """Log what is known before training: parameters, tags, the dataset."""
    tags = {
        "trackml.task": run.data.name,
        "trackml.framework": run.framework,
        "trackml.architecture": run.architecture,
        "trackml.data_sha256": run.data.sha256,
        CODE_TAG: digest_of(type(run.params)),
        PROCESS_TAG: this_process(),
        VERSION_TAG: trackml.__version__,
    }
    if run.aliases:
        tags[registry.ALIASES_TAG] = " ".join(run.aliases)
    run.log_tags(tags)
    run.name(run.architecture)
    run.log_params(
        run.params.as_text()
        | {
            "train_samples": str(len(run.data.train)),
            "validation_samples": str(len(run.data.validation)),
            "test_samples": str(len(run.data.test)),
        }
    )
    logged = run.client.get_run(run.run_id)
    if not (logged.inputs and logged.inputs.dataset_inputs):  # a run that is continued has them
        _log_dataset(run)


def _log_dataset(run: Run) -> None:
    inputs = [DatasetInput(run.dataset, [InputTag("mlflow.data.context", "training")])]
    try:
        run.client.log_inputs(run.run_id, inputs)
    except MlflowException:
        # Of runs that begin in the same moment each may make the dataset, and one can: the others
        # find it now.
        run.client.log_inputs(run.run_id, inputs)
