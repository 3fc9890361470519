"""The base of all parameters: one frozen model is validation, command line, help and log."""

import types
from collections.abc import Mapping
from typing import Any, Literal, Self, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from trackml.errors import UsageError
from trackml.fields import (
    BatchSize,
    DeviceName,
    Epochs,
    Expected,
    HeldOut,
    LearningRate,
    Limit,
    Precision,
    Seed,
)


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
            # Each member of a union has an error of its own, of which one is enough.
            words = dict.fromkeys(_explain(cls, e) for e in error.errors())
            raise UsageError("; ".join(words)) from None

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
            words = dict.fromkeys(_explain(cls, e | {"loc": (name,)}) for e in error.errors())
            raise UsageError("; ".join(words)) from None

    def as_text(self) -> dict[str, str]:
        """Every field as MLflow shows it, written as a user would type it: `true`, not `True`."""
        return {name: _text(value) for name, value in self.model_dump(by_alias=True).items()}

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
        """Whether nothing is to begin without the store."""
        return True


class TrainingParams(RunParams):
    """Fields that all pipelines share. A pipeline adds its own, and its defaults for these."""

    seed: Seed = 0
    epochs: Epochs
    batch_size: BatchSize
    learning_rate: LearningRate
    validation_split: HeldOut = 0.1
    limit: Limit = 0
    tracking: Literal["direct", "deferred"] = Field(
        "direct", description="deferred begins without the server, and `sync` delivers it"
    )

    @property
    def waits_for_store(self) -> bool:
        return self.tracking == "direct"


class KerasParams(TrainingParams):
    """What pipelines in Keras add."""

    precision: Precision = Field("auto", description="arithmetic of the training steps")


class TorchParams(TrainingParams):
    """What pipelines in PyTorch add."""

    device: DeviceName = Field("auto", description="what computes: auto is cuda where there is one")
    precision: Precision = Field("auto", description="arithmetic of the training steps")


def allowed(field: FieldInfo) -> str:
    """What a field accepts, in words: "an integer >= 1", "a number > 0 and < 1", "auto or cpu"."""
    bounds = []
    for rule in field.metadata:
        match rule:
            case Expected(words=words):
                return words
            case Ge(ge=bound):
                bounds.append(f">= {bound}")
            case Gt(gt=bound):
                bounds.append(f"> {bound}")
            case Le(le=bound):
                bounds.append(f"<= {bound}")
            case Lt(lt=bound):
                bounds.append(f"< {bound}")
    return " ".join([_kind(field.annotation), " and ".join(bounds)]).strip()


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(_kind(member) for member in get_args(annotation))
    return {bool: "true or false", int: "an integer", float: "a number", str: "text"}.get(
        annotation, str(annotation)
    )


def _explain(cls: type[Params], error: Any) -> str:
    if not error["loc"]:
        return str(error["ctx"]["error"])  # of a validator that looks at several fields
    name = str(error["loc"][0])
    match error["type"]:
        case "extra_forbidden":
            return f"--{name}: there is no such flag; --help lists them"
        case "missing":
            return f"--{name}: a value is needed, {allowed(cls.flags()[name])}"
        case "value_error":
            return f"--{name} {error['input']}: {error['ctx']['error']}"
    return f"--{name} {error['input']}: expected {allowed(cls.flags()[name])}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
