"""What the fields of all pipelines accept and what they are, once: each adds its own default."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

Precision = Literal["auto", "float32", "bfloat16"]
DeviceName = Literal["auto", "cpu", "cuda"]
OptimizerName = Literal["adam", "sgd", "rmsprop"]
Variant = Literal["plain", "dropout", "batchnorm", "dropout_batchnorm"]
Backbone = Literal["alexnet", "vgg16"]
Trained = Literal["head", "last_block", "all"]

LARGEST_WIDTH, LARGEST_DEPTH = 10_000, 20  # of hidden layers: what is beyond is a typing error

Seed = Annotated[int, Field(ge=0, lt=2**32, description="seed of everything that is random")]
Epochs = Annotated[int, Field(ge=1, description="passes over the training data")]
BatchSize = Annotated[int, Field(ge=1, description="examples per optimiser step")]
LearningRate = Annotated[float, Field(gt=0, description="step size of the optimiser")]
HeldOut = Annotated[
    float, Field(gt=0, lt=1, description="share of the training data held out, from its end")
]
Limit = Annotated[
    int, Field(ge=0, description="train on the first N examples only; 0 = all of them")
]
Dropout = Annotated[float, Field(ge=0, lt=1, description="rate after each hidden layer")]
Activation = Annotated[
    Literal["relu", "leaky_relu", "elu", "gelu"],
    Field(description="activation of the hidden layers"),
]
Patience = Annotated[
    int, Field(ge=0, description="stop after so many epochs without a better one; 0 = never")
]
ScheduleName = Annotated[
    Literal["constant", "plateau", "cosine", "one_cycle"],
    Field(
        description="how the learning rate changes: plateau halves it when val_loss stalls, "
        "cosine takes it towards 0, one_cycle first up to it and then towards 0"
    ),
]


@dataclass(frozen=True)
class Expected:
    """What a field accepts, in words, where its type does not say it."""

    words: str


_WIDTHS = Expected(
    f"at most {LARGEST_DEPTH} integers from 1 to {LARGEST_WIDTH} with commas between, such as 64,32"
)


def parse_names(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The names in a text such as "adam,sgd", in the order of `known`; all of them for "all".

    Raises:
        ValueError: one of them is not known.
    """
    if text == "all":
        return tuple(known)
    names = {part.strip() for part in text.split(",")}
    if not names <= set(known):
        raise ValueError(f"expected {_some_of(known).words}")
    return tuple(name for name in known if name in names)


def _some_of(known: Sequence[str]) -> Expected:
    return Expected(f"all, or some of {', '.join(known)} with commas between")


def _names_of(known: Sequence[str]) -> AfterValidator:
    def normalised(text: str) -> str:
        names = parse_names(text, known)
        return "all" if names == tuple(known) else ",".join(names)

    return AfterValidator(normalised)


VARIANTS: tuple[Variant, ...] = get_args(Variant)
OPTIMIZER_NAMES: tuple[OptimizerName, ...] = get_args(OptimizerName)
Variants = Annotated[
    str,
    _names_of(VARIANTS),
    _some_of(VARIANTS),
    Field(description="variants of the network to compare"),
]
Optimizers = Annotated[
    str,
    _names_of(OPTIMIZER_NAMES),
    _some_of(OPTIMIZER_NAMES),
    Field(description="update rules to compare"),
]
"""This and `Variants` are texts that `parse_names` reads."""

Concurrency = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=1)],
    Expected("an integer >= 1 or auto"),
    Field(description="trials at a time; auto is one per processor core, or per GPU"),
]


def _check_task(text: str) -> str:
    if not re.fullmatch(r"[^/:.'\"]+", text):
        raise ValueError(f"expected {_TASK.words}")
    return text


_TASK = Expected("the name of a task, without / : . and quotes")
TaskName = Annotated[
    str,
    AfterValidator(_check_task),
    _TASK,
    Field(description="the dataset that models were trained for, such as mnist"),
]


def _check_address(text: str) -> str:
    port = re.fullmatch(r"(?:ray://)?[\w.-]+:([0-9]{1,5})", text)
    if text not in ("local", "auto") and not (port and int(port[1]) < 2**16):
        raise ValueError(f"expected {_ADDRESS.words}")
    return text


_ADDRESS = Expected("local, auto, host:port or ray://host:port")
RayAddress = Annotated[
    str,
    AfterValidator(_check_address),
    _ADDRESS,
    Field(
        description="the Ray cluster to use: local starts one on this machine for as long as it "
        "takes, auto finds the one that runs here"
    ),
]


def parse_widths(text: str) -> tuple[int, ...]:
    """The units of each layer in a text such as "64,32".

    Raises:
        ValueError: it is not such a text.
    """
    parts = [part.strip() for part in text.split(",")]
    # Digits alone, and no more than a width can have: int() would also take +8, 1_000 and others.
    widths = tuple(int(part) if re.fullmatch("[0-9]{1,5}", part) else 0 for part in parts)
    if len(widths) > LARGEST_DEPTH or not all(1 <= width <= LARGEST_WIDTH for width in widths):
        raise ValueError(f"expected {_WIDTHS.words}")
    return widths


def _without_spaces(value: object) -> str:
    return ",".join(str(width) for width in parse_widths(str(value)))


Widths = Annotated[
    str,
    BeforeValidator(_without_spaces),
    _WIDTHS,
    Field(description="units of each hidden layer"),
]
"""A text that `parse_widths` reads."""
