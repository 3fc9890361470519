"""Check that a loaded model answers rows as its signature and the trained model do."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trackml.data import ImageData, TableData
from trackml.data.tables import raw_rows
from trackml.errors import ModelRejected, first_line
from trackml.model_files.signatures import signature

ROWS = 8
# The same weights answer with other last digits in batches of another size, or on another device.
# A weight that was lost changes the first digits.
RTOL, ATOL = 1e-4, 1e-5  # ATOL: of the largest answer
ROUNDING = 1e-4  # of the sum of a row's probabilities, in float32

T = TypeVar("T")
Array = NDArray[Any]
Predict = Callable[[Any], Any]


def ask(model: Any, request: Any) -> Any:
    """The answer of a loaded model to a request, which must be as it was before."""
    before = request.copy()
    try:
        answer = model.predict(request)
    except Exception as error:
        raise ModelRejected(
            "answers",
            f"a request of {len(request)} validation rows raised {first_line(error)}; "
            "let the model take any number of raw rows, as its signature says",
        ) from error
    same = (
        request.equals(before) if isinstance(request, pd.DataFrame) else (request == before).all()
    )
    if not same:
        raise request_changed()
    return answer


def request_changed() -> ModelRejected:
    """The model does not leave its input as it is."""
    return ModelRejected(
        "request unchanged",
        "the rows of a request were others after it was answered; "
        "compute on a copy, without copy=False, += or other changes in place",
    )


def check_answers(ask: Predict, data: ImageData | TableData, predict: Predict) -> None:
    """Check a model that answers each row with an array."""
    inputs, targets = data.validation.arrays
    rows = _spread(targets)
    if isinstance(data, TableData) and np.isnan(inputs).any():
        rows[0] = np.isnan(inputs).any(axis=1).argmax()  # a row with a value that is imputed
    inputs = inputs[rows]

    def answer(part: slice = slice(None)) -> Any:
        return ask(raw_rows(data, inputs[part]))

    answers = answer()
    _check_array(answers, len(rows), data)
    if data.classes:
        _check_probabilities(answers)
    scale = float(np.abs(answers).max())

    def are_close(received: Any, expected: Array) -> bool:
        if not isinstance(received, np.ndarray) or received.dtype.kind != expected.dtype.kind:
            return False
        same = received.shape == expected.shape
        return same and np.allclose(received, expected, rtol=RTOL, atol=ATOL * scale)

    if not are_close(answer(), answers):
        raise unstable()
    for part in (slice(0, 1), slice(0, ROWS // 2 + 1)):
        few = answer(part)
        if not are_close(few, answers[part]):
            raise ModelRejected(
                "any batch size",
                f"{part.stop} of {len(rows)} rows alone are answered with {_shown(few)}, and with "
                f"{_shown(answers[part])} among the others; let no row depend on its batch",
            )
    trained = of_trained(lambda: np.asarray(predict(inputs.copy()), answers.dtype))
    if trained.size != answers.size or not are_close(trained.reshape(answers.shape), answers):
        raise ModelRejected(
            "as trained",
            f"the trained model answers {_shown(trained)}, and its files {_shown(answers)}; "
            "keep all that it computes with in weights that are saved, and hand finish() the "
            "`predict` of this very model",
        )


def _spread(targets: Array) -> Array:
    """Indices of ROWS rows, some perhaps more than once, that have targets from all of the range.

    Args:
        targets: labels or values, (N,).
    """
    order = np.argsort(targets, kind="stable")
    rows: Array = order[np.linspace(0, len(order) - 1, ROWS).round().astype(int)]
    return rows


def of_trained(answer: Callable[[], T]) -> T:
    """What the user's own `predict` answers."""
    try:
        return answer()
    except Exception as error:
        raise ModelRejected(
            "as trained",
            f"the `predict` of the trained model raised {first_line(error)}; "
            "hand finish() a function of raw inputs that returns the answers",
        ) from error


def _check_array(answers: Any, rows: int, data: ImageData | TableData) -> None:
    (expected,) = signature(data).outputs.inputs
    shape = (rows, *expected.shape[1:])
    if not isinstance(answers, np.ndarray):
        raise ModelRejected(
            "array", f"expected a NumPy array; received {type_name(answers)}: return an array"
        )
    if answers.ndim == 0 or len(answers) != rows:
        raise ModelRejected(
            "an answer per row",
            f"expected {rows} answers to {rows} rows; received shape {answers.shape}: "
            f"let the first axis be that of the rows",
        )
    if answers.shape != shape:
        raise ModelRejected(
            "shape",
            f"expected {shape}; received {answers.shape}: "
            f"let the last layer have {shape[-1]} outputs",
        )
    if answers.dtype != expected.type:
        raise ModelRejected(
            "dtype",
            f"expected {expected.type}; received {answers.dtype}: "
            f"let the model convert its answers to {expected.type}",
        )
    if not np.isfinite(answers).all():
        raise ModelRejected(
            "finite",
            f"expected finite numbers; received {_shown(answers)}: "
            "look for a division by zero, a logarithm of zero, or an overflow",
        )


def _check_probabilities(answers: Array) -> None:
    sums = answers.sum(axis=1)
    low, high = answers.min(), answers.max()
    if low < 0 or high > 1 + ROUNDING or np.abs(sums - 1).max() > ROUNDING:
        raise ModelRejected(
            "probabilities",
            "expected rows of probabilities, from 0 to 1 and with the sum 1; received "
            f"{low:.4g} to {high:.4g} with sums from {sums.min():.4g} to {sums.max():.4g}: "
            "end the model with a softmax (torch: with_probabilities)",
        )


def unstable() -> ModelRejected:
    """The model answers the same request in two ways."""
    return ModelRejected(
        "repeatable",
        "asked twice for the same rows, it answered differently; "
        "let nothing random, and no state, be part of the saved model",
    )


def _shown(answers: Any) -> str:
    """The first numbers of an answer, or what it is instead."""
    if not isinstance(answers, np.ndarray) or answers.dtype.kind not in "fiu":
        return type_name(answers)
    first = ", ".join(f"{value:.4g}" for value in np.ravel(answers)[:3])
    return f"{first}, … of shape {np.shape(answers)}"


def type_name(value: Any) -> str:
    """Where the class of a value is, with its name."""
    return f"{type(value).__module__}.{type(value).__qualname__}"
