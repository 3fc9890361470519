"""Runs that fit an estimator: their rows, their callbacks, and their end."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.naive_bayes import GaussianNB

from tests.tracking.toy import Store
from trackml.evaluation.report import Report
from trackml.params import PipelineParams
from trackml.tasks import Task
from trackml.tracking import queries
from trackml.tracking.queries import ParentRun
from trackml.tracking.run import Result, tracked_run
from trackml.training.sklearn import fit, predictor

TASK: Task[Any] = Task(lambda _params: None, framework="sklearn")


def trained(
    store: Store,
    estimator: Any,
    calls: list[int],
    *,
    stop: bool = False,
    parent: ParentRun | None = None,
    **values: Any,
) -> Result:
    """Train; `stop` interrupts the run between its fit and its evaluation."""
    params = PipelineParams.parse({"register": False, **values})
    callbacks = [lambda number, _row: calls.append(number)]
    with tracked_run(TASK, params, store.data, "trees", callbacks, parent) as run:
        history = fit(estimator, store.data, params, run=run)
        if stop:
            raise KeyboardInterrupt
        predict = predictor(estimator, store.data)
        return run.finish(estimator, history, lambda *_: Report(), predict)


@pytest.mark.parametrize(
    ("estimator", "steps", "called"),
    [
        (lambda: HistGradientBoostingClassifier(max_iter=45), [*range(1, 46)], 20),
        (GaussianNB, [0], 1),
    ],
)
def test_a_run_that_stopped_after_its_fit_resumes_and_logs_nothing_twice(
    estimator: Callable[[], Any], steps: list[int], called: int, store: Store
) -> None:
    calls: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        trained(store, estimator(), calls, stop=True)
    assert (store.status(), len(calls), calls[-1]) == ("KILLED", called, len(steps))
    first = store.run().info.run_id
    result = trained(store, estimator(), calls, resume=True)
    assert (result.run_id, store.status()) == (first, "FINISHED")
    assert [step for step, _ in store.rows(first)] == steps
    logged = store.run().data.metrics
    assert ("best_epoch" in logged) is (len(steps) > 1)
    assert logged["best_val_loss"] == result.history.best["val_loss"]


def test_the_rows_of_many_iterations_need_few_requests(store: Store) -> None:
    requests: list[int] = []
    original = store.client.log_batch

    def counted(*args: Any, **options: Any) -> None:
        requests.append(len(options.get("metrics", ())))
        original(*args, **options)

    store.monkeypatch.setattr(store.client, "log_batch", counted)
    store.use(store.client)
    trained(store, HistGradientBoostingClassifier(max_iter=200, max_leaf_nodes=2), [])
    assert sum(requests) > 1_400
    assert len(requests) < 10


def test_a_trial_without_epochs_has_one_value_of_each_curve(store: Store) -> None:
    parent = store.client.create_run("0")
    trial = ParentRun.of_run(parent, scores_test=False).of_trial("the trial", "here")
    history = trained(store, GaussianNB(), [], parent=trial).history
    table = queries.child_table(store.client, parent.info.run_id, curves=["val_loss"])
    assert table["val_loss"].tolist() == [[history.best["val_loss"]]]
