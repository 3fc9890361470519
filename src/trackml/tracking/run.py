"""One MLflow run, from its parameters to its registered model, under the names of the contract."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from mlflow.exceptions import MlflowException

import trackml
from trackml.code import digest_of
from trackml.evaluation.report import Report
from trackml.history import History
from trackml.params import RunParams
from trackml.tracking import family, reach, registry, store
from trackml.tracking.claims import claimed
from trackml.tracking.color import COLOR_TAG, run_color
from trackml.tracking.family import Place
from trackml.tracking.flavors import Data, Framework, save_model
from trackml.tracking.journal import Facts, Journal, new_folder, now_ms
from trackml.tracking.past import CODE_TAG, PastRun, closest_run, with_effect
from trackml.tracking.record import VERSION_TAG, Record, delivered, new_facts, passing
from trackml.tracking.repair import PROCESS_TAG, repair, this_process
from trackml.tracking.resume import find_unfinished, go_on, take_over
from trackml.training.checkpoint import keeping

if TYPE_CHECKING:
    import pandas as pd

P = ParamSpec("P")


@dataclass(frozen=True)
class Tracked:
    """A run that has ended.

    Attributes:
        folder: where it is kept here until the store has all of it.
    """

    run_id: str
    folder: Path | None = field(default=None, kw_only=True)

    @property
    def is_owed(self) -> bool:
        """Whether the store has not taken all of it yet."""
        return self.folder is not None and self.folder.exists()


@dataclass(frozen=True)
class Result(Tracked):
    """What a pipeline gives back: its run, how training went, and what became of the model.

    Attributes:
        registration: None where the parameters say that the model is not to be registered, and as
            long as the store has not taken it.
    """

    task: str
    architecture: str
    history: History
    report: Report
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
    scores_test: bool = True

    def log_architecture(self, parameters: int, summary: str) -> None:
        """Log the number of trainable parameters, and the model's layers as text."""
        self.log_params({"model_parameters": str(parameters)})
        self.log_text(summary, "model_summary.txt")

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log one epoch's metrics at step `epoch`, and what the store has not taken before."""
        self.journal.add_epoch(epoch, metrics)
        self.delivery.push()

    def evaluate(
        self, evaluation: Callable[P, Report], *args: P.args, **options: P.kwargs
    ) -> Report:
        """What `evaluation` says of the trained model; nothing of a run that is only a trial.

        A sweep chooses among trials by validation, so none of them is scored on the test data.
        """
        return evaluation(*args, **options) if self.scores_test else Report()

    def log_result(self, model: Any, history: History, report: Report) -> Result:
        """Log what came of training, and register the model unless the parameters say no.

        The model is logged before the report, as MLflow links the test metrics to it, and
        registered last, as the registry must not know of anything unfinished. Of a run that is
        only a trial no model is kept.
        """
        journal = self.journal
        if self.scores_test:  # the model first: numbers are linked to it
            save = partial(save_model, model=model, framework=self.framework, data=self.data)
            journal.add_metrics({"model_size_bytes": journal.add_model(save)}, "model")
            journal.facts.wants_version = self.params.register_model
        journal.add_metrics(history.summary, "model")
        journal.facts.tags |= {
            "trackml.precision": history.precision,
            "trackml.device": history.device,
        }
        history_text = json.dumps(history.as_dict(), indent=2)
        self.note_report(Report(texts={"history.json": history_text}))
        self.note_report(report, "model")
        journal.keep()
        self.delivery.push(seconds=None)
        return Result(
            self.run_id,
            self.data.name,
            self.architecture,
            history,
            report,
            self.delivery.registration,
            folder=self.journal.folder,
        )

    def closest(self, architecture: str, metrics: Sequence[str]) -> PastRun | None:
        """The finished run of another architecture on this data that compares best with this.

        Only runs that have all of `metrics`. None to a trial, which has no test scores to compare,
        and while the store is away.
        """
        if not self.scores_test or self.delivery.away:
            return None
        try:
            return closest_run(
                self.client,
                self.params,
                task=self.data.name,
                architecture=architecture,
                data_sha256=self.data.sha256,
                metrics=metrics,
            )
        except MlflowException as error:
            if not reach.is_away(error):
                raise
            self.delivery.give_up(reach.reason_of(error))
            return None

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
        AlreadyActive: a process is at work on the run that is to go on.
        TrackmlError: the store cannot be used, or the disk.
    """
    registry.check_names(data.name, architecture, *aliases)
    place = family.current_place()
    waits = place is not None or params.waits_for_store
    client = store.connect(must_answer=waits)
    is_reachable = waits or reach.answers()
    facts = _describe(params, data, framework, architecture, aliases, place)
    with ExitStack() as stack:
        found = None
        if params.resume:
            find = partial(find_unfinished, client, params, facts, stack)
            found = find(is_reachable=is_reachable)
        if is_reachable and not place:
            repair(client)
        if place:
            # One of many runs is begun anew, not continued.
            journal = stack.enter_context(passing(facts))
        elif found and facts.run_id in ("", found.journal.facts.run_id):
            journal = go_on(client, found, facts)
        else:
            folder = new_folder(facts.run_id)
            stack.enter_context(claimed(folder.name))
            journal = take_over(client, found, facts, folder) if found else Journal(folder, facts)
        delivery = stack.enter_context(
            delivered(client, journal, is_new=not found, must_answer=waits)
        )
        stack.enter_context(keeping(None if place else journal))
        yield Run(
            delivery,
            params=params,
            data=data,
            framework=framework,
            architecture=architecture,
            scores_test=place is None or place.scores_test,
        )


def _describe(
    params: RunParams,
    data: Data,
    framework: Framework,
    architecture: str,
    aliases: Sequence[str],
    place: Place | None,
) -> Facts:
    """What is known before training: parameters, tags, the dataset."""
    if place:
        facts = Facts(
            store=reach.shown_address(),
            experiment="",
            experiment_id=place.experiment_id,
            name=place.name,
            started=now_ms(),
            tags=place.tags,
        )
    else:
        facts = new_facts(data.name, architecture)
    facts.tags |= {
        "trackml.task": data.name,
        "trackml.framework": framework,
        "trackml.architecture": architecture,
        "trackml.data_sha256": data.sha256,
        COLOR_TAG: run_color(facts.name, with_effect(params)),
        CODE_TAG: digest_of(type(params)),
        PROCESS_TAG: this_process(),
        VERSION_TAG: trackml.__version__,
    }
    if aliases:
        facts.tags[registry.ALIASES_TAG] = " ".join(aliases)
    facts.params = params.as_text() | {
        "train_samples": str(len(data.train)),
        "validation_samples": str(len(data.validation)),
        "test_samples": str(len(data.test)),
    }
    facts.dataset = {
        "name": data.name,
        # MLflow keeps 36 characters of a digest; the tag trackml.data_sha256 has all of it.
        "digest": data.sha256[:36],
        "source_type": "trackml",
        "source": json.dumps({"source": data.source}),
    }
    return facts
