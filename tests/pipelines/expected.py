"""What each entry point is to leave in MLflow: the names of the contract, and some sizes."""

from collections.abc import Set
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any

from pipelines.detector import Params, load_canvases
from trackml.data import ImageData, TableData, load
from trackml.data.canvases import DetectionData
from trackml.history import History
from trackml.metrics import ACCURACY, LOSS, MAE, MAP, Metric
from trackml.params import PipelineParams

Data = ImageData | TableData | DetectionData

EPOCHS = 2
FEW_TO_VALIDATE = 0.02  # as a detector takes a while for each
CLASS_SCORES = {
    *("test_accuracy", "test_precision_macro", "test_recall_macro", "test_f1_macro"),
    *(f"test_f1_class_{c}" for c in range(10)),
}
LABEL_FILES = (
    "figures/confusion_matrix.png figures/per_class_f1.png figures/mistakes.png "
    "figures/samples.png reports/classification_report.txt reports/classification_report.json "
    "reports/confusion_matrix.json"
)
CLASSIFIER_FILES = (
    f"{LABEL_FILES} figures/roc_precision_recall.png figures/calibration.png figures/confusions.png"
)


AMOUNTS = "rotation zoom shift erase mixup"  # of augmentation
BOOKKEEPING = {"register", "resume", "tracking"}


@dataclass(frozen=True, kw_only=True)
class Expected:
    """An entry point: how it is started, and what its run has."""

    pipeline: str
    task: str
    architecture: str
    model_parameters: int
    framework: str = "keras"
    metric: Metric = ACCURACY
    rank_by: Metric | None = None  # of epochs, if it is another one
    outputs: int = 10
    flags: tuple[str, ...] = ()
    limit: int = 3000
    aliases: tuple[str, ...] = ()
    lines: str = ""  # what it may say on stderr: a pattern
    test_metrics: Set[str] = frozenset(
        {"test_loss", "test_expected_calibration_error", *CLASS_SCORES}
    )
    files: str = CLASSIFIER_FILES
    parts: tuple[str, ...] = ()  # of the loss, logged too
    more_metrics: tuple[str, ...] = ()
    more_params: tuple[str, ...] = ()
    without_effect: str = ""  # parameters that are not logged, as others leave them none
    trains_metric: bool = True  # whether the metric is known of training, epoch by epoch
    scores_untrained: bool = False  # as epoch 0
    rows: str = "epoch"  # or iteration; or fit, of which there is one, without a step

    @property
    def command(self) -> tuple[str, ...]:
        epochs = ("--epochs", str(EPOCHS)) if self.rows == "epoch" else ()
        limit = ("--limit", str(self.limit))
        return f"pipelines.{self.pipeline}", *limit, *epochs, *self.flags

    @property
    def params(self) -> type[PipelineParams]:
        params: type[PipelineParams] = import_module(f"pipelines.{self.pipeline}").Params
        return params

    @property
    def data(self) -> Data:
        """All of it, and not as much as `limit` says."""
        if self.task == "mnist_detector":
            return canvases()
        flags = dict(zip(self.flags[::2], self.flags[1::2], strict=True))
        share = float(flags.get("--validation_split", self.params.parse({}).validation_split))
        return load(self.task, share)

    @property
    def per_epoch(self) -> set[str]:
        return {
            *("train_loss", "val_loss", f"val_{self.metric}"),
            *({f"train_{self.metric}"} if self.trains_metric else {}),
            *(f"{split}_{part}" for split in ("train", "val") for part in self.parts),
            *("epoch_seconds", "samples_per_second"),
            *({"learning_rate"} if self.rows != "fit" else {}),
        }

    @property
    def steps(self) -> list[int]:
        """Of the metrics per epoch."""
        first = 0 if self.scores_untrained or self.rows == "fit" else 1
        return list(range(first, 1 if self.rows == "fit" else EPOCHS + 1))

    @property
    def metrics(self) -> set[str]:
        best = {"best_val_loss", f"best_val_{self.metric}", *self.more_metrics}
        best |= {"model_size_bytes", "prediction_seconds_per_1000"}
        if self.rows != "fit":
            best |= {"best_epoch", *({"convergence_epoch"} if self.metric == ACCURACY else {})}
        return self.per_epoch | best | self.test_metrics

    @property
    def artifacts(self) -> set[str]:
        curves = {"figures/learning_curves.png"} if self.rows != "fit" else set()
        return {"history.json", "model_summary.txt"} | curves | set(self.files.split())


@cache
def canvases() -> DetectionData:
    """The canvases of a short run of `detector`."""
    flags = {"validation_split": FEW_TO_VALIDATE, "limit": EXPECTED["detector"].limit}
    return load_canvases(Params.parse(flags))


def model_parameters(conv_layers: int, filters: int = 16, norms: int = 0) -> int:
    """Of the MNIST CNN: weights and biases of convolutions, of 128 and of 10 units.

    `norms` is 2 with batch normalization, which has two more parameters per channel.
    """
    channels = [1, *(filters << number for number in range(conv_layers))]
    convolutions: int = sum(9 * i * o + (1 + norms) * o for i, o in pairwise(channels))
    side = 28 >> conv_layers
    return convolutions + (channels[-1] * side**2 + 1) * 128 + 129 * 10


