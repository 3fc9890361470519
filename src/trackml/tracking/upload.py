"""What a journal has, brought to its run in MLflow step by step."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils import name_utils

from trackml.tracking import reach, registry, store
from trackml.tracking.family import FAILURE_TAG
from trackml.tracking.flavors import log_model
from trackml.tracking.journal import JOURNAL_TAG, Journal, Score
from trackml.tracking.resume import replace_predecessor

_ROWS_AT_ONCE = 900  # of metrics: MLflow takes 1,000 in a request


class Upload:
    """The steps of a delivery.

    Each may be done again: by this process, which leaves out what it knows to be there, by one
    that resumes the run, or by `sync`. So nothing is noted on disk of what has been uploaded but
    what the run is called.

    Attributes:
        registration: what became of the model in the registry, once it is there.
    """

    def __init__(self, client: MlflowClient, journal: Journal, *, is_new: bool) -> None:
        """Upload nothing yet.

        Args:
            is_new: whether nothing of it can be in the store yet.
        """
        self.client, self.journal = client, journal
        self.registration: registry.Registration | None = None
        self._is_new = is_new
        self._run: MlflowRun | None = None  # as it was when this process found it
        self._model_id: str | None = None
        self._sent: set[tuple[object, ...]] = set()

    def steps(self) -> Iterator[None]:
        """All that there is to do, in an order that lets each step build on those before.

        Each iteration does one; whoever iterates may stop between two.
        """
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
        self.tell_end()

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

    def tell_end(self) -> None:
        """Set the status that the run has ended with."""
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
