"""Scores of boosting after each iteration: of scikit-learn and CatBoost by staged predictions, of
XGBoost and LightGBM by the records that they keep themselves.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from trackml.models.estimator import package_of
from trackml.training.loop import by_split

Array = NDArray[Any]
Examples = tuple[Any, Array]
"""Inputs, as an estimator takes them, and targets (N,)."""
Score = Callable[[Array, Array], Mapping[str, float]]
"""(answers (N, outputs), targets (N,)) → metrics."""
Rows = Sequence[Mapping[str, float]]

# Of two classes, of more, and of numbers: the loss, then the metric.
RECORDED = {
    "xgboost": (("logloss", "error"), ("mlogloss", "merror"), ("rmse", "mae")),
    "lightgbm": (
        ("binary_logloss", "binary_error"),
        ("multi_logloss", "multi_error"),
        ("l2", "l1"),
    ),
}
_XGBOOST_RATE = 0.3  # its default: get_params has None


def last_step(estimator: Any) -> tuple[str, Any]:
    """The last step of a Pipeline, behind the prefix of its parameters; "" and any other itself."""
    if isinstance(estimator, Pipeline):
        return f"{estimator.steps[-1][0]}__", estimator[-1]
    return "", estimator


def prepare(estimator: Any, seed: int) -> None:
    """Seed CatBoost, fitted or not, and keep it from writing files; do nothing to others."""
    last = last_step(estimator)[1]
    if package_of(last) == "catboost":
        params = {**last.get_params(), "allow_writing_files": False}
        if "random_state" not in params:
            params.setdefault("random_seed", seed)
        last.__dict__ = type(last)(**params).__dict__  # once fitted, set_params is refused


def fit(
    estimator: Any, train: Examples, validation: Examples, classes: int, weights: Array | None
) -> None:
    """Fit any estimator; boosting that stops early, or keeps records, gets the validation data.

    Args:
        classes: how many; 0 for numbers.
        weights: of the training rows (N,), or None.
    """
    options: dict[str, Any] = {}
    changes: dict[str, Any] = {}
    prefix, last = last_step(estimator)
    package = package_of(estimator)
    if package == "xgboost":
        changes = {"eval_metric": [*_recorded(package, classes)]}
        options = {"eval_set": [train, validation], "verbose": False}
    elif package == "lightgbm":
        inputs, targets = zip(train, validation, strict=True)
        if weights is not None:  # its records of the very arrays of training would be weighted
            targets = train[1].copy(), validation[1]
        names = [*_recorded(package, classes)]
        options = {"eval_X": inputs, "eval_y": targets, "eval_metric": names}
    elif package == "catboost":
        options = {"eval_set": validation, "use_best_model": False}
    elif "X_val" in signature(estimator.fit).parameters and estimator.early_stopping:
        options = dict(zip(("X_val", "y_val"), validation, strict=True))
    if package_of(last) == "catboost":
        options[f"{prefix}verbose"] = False
    if weights is not None:
        options[f"{prefix}sample_weight"] = weights
    with _changed(estimator, changes):
        estimator.fit(*train, **options)


def iterations(
    estimator: Any, train: Examples, validation: Examples, classes: int, score: Score
) -> Rows:
    """The scores of a fitted estimator after each iteration; none if it has no iterations.

    Args:
        score: gives what the records of other libraries are to have, too.
    """
    package = package_of(estimator)
    if package in RECORDED:
        return _records(estimator, package, classes)
    _, last = last_step(estimator)
    staged = getattr(last, "staged_predict_proba" if classes else "staged_predict", None)
    if staged is None or not (package_of(last) == "catboost" or _iterations_param(estimator)):
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
    _, last = last_step(estimator)
    if package_of(last) == "catboost":
        last.shrink(ntree_end=best)
        return
    changes: dict[str, Any] = {_iterations_param(estimator): best}
    if package_of(estimator) == "xgboost":
        changes["early_stopping_rounds"] = None
    with _changed(estimator, changes):
        fit_again()


def learning_rate(estimator: Any) -> float:
    """Of a fitted estimator with iterations."""
    _, last = last_step(estimator)
    rate = getattr(last, "learning_rate_", None) or last.get_params().get("learning_rate")
    return float(rate or _XGBOOST_RATE)


@contextmanager
def _changed(estimator: Any, changes: Mapping[str, Any]) -> Iterator[None]:
    """With other parameters for a while: later fits begin with the user's again."""
    params = estimator.get_params()
    estimator.set_params(**changes)
    try:
        yield
    finally:
        if changes:  # else CatBoost would refuse the call
            estimator.set_params(**{name: params[name] for name in changes})


def _iterations_param(estimator: Any) -> str:
    """The parameter that limits the iterations; "" if there is none."""
    prefix, last = last_step(estimator)
    params = last.get_params()
    return next((prefix + name for name in ("max_iter", "n_estimators") if name in params), "")


def _recorded(package: str, classes: int) -> tuple[str, str]:
    two, more, numbers = RECORDED[package]
    return numbers if not classes else two if classes == 2 else more


def _records(estimator: Any, package: str, classes: int) -> Rows:
    """What a library has recorded, under our names."""
    records = estimator.evals_result_ if package == "lightgbm" else estimator.evals_result()
    names = _recorded(package, classes)
    splits = (zip(*(split[name] for name in names), strict=True) for split in records.values())
    return [
        by_split(*(_scores(package, classes, *pair) for pair in pairs))
        for pairs in zip(*splits, strict=True)
    ]


def _scores(package: str, classes: int, loss: float, metric: float) -> Mapping[str, float]:
    loss, metric = float(loss), float(metric)
    if classes:
        return {"loss": loss, "accuracy": 1 - metric}
    return {"loss": loss if package == "lightgbm" else loss**2, "mae": metric}


def _column(answers: Array) -> NDArray[np.float32]:
    return answers.astype(np.float32).reshape(len(answers), -1)
