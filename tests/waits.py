"""How long requests over HTTP may wait for their answers: the time-outs that are passed.

    python -m tests.waits pipelines.cnn --limit 1000

prints a line for each request as it is made, while the pipeline runs.
"""

import re
import runpy
import sys
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter

usual = HTTPAdapter.send


def noting(note: Callable[[float], object]) -> Callable[..., requests.Response]:
    """`HTTPAdapter.send` that notes how many seconds a request may wait, all its tries together."""

    def send(
        adapter: HTTPAdapter, request: requests.PreparedRequest, *, timeout: float, **options: Any
    ) -> requests.Response:
        note(timeout * (1 + int(adapter.max_retries.total or 0)))
        return usual(adapter, request, timeout=timeout, **options)

    return send


def waits(said: str) -> list[float]:
    """The seconds in what a pipeline has said."""
    return [float(seconds) for seconds in re.findall(r"^a request waits for (.+) s$", said, re.M)]


if __name__ == "__main__":
    HTTPAdapter.send = noting(  # type: ignore[method-assign]
        # In one piece: several threads may print at once.
        lambda seconds: print(f"a request waits for {seconds} s\n", end="", flush=True)
    )
    _, program, *flags = sys.argv
    sys.argv = [program, *flags]
    runpy.run_module(program, run_name="__main__", alter_sys=True)
