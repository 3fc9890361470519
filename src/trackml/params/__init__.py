"""The base of all parameters: one frozen model is validation, command line, help and log."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from trackml.errors import UsageError
from trackml.params.fields import (
    AUGMENTED as AUGMENTED,
    MAX_DEPTH as MAX_DEPTH,
    MAX_WIDTH as MAX_WIDTH,
    Accepts as Accepts,
    Activation as Activation,
    Augment as Augment,
    BatchSize as BatchSize,
    Concurrency as Concurrency,
    DeviceName as DeviceName,
    Dropout as Dropout,
    EmaDecay as EmaDecay,
    Epochs as Epochs,
    Features as Features,
    HeldOut as HeldOut,
    LabelSmoothing as LabelSmoothing,
    LearningRate as LearningRate,
    Limit as Limit,
    OnlyIf as OnlyIf,
    OptimizerName as OptimizerName,
    Patience as Patience,
    Precision as Precision,
    RayAddress as RayAddress,
    ScheduleName as ScheduleName,
    Seed as Seed,
    TaskName as TaskName,
    Widths as Widths,
    allowed as allowed,
    as_text,
    conditions as conditions,
    matching as matching,
    meaning as meaning,
    one_of as one_of,
    parse_names as parse_names,
    parse_widths as parse_widths,
    some_of as some_of,
)

if TYPE_CHECKING:
    from trackml.data.splits import SplitOptions
    from trackml.training.augmentation import Augmentation


class Params(BaseModel):
    """What all programs' parameters can do; each program adds its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Validate texts or values by field name.

        Raises:
            UsageError: in one line, each wrong flag, its value and what is allowed there.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _usage_error(cls, error) from None

    @classmethod
    def parse_value(cls, name: str, value: Any) -> Any:
        """Validate one flag's text or value by itself, as if the others were right.

        Raises:
            UsageError: in one line, as `parse` has it.
        """
        # Texts are numbers as well as values, but what YAML takes for true is no number.
        field = cls.flags()[name]
        of_field: TypeAdapter[Any] = TypeAdapter(
            field.rebuild_annotation(), config=ConfigDict(allow_inf_nan=False)
        )
        try:
            if isinstance(value, bool) and field.annotation is not bool:
                value = str(value)
            return of_field.validate_python(value)
        except ValidationError as error:
            raise _usage_error(cls, error, name) from None

    def as_text(self) -> dict[str, str]:
        """Every field as MLflow shows it, written as a user would type it: `true`, not `True`."""
        return {name: as_text(v) for name, v in self.model_dump(by_alias=True).items()}

    def without_effect(self) -> frozenset[str]:
        """The flags that change nothing, given the values of others."""
        return frozenset(
            name
            for name, field in self.flags().items()
            if not all(rule.holds(self) for rule in conditions(field))
        )

    def resolved(self) -> Self:
        """The same parameters, with a value for each default that means "what suits"."""
        return self

    @classmethod
    def flags(cls) -> dict[str, FieldInfo]:
        """Every field by the name that the command line, MLproject and MLflow use."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}


class RunParams(Params):
    """Fields of all programs that train: what becomes of their run."""

    # Every class of parameters has a method `register`, from its metaclass: hence the alias.
    register_model: bool = Field(
        True, alias="register", description="put the model in the registry"
    )
    resume: bool = Field(
        False,
        description="continue the newest unfinished run of the same parameters, data and code",
    )

    @property
    def waits_for_store(self) -> bool:
        """False if the run may begin while the store is unreachable."""
        return True


class PipelineParams(RunParams):
    """Fields that all pipelines share. A pipeline adds its own, and its defaults for these."""

    seed: Seed = 0
    validation_split: HeldOut = 0.1
    limit: Limit = 0
    tracking: Literal["direct", "deferred"] = Field(
        "direct", description="deferred begins without the server, and `sync` delivers it"
    )

    @property
    def waits_for_store(self) -> bool:
        return self.tracking == "direct"

    @property
    def splits(self) -> "SplitOptions":
        """How they split the data, as `from_arrays` and the others take it."""
        return {"validation_split": self.validation_split, "limit": self.limit}


class TrainingParams(PipelineParams):
    """What pipelines that train in epochs add."""

    epochs: Epochs
    batch_size: BatchSize
    learning_rate: LearningRate


class AugmentParams(Params):
    """What pipelines of images add: random changes to training images, with `augment` only."""

    augment: Augment = False
    rotation: Annotated[float, AUGMENTED] = Field(
        10.0, ge=0, le=180, description="largest rotation, degrees"
    )
    zoom: Annotated[float, AUGMENTED] = Field(
        0.1, ge=0, lt=1, description="largest change of size, as a share"
    )
    shift: Annotated[float, AUGMENTED] = Field(
        0.08, ge=0, lt=1, description="largest shift, as a share of the side"
    )
    erase: Annotated[float, AUGMENTED] = Field(
        0.0, ge=0, le=1, description="largest side of a rectangle that is erased, as a share"
    )
    mixup: Annotated[float, AUGMENTED] = Field(
        0.0,
        ge=0,
        description="alpha of the Beta(alpha, alpha) that mixes two images; 0 = none",
    )

    @property
    def augmentation(self) -> "Augmentation | None":
        """As `fit` takes it."""
        if not self.augment:
            return None
        from trackml.training.augmentation import Augmentation

        names = ("rotation", "zoom", "shift", "erase", "mixup")
        return Augmentation(**{name: getattr(self, name) for name in names})


class KerasParams(TrainingParams):
    """What pipelines in Keras add."""

    precision: Precision = Field("auto", description="arithmetic of the training steps")


class TorchParams(TrainingParams):
    """What pipelines in PyTorch add."""

    device: DeviceName = Field("auto", description="what computes: auto is cuda where there is one")
    precision: Precision = Field("auto", description="arithmetic of the training steps")


def _usage_error(cls: type[Params], error: ValidationError, name: str = "") -> UsageError:
    # Each member of a union has an error of its own, of which one is enough.
    words = dict.fromkeys(_explain(cls, each, name) for each in error.errors())
    return UsageError("; ".join(words))


def _explain(cls: type[Params], error: Any, name: str) -> str:
    if not (name or error["loc"]):
        return str(error["ctx"]["error"])  # of a validator that looks at several fields
    name = name or str(error["loc"][0])
    match error["type"]:
        case "extra_forbidden":
            return f"--{name}: there is no such flag; --help lists them"
        case "missing":
            return f"--{name}: a value is needed, {allowed(cls.flags()[name])}"
        case "value_error":
            return f"--{name} {error['input']}: {error['ctx']['error']}"
    return f"--{name} {error['input']}: expected {allowed(cls.flags()[name])}"
