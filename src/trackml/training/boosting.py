"""Scores of boosting after each iteration: of scikit-learn by its staged predictions, of XGBoost,
LightGBM and CatBoost by the records that they keep themselves.
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from trackml.models.estimator import NATIVE, package_of
from trackml.training.loop import by_split

Array = NDArray[Any]
Examples = tuple[Any, Array]
"""Inputs, as an estimator takes them, and targets (N,)."""
Score = Callable[[Array, Array], Mapping[str, float]]
"""(answers (N, outputs), targets (N,)) → metrics."""
Rows = Sequence[Mapping[str, float]]

# Of two classes, of more, and of numbers: the loss, then the metric.
_RECORDED = {
    "xgboost": (("logloss", "error"), ("mlogloss", "merror"), ("rmse", "mae")),
    "lightgbm": (
        ("binary_logloss", "binary_error"),
        ("multi_logloss", "multi_error"),
        ("l2", "l1"),
    ),
    "catboost": (("Logloss", "Accuracy"), ("MultiClass", "Accuracy"), ("RMSE", "MAE")),
}
_XGBOOST_RATE = 0.3  # its default, which its parameters do not tell


def fit(estimator: Any, train: Examples, validation: Examples, classes: int) -> None:
    """Fit any estimator; boosting that stops early, or keeps records, gets the validation data.

    Args:
        classes: how many; 0 for numbers.
    """
    options: dict[str, Any] = {}
    package = package_of(estimator)
    names = _recorded(package, classes)
    if package == "xgboost":
        estimator.set_params(eval_metric=[*names])
        options = {"eval_set": [train, validation], "verbose": False}
    elif package == "lightgbm":
        inputs, targets = zip(train, validation, strict=True)
        options = {"eval_X": inputs, "eval_y": targets, "eval_metric": [*names]}
    elif package == "catboost":
        estimator.set_params(
            custom_metric=[names[1]], use_best_model=False, allow_writing_files=False
        )
        options = {"eval_set": validation, "verbose": False}
    elif "X_val" in signature(estimator.fit).parameters and estimator.early_stopping:
        options = dict(zip(("X_val", "y_val"), validation, strict=True))
    estimator.fit(*train, **options)


def iterations(
    estimator: Any, train: Examples, validation: Examples, classes: int, score: Score
) -> Rows:
    """The scores of a fitted estimator after each iteration; none if it has no iterations.

    Args:
        score: gives what the records of other libraries are to have, too.
    """
    package = package_of(estimator)
    if package in NATIVE:
        return _records(estimator, package, classes)
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    staged = getattr(last, "staged_predict_proba" if classes else "staged_predict", None)
    if staged is None:
        return []
    before = estimator[:-1] if last is not estimator and len(estimator) > 1 else None
    inputs = [before.transform(x) if before else x for x, _ in (train, validation)]
    stages = zip(*map(staged, inputs), strict=True)
    targets = train[1], validation[1]
    return [
        by_split(*(score(_column(each), y) for each, y in zip(stage, targets, strict=True)))
        for stage in stages
    ]


def keep(estimator: Any, best: int, fit_again: Callable[[], None]) -> None:
    """Leave the first iterations in a fitted estimator: with most libraries by another fit."""
    package = package_of(estimator)
    if package == "catboost":
        estimator.shrink(ntree_end=best)
        return
    if package == "xgboost":
        estimator.set_params(early_stopping_rounds=None)
    params = estimator.get_params()
    prefix = f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""
    names = (f"{prefix}{name}" for name in ("max_iter", "n_estimators"))
    estimator.set_params(**{next(name for name in names if name in params): best})
    fit_again()


def learning_rate(estimator: Any) -> float:
    """Of a fitted estimator with iterations."""
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    rate = getattr(last, "learning_rate_", None) or last.get_params().get("learning_rate")
    return float(rate or _XGBOOST_RATE)


def _recorded(package: str, classes: int) -> tuple[str, str]:
    two, more, numbers = _RECORDED.get(package, (("", ""),) * 3)
    return numbers if not classes else two if classes == 2 else more


def _records(estimator: Any, package: str, classes: int) -> Rows:
    """What a library has recorded, under our names."""
    if package == "lightgbm":
        records = estimator.evals_result_
    else:
        recorded = "evals_result" if package == "xgboost" else "get_evals_result"
        records = getattr(estimator, recorded)()
    names = _recorded(package, classes)
    splits = (zip(*(split[name] for name in names), strict=True) for split in records.values())
    return [
        by_split(*(_scores(package, classes, *pair) for pair in pairs))
        for pairs in zip(*splits, strict=True)
    ]


def _scores(package: str, classes: int, loss: float, metric: float) -> Mapping[str, float]:
    loss, metric = float(loss), float(metric)
    if classes:
        return {"loss": loss, "accuracy": metric if package == "catboost" else 1 - metric}
    return {"loss": loss if package == "lightgbm" else loss**2, "mae": metric}


def _column(answers: Array) -> NDArray[np.float32]:
    return answers.astype(np.float32).reshape(len(answers), -1)
