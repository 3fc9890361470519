"""Spaces: as people write them, what is refused, and the points that are drawn from them."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import cnn, dense_mnist, housing
from trackml.errors import UsageError
from trackml.notation import read_space, read_values
from trackml.space import (
    Choices,
    Range,
    Space,
    WholeRange,
    as_text,
    grid,
    name_of,
    sample,
    size,
    values_of,
)

DENSE, CNN = dense_mnist.Params, cnn.Params


def space(text: str, params: type = DENSE) -> Space:
    return read_space(text, params, {}, {"seed": "luck"})


def test_lists_and_ranges_get_the_types_of_the_parameters() -> None:
    assert space(
        "hidden_units=128|256, dropout=0.1..0.5, learning_rate=1e-4..1e-2 log, "
        "batch_norm=true|false, epochs = 1..5,batch_size=16..128 log"
    ) == {
        "hidden_units": Choices((128, 256)),
        "dropout": Range(0.1, 0.5),
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "batch_norm": Choices((True, False)),
        "epochs": WholeRange(1, 5),
        "batch_size": WholeRange(16, 128, log=True),
    }


def test_a_value_may_have_commas() -> None:
    found = space("hidden_units=64,32|128, dropout=0.1", housing.Params)
    assert found == {"hidden_units": Choices(("64,32", "128")), "dropout": Choices((0.1,))}


def test_yaml_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(
        "hidden_units: [128, 256]\n"
        "dropout: {low: 0.1, high: 0.5}\n"
        "learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
        "activation: relu|gelu\n"
        "batch_size: 16..64\n"
        "patience: 3\n"
    )
    assert space(str(file)) == space(
        "hidden_units=128|256, dropout=0.1..0.5, learning_rate=1e-4..1e-2 log, "
        "activation=relu|gelu, batch_size=16..64, patience=3"
    )


def test_the_documented_grid_has_16_points() -> None:
    file = Path(__file__).parents[1] / "pipelines/spaces/dense_grid.yaml"
    points = grid(space(str(file)))
    assert len(points) == 16
    assert points[0] == {"hidden_units": 128, "dropout": 0.1}
    assert points[-1] == {"hidden_units": 1024, "dropout": 0.5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "hiden_units=1|2",
            "--space: the pipeline has no parameter hiden_units; did you mean hidd",
        ),
        ("nonsense_here=1|2", "no parameter nonsense_here; it has register, resume, seed"),
        ("hidden_units=0|2", "--space, --hidden_units 0: expected an integer >= 1 and <= 10000"),
        ("hidden_units=big", "--space, --hidden_units big: expected an integer"),
        ("hidden_units=1.5|2", "--space, --hidden_units 1.5: expected an integer"),
        ("dropout=0.1..1.5", "--space, --dropout 1.5: expected a number >= 0 and < 1"),
        ("dropout=0.5..0.1", "dropout=0.5..0.1: a range goes from a smaller to a larger number"),
        ("dropout=0.5..0.5", "a range goes from a smaller to a larger number"),
        ("dropout=0..0.5 log", "dropout=0..0.5 log: a logarithmic range begins above 0"),
        ("dropout=0.1|0.10", "--space: dropout has the same value twice"),
        ("dropout=0.1, dropout=0.2", "--space: dropout is there twice"),
        ("dropout=nan|0.1", "--space, --dropout nan: expected a number"),
        ("dropout=0.1..inf", "--space, --dropout 0.1..inf: expected a number"),
        ("activation=relu|tanh", "--space, --activation tanh: expected relu or leaky_relu"),
        ("activation=1..2", "--space, --activation 1: expected relu or"),
        ("batch_norm=1..0", "--space: batch_norm=true..false: only numbers have ranges"),
        ("seed=1|2", "--space: seed cannot be searched: luck"),
        ("dropout=", "--space 'dropout=': expected name=value, with commas between, or the path"),
        ("dropout=0.1,,x=2", "--space, --dropout 0.1,: expected a number"),
        ("batch_size=1..99999999999999999999999", "ranges of integers go up to 2**53"),
        ("\0", "this is not YAML"),
        ("dropout=0.1|", "--space, --dropout : expected a number"),
        ("nowhere.yaml", "--space nowhere.yaml: No such file"),
        ("nothing", "--space nothing: No such file"),
        ("", "--space : Is a directory"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        space(text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is nothing in it"),
        ("- a\n- b\n", "expected a name and its values in each line"),
        ("1: 2\n", "expected a name and its values in each line"),
        ("dropout: [0.1\n", "line 2: this is not YAML"),
        ("dropout: !!python/object/apply:os.getcwd []\n", "line 1: this is not YAML"),
        ("dropout: []\n", "dropout has no values"),
        ("dropout: {low: 0.1}\n", "dropout needs low and high"),
        ("dropout: {low: 0.1, high: 0.2, step: 0.1}\n", "dropout needs low and high"),
        ("dropout: {low: 0.1, high: 0.2, log: yes please}\n", "log of dropout is true or false"),
        ("hidden_units: [true]\n", "--space, --hidden_units True: expected an integer"),
        ("dropout: [[0.1]]\n", "--space, --dropout [0.1]: expected a number"),
        ("dropout:\n", "--space, --dropout None: expected a number"),
        ("\x00", "this is not YAML"),
        ("dropout: [0.1]\ndropout: [0.2]\n", "--space: dropout is there twice"),
    ],
)
def test_a_file_that_says_something_else_is_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        space(str(file))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_parameter_is_searched_or_fixed() -> None:
    with pytest.raises(UsageError, match="dropout is searched and fixed at once"):
        read_space("dropout=0.1|0.2", DENSE, {"dropout": "0.1"}, {})


def test_values_by_name() -> None:
    assert read_values(" a=1, b = 64,32 ,c=x ", "--fixed") == {"a": "1", "b": "64,32", "c": "x"}
    assert read_values("", "--fixed") == {}
    with pytest.raises(UsageError, match=r"--fixed 'a': expected name=value, with commas between$"):
        read_values("a", "--fixed")


def test_a_range_of_real_numbers_is_no_grid() -> None:
    with pytest.raises(UsageError, match=r"grid: dropout=0.1..0.5 .*dropout=0.1\|0.5"):
        grid(space("dropout=0.1..0.5"))
    assert len(grid(space("epochs=1..5, dropout=0.1|0.2"))) == 10


def test_logarithmic_ranges_draw_each_magnitude_as_often() -> None:
    rates = [p["learning_rate"] for p in sample(space("learning_rate=1e-4..1e-2 log"), 2000, 0)]
    assert sum(rate < 1e-3 for rate in rates) == pytest.approx(1000, abs=100)
    units = [
        p["hidden_units"]
        for p in sample(space("hidden_units=1..9999 log, dropout=0.0..0.9"), 2000, 0)
    ]
    assert sum(unit < 100 for unit in units) == pytest.approx(1000, abs=100)


@pytest.mark.parametrize(
    ("one", "count"),
    [
        (Range(0.100001, 0.100003), 3),
        (Range(0.1, 0.1000000001), 1),
        (Range(1e-300, 1e300, log=True), 20),
        (Range(-1e308, 1e308), 20),
        (WholeRange(1, 2**53), 20),
        (WholeRange(1, 2**53, log=True), 20),
    ],
)
def test_narrow_and_wide_ranges_end(one: Range | WholeRange, count: int) -> None:
    points = [point["rate"] for point in sample({"rate": one}, 20, 0)]
    assert len(set(points)) == count
    assert all(one.low <= value <= one.high for value in points)


def test_more_points_than_there_are_cannot_be_drawn() -> None:
    points = sample(space("hidden_units=1|2|3, batch_norm=true|false"), 100, 0)
    assert len(points) == len({name_of(point) for point in points}) == 6


numbers = st.floats(1e-6, 0.9, allow_nan=False)
real_ranges = st.tuples(numbers, numbers, st.booleans()).filter(lambda r: r[0] != r[1])
spaces = st.fixed_dictionaries(
    {
        "dropout": st.one_of(
            st.lists(numbers, min_size=1, max_size=5, unique=True).map(
                lambda values: Choices(tuple(values))
            ),
            real_ranges.map(lambda r: Range(min(r[:2]), max(r[:2]), r[2])),
        ),
        "hidden_units": st.one_of(
            st.lists(st.integers(1, 10_000), min_size=1, max_size=5, unique=True).map(
                lambda values: Choices(tuple(values))
            ),
            st.tuples(st.integers(1, 100), st.integers(101, 10_000), st.booleans()).map(
                lambda r: WholeRange(*r)
            ),
        ),
        "activation": st.just(Choices(("relu", "gelu"))),
    }
)


@given(spaces, st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_points_are_different_in_range_reproducible_and_named(
    drawn: Space, count: int, seed: int
) -> None:
    points = sample(drawn, count, seed)
    assert len({name_of(point) for point in points}) == len(points)
    assert len(points) <= count
    if size(drawn) >= count and not any(isinstance(one, Range) for one in drawn.values()):
        assert len(points) == count
    assert sample(drawn, count, seed) == points
    assert sample(drawn, max(1, count // 2), seed) == points[: max(1, count // 2)]
    for point in points:
        assert values_of(name_of(point), drawn) == point
        DENSE.parse(point)
        for name, one in drawn.items():
            if isinstance(one, Choices):
                assert point[name] in one.values
            else:
                assert one.low <= point[name] <= one.high


@given(spaces)
def test_a_space_reads_what_it_writes(drawn: Space) -> None:
    again = space(as_text(drawn))
    assert as_text(again) == as_text(drawn)
    assert again.keys() == drawn.keys()


@given(spaces)
def test_the_size_is_that_of_the_grid(drawn: Space) -> None:
    if math.isfinite(size(drawn)) and size(drawn) < 10_000:
        points = grid(drawn)
        assert len(points) == size(drawn) == len({name_of(point) for point in points})
