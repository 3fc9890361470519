from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, strategies as st
from pydantic import Field

from trackml.errors import UsageError
from trackml.params import (
    BatchSize,
    Concurrency,
    Dropout,
    Epochs,
    LearningRate,
    OnlyIf,
    RayAddress,
    TrainingParams,
    Widths,
    allowed,
    meaning,
    parse_names,
    parse_widths,
    some_of,
)

RULES = ("adam", "sgd", "rmsprop")


class Example(TrainingParams):
    epochs: Epochs = 3
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 0.1
    dropout: Dropout = 0.2
    layers: Widths = "8,4"
    rules: Annotated[str, some_of(RULES)] = Field("all", description="to compare")
    at_once: Concurrency = "auto"
    address: RayAddress = "local"
    mode: Literal["slow", "fast"] = Field("slow", description="how")
    warm: bool = Field(False, description="engine")
    speed: Annotated[float, OnlyIf("mode", ("fast",)), OnlyIf("warm", (True,))] = Field(
        1.0, description="km/h"
    )


def test_texts_become_values_of_the_declared_types() -> None:
    params = Example.parse({"epochs": "7", "learning_rate": "1e-3", "register": "false"})
    assert (params.epochs, params.learning_rate, params.register_model) == (7, 0.001, False)


@pytest.mark.parametrize("mode", ["slow", "fast"])
@pytest.mark.parametrize("warm", [False, True])
def test_a_parameter_has_an_effect_only_if_others_have_the_values_it_needs(
    mode: str, warm: bool
) -> None:
    unused = Example.parse({"mode": mode, "warm": warm}).without_effect()
    assert unused == (set() if mode == "fast" and warm else {"speed"})
    assert meaning(Example.flags()["speed"]) == "km/h; only with mode=fast and warm=true"


WIDTHS = "at most 20 integers from 1 to 10000 with commas between, such as 64,32"
NAMES = "all, or some of adam, sgd, rmsprop with commas between"
TRIALS = "an integer >= 1 or auto"
ADDRESS = "local, auto, host:port or ray://host:port"
REFUSED: dict[tuple[str, str], list[Any]] = {
    ("epochs", "an integer >= 1"): [0, "many"],
    ("batch_size", "an integer >= 1"): [-1],
    ("dropout", "a number >= 0 and < 1"): [1.5],
    ("learning_rate", "a number > 0"): ["nan", "inf"],
    ("validation_split", "a number > 0 and < 1"): [1],
    ("seed", "an integer >= 0 and < 4294967296"): [2**32],
    ("mode", "slow or fast"): ["medium"],
    ("register", "true or false"): ["perhaps"],
    ("layers", WIDTHS): [
        *("", ",", "64,", "64,x", "64;32", "64.5", "0", "-8", "+8", "10001", "1_000", "\u0663"),
        "8," * 20 + "8",
    ],
    ("rules", NAMES): ["", ",", "adam,", "adam,all", "Adam", "adam;sgd"],
    ("at_once", TRIALS): ["0", "-1", "many", "1.5", ""],
    ("address", ADDRESS): [
        "",
        "head",
        "head:",
        ":6379",
        "http://head:1",
        "head:port",
        "head:65536",
    ],
}


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [(flag, value, words) for (flag, words), values in REFUSED.items() for value in values],
)
def test_a_wrong_value_is_refused_in_one_line_with_what_is_allowed(
    flag: str, value: Any, expected: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        Example.parse({flag: value})
    assert str(refusal.value) == f"--{flag} {value}: expected {expected}"


@pytest.mark.parametrize(
    ("flag", "text", "value"),
    [
        *(("at_once", text, value) for text, value in (("auto", "auto"), ("64", 64), (3, 3))),
        *(
            ("address", text, text)
            for text in ("local", "auto", "127.0.0.1:6379", "head-node:6379", "ray://head.ex:10001")
        ),
        ("rules", "all", "all"),
    ],
)
def test_a_value_with_a_form_of_its_own_is_accepted(flag: str, text: Any, value: Any) -> None:
    params = Example.parse({flag: text})
    assert getattr(params, flag) == value
    assert params.as_text()[flag] == str(text)


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"--epochs 0.*--dropout 2"):
        Example.parse({"epochs": 0, "dropout": 2})


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match="--depth: there is no such flag"):
        Example.parse({"depth": 3})


@given(
    epochs=st.integers(1, 10**9),
    rate=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    register=st.booleans(),
)
def test_what_is_logged_can_be_typed_again(epochs: int, rate: float, register: bool) -> None:
    params = Example.parse({"epochs": epochs, "learning_rate": rate, "register": register})
    assert Example.parse(params.as_text()) == params
    assert params.as_text()["register"] in {"true", "false"}


def test_what_a_text_must_be_is_said_in_words() -> None:
    assert allowed(Example.flags()["layers"]) == WIDTHS


@given(st.floats())
def test_dropout_accepts_its_range_and_nothing_else(rate: float) -> None:
    if 0 <= rate < 1:
        assert Example.parse({"dropout": rate}).dropout == rate
    else:
        with pytest.raises(UsageError):
            Example.parse({"dropout": rate})


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=5))
def test_widths_are_read_with_or_without_spaces(numbers: list[int]) -> None:
    for comma in (",", ", ", " ,"):
        params = Example.parse({"layers": comma.join(map(str, numbers))})
        assert parse_widths(params.layers) == tuple(numbers)
        assert params.as_text()["layers"] == ",".join(map(str, numbers))


@given(st.lists(st.sampled_from(RULES), min_size=1))
def test_names_are_read_with_or_without_spaces_in_any_order(names: list[str]) -> None:
    for comma in (",", ", ", " ,"):
        params = Example.parse({"rules": comma.join(names)})
        assert set(parse_names(params.rules, RULES)) == set(names)
        assert (params.rules == "all") is (len(set(names)) == len(RULES))
    assert parse_names("all", RULES) == RULES
