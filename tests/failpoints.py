"""A pipeline that is killed at a step of its own choosing.

    python -m tests.failpoints before:register pipelines.cnn --limit 1000

SIGKILL before or after the first call of the function that stands for the step.
"""

import os
import runpy
import signal
import sys
from importlib import import_module
from typing import Any

STEPS = {
    "data": "trackml.data:load",
    "create_run": "mlflow.tracking:MlflowClient.create_run",
    "epoch": "trackml.tracking.run:Run.log_epoch",
    "checkpoint": "trackml.tracking.journal:write",
    "push": "trackml.tracking.delivery:Delivery.push",
    "save_model": "trackml.tracking.run:save_model",
    "create_model": "mlflow.tracking:MlflowClient.create_logged_model",
    "upload_model": "mlflow.tracking:MlflowClient.log_model_artifacts",
    "log_model": "trackml.tracking.upload:log_model",
    "register": "mlflow:register_model",
    "alias": "mlflow.tracking:MlflowClient.set_registered_model_alias",
    "finish": "mlflow.tracking:MlflowClient.set_terminated",
}
POINTS = [f"{when}:{step}" for step in STEPS for when in ("before", "after")]
MOST_DELICATE = [
    *("after:create_run", "after:checkpoint", "before:upload_model"),
    *("after:register", "before:alias", "after:finish"),
]


def arm(point: str) -> None:
    when, step = point.split(":")
    module, path = STEPS[step].split(":")
    *owners, name = path.split(".")
    holder: Any = import_module(module)
    for owner in owners:
        holder = getattr(holder, owner)
    usual = getattr(holder, name)

    def killing(*args: Any, **options: Any) -> None:
        if when == "after":
            usual(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(holder, name, killing)


if __name__ == "__main__":
    _, chosen, program, *flags = sys.argv
    arm(chosen)
    sys.argv = [program, *flags]
    runpy.run_module(program, run_name="__main__", alter_sys=True)
