"""AlexNet and VGG16 of torchvision on MNIST, from ImageNet's weights, a file's, or none.

mlflow run . -e transfer -P weights=none       # 1 min 57 s on 2 cores; test accuracy 0.9926, n = 1
    … -P backbone=vgg16                        # 11 min;                test accuracy 0.9931, n = 1
"""

from collections.abc import Mapping
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from trackml.cli import command_line
from trackml.data import load
from trackml.fields import Backbone, BatchSize, Dropout, Epochs, ScheduleName, Trained
from trackml.params import TorchParams

if TYPE_CHECKING:
    from trackml.history import EpochHook
    from trackml.tracking.run import Result

SIZES: Mapping[Backbone, int] = {"alexnet": 64, "vgg16": 32}
SMALLEST: Mapping[Backbone, int] = {"alexnet": 63, "vgg16": 32}  # of which poolings leave something
LEARNING_RATES: Mapping[Trained, float] = {"head": 0.001, "last_block": 0.0003, "all": 0.0003}


class Params(TorchParams):
    """Parameters of `transfer`."""

    backbone: Backbone = Field("alexnet", description="network of torchvision to start from")
    weights: str = Field(
        "imagenet",
        min_length=1,
        description="imagenet: those that torchvision offers; none: random ones; else the path of "
        "a state dict in torchvision's format",
    )
    train: Trained = Field("all", description="what is trained, the head always; the rest stays")
    image_size: int = Field(
        0,
        ge=0,
        le=224,
        description="side to which images are resized, pixels; 0 = what suits the backbone: "
        + ", ".join(f"{size} for {name}" for name, size in SIZES.items()),
    )
    epochs: Epochs = 2
    batch_size: BatchSize = 64
    learning_rate: float = Field(
        0.0,
        ge=0,
        description="largest step size of Adam; 0 = what suits: "
        + ", ".join(f"{rate} for {part}" for part, rate in LEARNING_RATES.items()),
    )
    dropout: Dropout = Field(0.3, description="rate after the head's hidden layer")
    schedule: ScheduleName = "one_cycle"

    @model_validator(mode="after")
    def _images_are_large_enough(self) -> Self:
        if 0 < self.image_size < SMALLEST[self.backbone]:
            raise ValueError(
                f"--image_size {self.image_size}: {self.backbone} needs at least "
                f"{SMALLEST[self.backbone]} pixels"
            )
        return self

    def resolved(self) -> Self:
        """The same parameters, with numbers for "what suits"."""
        return self.model_copy(
            update={
                "image_size": self.image_size or SIZES[self.backbone],
                "learning_rate": self.learning_rate or LEARNING_RATES[self.train],
            }
        )


def main(params: Params, on_epoch: "EpochHook | None" = None) -> "Result":
    """Fine-tune a network of torchvision on MNIST, with every result tracked in MLflow."""
    # Loaded now, not on top: --help, and a mistake, must not wait for PyTorch.
    import torch

    from trackml.evaluation.classification import evaluate_classifier
    from trackml.evaluation.graph import draw_graph
    from trackml.models.pretrained import load_weights
    from trackml.models.torch import describe, with_probabilities
    from trackml.models.transfer import freeze, transfer_network
    from trackml.seeding import seed_everything
    from trackml.tracking.run import tracked_run
    from trackml.training.features import skip_frozen
    from trackml.training.schedules import SCHEDULES
    from trackml.training.torch import OPTIMIZERS, fit, predict, resolve_device

    params = params.resolved()
    # What is not there is refused before a run is made.
    device = resolve_device(params.device)
    weights = load_weights(params.backbone, params.weights)
    data = load("mnist", params.validation_split, params.limit)
    with tracked_run(params, data, framework="torch", architecture=params.backbone) as run:
        seed_everything(params.seed)
        network = transfer_network(
            params.backbone,
            len(data.classes),
            image_size=params.image_size,
            dropout=params.dropout,
            weights=weights.tensors if weights else None,
        )
        run.log_params({"weights_sha256": weights.sha256 if weights else "none"})
        frozen, trained = freeze(network, params.train)
        example = torch.zeros((2, 28, 28), dtype=torch.uint8)
        run.log_architecture(*describe(network, example))
        run.log_report(draw_graph(network, example))
        started = perf_counter()
        trainee, inputs = skip_frozen(frozen, trained, data, device)
        run.log_metrics({"frozen_seconds": perf_counter() - started})
        history = fit(
            trainee,
            inputs,
            params,
            optimizer=OPTIMIZERS["adam"](trained.parameters()),
            schedule=SCHEDULES[params.schedule],
            hooks=[run.log_epoch, on_epoch],
        )
        report = run.evaluate(evaluate_classifier, partial(predict, network), data, history)
        return run.log_result(with_probabilities(network), history, report)


if __name__ == "__main__":
    command_line(main, Params)
