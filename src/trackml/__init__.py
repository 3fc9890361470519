"""trackml: tracked, comparable, registered machine-learning results on real data.

Importing this package loads neither TensorFlow, nor torch, nor MLflow.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    import pandas as pd
    from mlflow.pyfunc import PyFuncModel
    from numpy.typing import NDArray

__version__ = "0.1.0"

__all__ = ["__version__", "leaderboard", "load", "predict", "run"]


def run(
    pipeline: "str | Path | ModuleType | Callable[..., Any]",
    /,
    *,
    quiet: bool = False,
    **parameters: Any,
) -> Any:
    """Run an entry point, or a pipeline of your own, in this process.

    `trackml.run("fashion_aug", epochs=5, limit=2000)` does what `trackml run fashion_aug epochs=5
    limit=2000` does. An interrupt (Ctrl-C, or the stop button of a notebook) ends the run as KILLED
    and raises KeyboardInterrupt; an error ends it as FAILED.

    Args:
        pipeline: the name of an entry point; of your own, the path of its file, which is read anew
            each time, or its module, or its function `main`.
        quiet: print neither progress nor result.
        parameters: values of its parameters, as the command line takes them.

    Returns:
        What its `main` returns: a `trackml.tracking.run.Result`, with the run's id, history, report
        and registration; of `sweep` and `cnn_suite` a SweepResult; of `compare` tables.

    Raises:
        trackml.errors.UsageError: there is no such entry point or parameter, or a value is not
            allowed. Nothing was started.
    """
    from trackml.console import run_shown, show_result
    from trackml.errors import TrackingIncomplete
    from trackml.tasks import entry_point

    entry = entry_point(pipeline)
    given = entry.params.parse({**entry.preset, **parameters})
    if quiet:
        return entry.main(given)
    result = run_shown(entry, given)
    try:
        show_result(entry, result, given)
    except TrackingIncomplete as error:  # nothing is lost, and the result says it too
        print(error)
    return result


def load(task: str, alias: str = "champion") -> "PyFuncModel":
    """The registered model of a task, ready to `predict` raw inputs.

    Models of Keras and PyTorch may share a program, in any order; once TensorFlow is in it, PyTorch
    cannot compile models of its own there (`torch.compile`).

    Args:
        task: a registered name, such as "fashion_mnist".
        alias: "champion" (best validation metric), or an architecture for its latest version.

    Raises:
        trackml.errors.TrackmlError: the store has no such model or alias.
    """
    from trackml.tracking.registry import load_model

    return load_model(task, alias)


def leaderboard(task: str, metric: str = "auto", min_runs: int = 1) -> "pd.DataFrame":
    """The configurations of a task by their finished runs in MLflow, the best on validation first.

    Args:
        task: the name of a dataset, such as "mnist".
        metric: "accuracy", "mae", "map" or "loss"; "auto" is the task's own.
        min_runs: runs that a configuration needs, each with another seed, to count.

    Returns:
        A row per configuration, by rank: framework, architecture, n runs, differs_in (its
        parameters that others of the architecture have otherwise), mean and standard deviation of
        the validation and test scores, and the costs; as `comparison.statistics.rank` has them.

    Raises:
        trackml.errors.TrackmlError: there is nothing to compare, or no such metric.
    """
    from trackml.comparison.leaderboard import as_frame, rank_task
    from trackml.comparison.runs import run_table
    from trackml.tracking import server
    from trackml.tracking.queries import finished_runs, tasks_with_runs

    client = server.connect(create=False)
    runs = run_table(finished_runs(client, task))
    board, _ = rank_task(task, runs, lambda: tasks_with_runs(client), metric, min_runs)
    return as_frame(board)


def predict(
    model: "str | PyFuncModel",
    inputs: "str | Path | NDArray[Any] | pd.DataFrame",
    *,
    resize: bool = False,
    separator: str = ",",
    decimal: str = ".",
) -> "pd.DataFrame":
    """The answers of a registered model, with the names of its classes, or of its target.

    Args:
        model: a task such as "mnist" (its champion), "mnist@cnn", a models:/ address, or a model
            that is loaded already.
        inputs: raw pixels, uint8 (N, height, width) or (N, height, width, channels); a DataFrame
            with the model's columns; or a path: of an image, a folder of images, or of a file NPY,
            CSV or Parquet.
        resize: convert images to the size and mode that the model takes.
        separator, decimal: as a CSV file has them, as in `TableData.from_csv`.

    Returns:
        A row per input: of a classifier `prediction`, the class, then the probability of each
        class; of a regressor the target's value; of a detector a row per object. The index has the
        names of files, or the numbers of rows.

    Raises:
        trackml.errors.TrackmlError: there is no such model, the inputs are not what it takes, or
            they cannot be read.
    """
    from trackml.model_files.saving import load_saved
    from trackml.prediction.answers import answer
    from trackml.tracking.registry import model_info, model_uri

    ask = partial(answer, given=inputs, resize=resize, separator=separator, decimal=decimal)
    if not isinstance(model, str):
        return ask(model.metadata, lambda: model)
    uri = model_uri(model)
    return ask(model_info(uri), lambda: load_saved(uri))
