"""Reading MLflow: runs, the child runs of a sweep, baselines to compare with."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import mlflow
import pandas as pd
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from trackml.comparison.logged_params import differences
from trackml.comparison.runs import BaselineRun, FinishedRun
from trackml.process.garbage import no_collection
from trackml.tracking.outbox import FAILURE_TAG

TRIAL_TAG = "trackml.trial"
NODE_TAG = "trackml.ray_node"
SUCCESSOR_TAG = "trackml.successor"
PRUNED_TAG = "trackml.pruned"
CANDIDATE_TAG = "trackml.candidate"  # of a run that is chosen among, and has no test scores
CODE_TAG = "trackml.code_sha256"
TRIALS_TAG = "trackml.trials"  # of a sweep or suite, whose scores are those of its best trials
_ORIGIN = ("mlflow.user", "mlflow.source.")  # tags that name who started a run, from which code
_FINISHED = "attributes.status = 'FINISHED'"
_UNFINISHED = "attributes.status != 'FINISHED'"
_PAGE = 1_000  # runs in a response
_RECENT = 200  # runs among which one is looked for: each costs milliseconds
_FEW = 20  # runs of which all tags are looked at here
_MAX_TASKS = 20  # in a list for people; each is a join more, of which a database has limits
# Of whether a run has a tag at all, a database asks only for runs that meet the other conditions.
_NO_TRIAL = f"tags.`{MLFLOW_PARENT_RUN_ID}` IS NULL"


def search_runs(
    client: MlflowClient, *conditions: str, newest_first: bool = True, max_runs: int | None = None
) -> list[MlflowRun]:
    """The active runs of all experiments that meet all conditions."""
    experiments = [each.experiment_id for each in _all_pages(client.search_experiments)]
    fetch = partial(
        client.search_runs,
        experiments,
        " and ".join(conditions),
        order_by=[f"attributes.start_time {'DESC' if newest_first else 'ASC'}"],
        max_results=max_runs or _PAGE,
    )
    with no_collection():  # which would visit the 80 objects of each run again and again
        return list(fetch() if max_runs else _all_pages(fetch))


def _all_pages(fetch: Callable[..., Any]) -> Iterator[Any]:
    page = fetch()
    yield from page
    while page.token:
        page = fetch(page_token=page.token)
        yield from page


def find_run(client: MlflowClient, run_id: str, *, also_deleted: bool = False) -> MlflowRun | None:
    """The run of that id; None if there is none, or it was deleted."""
    try:
        run = client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run if run and (also_deleted or run.info.lifecycle_stage == "active") else None


def values_by_epoch(client: MlflowClient, run_id: str, metric: str) -> dict[int, float]:
    """The values of a run's metric by epoch, in their order; 0 is the untrained model."""
    rows = client.get_metric_history(run_id, metric)
    return {row.step: row.value for row in sorted(rows, key=lambda row: row.step)}


@dataclass(frozen=True)
class ParentRun:
    """The run below which a trial's run goes, and the trial's name there.

    Attributes:
        tracking_uri: of the store.
        origin: tags that name who started the parent, from which code.
        scores_test: false for a candidate: it is chosen among, so it must not see the test data.
    """

    tracking_uri: str
    run_id: str
    experiment_id: str
    origin: Mapping[str, str]
    trial: str = ""
    scores_test: bool = True

    @classmethod
    def of_run(cls, run: MlflowRun, *, scores_test: bool = True) -> "ParentRun":
        """A run as the parent of trials, in the store that this process uses."""
        origin = {key: tag for key, tag in run.data.tags.items() if key.startswith(_ORIGIN)}
        uri = mlflow.get_tracking_uri()
        return cls(uri, run.info.run_id, run.info.experiment_id, origin, scores_test=scores_test)

    def of_trial(self, name: str, node: str = "") -> "ParentRun":
        """The same parent, for the trial of that name, executed on that node of a cluster."""
        origin = {**self.origin, NODE_TAG: node} if node else self.origin
        return replace(self, trial=name, origin=origin)

    @property
    def child_tags(self) -> dict[str, str]:
        """Tags of the trial's run. A worker's own origin would be the file that started it."""
        own = {MLFLOW_PARENT_RUN_ID: self.run_id, TRIAL_TAG: self.trial}
        return {**self.origin, **own, **({} if self.scores_test else {CANDIDATE_TAG: "true"})}


