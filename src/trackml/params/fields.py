"""Types of parameters, what each accepts, and the words for it."""

import re
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt
from pydantic import BeforeValidator, Field
from pydantic.fields import FieldInfo

Precision = Literal["auto", "float32", "bfloat16"]
DeviceName = Literal["auto", "cpu", "cuda"]
OptimizerName = Literal["adam", "sgd", "rmsprop", "adamw"]

MAX_WIDTH, MAX_DEPTH = 10_000, 20  # of hidden layers: what is beyond is a typing error

Seed = Annotated[int, Field(ge=0, lt=2**32, description="seed of everything that is random")]
Epochs = Annotated[int, Field(ge=1, description="passes over the training data")]
BatchSize = Annotated[int, Field(ge=1, description="examples per optimizer step")]
LearningRate = Annotated[float, Field(gt=0, description="step size of the optimizer")]
HeldOut = Annotated[
    float, Field(gt=0, lt=1, description="fraction of the training data held out to validate on")
]
Limit = Annotated[
    int, Field(ge=0, description="train on the first N examples only; 0 = all of them")
]
Dropout = Annotated[float, Field(ge=0, lt=1, description="rate after each hidden layer")]
Activation = Annotated[
    Literal["relu", "leaky_relu", "elu", "gelu"],
    Field(description="activation of the hidden layers"),
]
Features = Annotated[
    Literal["standard", "quantile", "piecewise", "neighbours"],
    Field(
        description="input columns: standard = raw ones, standardized for a network; quantile = "
        "mapped to normal quantiles; piecewise = piecewise-linear encoding, 24 bins a column; "
        "neighbours = also statistics of the nearest training rows"
    ),
]
Patience = Annotated[
    int, Field(ge=0, description="stop after so many epochs without a better one; 0 = never")
]
EmaDecay = Annotated[
    float,
    Field(ge=0, lt=1, description="decay of the average of the weights, which is kept; 0 = none"),
]
LabelSmoothing = Annotated[
    float,
    Field(ge=0, lt=1, description="share of each target spread evenly over all classes"),
]
Augment = Annotated[
    bool, Field(description="change the training images at random, anew in each epoch")
]
ScheduleName = Annotated[
    Literal["constant", "plateau", "cosine", "one_cycle"],
    Field(
        description="how the learning rate changes: plateau halves it when val_loss stalls, "
        "cosine takes it towards 0, one_cycle first up to it and then towards 0"
    ),
]


@dataclass(frozen=True)
class Accepts(GroupedMetadata):
    """What a text field accepts, in words, and how a text is checked.

    `normalize` returns the text as it is kept, and raises ValueError for any other.
    """

    words: str
    normalize: Callable[[str], str] = str

    def __iter__(self) -> Iterator[BeforeValidator]:
        yield BeforeValidator(self._check)

    def _check(self, value: object) -> str:
        try:
            return self.normalize(str(value))
        except ValueError:
            raise ValueError(f"expected {self.words}") from None


@dataclass(frozen=True)
class OnlyIf:
    """Metadata of a field that has no effect unless another field has one of these values.

    Such a field is not logged where it has none, and not declared in MLproject.
    """

    name: str
    values: tuple[Any, ...]

    def holds(self, params: object) -> bool:
        """True if the field has an effect. Where there is no such other field, it has one."""
        return getattr(params, self.name, self.values[0]) in self.values

    def __str__(self) -> str:
        return f"{self.name}={' or '.join(map(as_text, self.values))}"


AUGMENTED = OnlyIf("augment", (True,))


def matching(pattern: str) -> Callable[[str], str]:
    """A `normalize` for the texts that match a pattern as a whole."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(text)
        return text

    return check


def one_of(names: Sequence[str]) -> Accepts:
    """A field that accepts one of the names."""
    return Accepts(" or ".join(names), matching("|".join(map(re.escape, names))))


def some_of(names: Sequence[str]) -> Accepts:
    """A field that accepts a text for `parse_names`."""

    def normalize(text: str) -> str:
        chosen = parse_names(text, names)
        return "all" if chosen == tuple(names) else ",".join(chosen)

    return Accepts(f"all, or some of {', '.join(names)} with commas between", normalize)


def parse_names(text: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names in a text such as "adam,sgd", in the order of `names`; all of them for "all".

    Raises:
        ValueError: one of them is not among `names`.
    """
    chosen = set(names) if text == "all" else {part.strip() for part in text.split(",")}
    if not chosen <= set(names):
        raise ValueError(text)
    return tuple(name for name in names if name in chosen)


def parse_widths(text: str) -> tuple[int, ...]:
    """The units of each layer in a text such as "64,32".

    Raises:
        ValueError: it is not such a text.
    """
    parts = [part.strip() for part in text.split(",")]
    # Digits alone, and no more than a width can have: int() would also take +8, 1_000 and others.
    widths = tuple(int(part) if re.fullmatch("[0-9]{1,5}", part) else 0 for part in parts)
    if len(widths) > MAX_DEPTH or not all(1 <= width <= MAX_WIDTH for width in widths):
        raise ValueError(text)
    return widths


Widths = Annotated[
    str,
    Accepts(
        f"at most {MAX_DEPTH} integers from 1 to {MAX_WIDTH} with commas between, such as 64,32",
        lambda text: ",".join(map(str, parse_widths(text))),
    ),
    Field(description="units of each hidden layer"),
]
"""A text that `parse_widths` reads."""

Concurrency = Annotated[
    Annotated[int, Field(ge=1)] | Literal["auto"],
    Field(description="trials at a time; auto is one per processor core, or per GPU"),
]
TaskName = Annotated[
    str,
    Accepts("the name of a task, without / : . and quotes", matching(r"[^/:.'\"]+")),
    Field(description="the dataset that models were trained for, such as mnist"),
]
_PORT = r"(\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])"
RayAddress = Annotated[
    str,
    Accepts(
        "local, auto, host:port or ray://host:port",
        matching(rf"local|auto|(ray://)?[\w.-]+:0*{_PORT}"),
    ),
    Field(
        description="the Ray cluster to use: local starts one on this machine for as long as it "
        "takes, auto finds the one that runs here"
    ),
]


def conditions(field: FieldInfo) -> list[OnlyIf]:
    """What must hold for a field to have an effect."""
    return [rule for rule in field.metadata if isinstance(rule, OnlyIf)]


def meaning(field: FieldInfo) -> str:
    """A field's description, and when it has an effect."""
    rules = " and ".join(map(str, conditions(field)))
    return f"{field.description}; only with {rules}" if rules else str(field.description)


def allowed(field: FieldInfo) -> str:
    """What a field accepts, in words: "an integer >= 1", "a number > 0 and < 1", "auto or cpu"."""
    bounds = []
    for rule in field.metadata:
        match rule:
            case Accepts(words=words):
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


def as_text(value: Any) -> str:
    """A value as a user would type it: `true`, not `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(_kind(member) for member in get_args(annotation))
    if get_origin(annotation) is Annotated:
        return allowed(FieldInfo.from_annotation(annotation))
    return {bool: "true or false", int: "an integer", float: "a number", str: "text"}.get(
        annotation, str(annotation)
    )
