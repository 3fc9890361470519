"""Search spaces as people write them, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pipelines import dense_mnist, housing
from tests.conftest import ROOT
from tests.sweeps.test_space import spaces
from trackml.errors import UsageError
from trackml.params import Params
from trackml.sweeps.space import Space, as_text, grid
from trackml.sweeps.space_parser import read_space, read_values

DENSE = dense_mnist.Params


def read(text: str, params: type[Params] = DENSE) -> Space:
    return read_space(text, params, {"epochs": "3"}, {"seed": "use another flag"})


def test_lists_and_ranges_get_the_types_of_the_parameters() -> None:
    assert read(
        "hidden_units=128|256, dropout=0.1..0.5, learning_rate=1e-4..1e-2 log, "
        "batch_norm=true|false, patience = 1..5,batch_size=16..128 log"
    ) == {
        "hidden_units": CategoricalDistribution((128, 256)),
        "dropout": FloatDistribution(0.1, 0.5),
        "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "batch_norm": CategoricalDistribution((True, False)),
        "patience": IntDistribution(1, 5),
        "batch_size": IntDistribution(16, 128, log=True),
    }


def test_a_value_may_have_commas() -> None:
    widths, rates = CategoricalDistribution(("64,32", "128")), CategoricalDistribution((0.1,))
    space = read("hidden_units=64,32|128, dropout=0.1", housing.Params)
    assert space == {"hidden_units": widths, "dropout": rates}


def test_yaml_has_the_same_forms(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(
        "hidden_units: [128, 256]\n"
        "dropout: {low: 0.1, high: 0.5}\n"
        "learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
        "activation: relu|gelu\n"
        "batch_size: 16..64\n"
        "patience: 3\n"
    )
    assert read(str(file)) == read(
        "hidden_units=128|256, dropout=0.1..0.5, learning_rate=1e-4..1e-2 log, "
        "activation=relu|gelu, batch_size=16..64, patience=3"
    )


def test_the_documented_grid_has_16_points() -> None:
    points = grid(read(str(ROOT / "pipelines/spaces/dense_grid.yaml")))
    assert len(points) == 16
    assert points[0] == {"hidden_units": 128, "dropout": 0.1}
    assert points[-1] == {"hidden_units": 1024, "dropout": 0.5}


def check_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        read(text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hiden_units=1", "--space: the pipeline has no parameter hiden_units; did you mean hidd"),
        ("nonsense_here=1|2", "no parameter nonsense_here; it has register, resume, seed"),
        ("hidden_units=0|2", "--space, --hidden_units 0: expected an integer >= 1 and <= 10000"),
        ("hidden_units=big", "--space, --hidden_units big: expected an integer"),
        ("hidden_units=1.5|2", "--space, --hidden_units 1.5: expected an integer"),
        ("dropout=0.1..1.5", "--space, --dropout 1.5: expected a number >= 0 and < 1"),
        ("dropout=0.5..0.1", "dropout=0.5..0.1: a range goes from a smaller to a larger number"),
        ("dropout=0.5..0.5", "a range goes from a smaller to a larger number"),
        ("dropout=0..0.5 log", "dropout=0..0.5 log: a logarithmic range begins above 0"),
        ("dropout=0.1|0.10", "--space: dropout has the same value twice"),
        ("dropout=0.1, dropout=0.2", "--space: dropout appears twice"),
        ("dropout=nan|0.1", "--space, --dropout nan: expected a number"),
        ("dropout=0.1..inf", "--space, --dropout 0.1..inf: expected a number"),
        ("activation=relu|tanh", "--space, --activation tanh: expected relu or leaky_relu"),
        ("activation=1..2", "--space, --activation 1: expected relu or"),
        ("batch_norm=1..0", "--space: batch_norm=true..false: only numbers have ranges"),
        ("seed=1|2", "--space: seed cannot be searched; use another flag"),
        ("epochs=1|2", "--space: epochs is both searched and fixed; drop one of the two"),
        ("dropout=", "--space 'dropout=': expected name=value, with commas between, or the path"),
        ("dropout=0.1,,patience=2", "--space, --dropout 0.1,: expected a number"),
        ("batch_size=1..99999999999999999999999", "ranges of integers go up to 2**53"),
        ("\0", "this is not YAML"),
        ("dropout=0.1|", "--space, --dropout : expected a number"),
        ("nowhere.yaml", "--space nowhere.yaml: No such file"),
        ("nothing", "--space nothing: No such file"),
        ("", "--space : Is a directory"),
    ],
)
def test_a_wrong_text_is_refused_in_a_line(text: str, words: str) -> None:
    check_refused(text, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "--space: it is empty"),
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
        ("dropout: [0.1]\ndropout: [0.2]\n", "--space: dropout appears twice"),
    ],
)
def test_a_wrong_file_is_refused_in_a_line(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    check_refused(str(file), words)


def test_values_by_name() -> None:
    assert read_values(" a=1, b = 64,32 ,c=x ", "--fixed") == {"a": "1", "b": "64,32", "c": "x"}
    assert read_values("", "--fixed") == {}
    with pytest.raises(UsageError, match=r"--fixed 'a': expected name=value, with commas between$"):
        read_values("a", "--fixed")


@given(spaces)
def test_a_space_reads_what_it_writes(space: Space) -> None:
    # As text: a float such as 0.1 + 0.2 has more digits than are written down.
    assert as_text(read(as_text(space))) == as_text(space)
