"""Many runs of one pipeline, as children of one run, executed by Ray Tune: here or on a cluster."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import grpc
import mlflow
import pandas as pd
import ray
from mlflow.entities import Run as MlflowRun
from ray import tune

import trackml
from trackml.errors import TrackmlError, UsageError
from trackml.fields import DeviceName
from trackml.history import EpochHook
from trackml.params import Params
from trackml.signals import kept_handlers
from trackml.tracking import family
from trackml.tracking.registry import Registration
from trackml.tracking.run import Result, Run

ANSWER_SECONDS = 5.0  # for a cluster to say anything
_OBJECTS_BYTES = 100_000_000  # Ray's store of objects: trials get a few kilobytes
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it would report to its makers
    "RAY_worker_niceness": "0",  # trials are what the machine is there for
    "RAY_AIR_NEW_OUTPUT": "0",  # a panel on stdout, whatever the verbosity
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow has it all
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # a program of trackml has its own
}

Main = Callable[[Any, EpochHook | None], Result]


@dataclass(frozen=True)
class Trial:
    """One run of a sweep: its name among its siblings, and its parameters by flag."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: the summary of its history, or why it failed."""

    name: str
    seconds: float = 0.0
    summary: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None


TrialHook = Callable[[Outcome, int, int], None]
"""Called with a trial that has ended, and how many of how many have."""


@dataclass(frozen=True)
class SuiteResult:
    """What a suite gives back.

    Attributes:
        table: a row per combination of `factors`, best first.
        failed: the trials that did not finish.
        registrations: of the models that were chosen, the best last.
    """

    run_id: str
    name: str
    factors: Sequence[str]
    table: pd.DataFrame
    failed: Sequence[Outcome]
    registrations: Sequence[Registration]


@dataclass(frozen=True)
class Resources:
    """What a Ray cluster has in all, and the processors of its largest machine."""

    cpus: float
    cpus_of_largest: float
    gpus: float


@dataclass(frozen=True)
class Share:
    """So many trials at once, and what each of them gets, as Ray counts it: "cpu" and "gpu"."""

    at_once: int
    each: dict[str, float]


@contextmanager
def cluster(address: str) -> Iterator[Resources]:
    """A connection to a Ray cluster; "local" starts one that ends with the block.

    Raises:
        TrackmlError: nobody answers at the address.
    """
    os.environ.update({key: os.environ.get(key, value) for key, value in _SETTINGS.items()})
    _check_address(address)
    options: dict[str, Any] = {"runtime_env": {"py_modules": _packages()}}
    if address == "local":
        options = {"include_dashboard": False, "object_store_memory": _OBJECTS_BYTES}
    with kept_handlers():
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise TrackmlError(f"--ray_address {address}: {error}") from None
    try:
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        machines = [node["Resources"] for node in nodes if node["Alive"]]
        cpus = [machine.get("CPU", 0.0) for machine in machines]
        gpus = sum(machine.get("GPU", 0.0) for machine in machines)
        yield Resources(sum(cpus), max(cpus), gpus)
    finally:
        ray.shutdown()


def run_trials(
    main: Main,
    params: type[Params],
    trials: Sequence[Trial],
    parent: Run,
    share: Share,
    hook: TrialHook | None = None,
) -> list[Outcome]:
    """Run a pipeline once for each trial; return those that failed.

    Trials that have a finished run below `parent` are not run again. One that fails does not stop
    the others. When this returns, or raises, no child of `parent` is left RUNNING.

    Args:
        main: of the pipeline, importable by its name. params: its class of parameters.
        hook: called after each trial.

    Raises:
        TrackmlError: no trial has finished.
    """
    client = parent.client
    run = client.get_run(parent.run_id)
    family.discard_unfinished(client, run)
    done = {child.data.tags[family.NAME_TAG] for child in family.children(client, run)}
    waiting = [trial for trial in trials if trial.name not in done]
    watch = _Watch(len(waiting), hook)
    if waiting:
        _execute(main, params, waiting, parent, run, share, watch)
    failed = [outcome for outcome in watch.outcomes if outcome.failure]
    if failed:
        first = f"{failed[0].name}: {failed[0].failure}"
        words = f"{len(failed)} of {len(trials)} trials failed; the first, {first}"
        if len(failed) == len(trials):
            raise TrackmlError(words)
        client.set_tag(parent.run_id, family.FAILURE_TAG, words)
    return failed