def child_runs(client: MlflowClient, parent_id: str) -> list[MlflowRun]:
    """All runs below a parent, the oldest first."""
    # In all experiments: those of a parent that was replaced may be in another one.
    return search_runs(client, f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent_id}'", newest_first=False)


def child_table(
    client: MlflowClient,
    parent_id: str,
    *,
    params: Sequence[str] = (),
    metrics: Sequence[str] = (),
    curves: Sequence[str] = (),
) -> pd.DataFrame:
    """A row per child run, the oldest first.

    Its columns are run_id, name, state as `state_of` has it, is_candidate, ended (milliseconds),
    and those asked for: None for a parameter, nan for a metric that a child has not logged, and for
    each of `curves` a list with the metric's value per epoch; the only one of a fit without epochs.
    """

    def curve(child: MlflowRun, metric: str) -> list[float]:
        values = values_by_epoch(client, child.info.run_id, metric)
        of_epochs = [value for epoch, value in values.items() if epoch]
        has_no_epochs = not of_epochs and state_of(child) == "finished"
        return [*values.values()] if has_no_epochs else of_epochs

    rows = [
        {
            "run_id": child.info.run_id,
            "name": child.data.tags[TRIAL_TAG],
            "state": state_of(child),
            "is_candidate": CANDIDATE_TAG in child.data.tags,
            "ended": child.info.end_time,
            **{name: child.data.params.get(name) for name in params},
            **{name: child.data.metrics.get(name, math.nan) for name in metrics},
            **{name: curve(child, name) for name in curves},
        }
        for child in child_runs(client, parent_id)
    ]
    own = ["run_id", "name", "state", "is_candidate", "ended"]
    return pd.DataFrame(rows, columns=[*own, *params, *metrics, *curves])


def state_of(child: MlflowRun) -> str:
    """How a trial ended: "finished", "pruned" or "failed"; "running" if it has not."""
    if PRUNED_TAG in child.data.tags:
        return "pruned"
    return {"FINISHED": "finished", "RUNNING": "running"}.get(child.info.status, "failed")


def create_failed_child(client: MlflowClient, parent: ParentRun, reason: str) -> None:
    """Create the run of a trial that failed before it had one."""
    tags = parent.child_tags | {FAILURE_TAG: reason}
    run = client.create_run(parent.experiment_id, tags=tags, run_name=parent.trial)
    client.set_terminated(run.info.run_id, "FAILED")


def mark_pruned(client: MlflowClient, run_id: str, epoch: int) -> None:
    """End a trial that was stopped after an epoch in favor of better ones; it has not failed."""
    client.set_tag(run_id, PRUNED_TAG, f"after epoch {epoch}")
    client.set_terminated(run_id, "KILLED")


def end_dead_children(
    client: MlflowClient, parent_id: str, status: Literal["FAILED", "KILLED"], reason: str
) -> None:
    """Mark child runs whose process died as FAILED or KILLED."""
    for child in child_runs(client, parent_id):
        was_pruned = PRUNED_TAG in child.data.tags  # and had no time to end
        if child.info.status == "RUNNING":
            if not was_pruned:
                client.set_tag(child.info.run_id, FAILURE_TAG, reason)
            client.set_terminated(child.info.run_id, "KILLED" if was_pruned else status)


def delete_unfinished_children(client: MlflowClient, parent_id: str) -> list[MlflowRun]:
    """Delete child runs that neither finished nor were pruned, to run them again; return others."""
    end_dead_children(client, parent_id, "KILLED", "its process was killed")
    children = child_runs(client, parent_id)
    for child in children:
        if state_of(child) == "failed":
            client.delete_run(child.info.run_id)
    return [child for child in children if state_of(child) != "failed"]


def replace_run(client: MlflowClient, old: MlflowRun, new_id: str) -> None:
    """Let one run continue in the place of another: its children move, and it ends."""
    for child in child_runs(client, old.info.run_id):
        client.set_tag(child.info.run_id, MLFLOW_PARENT_RUN_ID, new_id)
    client.set_tag(old.info.run_id, SUCCESSOR_TAG, new_id)
    if old.info.status not in ("FINISHED", "KILLED"):
        client.set_terminated(old.info.run_id, "KILLED", old.info.end_time)


