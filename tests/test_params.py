from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from trackml.errors import UsageError
from trackml.fields import (
    OPTIMIZER_NAMES,
    BatchSize,
    Concurrency,
    Dropout,
    Epochs,
    LearningRate,
    Optimizers,
    RayAddress,
    Widths,
    parse_names,
    parse_widths,
)
from trackml.params import TrainingParams, allowed


class Example(TrainingParams):
    epochs: Epochs = 3
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 0.1
    dropout: Dropout = 0.2
    layers: Widths = "8,4"
    rules: Optimizers = "all"
    at_once: Concurrency = "auto"
    address: RayAddress = "local"
    mode: Literal["slow", "fast"] = Field("slow", description="how")


def test_texts_become_values_of_the_declared_types() -> None:
    params = Example.parse({"epochs": "7", "learning_rate": "1e-3", "register": "false"})
    assert (params.epochs, params.learning_rate, params.register_model) == (7, 0.001, False)


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("epochs", 0, "an integer >= 1"),
        ("epochs", "many", "an integer >= 1"),
        ("batch_size", -1, "an integer >= 1"),
        ("dropout", 1.5, "a number >= 0 and < 1"),
        ("learning_rate", "nan", "a number > 0"),
        ("learning_rate", "inf", "a number > 0"),
        ("validation_split", 1, "a number > 0 and < 1"),
        ("seed", 2**32, "an integer >= 0 and < 4294967296"),
        ("mode", "medium", "slow or fast"),
        ("register", "perhaps", "true or false"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_with_what_is_allowed(
    flag: str, value: Any, expected: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        Example.parse({flag: value})
    assert str(refusal.value) == f"--{flag} {value}: expected {expected}"


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
    assert allowed(Example.flags()["layers"]).startswith("at most 20 integers from 1 to 10000")


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


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "64,",
        "64,x",
        "64;32",
        "64.5",
        "0",
        "-8",
        "+8",
        "10001",
        "1_000",
        "\u0663",
        "8," * 20 + "8",
    ],
)
def test_other_widths_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Example.parse({"layers": text})
    assert str(refusal.value) == (
        f"--layers {text}: expected at most 20 integers from 1 to 10000 with commas between, "
        "such as 64,32"
    )


@given(st.lists(st.sampled_from(OPTIMIZER_NAMES), min_size=1))
def test_names_are_read_with_or_without_spaces_in_any_order(names: list[str]) -> None:
    for comma in (",", ", ", " ,"):
        params = Example.parse({"rules": comma.join(names)})
        assert set(parse_names(params.rules, OPTIMIZER_NAMES)) == set(names)
        assert (params.rules == "all") is (len(set(names)) == len(OPTIMIZER_NAMES))


def test_all_names_stay_all_in_what_is_logged() -> None:
    assert Example.parse({"rules": "all"}).as_text()["rules"] == "all"
    assert parse_names("all", OPTIMIZER_NAMES) == ("adam", "sgd", "rmsprop")


@pytest.mark.parametrize("text", ["", ",", "adam,", "adam,all", "Adam", "adam;sgd"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Example.parse({"rules": text})
    expected = "all, or some of adam, sgd, rmsprop with commas between"
    assert str(refusal.value) == f"--rules {text}: expected {expected}"


@pytest.mark.parametrize(("text", "value"), [("auto", "auto"), ("1", 1), ("64", 64), (3, 3)])
def test_concurrency_is_a_number_or_auto(text: object, value: object) -> None:
    assert Example.parse({"at_once": text}).at_once == value


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", ""])
def test_another_concurrency_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Example.parse({"at_once": text})
    assert str(refusal.value) == f"--at_once {text}: expected an integer >= 1 or auto"


@pytest.mark.parametrize(
    "text", ["local", "auto", "127.0.0.1:6379", "head-node:6379", "ray://head.example:10001"]
)
def test_addresses_of_clusters(text: str) -> None:
    assert Example.parse({"address": text}).address == text


@pytest.mark.parametrize(
    "text", ["", "head", "head:", ":6379", "http://head:1", "head:port", "head:65536"]
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected local, auto, host:port or ray://host:port"):
        Example.parse({"address": text})
