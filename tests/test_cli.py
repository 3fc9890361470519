import os
import signal

import pytest
from pydantic import Field

from trackml.cli import exit_code, parse_flags
from trackml.errors import TrackmlError, UsageError
from trackml.params import BatchSize, Epochs, LearningRate, TrainingParams


class Example(TrainingParams):
    epochs: Epochs = 3
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 0.1
    augment: bool = Field(False, description="change the images")


@pytest.mark.parametrize(
    ("flags", "augment"),
    [
        ([], False),
        (["--augment"], True),
        (["--augment", "true"], True),
        (["--augment=false"], False),
        (["--augment", "--epochs", "2"], True),
        (["--debug", "--augment"], True),
        (["--debug", "true", "--augment", "false"], False),
    ],
)
def test_a_bare_flag_means_true(flags: list[str], augment: bool) -> None:
    assert parse_flags(Example, flags).augment is augment


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epoch", "3"], "--epoch: there is no such flag; did you mean --epochs?"),
        (["--xyz", "3"], "--xyz: there is no such flag; --help lists them"),
        (["--epochs"], "--epochs: expected one argument"),
        (["--learning_rate", "-1e-3"], "--learning_rate -1e-3: expected a number > 0"),
        (["--learning_rate", "-inf"], "--learning_rate -inf: expected a number > 0"),
        (["--epochs", "0"], "--epochs 0: expected an integer >= 1"),
        (["stray"], "stray: not expected here; parameters are given as --name value"),
        (["--debug", "stray"], "--debug: invalid choice: 'stray' (choose from 'true', 'false')"),
    ],
)
def test_a_mistake_is_named(flags: list[str], message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_flags(Example, flags)
    assert str(refusal.value) == message


def test_the_environment_sets_no_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPOCHS", "77")
    monkeypatch.setenv("epochs", "77")
    assert parse_flags(Example, []).epochs == 3


def test_help_shows_each_flag_with_its_range_and_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        parse_flags(Example, ["--help"], "Fits a line.")
    words = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    assert "Fits a line." in words
    assert "passes over the training data [an integer >= 1] (default: 3)" in words
    assert "change the images [true or false] (default: false)" in words


def raising(error: BaseException) -> int:
    def program() -> None:
        raise error

    return exit_code(program)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("--epochs 0: no"), 2, "error: --epochs 0: no"),
        (TrackmlError("no data"), 1, "error: no data"),
        (ValueError("two\nlines"), 1, "error: ValueError: two lines (--debug shows the traceback)"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
    ],
)
def test_an_error_is_one_line_and_a_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(error) == code
    assert capsys.readouterr().err == line + "\n"


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (["--debug"], True),
        (["--debug", "--epochs", "3"], True),
        (["--debug", "true"], True),
        (["--debug=true"], True),
        (["--debug", "false"], False),
        (["--epochs", "3"], False),
    ],
)
def test_debug_shows_the_traceback(
    flags: list[str], shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def program() -> None:
        raise ValueError("deep inside")

    assert exit_code(program, flags) == 1
    assert ("Traceback" in capsys.readouterr().err) is shown


def test_sigterm_ends_with_143_and_its_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert exit_code(lambda: os.kill(os.getpid(), signal.SIGTERM)) == 143
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU"])
def test_other_signals_that_ask_for_an_end_are_named(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    number = signal.Signals[name]
    before = signal.getsignal(number)
    assert exit_code(lambda: os.kill(os.getpid(), number)) == 143
    assert capsys.readouterr().err == f"error: terminated ({name})\n"
    assert signal.getsignal(number) == before


def test_success_is_zero() -> None:
    assert exit_code(lambda: None) == 0