def residual_parameters() -> int:
    """Of the residual network: convolutions without biases, with normalization, and 10 units."""
    total = 25 * 16 + 2 * 16
    for i, o in pairwise((16, 32, 64, 128, 256)):
        total += 9 * i * o + 9 * o * o + 2 * 2 * o + i * o
    return total + 257 * 10


def detector_parameters() -> int:
    """Of Faster R-CNN: four convolutions with normalisation, proposals, regions."""
    backbone = sum(
        size**2 * i * o + 2 * o
        for size, i, o in ((5, 1, 16), (3, 16, 32), (3, 32, 64), (3, 64, 64))
    )
    proposals = (9 * 64 + 1) * 64 + (64 + 1) * 9 * (1 + 4)
    regions = (64 * 49 + 1) * 128 + 129 * 128 + 129 * 11 * (1 + 4)
    return backbone + proposals + regions


FASHION = Expected(
    pipeline="fashion",
    task="fashion_mnist",
    architecture="cnn",
    model_parameters=421_642,
    without_effect="augment_policy erase rotation zoom shift",
)
CNN = Expected(
    pipeline="cnn",
    task="mnist",
    architecture="cnn",
    model_parameters=model_parameters(2),
    framework="torch",
    aliases=("cnn-plain",),
    lines="|.*`dot` is not installed.*\n",
    without_effect="dropout",
)
SCRATCH = Expected(
    pipeline="scratch_mnist",
    task="mnist",
    architecture="scratch-softmax",
    model_parameters=785 * 10,
    framework="numpy",
    files=f"{CLASSIFIER_FILES} figures/weights.png",
    scores_untrained=True,
    without_effect=f"hidden_units {AMOUNTS}",
)
HOUSING = Expected(
    pipeline="housing",
    task="california_housing",
    architecture="dense",
    model_parameters=8 * 64 + 64 + 64 * 32 + 32 + 32 + 1,
    metric=MAE,
    rank_by=LOSS,
    outputs=1,
    test_metrics={"test_mse", "test_rmse", "test_mae", "test_r2"},
    files="figures/predicted_vs_true.png figures/residuals.png figures/error_map.png "
    "figures/correlations.png figures/target.png figures/permutation_importance.png "
    "reports/feature_statistics.csv",
)
EXPECTED = {
    "fashion": FASHION,
    "fashion_aug": replace(
        FASHION,
        architecture="cnn-aug",
        flags=("--augment", "true"),
        without_effect="rotation zoom shift",
    ),
    "fashion_best": replace(
        CNN,
        pipeline="fashion_best",
        without_effect="",
        task="fashion_mnist",
        architecture="residual",
        model_parameters=residual_parameters(),
        aliases=(),
        flags=("--validation_split", str(FEW_TO_VALIDATE)),
        limit=500,
    ),
    "cnn_best": replace(
        CNN,
        pipeline="cnn_best",
        without_effect="",
        architecture="cnn-best",
        model_parameters=model_parameters(3, filters=32, norms=2),
        aliases=(),
    ),
    "dense_mnist": Expected(
        pipeline="dense_mnist",
        task="mnist",
        architecture="dense",
        model_parameters=407_050,
        without_effect=AMOUNTS,
    ),
    "cnn": CNN,
    "scratch_mnist": SCRATCH,
    "scratch_mlp": replace(
        SCRATCH,
        architecture="scratch-mlp",
        model_parameters=785 * 128 + 129 * 10,
        flags=("--model", "mlp"),
        without_effect=AMOUNTS,
    ),
    "transfer": replace(
        CNN,
        pipeline="transfer",
        without_effect="",
        architecture="alexnet",
        model_parameters=2_469_696 + 257 * 256 + 257 * 10,
        aliases=(),
        flags=("--weights", "none"),
        limit=500,
        more_metrics=("frozen_seconds",),
        more_params=("weights_sha256",),
    ),
    "detector": Expected(
        pipeline="detector",
        task="mnist_detector",
        architecture="faster-rcnn",
        model_parameters=detector_parameters(),
        framework="torch",
        metric=MAP,
        outputs=7,
        test_metrics=CLASS_SCORES | {"test_map", "test_map_50", "test_mean_iou", "train_accuracy"},
        files=f"{LABEL_FILES} figures/losses.png figures/detections.png",
        flags=("--validation_split", str(FEW_TO_VALIDATE)),
        limit=1000,
        parts=("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"),
        trains_metric=False,
    ),
    "housing": HOUSING,
    "housing_trees": replace(
        HOUSING,
        pipeline="housing_trees",
        architecture="boosted-trees",
        model_parameters=EPOCHS * (63 + 62),
        framework="sklearn",
        flags=("--iterations", str(EPOCHS)),
        rows="iteration",
    ),
    "mnist_sklearn": Expected(
        pipeline="mnist_sklearn",
        task="mnist",
        architecture="nystroem-logistic",
        model_parameters=5 * 784 + 50 * (784 + 50 + 3 + 10) + 10,
        framework="sklearn",
        flags=("--components", "50"),
        limit=1000,
        rows="fit",
    ),
}


def without_times(history: History) -> list[dict[str, Any]]:
    """The rows of a history that are the same whenever it is run again."""
    timed = {"epoch_seconds", "samples_per_second"}
    return [{k: v for k, v in row.items() if k not in timed} for row in history.rows]