def nearest_baseline(
    client: MlflowClient,
    params: Mapping[str, str],
    identity: Mapping[str, str],
    metrics: Sequence[str],
) -> BaselineRun | None:
    """The finished run whose parameters differ least from `params`; among equals the newest.

    It must have the tags `identity`, and the metrics.
    """
    of_architecture = (f"tags.`{key}` = '{value}'" for key, value in identity.items())
    has_metrics = (f"metrics.`{name}` > -1e300" for name in metrics)  # trials have no test scores
    runs = search_runs(client, _FINISHED, *of_architecture, *has_metrics, max_runs=_RECENT)
    baselines = [
        BaselineRun(
            run.info.run_id,
            identity["trackml.architecture"],
            {name: run.data.metrics[name] for name in metrics},
            differences(params, run.data.params),
        )
        for run in runs
    ]
    return min(baselines, key=lambda run: len(run.differences), default=None)


def running_runs(client: MlflowClient, tag: str) -> list[MlflowRun]:
    """The runs with a tag that are RUNNING, the oldest first; no trials."""
    running = "attributes.status = 'RUNNING'"
    return search_runs(client, running, f"tags.`{tag}` IS NOT NULL", _NO_TRIAL, newest_first=False)


def unfinished_runs(client: MlflowClient) -> list[MlflowRun]:
    """The runs of trackml that have not finished, the newest first.

    No trials, and none that another run continues.
    """
    is_last = f"tags.`{SUCCESSOR_TAG}` IS NULL"
    return search_runs(client, _UNFINISHED, "tags.`trackml.task` IS NOT NULL", is_last, _NO_TRIAL)


def resumable_runs(client: MlflowClient, user: str, tags: Mapping[str, str]) -> list[MlflowRun]:
    """The newest runs of a user with these tags that did not finish, or of which trials failed.

    No trials, and none that another run continues.
    """
    own = [f'attributes.user_id = "{user}"']
    own += [f"tags.`{tag}` IS NULL" for tag in (TRIAL_TAG, SUCCESSOR_TAG)]
    has_failed = f"tags.`{FAILURE_TAG}` IS NOT NULL"

    def newest(count: int, *conditions: str) -> list[MlflowRun]:
        runs = search_runs(client, _UNFINISHED, *own, *conditions, max_runs=count)
        failed = search_runs(client, _FINISHED, has_failed, *own, *conditions, max_runs=count)
        is_whole = len(runs) < count and len(failed) < count
        if not (is_whole or conditions):
            return newest(_RECENT, *(f"tags.`{key}` = '{value}'" for key, value in tags.items()))
        return sorted(runs + failed, key=lambda run: run.info.start_time, reverse=True)

    # A database reads the tag of every run to find those of one value. It is asked for that only
    # if the user has many runs that did not finish.
    return [run for run in newest(_FEW) if tags.items() <= run.data.tags.items()]


def finished_runs(client: MlflowClient, task: str) -> list[FinishedRun]:
    """The finished runs of a task, the newest first; no sweeps, whose scores are their trials'."""
    of_task = f"tags.`trackml.task` = '{task}'"
    return [
        FinishedRun(
            run.info.run_id,
            run.data.tags,
            run.data.params,
            run.data.metrics,
            run.info.experiment_id,
        )
        for run in search_runs(client, _FINISHED, of_task, f"tags.`{TRIALS_TAG}` IS NULL")
    ]


def tasks_with_runs(client: MlflowClient) -> list[str]:
    """The tasks of finished runs, sorted; the 20 newest if there are more."""
    tasks: list[str] = []
    while len(tasks) < _MAX_TASKS:  # a request per task, rather than all runs
        others = (f"tags.`trackml.task` != '{task}'" for task in ("", *tasks))
        runs = search_runs(client, _FINISHED, *others, max_runs=1)
        if not runs:
            break
        tasks.append(runs[0].data.tags["trackml.task"])
    return sorted(tasks)
