"""Errors for people: one line, what was wrong, what was expected, what to do."""

LONGEST_REASON = 5_000  # characters: MLflow takes no tag that is longer


def one_line(error: BaseException) -> str:
    """What an error says, as one line; the name of its class if it says nothing."""
    return " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__


class TrackmlError(Exception):
    """A failure that needs no traceback to be understood. Its message is one line."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """What IPython shows, instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class UsageError(TrackmlError):
    """The command or its values are wrong. Nothing was started."""

    exit_code = 2


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
