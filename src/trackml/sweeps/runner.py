"""Many runs of one pipeline, as children of one run: here or on a cluster."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from trackml.errors import LONGEST_REASON, TrackmlError
from trackml.params import DeviceName, PipelineParams
from trackml.process.signals import deferred_signals
from trackml.sweeps.cluster import Allotment, allot, cluster, ray, tune
from trackml.sweeps.plan import Plan, Trial
from trackml.sweeps.report import SweepReport, scored_points, sweep_curves, tabulate
from trackml.sweeps.tpe import TPESearch
from trackml.sweeps.tuner import TrialCallback, Watch, execute
from trackml.sweeps.worker import SCORE, Main, Outcome, run_trial
from trackml.tracking import queries
from trackml.tracking.outbox import FAILURE_TAG
from trackml.tracking.registry import Registration, register_run
from trackml.tracking.run import EndedRun, Run
from trackml.tracking.server import check_shared


@dataclass(frozen=True)
class SweepResult(EndedRun):
    """What a sweep or a suite returns; the registration of the best model is the last."""

    report: SweepReport
    registrations: Sequence[Registration]


@contextmanager
def allotted(
    address: str, concurrency: int | Literal["auto"], trials: int, device: DeviceName, main: Main
) -> Iterator[Allotment]:
    """A connection to a Ray cluster whose machines reach the store, and what each trial gets."""
    packages = dict.fromkeys(["trackml", main.__module__.partition(".")[0]])
    with cluster(address, packages=list(packages)) as resources:
        allotment = allot(resources, trials, concurrency, device)
        check_shared(resources.hosts)
        yield allotment


@dataclass(frozen=True)
class Sweep:
    """A run whose children are runs of one pipeline.

    Attributes:
        main: of the pipeline, importable by its name. params: its class of parameters.
        callbacks: called after each trial.
    """

    run: Run
    main: Main
    params: type[PipelineParams]
    allotment: Allotment
    callbacks: Sequence[TrialCallback]

    def run_trials(
        self, trials: Sequence[Trial] | Plan, *, prune: bool = False, scores_test: bool = True
    ) -> list[Outcome]:
        """Run the pipeline for each trial, or for each that TPE finds; return those that failed.

        Trials that have a finished or pruned run are not run again. One that fails does not stop
        the others. When this returns, or raises, no child is left RUNNING.

        Args:
            prune: stop trials that after 1, 3, 9, ... epochs are not among the best third so far.
            scores_test: false if they must not see the test data.

        Raises:
            TrackmlError: all trials have failed.
        """
        client, parent = self.run.client, self.run.as_parent(scores_test=scores_test)
        waiting = self._waiting(trials, is_candidate=not scores_test)
        progress = self.run.progress

        def advance(_outcome: Outcome, done: int, total: int) -> None:
            progress.advance(done / total)

        watch = Watch(len(waiting), [*self.callbacks, advance])
        if len(waiting):
            progress.stage("running trials", "ended", len(waiting))
            work = tune.with_parameters(
                run_trial,
                main=self.main,
                params=self.params,
                parent=parent,
                metric=replace(self.run.task.metric, score=None),  # a function may be bound here
                prune=prune,
            )
            status: Literal["KILLED", "FAILED"] = "KILLED"
            reason = "stopped with its sweep"
            try:
                execute(work, waiting, self.allotment, watch, prune=prune)
                status, reason = "FAILED", "its process died"
            finally:
                with deferred_signals():
                    if status == "KILLED":
                        ray.shutdown()  # first: a running trial could change its status again
                    self._mark_pruned(watch.outcomes)
                    queries.end_dead_children(client, parent.run_id, status, reason)
        ended = {outcome.name: outcome for outcome in watch.outcomes}
        if not isinstance(waiting, TPESearch):
            for trial in waiting:
                ended.setdefault(trial.name, Outcome(trial.name, failure="it was not run"))
        failed = [outcome for outcome in ended.values() if outcome.failure is not None]
        with_run = set(self.run.child_table()["name"])
        for outcome in failed:
            if outcome.name not in with_run:
                place = parent.of_trial(outcome.name)
                queries.create_failed_child(client, place, str(outcome.failure))
        if len(failed) == len(trials):
            raise TrackmlError(_describe(failed, len(trials)))
        if failed:
            self.run.log_tags({FAILURE_TAG: _describe(failed, len(trials))})
        return failed

    def _waiting(
        self, trials: Sequence[Trial] | Plan, *, is_candidate: bool
    ) -> Sequence[Trial] | TPESearch:
        """The trials that have no finished or pruned run."""
        if isinstance(trials, Plan):
            tried = tabulate(self.run.child_table(curves=sweep_curves(trials)), trials)
            return TPESearch(trials, SCORE, scored_points(tried, trials))
        children = self.run.child_table()
        finished = set(children["name"][children["is_candidate"] == is_candidate])
        return [trial for trial in trials if trial.name not in finished]

    def _mark_pruned(self, outcomes: Sequence[Outcome]) -> None:
        """Mark pruned trials that had no time to do it themselves."""
        epochs = {outcome.name: outcome.pruned_after for outcome in outcomes}
        for child in self.run.child_table().to_dict("records"):
            epoch = epochs.get(child["name"])
            if epoch and child["state"] == "running":
                queries.mark_pruned(self.run.client, child["run_id"], epoch)

    def finish(self, report: SweepReport) -> SweepResult:
        """Log a report, and register the best models unless the parameters forbid it."""
        run = self.run
        if report.failed:
            run.log_tags({FAILURE_TAG: _describe(report.failed, len(run.child_table()))})
        run.log_tags({queries.TRIALS_TAG: str(len(run.child_table()))})
        if not report.failed:  # else the sweep may go on, find a better one, and params stay
            own = run.outbox.state.params
            best = {f"best_{k}" if k in own else k: text for k, text in report.best.items()}
            run.log_params(best)
        run.log_report(report)
        chosen = report.best_runs if run.params.register_model else []
        registrations = [register_run(run.client, run_id) for run_id in chosen]
        return SweepResult(
            run.run_id,
            report,
            registrations,
            experiment_id=run.uploader.experiment_id,
            folder=run.outbox.folder,
        )


def _describe(failed: Sequence[Outcome], total: int) -> str:
    first = f"{failed[0].name}: {failed[0].failure}"
    return f"{len(failed)} of {total} trials failed; the first, {first}"[:LONGEST_REASON]
