"""A program that sends itself a signal at a step that is named.

    python -m tests.failpoints before:register pipelines.cnn --limit 1000
    python -m tests.failpoints SIGINT@after:epoch:2 pipelines.cnn --limit 1000

SIGKILL, unless another is named, before or after the first call of the function that stands for the
step, or the call of that number; of `epoch` it is the number of the epoch.
"""

import os
import runpy
import signal
import sys
from importlib import import_module
from itertools import count
from typing import Any

STEPS = {
    "data": "trackml.data.datasets:load",
    "migration": "alembic.op:add_column",
    "schema": "mlflow.store.db.utils:_initialize_tables",
    "create_run": "mlflow.tracking:MlflowClient.create_run",
    "batch": "trackml.training.loop:_rate",
    "epoch": "trackml.tracking.run:Run.log_epoch",
    "checkpoint": "trackml.training.checkpoint:write",
    "push": "trackml.tracking.uploader:Uploader.push",
    "save_model": "trackml.checks.model:save_model",
    "create_model": "mlflow.tracking:MlflowClient.create_logged_model",
    "upload_model": "mlflow.tracking:MlflowClient.log_model_artifacts",
    "log_model": "trackml.tracking.uploader:log_model",
    "register": "mlflow:register_model",
    "alias": "mlflow.tracking:MlflowClient.set_registered_model_alias",
    "finish": "mlflow.tracking:MlflowClient.set_terminated",
}
STEPS_OF_MANY_RUNS = {
    "ray": "trackml.sweeps.cluster:_connect",
    "ray_processes": "trackml.sweeps.cluster:ray._private.node.Node.start_ray_processes",
    "trial": "trackml.sweeps.tuner:Watch._note",
}
POINTS = [f"{when}:{step}" for step in STEPS for when in ("before", "after")]
MOST_DELICATE = [
    *("after:create_run", "after:checkpoint", "before:upload_model"),
    *("after:register", "before:alias", "after:finish"),
]


def holder_of(step: str) -> tuple[Any, str]:
    """What has the function that stands for a step, and the function's name there."""
    module, path = (STEPS | STEPS_OF_MANY_RUNS)[step].split(":")
    *owners, function = path.split(".")
    holder: Any = import_module(module)
    for owner in owners:
        holder = getattr(holder, owner)
    return holder, function


def arm(point: str) -> None:
    name, _, place = point.rpartition("@")
    when, step, *nth = place.split(":")
    number, wanted = signal.Signals[name or "SIGKILL"], int(nth[0]) if nth else 1
    holder, function = holder_of(step)
    usual, calls = getattr(holder, function), count(1)

    def signaling(*args: Any, **options: Any) -> Any:
        is_there = wanted == (args[1] if nth and step == "epoch" else next(calls))
        if is_there and when == "before":
            os.kill(os.getpid(), number)
        result = usual(*args, **options)
        if is_there and when == "after":
            os.kill(os.getpid(), number)
        return result

    setattr(holder, function, signaling)


if __name__ == "__main__":
    _, chosen, program, *flags = sys.argv
    arm(chosen)
    sys.argv = [program, *flags]
    runpy.run_module(program, run_name="__main__", alter_sys=True)