def _execute(
    main: Main,
    params: type[Params],
    trials: Sequence[Trial],
    parent: Run,
    run: MlflowRun,
    share: Share,
    watch: "_Watch",
) -> None:
    job = tune.with_parameters(
        _run_trial,
        main=main,
        params=params,
        places={trial.name: family.place_below(run, trial.name) for trial in trials},
        tracking_uri=mlflow.get_tracking_uri(),
    )
    try:
        with tempfile.TemporaryDirectory(prefix="trackml-") as folder, kept_handlers():
            tune.Tuner(
                tune.with_resources(job, share.each),
                param_space={
                    "trial": tune.grid_search(
                        [{"name": trial.name, "values": dict(trial.values)} for trial in trials]
                    )
                },
                tune_config=tune.TuneConfig(
                    max_concurrent_trials=share.at_once,
                    reuse_actors=True,  # else each trial would import the framework anew
                ),
                run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[watch]),
            ).fit()
    except BaseException:
        ray.shutdown()  # first: what still runs could change its status again
        family.finish_orphans(parent.client, run, "KILLED", "stopped with its sweep")
        raise
    family.finish_orphans(parent.client, run, "FAILED", "its process died")


def shared(
    resources: Resources, trials: int, concurrency: int | Literal["auto"], device: DeviceName
) -> Share:
    """How many trials run at a time, and what each of them gets.

    Several share a GPU only if `concurrency` says so. No trial gets more processors than the
    largest machine has.

    Raises:
        UsageError: "cuda" was asked for, and the cluster has no GPU.
    """
    if device == "cuda" and not resources.gpus:
        raise UsageError("--device cuda: there is no GPU in the Ray cluster; use auto or cpu")
    gpus = 0.0 if device == "cpu" else resources.gpus
    most = int(gpus or resources.cpus) if concurrency == "auto" else concurrency
    at_once = max(1, min(most, trials))
    cpus = min(resources.cpus / at_once, resources.cpus_of_largest)
    each = {"cpu": float(int(cpus)) if cpus >= 1 else cpus}
    if gpus:
        each["gpu"] = min(1.0, gpus / at_once)
    return Share(at_once, each)


def _run_trial(
    config: Mapping[str, Any],
    *,
    main: Main,
    params: type[Params],
    places: Mapping[str, family.Place],
    tracking_uri: str,
) -> dict[str, Any]:
    """One trial, in a worker of Ray's. Errors are returned: there is nobody to catch them."""
    trial = Trial(**config["trial"])
    mlflow.set_tracking_uri(tracking_uri)
    started = perf_counter()
    try:
        with family.placed(places[trial.name]):
            result = main(params.parse(trial.values), None)
    except Exception as error:  # noqa: BLE001  # of whatever kind: the other trials go on
        return {"failure": " ".join(f"{error or type(error).__name__}".split())}
    return {"summary": result.history.summary, "seconds": perf_counter() - started}


class _Watch(tune.Callback):
    """Collects outcomes as Tune learns of them, and tells the hook."""

    def __init__(self, total: int, hook: TrialHook | None) -> None:
        self.outcomes: list[Outcome] = []
        self._total, self._hook = total, hook

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        told = trial.last_result
        known = {key: told[key] for key in ("seconds", "summary", "failure") if key in told}
        self._note(Outcome(trial.config["trial"]["name"], **known))

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        self._note(Outcome(trial.config["trial"]["name"], failure="its process died"))

    def _note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if self._hook:
            self._hook(outcome, len(self.outcomes), self._total)


def _check_address(address: str) -> None:
    """Ray itself waits for a minute and more for a cluster that is not there."""
    if address in ("local", "auto"):
        return
    host = address.removeprefix("ray://")
    with grpc.insecure_channel(host) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=ANSWER_SECONDS)
        except grpc.FutureTimeoutError:
            raise TrackmlError(
                f"--ray_address {address}: no Ray cluster answers there; start one with "
                "`ray start --head`, or leave it at local"
            ) from None


def _packages() -> list[str]:
    """The folders of this code, which a cluster gets sent: those that it has may be older."""
    import pipelines

    modules = (trackml, pipelines)
    return [str(Path(str(module.__file__)).parent) for module in modules]
