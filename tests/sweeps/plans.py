"""A plan that tests change, for a pipeline that there is not."""

from typing import Literal

from pydantic import model_validator

from trackml.metrics import ACCURACY
from trackml.params import TrainingParams
from trackml.sweeps.plan import Plan


class Params(TrainingParams):
    epochs: int = 1
    batch_size: int = 1
    learning_rate: float = 1.0
    rate: float = 0.1
    units: int = 1
    kind: Literal["a", "b"] = "a"

    @model_validator(mode="after")
    def check(self) -> "Params":
        if (self.units, self.kind, self.rate) == (2, "a", 0.1):
            raise ValueError("2 does not go with a")
        return self


PLAN = Plan(
    entry_point="dense_mnist",
    params=Params,
    preset={},
    metric=ACCURACY,
    searched="rate=1e-4..1e-1 log, units=16|32|64",
    epochs=2,
)
