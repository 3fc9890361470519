"""A status that stays: `mlflow run` sets FAILED over what a program that was stopped has set.

MLflow means to leave alone a run that has ended, but compares its status, a text, with numbers.
"""

import os
import subprocess
import sys
from time import monotonic, sleep

from mlflow.tracking import MlflowClient

from trackml.launcher import is_gone, launcher
from trackml.tracking import store
from trackml.tracking.journal import Facts

_LONGEST_SECONDS = 60.0
_LOOK_SECONDS = 0.05


def keep_status(facts: Facts) -> None:
    """Let a process that outlives this one see to a run's status until `mlflow run` has ended."""
    if facts.run_id != os.environ.get("MLFLOW_RUN_ID") or is_gone(launcher()):
        return  # nobody will say anything
    words = [facts.run_id, facts.status, str(facts.ended), str(launcher())]
    helper = subprocess.Popen(
        [sys.executable, "-m", __name__, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what stops this program must not stop it
    )
    if helper.stdout:
        helper.stdout.readline()  # it is ready


def _watch(client: MlflowClient, run_id: str, status: str, ended: int, until_gone: int) -> None:
    deadline = monotonic() + _LONGEST_SECONDS
    is_last = False
    while not is_last and monotonic() < deadline:
        is_last = is_gone(until_gone)
        if client.get_run(run_id).info.status == "FAILED":
            client.set_terminated(run_id, status, ended)
        sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    connected = store.connect(must_answer=False)
    print("ready", flush=True)
    _watch(connected, sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
