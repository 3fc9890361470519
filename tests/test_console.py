import re
import shlex
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import chain
from pathlib import Path
from time import sleep
from typing import Any

import pandas as pd
import pytest

from tests.terminals import begun_in_terminal
from trackml.console import LEADERBOARD, SWEEP, TRAINING, run_shown, table_of_texts
from trackml.display import live
from trackml.display.lines import wrapped_command
from trackml.errors import TrackingIncomplete
from trackml.evaluation.report import Report, Table, number_of, text_of
from trackml.history import History
from trackml.metrics import MAE
from trackml.params import TrainingParams
from trackml.progress import progress_of
from trackml.sweeps.report import SweepReport
from trackml.sweeps.runner import SweepResult
from trackml.sweeps.worker import Outcome
from trackml.tasks import EntryPoint, entry_point
from trackml.tracking.registry import Registration
from trackml.tracking.run import Result

ROW = {
    "train_loss": 0.5,
    "val_loss": 0.25,
    "train_mae": 0.125,
    "val_mae": 0.0625,
    "learning_rate": 0.1,
    "epoch_seconds": 1.25,
    "samples_per_second": 8.0,
}
LINE = "train_loss 0.5000  val_loss 0.2500  train_mae 0.1250  val_mae 0.0625  1.2 s"
LINE_80 = "train_loss 0.5000  val_loss 0.2500  val_mae 0.0625  1.2 s"
RESULT = Result(
    run_id="1",
    task="homes",
    architecture="dense",
    history=History(MAE, "float32").extended(ROW).extended(ROW),
    report=Report({"test_rmse": 0.5, "test_f1_class_3": 0.75}),
    registration=Registration("homes", "7", ("dense", "champion"), "beats version 6"),
)


def asked(count: int, **values: object) -> TrainingParams:
    common = {"epochs": count, "batch_size": 1, "learning_rate": 0.1}
    return TrainingParams.parse(common | values)


@pytest.fixture(autouse=True)
def _into_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def test_an_epoch_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with TRAINING.progress(asked(10)) as show:
        show(3, ROW)
    assert capsys.readouterr().out == f"epoch  3/10  {LINE_80}\n"


