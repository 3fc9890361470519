"""The pipelines whose parameters `sweep` can search, by the names of their entry points."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines import cnn, dense_mnist, detector, fashion, housing, scratch_mnist, transfer
from trackml.data import load
from trackml.params import TrainingParams

if TYPE_CHECKING:
    from trackml.history import Metric
    from trackml.tracking.flavors import Data, Framework
    from trackml.trial import Main


@dataclass(frozen=True)
class Pipeline:
    """What a sweep needs to know of a pipeline: its module, and what that does not say.

    `read` gives the data of a run, `metric` ranks its epochs, and `turned` are the parameters that
    the entry point sets.
    """

    module: Any
    framework: "Framework"
    read: "Callable[[Any], Data]"
    metric: "Metric" = "accuracy"
    turned: Mapping[str, Any] = field(default_factory=dict)

    @property
    def main(self) -> "Main":
        main: Main = self.module.main
        return main

    @property
    def params(self) -> type[TrainingParams]:
        params: type[TrainingParams] = self.module.Params
        return params


def _mnist(params: TrainingParams) -> "Data":
    return load("mnist", params.validation_split, params.limit)


def _fashion(params: TrainingParams) -> "Data":
    return load("fashion_mnist", params.validation_split, params.limit)


def _housing(params: TrainingParams) -> "Data":
    return load("california_housing", params.validation_split, params.limit)


PIPELINES: Mapping[str, Pipeline] = {
    "dense_mnist": Pipeline(dense_mnist, "keras", _mnist),
    "cnn": Pipeline(cnn, "torch", _mnist),
    "transfer": Pipeline(transfer, "torch", _mnist),
    "detector": Pipeline(detector, "torch", detector.read_canvases, "map"),
    "scratch_mnist": Pipeline(scratch_mnist, "numpy", _mnist),
    "housing": Pipeline(housing, "keras", _housing, "mae"),
    "fashion": Pipeline(fashion, "keras", _fashion),
    "fashion_aug": Pipeline(fashion, "keras", _fashion, turned={"augment": True}),
}
