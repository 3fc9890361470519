"""Runs that go on: which one, whether it can, and how another run takes its place."""

import logging
from contextlib import ExitStack

from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from trackml.code import digest_of
from trackml.errors import AlreadyActive, TrackmlError
from trackml.params import RunParams
from trackml.tracking import family
from trackml.tracking.claims import claimed
from trackml.tracking.journal import Journal, folder_of
from trackml.tracking.past import is_unfinished, unfinished_run
from trackml.tracking.repair import PROCESS_TAG, may_be_at_work

PREDECESSOR_TAG = "trackml.predecessor"

_log = logging.getLogger(__name__)


def find_unfinished(
    client: MlflowClient,
    params: RunParams,
    *,
    task: str,
    architecture: str,
    data_sha256: str,
    claims: ExitStack,
) -> MlflowRun | None:
    """The newest unfinished run of these parameters, data and code, claimed; None if there is none.

    Nothing is changed: whether it can go on is known when this returns.

    Raises:
        AlreadyActive: a process is at work on it.
        TrackmlError: it has trained, and its checkpoint is not here, or cannot be read.
    """
    old = unfinished_run(
        client,
        params,
        task=task,
        architecture=architecture,
        data_sha256=data_sha256,
        code_sha256=digest_of(type(params)),
    )
    if old:
        claims.enter_context(claimed(old.info.run_id))
        old = client.get_run(old.info.run_id)  # it may have been finished until now
    if not old or not is_unfinished(old):
        _log.info("resume: no run of these parameters and code is unfinished; a new one begins")
        return None
    run_id, process = old.info.run_id, old.data.tags.get(PROCESS_TAG, "")
    if old.info.status == "RUNNING" and may_be_at_work(process):
        raise AlreadyActive(
            f"run {run_id} is RUNNING, by process {process}; wait for its end, or where that is no "
            "more, run `python -m trackml runs` on its machine"
        )
    if "train_loss" in old.data.metrics and not Journal(run_id).rows:
        raise TrackmlError(
            f"--resume: run {run_id} has trained, but there is no checkpoint of it in "
            f"{folder_of(run_id)}; resume it where it ran (TRACKML_RUNS_DIR), or leave --resume out"
        )
    _log.info("resume: run %s goes on", run_id)
    return old


def logged_before(client: MlflowClient, run: MlflowRun) -> frozenset[str]:
    """The metrics that a run which goes on has, and that are not to be logged once more.

    None of a run of many trials: what it says of them changes.
    """
    return frozenset() if family.children(client, run) else frozenset(run.data.metrics)


def replace_predecessor(client: MlflowClient, run_id: str) -> None:
    """Let a run, if it carries on in the place of another, have all that is left of that.

    Done again, it completes what a kill has left half-done.
    """
    tags = client.get_run(run_id).data.tags
    if before := tags.get(PREDECESSOR_TAG):
        family.adopt(client, client.get_run(before), run_id)
        Journal.remove(before)