@pytest.mark.parametrize(
    ("columns", "scores"),
    [
        ("200", LINE),
        ("80", LINE_80),
        ("60", "val_loss 0.2500  val_mae 0.0625  1.2 s"),
        ("45", "val_loss 0.2500  val_mae 0.0625"),
        ("30", "val_mae 0.0625"),
    ],
)
def test_an_epoch_fits_into_the_columns(
    columns: str, scores: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with TRAINING.progress(asked(10)) as show:
        show(3, ROW)
    assert capsys.readouterr().out == f"epoch  3/10  {scores}\n"


BAR = """
from time import sleep
from tests.test_console import ROW, asked
from trackml.console import TRAINING
with TRAINING.progress(asked(2)) as show:
    show(1, ROW)
    show.stage("epoch 2/2", "batch", 14, number=2, of=2)
    show.advance(0.5)
    sleep(1)
    show(2, ROW)
"""


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        pytest.param(40, "epoch 2/2  val_mae 0.0625", marks=pytest.mark.slow),
        (80, f"epoch 2/2  {LINE_80}"),
        pytest.param(200, f"epoch 2/2  {LINE}", marks=pytest.mark.slow),
    ],
)
def test_on_a_terminal_a_bar_stands_below_the_lines_and_goes_away(
    columns: int, line: str, tmp_path: Path
) -> None:
    (tmp_path / "bar.py").write_text(BAR)
    display = begun_in_terminal("bar", folder=tmp_path, columns=columns)
    display.read()
    shown = display.shown
    assert f"{line}\r\n" in shown
    assert "batch 7/14" in shown or columns < 80
    assert "7/14" in shown
    assert "…" not in shown
    assert "\x1b[2K" in shown[-20:]  # the bar's line, erased


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who waits for a tenth of a second."""
    for name in ("SILENCE_SECONDS", "TICK_SECONDS", "SCORES_SECONDS", "ENOUGH_SECONDS"):
        monkeypatch.setattr(live, name, 0.05)


@pytest.mark.usefixtures("_impatient")
def test_what_lasts_is_said_again_and_again_also_while_others_redirect_the_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with TRAINING.progress(asked(2)) as show, redirect_stdout(StringIO()):
        show.stage("scoring on the test data")
        sleep(0.4)
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) > 1
    assert set(shown) == {"scoring on the test data  0 s"}


@pytest.mark.usefixtures("_impatient")
def test_a_long_epoch_shows_its_batches_its_scores_and_the_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with TRAINING.progress(asked(20)) as show:
        show.stage("epoch  1/20", "batch", 10, number=1, of=20)
        sleep(0.1)
        show.advance(0.5, lambda: {"loss": 0.25, "accuracy": 0.75})
        sleep(0.2)
    line = r"epoch  1/20  batch 5/10  loss 0\.2500  accuracy 0\.7500  about \d+ s left"
    assert re.fullmatch(line, capsys.readouterr().out.splitlines()[-1])


def test_what_runs_where_is_said_to_people_alone(capsys: pytest.CaptureFixture[str]) -> None:
    def main(_params: TrainingParams, callbacks: Any) -> None:
        """Train."""
        progress_of(callbacks).fact("data", "homes: " + "many, " * 20)

    run_shown(EntryPoint("homes", main, TrainingParams), asked(1))
    assert capsys.readouterr().out == ""
    run_shown(EntryPoint("homes", main, TrainingParams), asked(1), shows_facts=True)
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "program  homes: Train."
    assert rest[0].startswith("data     homes: many, many,")
    assert rest[1].startswith("         many,")
    assert max(map(len, rest)) <= 80


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"epochs": 6}, ("24 epochs take about 10 min here, and reach test", "_aug ARGS='-P ep")),
        ({"epochs": 6, "limit": 50}, ("10 min here:", "_aug ARGS='-P epochs=24 -P limit=50'\n")),
        ({"epochs": 6, "resume": True}, ("10 min here, and", "_aug ARGS='-P epochs=24'\n")),
        ({"epochs": 24}, ()),
    ],
)
def test_who_trains_for_fewer_epochs_is_told_what_all_of_them_cost_and_bring(
    values: dict[str, int], expected: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    fashion = entry_point("fashion")

    def main(_params: Any, callbacks: Any) -> None:
        for epoch in (1, 2):
            for call in callbacks:
                call(epoch, ROW | {"epoch_seconds": 25.0})

    entry = replace(fashion, main=main, preset={})
    given = fashion.params.parse({"augment": True} | values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EntryPoint, "module", fashion.module)
        run_shown(entry, given, shows_facts=True)
    shown = capsys.readouterr().out
    assert shown.count("recipe") == (2 if expected else 0)
    assert all(words in " ".join(shown.split()) or words in shown for words in expected)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("by_mlflow", "flag"), [(True, "-P resume=true among ARGS"), (False, "--resume true")]
)
def test_who_stops_a_run_is_told_how_to_go_on(
    by_mlflow: bool,
    flag: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def main(_params: TrainingParams, callbacks: Any) -> None:
        """Train."""
        progress_of(callbacks).tracked("a" * 32, "")
        raise KeyboardInterrupt

    if by_mlflow:
        monkeypatch.setenv("MLFLOW_RUN_ID", "a" * 32)
    with pytest.raises(KeyboardInterrupt):
        run_shown(EntryPoint("homes", main, TrainingParams), asked(1), shows_facts=True)
    told = f"resume   the same command with {flag} goes on from here\n"
    assert capsys.readouterr().out.endswith(told)


def test_color_is_no_reason_for_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes its output for a terminal
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with TRAINING.progress(asked(2)) as show:
        show(1, ROW)
    TRAINING.show_result(RESULT, asked(2))
    assert capsys.readouterr().out.startswith(f"epoch 1/2  {LINE_80}\n")


@pytest.mark.parametrize(("columns", "is_table"), [("", True), ("120", True), ("78", False)])
def test_where_a_table_does_not_fit_its_rows_stand_below_each_other(
    columns: str,
    is_table: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    rows = [[f"{number:x}" * 32, f"{number:x}" * 40] for number in (10, 11)]
    LEADERBOARD.show_result([table_of_texts("runs", ["run", "why"], rows)], asked(1))
    shown = capsys.readouterr().out
    assert all(cell in shown for row in rows for cell in row)
    assert ("━" in shown) == is_table
    assert (f"run  {rows[0][0]}\nwhy  {rows[0][1]}\n\n" in shown) != is_table


def test_where_even_blocks_are_too_wide_no_word_is_cut(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [["/".join(["x" * 99] * 3), "y" * 150]]
    LEADERBOARD.show_result([table_of_texts("paths", ["path", "other"], rows)], asked(1))
    shown = capsys.readouterr().out
    assert all(cell in shown for cell in rows[0])


def test_the_result_names_scores_and_what_became_of_the_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    TRAINING.show_result(RESULT, asked(2))
    shown = capsys.readouterr().out
    for words in (
        "homes: dense",
        "test_rmse",
        "registered homes version 7, aliases: dense, champion",
        "new champion: beats version 6",
        "to compare runs:\n  make ui\n",
    ):
        assert words in shown
    assert "class_3" not in shown
    assert "stopped" not in shown


def test_a_trial_says_which_aliases_a_full_run_keeps(capsys: pytest.CaptureFixture[str]) -> None:
    why = "version 3 was trained on all rows, this one on 600"
    registration = Registration("homes", "7", (), why, {"dense": why})
    TRAINING.show_result(replace(RESULT, registration=registration), asked(2))
    shown = capsys.readouterr().out
    assert (
        f"registered homes version 7, aliases: none\nnot the champion: {why}\n"
        f"alias dense stays: {why}\n"
    ) in shown


@pytest.mark.parametrize(
    ("aliases", "line"),
    [
        (("dense", "champion"), 'model = trackml.load("homes")'),
        (("dense",), 'model = trackml.load("homes", "dense")'),
        ((), 'model = mlflow.pyfunc.load_model("models:/homes/7")'),
    ],
)
def test_the_lines_of_python_that_load_the_model_are_shown(
    aliases: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    registration = Registration("homes", "7", aliases, "why")
    TRAINING.show_result(replace(RESULT, registration=registration), asked(2))
    shown = capsys.readouterr().out
    assert f"  import {line[8:].partition('.')[0]}\n  {line}\n" in shown
    assert "│ root of the mean squared error" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_result_that_is_not_registered_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    TRAINING.show_result(replace(RESULT, registration=None), asked(2, register=False))
    assert "not registered (--register false)" in capsys.readouterr().out


def test_what_is_owed_is_an_error_after_all_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    owing = replace(RESULT, registration=None, folder=tmp_path)
    with pytest.raises(TrackingIncomplete, match=f"kept in {tmp_path}; .* trackml sync"):
        TRAINING.show_result(owing, asked(2))
    shown = capsys.readouterr().out
    assert "to compare runs" in shown
    assert "registered" not in shown
    TRAINING.show_result(replace(RESULT, folder=tmp_path / "removed"), asked(2))


def test_an_early_stop_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    stopped = replace(RESULT.history, stopped="none better since epoch 1 (--patience)")
    TRAINING.show_result(replace(RESULT, history=stopped), asked(9))
    said = "stopped after epoch 2 of 9: none better since epoch 1 (--patience)"
    assert said in capsys.readouterr().out


def test_leaderboards_are_shown_with_their_notes(capsys: pytest.CaptureFixture[str]) -> None:
    data = pd.DataFrame({"loss": [0.5, 0.25]})
    table = Table("homes", data, {"loss": number_of("loss", ".2f")}, notes=["1 run left out"])
    LEADERBOARD.show_result([table, replace(table, title="side by side")], asked(1))
    shown = capsys.readouterr().out
    for text in ("homes", "side by side", "0.25", "1 run left out", "make ui"):
        assert text in shown


def test_a_trial_is_a_line_whether_it_finished_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    with SWEEP.progress(asked(1)) as show:
        show(Outcome("plain adam seed 0", 1.25, {"best_epoch": 2, "best_val_mae": 0.5}), 3, 12)
        show(Outcome("plain sgd seed 0", failure="val_loss is nan"), 4, 12)
        show(Outcome("a_parameter=0.123 " * 5, 1.25, {"best_val_mae": 0.5}), 5, 12)
    assert capsys.readouterr().out == (
        "trial  3/12  plain adam seed 0  best_epoch 2  best_val_mae 0.5000  1.2 s\n"
        "trial  4/12  plain sgd seed 0  failed: val_loss is nan\n"
        f"trial  5/12 {' a_parameter=0.123' * 3}\n"
        "    a_parameter=0.123 a_parameter=0.123   best_val_mae 0.5000\n"
    )


@pytest.mark.parametrize(
    ("columns", "end"),
    [("100", "best_val_mae 0.5000  1.2 s"), ("61", "best_val_mae 0.5000  1.2 s"), ("55", "0.5000")],
)
def test_a_trial_fits_into_the_columns(
    columns: str, end: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with SWEEP.progress(asked(1)) as show:
        show(Outcome("plain adam seed 0", 1.25, {"best_epoch": 2, "best_val_mae": 0.5}), 3, 12)
    shown = capsys.readouterr().out
    assert ("best_epoch" in shown) == (columns == "100")
    assert shown.endswith(f"{end}\n")
    assert len(shown) <= int(columns) + 1


def test_the_result_of_a_sweep_names_the_best_and_what_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = pd.DataFrame({"n": [1, 2]})
    report = SweepReport(
        table=Table("sweep of homes", data, {"n": text_of("n")}, notes=["failed: plain sgd"]),
        summary="best on validation: sgd",
        command="mlflow run . -e homes",
        best_runs=[],
        failed=[],
    )
    result = SweepResult("1", report, registrations=[])
    SWEEP.show_result(result, asked(1, register=False))
    shown = capsys.readouterr().out
    for words in (
        "sweep of homes",
        "best on validation: sgd\n",
        "to run it again:\n  mlflow run . -e homes\n",
        "failed: plain sgd\n",
        "not registered (--register false)",
    ):
        assert words in shown
    SWEEP.show_result(replace(result, report=replace(report, command=None)), asked(1))
    assert "to run it again" not in capsys.readouterr().out


def test_a_long_command_is_broken_into_lines_that_a_shell_takes_as_one() -> None:
    pairs = ([f"-P=n{n}=it's {n}", "-P", f"short{n}={n}", "--flag", "-P", "1"] for n in range(9))
    command = f"STORE='a b' {shlex.join(['mlflow', 'run', '.', *chain.from_iterable(pairs)])}"
    first, *rest = wrapped_command(command, "see it   ").splitlines()
    lines = [first.removeprefix("see it   "), *rest]
    assert len(lines) > 2
    assert not [line for line in lines if line.endswith("-P \\")]
    assert max(map(len, [first, *rest])) <= 80
    assert " ".join(" ".join(line.removesuffix("\\") for line in lines).split()) == command
