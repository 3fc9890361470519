"""Fitted estimators of scikit-learn, XGBoost, LightGBM and CatBoost, in files without pickle.

A copy of this file travels with each registered estimator, so that it loads where trackml is not
installed: it imports nothing of trackml, and has the `restore` and `predict` of served/model.py.
"""

from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED

import numpy as np
from numpy.typing import NDArray
from skops import io
from skops.io.exceptions import UnsupportedTypeException

Array = NDArray[Any]

TAKES_FRAMES = True  # tables as a DataFrame, with texts: see served/model.py
BATCH = 10_000  # rows at a time, to predict
NATIVE = {"xgboost": ".ubj", "lightgbm": ".txt", "catboost": ".cbm"}  # package → their own format
# Beside what skops trusts: classes of scikit-learn, estimators and a Booster of these modules, and
# what estimators of scikit-learn refer to. Not all of NumPy: it has functions that write files.
_BOOSTING = (
    "xgboost.core", "xgboost.sklearn", "lightgbm.basic", "lightgbm.sklearn", "catboost.core"
)  # fmt: skip
_SAFE = {
    "builtins.object",
    "collections.OrderedDict",
    "numpy.dtype",
    "numpy.mean",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "sklearn.cluster._kmeans._kmeans_single_lloyd",
    *(f"sklearn.feature_selection._univariate_selection.{name}" for name in (
        "chi2", "f_classif", "f_regression", "r_regression",
    )),
    *(f"sklearn.feature_selection._mutual_info.mutual_info_{kind}" for kind in (
        "classif", "regression",
    )),
}  # fmt: skip


def save(estimator: Any, folder: Path) -> Path:
    """Write a fitted estimator into a folder; return the file.

    A bare one of a boosting library gets the library's own format, any other the one of skops.

    Raises:
        ValueError: it contains what other programs cannot import.
    """
    package = package_of(estimator)
    if package in NATIVE:
        path = folder / f"{type(estimator).__name__}{NATIVE[package]}"
        model = estimator.booster_ if package == "lightgbm" else estimator
        model.save_model(str(path))
        return path
    path = folder / "estimator.skops"
    path.write_bytes(_in_skops(estimator))
    return path


def check(estimator: Any) -> None:
    """Raise ValueError, as `save` would, for an estimator that is not fitted yet."""
    if package_of(estimator) not in NATIVE:
        _in_skops(estimator)


def requirements(estimator: Any) -> list[str]:
    """The boosting libraries that an estimator or its parts need, with their versions."""
    parts = (estimator, *estimator.get_params().values())
    packages = sorted({package_of(part) for part in parts} & {*NATIVE})
    return [f"{package}=={import_module(package).__version__}" for package in packages]


def package_of(estimator: Any) -> str:
    """The package that defines the class of an estimator."""
    return type(estimator).__module__.partition(".")[0]


def _in_skops(estimator: Any) -> bytes:
    try:
        content: bytes = io.dumps(estimator, compression=ZIP_DEFLATED)
    except (AttributeError, UnsupportedTypeException) as error:  # such as a lambda
        raise ValueError(f"{_UNSAFE}: {error}") from None
    _trusted(content)
    return content


def restore(path: str) -> Any:
    """The estimator that `save` has written. It runs no code of the file.

    Raises:
        ValueError: the file contains what `save` would not have written.
    """
    file = Path(path)
    package = next((each for each, suffix in NATIVE.items() if suffix == file.suffix), "")
    if package == "lightgbm":
        return _LightGBM(file)
    if package:
        estimator = getattr(import_module(package), file.stem)()
        estimator.load_model(path)
        return estimator
    content = file.read_bytes()
    return io.loads(content, trusted=_trusted(content))


def predict(estimator: Any, inputs: Any) -> NDArray[np.float32]:
    """Raw inputs → class probabilities, float32 (N, classes), or values, float32 (N, 1).

    Args:
        inputs: images, uint8 (N, H, W) or (N, H, W, C), which the estimator gets as float32
            (N, pixels); or a table as the estimator knows it.
    """
    answer = getattr(estimator, "predict_proba", None) or estimator.predict
    # At least one: an estimator says itself that it needs a row.
    batches = [inputs[row : row + BATCH] for row in range(0, max(1, len(inputs)), BATCH)]
    return np.concatenate(
        [np.asarray(answer(flat(rows)), np.float32).reshape(len(rows), -1) for rows in batches]
    )


def flat(inputs: Any) -> Any:
    """Images as float32 (N, pixels), from 0 to 255; a table as it is."""
    if inputs.ndim > 2:
        return inputs.reshape(len(inputs), -1).astype(np.float32)
    return inputs


_UNSAFE = (
    "the model contains a class or function that other programs cannot import; use those of "
    "scikit-learn, and ufuncs of NumPy such as numpy.log1p. Received"
)


def _trusted(content: bytes) -> list[str]:
    """The types in a file that skops alone would not trust, all of which are safe."""
    types: list[str] = io.get_untrusted_types(data=content)
    if unsafe := [name for name in types if not (name in _SAFE or _is_safe_class(name))]:
        raise ValueError(f"{_UNSAFE}: {', '.join(unsafe)}")
    return types


def _is_safe_class(name: str) -> bool:
    """True for a class that scikit-learn itself defines, and has not for its tests.

    Of the classes of boosting libraries for estimators, and for what these have fitted.
    """
    module, _, attribute = name.rpartition(".")
    package = module.partition(".")[0]
    is_boosting = module in _BOOSTING
    if not (is_boosting or package == "sklearn") or "test" in module:  # before it is imported
        return False
    try:
        value = getattr(import_module(module), attribute, None)
    except ImportError:
        return False
    if not isinstance(value, type) or value.__module__.partition(".")[0] != package:
        return False
    return not is_boosting or attribute == "Booster" or hasattr(value, "fit")


class _LightGBM:
    """A model of LightGBM, whose own classes cannot be restored from its file."""

    def __init__(self, file: Path) -> None:
        from lightgbm import Booster

        self._booster = Booster(model_file=str(file))
        if "Classifier" in file.stem:
            self.predict_proba = self._probabilities

    def predict(self, rows: Any) -> Array:
        return np.asarray(self._booster.predict(rows))

    def _probabilities(self, rows: Any) -> Array:
        answers = self.predict(rows)  # (N,) of two classes
        return answers if answers.ndim > 1 else np.stack([1 - answers, answers], axis=1)
