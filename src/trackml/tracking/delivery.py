"""MLflow filled from a journal: each thing once, whatever happens in between, now or later."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import MappingProxyType

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils import name_utils

from trackml.errors import TrackmlError
from trackml.signals import at_next_call
from trackml.tracking import reach, registry, store
from trackml.tracking.family import FAILURE_TAG
from trackml.tracking.flavors import log_model
from trackml.tracking.journal import JOURNAL_TAG, Journal, Score, Status, now_ms, remove
from trackml.tracking.reach import BRIEF_SECONDS, END_SECONDS
from trackml.tracking.resume import replace_predecessor

_ROWS_AT_ONCE = 900  # of metrics: MLflow takes 1,000 in a request

_log = logging.getLogger(__name__)


class Delivery:
    """Brings what a journal has into a store, as far as the store takes it.

    All that it does may be done again: by a process that resumes the run, or by `sync`. So nothing
    is noted of what has been delivered but what the run is called.

    Attributes:
        away: why the store did not take something; "" if it did.
        is_complete: whether the store has all that the journal has.
        registration: what became of the model in the registry, once it is there.
    """

    def __init__(self, client: MlflowClient, journal: Journal, *, is_new: bool) -> None:
        """Deliver nothing yet.

        Args:
            is_new: whether nothing of it can be in the store yet.
        """
        self.client, self.journal = client, journal
        self.away = ""
        self.registration: registry.Registration | None = None
        self.is_complete = False
        self._is_new = is_new
        self._run: MlflowRun | None = None  # as it was when this process found it
        self._model_id: str | None = None
        self._sent: set[tuple[object, ...]] = set()

    def begin(self, *, must_answer: bool) -> None:
        """Let the run begin in the store.

        Raises:
            TrackmlError: the store must answer, and does not.
        """
        if must_answer or reach.answers():
            self.push()
        else:
            self.give_up("no answer")
        if must_answer and self.away:
            raise TrackmlError(f"{reach.shown_address()} does not take a run: {self.away}")

    def push(self, *, seconds: int | None = BRIEF_SECONDS) -> None:
        """Deliver what is not there yet; if the store is away, note that and return.

        Args:
            seconds: how long a request may take, and when to leave the rest to the next time:
                training waits. None gives it all the time that large files take.

        Raises:
            MlflowException: it refuses something.
            TrackmlError: the experiment was deleted; or the disk says no.
        """
        self.is_complete = False
        if self.away and not reach.answers():
            return
        until = math.inf if seconds is None else monotonic() + seconds
        try:
            # A request to stop that broke into a transaction would leave a database locked.
            with reach.patience(seconds), at_next_call() as stop:
                for _ in self._steps():
                    stop()
                    if monotonic() > until:
                        return
        except Exception as error:
            if not reach.is_away(error):
                raise
            self.give_up(reach.reason_of(error))
            return
        self.is_complete = True
        if self.away:
            self.away = ""
            _log.info("%s answers again, and has all that it was owed", reach.shown_address())

    def give_up(self, reason: str) -> None:
        """Take the store for away, until it answers."""
        if not self.away:
            _log.warning(
                "warning: %s does not take what is logged (%s); it is kept here, and offered again "
                "after each epoch",
                reach.shown_address(),
                reason,
            )
        self.away = reason

    def end(
        self, status: Status, tags: Mapping[str, str] = MappingProxyType({}), at: int | None = None
    ) -> None:
        """Let the run end so, at that time or now, here and in the store.

        Raises:
            MlflowException: the store refuses something of a run that has finished.
        """
        facts = self.journal.facts
        facts.status, facts.ended = status, at or now_ms()
        facts.tags = {**facts.tags, **tags}
        with suppress(TrackmlError):  # a full disk must not keep the store from knowing
            self.journal.keep()
        try:
            self.push(seconds=END_SECONDS if status == "FINISHED" else BRIEF_SECONDS)
        except Exception:  # of a run that has failed or was stopped, that is what a person hears of
            if status == "FINISHED":
                facts.status, facts.ended = "RUNNING", 0
                raise
        if not self.is_complete and not self.away:
            with suppress(Exception):
                self._tell_end()  # if nothing else
        self.put_away()

    def put_away(self) -> None:
        """Keep here, of a run that has ended, what is still of use."""
        facts = self.journal.facts
        if not self.is_complete:
            self.journal.settle()
        elif facts.status == "FINISHED" or not self.journal.epochs:
            remove(self.journal.folder)
        else:
            facts.is_delivered = True
            with suppress(TrackmlError):
                self.journal.keep()

    def _steps(self) -> Iterator[None]:
        """All that there is to do, in an order that lets each step build on those before."""
        steps = (self._begin, self._describe, self._succeed, self._log_dataset, self._log_epochs)
        for step in steps:
            step()
            yield
        facts = self.journal.facts
        if facts.has_model and not self._model_id:
            self._model_id = log_model(self.client, self._fresh_run(), self.journal.model)
            yield
        self._log_scores()
        yield
        for file in sorted(self.journal.artifacts.rglob("[!.]*")):
            if file.is_file():
                self._log_artifact(file)
                yield
        is_good = facts.status in ("RUNNING", "FINISHED")
        if facts.wants_version and is_good and not self.registration:
            self.registration = registry.register_run(self.client, facts.run_id)
            yield
        self._tell_end()

    def _begin(self) -> None:
        """Find the run, or make it."""
        facts = self.journal.facts
        if self._run:
            return
        if not facts.run_id:
            number = facts.experiment_id or store.experiment_id(self.client, facts.experiment)
            tags = facts.tags | {JOURNAL_TAG: self.journal.id}
            run = None if self._is_new else self._made_before(number)
            self._is_new = False  # it may be made, though the answer gets lost
            run = run or self.client.create_run(number, facts.started, tags, facts.name)
            facts.run_id = run.info.run_id
            self.journal.keep()
        else:
            run = self.client.get_run(facts.run_id)
        if run.info.status != "RUNNING" and not facts.ended:
            self.client.update_run(facts.run_id, status="RUNNING")
        if FAILURE_TAG in run.data.tags and FAILURE_TAG not in facts.tags:
            self.client.delete_tag(facts.run_id, FAILURE_TAG)  # it goes on
            del run.data.tags[FAILURE_TAG]
        if _is_invented(run.info.run_name):
            self.client.update_run(facts.run_id, name=facts.name)
        self._sent |= {("tag", key, value) for key, value in run.data.tags.items()}
        # What `mlflow run` has logged stays the text that was typed.
        self._sent |= {("param", key) for key in run.data.params}
        self._run = run

    def _made_before(self, experiment: str) -> MlflowRun | None:
        """The run of this journal, if a process that was killed had got so far."""
        found = self.client.search_runs(
            [experiment], f"tags.`{JOURNAL_TAG}` = '{self.journal.id}'", max_results=1
        )
        return found[0] if found else None

    def _tell_end(self) -> None:
        facts = self.journal.facts
        if facts.ended and facts.run_id and ("status", facts.status) not in self._sent:
            try:
                self._describe()  # its tags say why
            finally:
                self.client.set_terminated(facts.run_id, facts.status, facts.ended)
            self._sent.add(("status", facts.status))

    def _fresh_run(self) -> MlflowRun:
        return self.client.get_run(self.journal.facts.run_id)

    def _describe(self) -> None:
        """Parameters and tags."""
        facts = self.journal.facts
        new_params = {
            key: text for key, text in facts.params.items() if ("param", key) not in self._sent
        }
        tags = facts.tags | {JOURNAL_TAG: self.journal.id}
        new_tags = {key: text for key, text in tags.items() if ("tag", key, text) not in self._sent}
        if new_params or new_tags:
            self.client.log_batch(
                facts.run_id,
                params=[Param(key, text) for key, text in new_params.items()],
                tags=[RunTag(key, text) for key, text in new_tags.items()],
            )
        self._sent |= {("param", key) for key in new_params}
        self._sent |= {("tag", key, text) for key, text in new_tags.items()}

    def _succeed(self) -> None:
        """Take the place of the run that this one goes on with, if there is one."""
        if ("predecessor",) not in self._sent:
            replace_predecessor(self.client, self.journal.facts)
            self._sent.add(("predecessor",))

    def _log_dataset(self) -> None:
        facts = self.journal.facts
        known = self._run and self._run.inputs and self._run.inputs.dataset_inputs
        if not facts.dataset or known or ("dataset",) in self._sent:
            return
        inputs = [
            DatasetInput(Dataset(**facts.dataset), [InputTag("mlflow.data.context", "training")])
        ]
        try:
            self.client.log_inputs(facts.run_id, inputs)
        except MlflowException as error:
            if reach.is_away(error):
                raise
            # Of runs that begin in the same moment each may make the dataset, and one can: the
            # others find it now.
            self.client.log_inputs(facts.run_id, inputs)
        self._sent.add(("dataset",))

    def _log_epochs(self) -> None:
        facts = self.journal.facts
        new = {
            key: row for key, row in self.journal.epochs.items() if ("epoch", key) not in self._sent
        }
        rows = [
            Metric(name, value, at, epoch, run_id=facts.run_id)
            for epoch, (metrics, at) in new.items()
            for name, value in metrics.items()
        ]
        self._log_rows(rows)
        self._sent |= {("epoch", epoch) for epoch in new}

    def _log_scores(self) -> None:
        new = {
            name: score
            for name, score in self.journal.facts.metrics.items()
            if score.at and ("score", name) not in self._sent
        }
        self._log_rows([self._row(name, score) for name, score in new.items()])
        self._sent |= {("score", name) for name in new}

    def _row(self, name: str, score: Score) -> Metric:
        facts = self.journal.facts
        return Metric(
            name,
            score.value,
            score.at,
            0,
            model_id=self._model_id if score.linked == "model" else None,
            dataset_name=facts.dataset.get("name") if score.linked else None,
            dataset_digest=facts.dataset.get("digest") if score.linked else None,
            run_id=facts.run_id,
        )

    def _log_rows(self, rows: Sequence[Metric]) -> None:
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[first : first + _ROWS_AT_ONCE]
            self.client.log_batch(self.journal.facts.run_id, metrics=some)

    def _log_artifact(self, file: Path) -> None:
        known = (file, file.stat().st_mtime_ns)
        if known not in self._sent:
            folder = file.parent.relative_to(self.journal.artifacts).as_posix()
            where = None if folder == "." else folder
            self.client.log_artifact(self.journal.facts.run_id, str(file), where)
            self._sent.add(known)


def _is_invented(name: str) -> bool:
    """Whether MLflow made up the name of a run that got none, such as "bold-auk-521"."""
    adjectives, nouns = name_utils._GENERATOR_PREDICATES, name_utils._GENERATOR_NOUNS  # noqa: SLF001
    parts = name.split("-")
    return len(parts) == 3 and parts[0] in adjectives and parts[1] in nouns
