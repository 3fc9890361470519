"""Runs that a metric of the user's own ranks: their tags, the champion, the leaderboard."""

from pathlib import Path

import mlflow
import numpy as np
import pytest

from pipelines import compare
from tests.tracking.toy import ROW, Store, finish
from trackml.errors import UsageError
from trackml.evaluation.report import Report
from trackml.history import History
from trackml.metrics import LOSS, Metric

COST = Metric("cost", False, lambda _targets, answers: float(np.mean(answers)))


def finished(store: Store, cost: float) -> str:
    """The id of a run with this cost, and with an accuracy that is better the worse the cost."""
    row = ROW | {"val_cost": cost, "val_accuracy": cost / 100}
    history = History(COST, "float32", metrics=(COST,)).extended(row)
    with store.tracked("dense", seed=int(cost)) as run:
        result = finish(run, Report({"test_cost": cost + 1}), history)
    return result.run_id


def test_the_lowest_cost_is_the_champion_and_leads_the_leaderboard(store: Store) -> None:
    ids = [finished(store, cost) for cost in (50.0, 20.0, 30.0)]
    run = store.run(ids[1])
    assert run.data.metrics["best_val_cost"] == 20
    assert run.data.metrics["best_val_accuracy"] == 0.2
    tags = {"trackml.metric": "cost", "trackml.higher_is_better": "false"}
    assert run.data.tags.items() >= tags.items()
    champion = store.client.get_model_version_by_alias(store.data.name, "champion")
    assert (champion.run_id, champion.tags["trackml.best_val_cost"]) == (ids[1], "20.0")

    for metric, best in (("auto", ids[1]), ("cost", ids[1]), ("accuracy", ids[0])):
        (board,) = compare.main(compare.Params.parse({"task": store.data.name, "metric": metric}))
        assert board.title.startswith(f"{store.data.name}, by {metric.replace('auto', 'cost')} on ")
        assert board.data["run_id"][0] == best
    assert board.data["test_mean"].isna().all()  # these runs have no test accuracy
    with pytest.raises(UsageError, match=r"--metric price: expected auto or accuracy .* or cost$"):
        compare.main(compare.Params.parse({"task": store.data.name, "metric": "price"}))
    assert mlflow.get_tracking_uri().endswith(str(Path("mlflow.db")))


def test_runs_whose_epochs_the_loss_ranks_compare_by_the_metric_of_their_task(store: Store) -> None:
    for loss, accuracy in ((0.5, 0.9), (0.4, 0.8)):
        row = ROW | {"val_loss": loss, "val_accuracy": accuracy}
        worse = row | {"val_loss": 1.0, "val_accuracy": 1.0}
        history = History(LOSS, "float32").extended(row).extended(worse)
        with store.tracked("dense", seed=int(10 * loss)) as run:
            result = finish(run, Report({"test_accuracy": accuracy}), history)
        logged = store.run(result.run_id).data
        best = {"best_epoch": 1, "best_val_loss": loss, "best_val_accuracy": accuracy}
        assert logged.metrics.items() >= best.items()
        assert logged.tags["trackml.metric"] == "accuracy"
    champion = store.client.get_model_version_by_alias(store.data.name, "champion")
    assert champion.tags["trackml.best_val_accuracy"] == "0.9"
    (board,) = compare.main(compare.Params.parse({"task": store.data.name}))
    assert board.title.startswith(f"{store.data.name}, by accuracy on ")
