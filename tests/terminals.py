"""Programs whose output goes into a pseudo-terminal, or a pipe, that a test closes."""

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from select import select
from time import monotonic, sleep
from types import MappingProxyType

from tests.conftest import user_environment


@dataclass
class Display:
    """A program, what it has shown, and the most seconds from one piece of that to the next."""

    process: "subprocess.Popen[bytes]"
    screen: int  # our end of the terminal or pipe
    output: bytes = b""
    silence: float = 0.0
    shown_at: float = field(default_factory=monotonic)

    @property
    def shown(self) -> str:
        return self.output.decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        """What was shown, without the codes that move the cursor."""
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.shown)
        return text.replace("\r", "\n").splitlines()

    def read(self, *, until: str = "", until_stopped: bool = False) -> None:
        """Read what the program shows, to its end, a text, or until SIGSTOP has stopped it."""
        ended, status = 0, 0
        while (self.read_some() or not ended) and not (until and until in self.shown):
            if not ended:
                ended, status = os.waitpid(self.process.pid, os.WNOHANG | os.WUNTRACED)
        assert not ended or os.WIFSTOPPED(status) == until_stopped, self.shown
        if ended and not until_stopped:
            self.process.returncode = os.waitstatus_to_exitcode(status)

    def read_some(self) -> bool:
        """Whether there was something, after a short wait."""
        if not select([self.screen], [], [], 0.1)[0]:
            return False
        with suppress(OSError):  # of a terminal whose program has ended
            if some := os.read(self.screen, 65536):
                self.output += some
                now = monotonic()
                self.silence, self.shown_at = max(self.silence, now - self.shown_at), now
                return True
        sleep(0.1)
        return False

    def close(self) -> None:
        os.close(self.screen)


def begun_in_terminal(
    *words: str,
    folder: Path,
    shell: str = 'exec "$@"',
    columns: int = 80,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Display:
    """Start a module of the project in a terminal of its own, which sends SIGHUP when it closes."""
    screen, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    return _begun(["setsid", "-c"], words, shell, folder, (screen, inner), variables)


def begun_in_pipe(
    *words: str,
    folder: Path,
    shell: str = 'exec "$@"',
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Display:
    """Start a module of the project that prints into a pipe."""
    return _begun([], words, shell, folder, os.pipe(), variables)


def _begun(
    by: list[str],
    words: tuple[str, ...],
    shell: str,
    folder: Path,
    ends: tuple[int, int],
    variables: Mapping[str, str],
) -> Display:
    screen, inner = ends
    kept = {key: value for key, value in user_environment().items() if key != "COLUMNS"}
    process = subprocess.Popen(
        [*by, "bash", "-c", shell, "bash", sys.executable, "-m", *words],
        cwd=folder,
        env=kept | {"TERM": "xterm", **variables},
        stdin=inner,
        stdout=inner,
        stderr=inner,
    )
    os.close(inner)
    return Display(process, screen)
