from dataclasses import replace

import pytest

from trackml.console import progress, show_result
from trackml.evaluation.report import Report
from trackml.history import History
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
RESULT = Result(
    run_id="1",
    task="homes",
    architecture="dense",
    history=History("mae", "float32").extended(ROW).extended(ROW),
    report=Report({"test_rmse": 0.5, "test_f1_class_3": 0.75}),
    registration=Registration("homes", "7", ("dense", "champion"), "beats version 6"),
)


def test_an_epoch_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(epochs=10) as show:
        show(3, ROW)
    assert capsys.readouterr().out == f"epoch  3/10  {LINE}\n"


def test_on_a_terminal_a_bar_stands_below_the_lines_and_goes_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes its output for a terminal
    with progress(epochs=2) as show:
        show(1, ROW)
        show(2, ROW)
    shown = capsys.readouterr().out
    assert f"epoch 1/2  {LINE}" in shown
    assert "2/2" in shown.split(f"epoch 2/2  {LINE}")[1]
    assert shown.endswith("\x1b[2K")  # the bar's line, erased


def test_the_result_names_scores_and_what_became_of_the_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_result(RESULT, epochs=2)
    shown = capsys.readouterr().out
    for words in (
        "homes: dense",
        "test_rmse",
        "registered homes version 7, aliases: dense, champion",
        "new champion: beats version 6",
        "mlflow ui",
    ):
        assert words in shown
    assert "class_3" not in shown
    assert "stopped" not in shown


def test_a_result_that_is_not_registered_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    show_result(replace(RESULT, registration=None), epochs=2)
    assert "not registered (--register false)" in capsys.readouterr().out


def test_an_early_stop_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    show_result(RESULT, epochs=9)
    said = "stopped after epoch 2 of 9: none better since epoch 1 (--patience)"
    assert said in capsys.readouterr().out
