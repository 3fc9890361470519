"""What a run writes for people: its card, that of its model, and that of its experiment."""

import logging
from collections.abc import Mapping

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from trackml.metrics import METRIC_TAG, ranking_metric
from trackml.tracking import server
from trackml.tracking.outbox import Outbox
from trackml.tracking.queries import TRIAL_TAG
from trackml.ui.cards import NOTE_TAG, experiment_card, is_own, run_card
from trackml.ui.links import VIEW_TAG, view_of

_log = logging.getLogger(__name__)


class Descriptions:
    """The descriptions that follow from an outbox. What a person has written stays."""

    def __init__(self, client: MlflowClient, outbox: Outbox) -> None:
        self._client, self._outbox = client, outbox
        self._is_described, self._card = False, ""  # the experiment; the run, as it is now

    def card_of(self, load: str = "") -> str:
        """The card of the run, or of its model at that address."""
        state = self._outbox.state
        values = {name: metric.value for name, metric in state.metrics.items()}
        figures, source = sorted(self._outbox.artifacts), state.dataset.get("source", "")
        return run_card(state.tags, state.params, values, source, figures=figures, load=load)

    def describe_run(self, before: Mapping[str, str], load: str) -> None:
        """Describe the run at its start and at its end.

        Args:
            before: the tags that it had when this process found it.
            load: the address of its model; "" while there is none.
        """
        state = self._outbox.state
        if "trackml.task" not in state.tags or (self._card and state.status != "FINISHED"):
            return
        if (card := self.card_of(load)) != self._card:
            run_id = self._outbox.state.run_id
            if self._card:
                before = self._client.get_run(run_id).data.tags
            if is_own(before.get(NOTE_TAG)):
                self._client.set_tag(run_id, NOTE_TAG, card)
            self._card = card

    def describe_experiment(self, experiment_id: str) -> None:
        """Describe the experiment, and say what its runs are sorted by, unless it is said.

        Both are optional: a server may not let this user change an experiment.
        """
        state = self._outbox.state
        if self._is_described or METRIC_TAG not in state.tags or TRIAL_TAG in state.tags:
            return
        try:
            experiment = self._client.get_experiment(experiment_id)
            card = experiment_card(state.tags, state.params, state.dataset.get("source", ""))
            tags = {VIEW_TAG: view_of(ranking_metric((), state.tags))}
            # Default, and others that runs of many tasks share, are described by none of them.
            if experiment.name == state.tags["trackml.task"]:
                tags[NOTE_TAG] = card
            for key, text in tags.items():
                before = experiment.tags.get(key)
                if before != text and (is_own(before) if key == NOTE_TAG else not before):
                    self._client.set_experiment_tag(experiment_id, key, text)
        except MlflowException as error:
            if server.is_unreachable(error):
                raise
            _log.debug("the experiment stays without a description: %s", server.reason_of(error))
        self._is_described = True
