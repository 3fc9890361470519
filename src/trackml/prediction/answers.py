"""What a model answers, as a table with the names of its classes, or of its target."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from trackml.backends import in_standard_settings
from trackml.errors import TrackmlError, UsageError, one_line
from trackml.prediction.inputs import input_of, read_inputs

if TYPE_CHECKING:
    from mlflow.models import Model
    from mlflow.models.model import ModelInfo
    from mlflow.pyfunc import PyFuncModel

PREDICTION = "prediction"
_REFUSED = "INVALID_PARAMETER_VALUE"  # how a model of ours refuses rows


def answer(
    about: "Model | ModelInfo",
    open_model: Callable[[], "PyFuncModel"],
    given: object,
    *,
    resize: bool = False,
    separator: str = ",",
    decimal: str = ".",
) -> pd.DataFrame:
    """The answers of a model to an array, a DataFrame, or a file or folder by its path.

    A row per input: of a classifier its class by name, then the probability of each class; of a
    regressor the target's value; of a detector a row per object that was found, with the name of
    its class as label. The index has the names of files, or the numbers of rows, or is that of the
    DataFrame.

    Args:
        about: its signature and metadata.
        open_model: called once the first inputs are read: it takes seconds.
        resize: convert images to the size and mode that the model takes.
        separator, decimal: as a CSV file has them.

    Raises:
        UsageError: the inputs are not what the model takes, or cannot be read.
    """
    wanted = input_of(about.signature)
    inputs = read_inputs(wanted, given, resize=resize, separator=separator, decimal=decimal)
    parts: list[pd.DataFrame] = []
    done, predict = 0, None
    for batch in inputs.batches:
        predict = predict or in_standard_settings(open_model().predict)
        labels = inputs.labels[done : done + len(batch)]
        try:
            answers = predict(batch)
        except MlflowException as error:
            if error.error_code != _REFUSED:
                raise
            raise UsageError(one_line(error)) from None  # such as a missing value
        parts.append(_table(answers, labels, about.metadata or {}))
        done += len(batch)
    return pd.concat(parts)


def _table(answers: object, labels: pd.Index, notes: dict[str, object]) -> pd.DataFrame:
    classes = notes.get("classes")
    if isinstance(answers, pd.DataFrame) and "image" in answers:
        found = answers.set_index(labels[answers["image"]]).drop(columns="image")
        return found.assign(label=_named(found["label"].to_numpy(), classes))
    values = np.asarray(answers)
    if values.ndim != 2 or len(values) != len(labels):
        raise TrackmlError(
            f"the model's answer is {values.dtype} {values.shape}; expected a row for each of the "
            f"{len(labels)} inputs"
        )
    if values.shape[1] == 1 and not classes:
        return pd.DataFrame(values, labels, [str(notes.get("target_name", PREDICTION))])
    table = pd.DataFrame(values, labels, _named(np.arange(values.shape[1]), classes))
    table.insert(0, PREDICTION, _named(values.argmax(axis=1), classes), allow_duplicates=True)
    return table


def _named(indices: NDArray[np.int64], classes: object) -> list[Any]:
    return [classes[index] if isinstance(classes, list) else int(index) for index in indices]
