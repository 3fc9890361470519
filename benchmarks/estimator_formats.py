"""Files of fitted estimators without pickle: skops against ONNX, by coverage, size, speed, answers.

pip install --target FOLDER skl2onnx onnxruntime
PYTHONPATH=.:src:FOLDER python -W ignore -m benchmarks.estimator_formats
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import all_estimators

from benchmarks.side_by_side import machine
from trackml.data import load
from trackml.models import estimator as estimators

Answer = Callable[[Any], Any]
SAME = 1e-5  # of probabilities, or of values of about 1


class Restored(NamedTuple):
    """A model from its file."""

    answer: Answer
    bytes: int
    seconds: float


def in_skops(model: Any, _inputs: Any) -> Restored:
    """As registered models have it."""
    with TemporaryDirectory() as folder:
        file = estimators.save(model, Path(folder))
        started = perf_counter()
        restored = estimators.restore(str(file))
        seconds, size = perf_counter() - started, file.stat().st_size
    return Restored(lambda rows: estimators.predict(restored, rows), size, seconds)


def in_onnx(model: Any, inputs: Any) -> Restored:
    """As skl2onnx converts it."""
    from onnxruntime import InferenceSession
    from skl2onnx import to_onnx

    is_classifier = hasattr(model, "predict_proba")
    options = {id(model): {"zipmap": False}} if is_classifier else None
    content = to_onnx(model, inputs[:1], options=options).SerializeToString()
    started = perf_counter()
    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    seconds, name = perf_counter() - started, session.get_inputs()[0].name

    def answer(rows: Any) -> Any:
        return session.run(None, {name: rows})[is_classifier].reshape(len(rows), -1)

    return Restored(answer, len(content), seconds)


FORMATS = {"skops": in_skops, "ONNX": in_onnx}


def main() -> None:
    """Print two tables: which estimators each format covers, and what some cost."""
    out = Console(width=150)
    out.print(machine())
    coverage = Table("estimators", "fitted", *FORMATS, title="answers as before, within 1e-5")
    for kind in ("classifier", "regressor"):
        fitted = list(_fitted(kind))
        counts = [sum(_is_same(form, *each) for each in fitted) for form in FORMATS.values()]
        coverage.add_row(f"{kind}s", str(len(fitted)), *map(str, counts))
    out.print(coverage)
    headings = ("MB", "load, ms", "1 row, ms", "1,000 rows, ms", "largest difference")
    costs = Table("model", "format", *headings)
    for name, model, inputs in _larger():
        expected = estimators.predict(model, inputs)
        for label, form in FORMATS.items():
            try:
                restored = form(model, inputs)
            except Exception:  # noqa: BLE001  # of any kind
                costs.add_row(name, label, "not converted")
                continue
            times = [_milliseconds(restored.answer, inputs[:rows]) for rows in (1, 1000)]
            difference = np.abs(restored.answer(inputs) - expected).max()
            numbers = (restored.bytes / 1e6, restored.seconds * 1e3, *times, difference)
            costs.add_row(name, label, *(f"{number:.3g}" for number in numbers))
    out.print(costs)


def _fitted(kind: str) -> Iterator[tuple[Any, Any]]:
    """Each estimator that registers as it is, fitted to a small table, and its inputs."""
    inputs, target = (load_wine if kind == "classifier" else load_diabetes)(return_X_y=True)
    inputs = MinMaxScaler().fit_transform(inputs).astype(np.float32)
    target = target if kind == "classifier" else target / target.max()
    base = LogisticRegression() if kind == "classifier" else Ridge()
    for name, make in all_estimators(kind):
        # Those of several targets, and those that take one column, fail here.
        with suppress(ValueError, TypeError, AttributeError, IndexError):
            several = name.startswith(("Stacking", "Voting"))
            model = make([("a", base)]) if several else _made(make, base)
            if "random_state" in model.get_params():
                model.set_params(random_state=0)
            model.fit(inputs, target)
            if kind == "regressor" or hasattr(model, "predict_proba"):
                yield model, inputs


def _made(make: Any, base: Any) -> Any:
    with suppress(TypeError):
        return make()
    return make(base)


def _is_same(form: Callable[[Any, Any], Restored], model: Any, inputs: Any) -> bool:
    try:
        answers = form(model, inputs).answer(inputs)
    except Exception:  # noqa: BLE001  # of any kind
        return False
    return bool(np.allclose(answers, estimators.predict(model, inputs), atol=SAME, rtol=SAME))


def _larger() -> Iterator[tuple[str, Any, Any]]:
    """Models of the size of the pipelines' own, and their validation inputs."""
    houses, digits = load("california_housing", 0.2), load("mnist", limit=5_000)
    trees = HistGradientBoostingRegressor(max_iter=300, max_leaf_nodes=63, random_state=0)
    yield "boosted trees", trees.fit(*houses.train.arrays), houses.validation.features
    images, labels = estimators.flat(digits.train.images), digits.train.labels
    inputs = estimators.flat(digits.validation.images)
    kernel = Nystroem(gamma=0.02, n_components=1000, random_state=0)
    linear = LogisticRegression(C=0.1, tol=0.001, max_iter=1000)
    machines = make_pipeline(MinMaxScaler(), kernel, StandardScaler(), linear)
    yield "Nystroem, logistic", machines.fit(images, labels), inputs
    yield "forest of 100", RandomForestClassifier(random_state=0).fit(images, labels), inputs


def _milliseconds(answer: Answer, rows: Any) -> float:
    """The fastest of ten."""
    times = []
    for _ in range(10):
        started = perf_counter()
        answer(rows)
        times.append(perf_counter() - started)
    return min(times) * 1e3


if __name__ == "__main__":
    main()
