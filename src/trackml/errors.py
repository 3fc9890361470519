"""Errors for people: one line, what was wrong, what was expected, what to do."""

LONGEST_REASON = 5_000  # characters: MLflow takes no tag that is longer
LONGEST_LINE = 200  # characters of an error of a framework


def one_line(error: BaseException) -> str:
    """What an error says, as one line; the name of its class if it says nothing."""
    return " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__


def first_line(error: BaseException) -> str:
    """The class of an error, and the first line of what it says: frameworks' errors have pages."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *(line[:LONGEST_LINE] for line in lines[:1])])


class TrackmlError(Exception):
    """A failure that needs no traceback to be understood. Its message is one line."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """What IPython shows, instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class UsageError(TrackmlError):
    """The command or its values are wrong. Nothing was started."""

    exit_code = 2


class ModelRejected(TrackmlError):
    """A model's files are not what its signature and its training say.

    Attributes:
        rule: which one is broken, in a word or two.
    """

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"model not registered: {rule}: {reason}")
        self.rule = rule


class TrackingIncomplete(TrackmlError):
    """The work is done, and kept here, but MLflow does not have all of it yet."""

    exit_code = 3


class AlreadyActive(TrackmlError):
    """Another process is at work on the same run."""

    exit_code = 75


class Terminated(BaseException):
    """SIGTERM arrived, or another signal that asks to end; then its name is the message.

    Like KeyboardInterrupt, no `except Exception` may swallow it.
    """


class Pruned(SystemExit):
    """A trial is given up after an epoch, as others are better. Ray ends trials by such an exit."""

    def __init__(self, epoch: int) -> None:
        super().__init__(0)
        self.epoch = epoch
