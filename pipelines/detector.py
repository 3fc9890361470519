"""Faster R-CNN on MNIST: where on a canvas are which digits.

mlflow run . -e detector       # 8 min on 2 cores; test mAP 0.9138 ± 0.0009 over 2 seeds
"""

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from trackml.cli import command_line
from trackml.data import load
from trackml.data.canvases import SMALLEST_CANVAS, DetectionData, on_canvases
from trackml.fields import BatchSize, Epochs, LearningRate, Precision, ScheduleName
from trackml.params import TorchParams

if TYPE_CHECKING:
    from trackml.history import EpochHook
    from trackml.tracking.run import Result


class Params(TorchParams):
    """Parameters of `detector`."""

    canvas_size: int = Field(
        64, ge=SMALLEST_CANVAS, le=256, description="side of the square canvases, pixels"
    )
    digits: int = Field(3, ge=1, le=5, description="most digits on a canvas; each has 1 or more")
    epochs: Epochs = 2
    batch_size: BatchSize = 32
    learning_rate: LearningRate = Field(0.002, description="largest step size of AdamW")
    schedule: ScheduleName = "one_cycle"
    precision: Precision = Field(
        "float32",
        description="arithmetic of the training steps; bfloat16 is hardly faster on a CPU",
    )


def read_canvases(params: Params) -> DetectionData:
    """The digits of MNIST on canvases, as the parameters say."""
    digits = load("mnist", params.validation_split, params.limit)
    return on_canvases(
        "mnist_detector", digits, size=params.canvas_size, most=params.digits, seed=params.seed
    )


def main(params: Params, on_epoch: "EpochHook | None" = None) -> "Result":
    """Train Faster R-CNN on canvases with digits, with every result tracked in MLflow."""
    # Loaded now, not on top: --help, and a mistake, must not wait for PyTorch.
    import torch

    from trackml.evaluation.detection import evaluate_detector
    from trackml.models.faster_rcnn import faster_rcnn
    from trackml.models.torch import describe
    from trackml.seeding import seed_everything
    from trackml.tracking.run import tracked_run
    from trackml.training.detection import find_objects, fit_detector
    from trackml.training.schedules import SCHEDULES
    from trackml.training.torch import resolve_device

    resolve_device(params.device)  # one that is not there is refused before a run is made
    data = read_canvases(params)
    with tracked_run(params, data, framework="torch", architecture="faster-rcnn") as run:
        seed_everything(params.seed)
        network = faster_rcnn(len(data.classes))
        size = params.canvas_size
        example = torch.zeros((2, size, size), dtype=torch.uint8)
        run.log_architecture(*describe(network, example))
        history = fit_detector(
            network,
            data,
            params,
            optimizer=torch.optim.AdamW(network.parameters(), fused=True),
            schedule=SCHEDULES[params.schedule],
            hooks=[run.log_epoch, on_epoch],
        )
        report = run.evaluate(evaluate_detector, partial(find_objects, network), data, history)
        return run.log_result(network, history, report)


if __name__ == "__main__":
    command_line(main, Params)
