"""When MLflow is filled from a journal, and what if it does not answer."""

import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from types import MappingProxyType

from mlflow.tracking import MlflowClient

from trackml.errors import TrackmlError
from trackml.signals import at_next_call
from trackml.tracking import reach
from trackml.tracking.journal import Journal, Status, now_ms, remove
from trackml.tracking.reach import BRIEF_SECONDS, END_SECONDS
from trackml.tracking.registry import Registration
from trackml.tracking.upload import Upload

_log = logging.getLogger(__name__)


class Delivery:
    """Brings what a journal has into a store, as far as the store takes it.

    Attributes:
        away: why the store did not take something; "" if it did.
        is_complete: whether the store has all that the journal has.
    """

    def __init__(self, client: MlflowClient, journal: Journal, *, is_new: bool) -> None:
        """Deliver nothing yet.

        Args:
            is_new: whether nothing of it can be in the store yet.
        """
        self.client, self.journal = client, journal
        self.away = ""
        self.is_complete = False
        self._upload = Upload(client, journal, is_new=is_new)

    @property
    def registration(self) -> Registration | None:
        """What became of the model in the registry, once it is there."""
        return self._upload.registration

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
                for _ in self._upload.steps():
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
                self._upload.tell_end()  # if nothing else
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
