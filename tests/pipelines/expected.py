"""What each entry point is to leave in MLflow: the names of the contract, and some sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any

from trackml.data import ImageData, TableData, load
from trackml.data.canvases import DetectionData, on_canvases
from trackml.history import History, Metric
from trackml.params import TrainingParams

Data = ImageData | TableData | DetectionData

SHORT = ("--limit", "3000", "--epochs", "2")
FEW_TO_VALIDATE = 0.02  # as a detector takes a while for each


@dataclass(frozen=True)
class Expected:
    """An entry point: how it is started, and what its run has."""

    pipeline: str
    task: str
    architecture: str
    model_parameters: int
    metric: Metric
    outputs: int
    test_metrics: frozenset[str]
    artifacts: frozenset[str]
    flags: tuple[str, ...] = ()
    limit: int = 3000
    framework: str = "keras"
    aliases: tuple[str, ...] = ()
    lines: str = ""  # what it may say on stderr: a pattern
    parts: frozenset[str] = frozenset()  # of the loss, logged too
    more_metrics: frozenset[str] = frozenset()
    more_params: frozenset[str] = frozenset()
    trains_metric: bool = True  # whether the metric is known of training, epoch by epoch
    scores_untrained: bool = False  # as epoch 0

    @property
    def command(self) -> tuple[str, ...]:
        limit = ("--limit", str(self.limit))
        return f"pipelines.{self.pipeline}", *SHORT, *limit, *self.flags

    @property
    def params(self) -> type[TrainingParams]:
        params: type[TrainingParams] = import_module(f"pipelines.{self.pipeline}").Params
        return params

    @property
    def data(self) -> Data:
        return canvases() if self.pipeline == "detector" else arrays(self)

    @property
    def per_epoch(self) -> set[str]:
        return {
            *("train_loss", "val_loss", f"val_{self.metric}"),
            *({f"train_{self.metric}"} if self.trains_metric else {}),
            *(f"{split}_{part}" for split in ("train", "val") for part in self.parts),
            *("learning_rate", "epoch_seconds", "samples_per_second"),
        }

    @property
    def metrics(self) -> set[str]:
        best = {"best_epoch", "best_val_loss", f"best_val_{self.metric}", *self.more_metrics}
        best |= {"model_size_bytes", "prediction_seconds_per_1000"}
        if self.metric == "accuracy":
            best.add("convergence_epoch")
        return self.per_epoch | best | self.test_metrics


def arrays(expected: Expected) -> ImageData | TableData:
    """The data of a pipeline, all of them."""
    share = expected.params.parse({}).validation_split
    data: ImageData | TableData = load(expected.task, share)  # type: ignore[call-overload]
    return data


@cache
def canvases() -> DetectionData:
    """The canvases of a short run of `detector`."""
    digits = load("mnist", FEW_TO_VALIDATE, limit=EXPECTED["detector"].limit)
    return on_canvases("mnist_detector", digits, size=64, most=3, seed=0)


def _artifacts(figures: list[str], reports: list[str]) -> frozenset[str]:
    always = {"history.json", "model_summary.txt", "figures/learning_curves.png"}
    drawn, written = (f"figures/{name}.png" for name in figures), (f"reports/{r}" for r in reports)
    return frozenset({*always, *drawn, *written})


def _classifier(
    pipeline: str,
    task: str,
    architecture: str,
    parameters: int,
    *flags: str,
    more_artifacts: Sequence[str] = (),
    **more: Any,
) -> Expected:
    return Expected(
        pipeline,
        task,
        architecture,
        parameters,
        metric="accuracy",
        outputs=10,
        test_metrics=frozenset(
            {
                *("test_loss", "test_accuracy", "test_precision_macro", "test_recall_macro"),
                *("test_f1_macro", *(f"test_f1_class_{c}" for c in range(10))),
            }
        ),
        artifacts=_artifacts(
            ["confusion_matrix", "per_class_f1", "mistakes", "samples"],
            ["classification_report.txt", "classification_report.json", "confusion_matrix.json"],
        )
        | set(more_artifacts),
        flags=flags,
        **more,
    )


def model_parameters(conv_layers: int) -> int:
    """Of the plain MNIST CNN: weights and biases of convolutions, of 128 and of 10 units."""
    channels = (1, 16, 32, 64)[: conv_layers + 1]
    convolutions = sum(9 * i * o + o for i, o in pairwise(channels))
    side = 28 >> conv_layers
    return convolutions + (channels[-1] * side**2 + 1) * 128 + 129 * 10


def detector_parameters() -> int:
    """Of Faster R-CNN: four convolutions with normalisation, proposals, regions."""
    backbone = sum(
        size**2 * i * o + 2 * o
        for size, i, o in ((5, 1, 16), (3, 16, 32), (3, 32, 64), (3, 64, 64))
    )
    proposals = (9 * 64 + 1) * 64 + (64 + 1) * 9 * (1 + 4)
    regions = (64 * 49 + 1) * 128 + 129 * 128 + 129 * 11 * (1 + 4)
    return backbone + proposals + regions


EXPECTED = {
    "fashion": _classifier("fashion", "fashion_mnist", "cnn", 421_642),
    "fashion_aug": _classifier("fashion", "fashion_mnist", "cnn-aug", 421_642, "--augment"),
    "dense_mnist": _classifier("dense_mnist", "mnist", "dense", 407_050),
    "cnn": _classifier(
        "cnn",
        "mnist",
        "cnn",
        model_parameters(2),
        framework="torch",
        aliases=("cnn-plain",),
        lines="|.*`dot` is not installed.*\n",
    ),
    "scratch_mnist": _classifier(
        "scratch_mnist",
        "mnist",
        "scratch-softmax",
        785 * 10,
        framework="numpy",
        more_artifacts=["figures/weights.png"],
        scores_untrained=True,
    ),
    "scratch_mlp": _classifier(
        "scratch_mnist",
        "mnist",
        "scratch-mlp",
        785 * 128 + 129 * 10,
        *("--model", "mlp"),
        framework="numpy",
        more_artifacts=["figures/weights.png"],
        scores_untrained=True,
    ),
    "transfer": _classifier(
        "transfer",
        "mnist",
        "alexnet",
        2_469_696 + 257 * 256 + 257 * 10,
        *("--weights", "none"),
        limit=1000,
        framework="torch",
        more_metrics=frozenset({"frozen_seconds"}),
        more_params=frozenset({"weights_sha256"}),
        lines="|.*`dot` is not installed.*\n",
    ),
    "detector": Expected(
        "detector",
        "mnist_detector",
        "faster-rcnn",
        detector_parameters(),
        metric="map",
        outputs=7,
        test_metrics=frozenset(
            {
                *("test_map", "test_map_50", "test_mean_iou", "test_accuracy", "train_accuracy"),
                *("test_precision_macro", "test_recall_macro"),
                *("test_f1_macro", *(f"test_f1_class_{c}" for c in range(10))),
            }
        ),
        artifacts=_artifacts(
            [
                *("losses", "confusion_matrix", "per_class_f1", "detections", "mistakes"),
                "samples",
            ],
            ["classification_report.txt", "classification_report.json", "confusion_matrix.json"],
        ),
        flags=("--validation_split", str(FEW_TO_VALIDATE)),
        limit=1000,
        framework="torch",
        parts=frozenset({"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"}),
        trains_metric=False,
    ),
    "housing": Expected(
        "housing",
        "california_housing",
        "dense",
        model_parameters=8 * 64 + 64 + 64 * 32 + 32 + 32 + 1,
        metric="mae",
        outputs=1,
        test_metrics=frozenset({"test_mse", "test_rmse", "test_mae", "test_r2"}),
        artifacts=_artifacts(
            ["predicted_vs_true", "residuals", "error_map", "correlations"],
            ["feature_statistics.csv"],
        ),
    ),
}


def without_times(history: History) -> list[dict[str, Any]]:
    """The rows of a history that are the same whenever it is run again."""
    timed = {"epoch_seconds", "samples_per_second"}
    return [{k: v for k, v in row.items() if k not in timed} for row in history.rows]
