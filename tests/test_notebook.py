"""`import trackml`, as a notebook uses it, and the notebook of the documentation."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

import trackml
from tests.conftest import ROOT, runs, user_environment
from tests.pipelines import own
from trackml.errors import TrackmlError, UsageError

FILE = str(ROOT / "tests/pipelines/own.py")
pytestmark = pytest.mark.usefixtures("client")
NOTEBOOK = ROOT / "docs/first-steps.ipynb"


def test_a_run_is_compared_loaded_and_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    trackml.run(own.main, epochs=3, learning_rate=1e-9, quiet=True)
    assert capsys.readouterr().out == ""
    result = trackml.run(FILE, epochs=3)
    assert capsys.readouterr().out.count("train_loss") == 4  # epoch 0 is the untrained network
    assert result.registration.aliases == ("softmax", "champion")
    board = trackml.leaderboard("halves")
    assert board.iloc[0][["architecture", "n", "run_id"]].tolist() == ["softmax", 1, result.run_id]
    assert board["differs_in"].tolist() == ["learning_rate=0.5", "learning_rate=1e-09"]
    images = own.load(own.Params.parse({})).test.images
    model = trackml.load("halves")
    table = trackml.predict("halves@softmax", images)
    answers = np.asarray(model.predict(images))
    assert table["prediction"].tolist()[:2] in ([0, 1], ["up", "down"])
    assert table.iloc[:, 1:].to_numpy() == pytest.approx(answers)
    for same in (model, "halves", "models:/halves/2"):
        assert len(trackml.predict(same, images)) == 40
    picture = result.report.image("figures/confusion_matrix.png")
    assert picture.width > 100
    with pytest.raises(ValueError, match=r"no figure figures/mine\.png; there are fig"):
        result.report.image("figures/mine.png")


def test_a_mistake_is_one_line_and_starts_nothing(tmp_path: Path) -> None:
    for name, words in {
        "epochs": "--epochs 0: expected an integer >= 1",
        "epoch": "--epoch: there is no such flag",
    }.items():
        values: dict[str, Any] = {name: 0}
        with pytest.raises(UsageError, match=words) as refusal:
            trackml.run(FILE, quiet=True, **values)
        assert "UsageError: --epoch" in refusal.value._render_traceback_()[0]
    assert runs(tmp_path) == []
    for address in ("halves", "halves@cnn", "models:/halves/7", "models:/halves@cnn"):
        with pytest.raises(TrackmlError, match=r"mlflow\.db has no model"):
            trackml.predict(address, np.zeros((1, 8, 8), np.uint8))
    with pytest.raises(TrackmlError, match="nothing to compare: there are no finished runs of x"):
        trackml.leaderboard("x")
    with pytest.raises(UsageError, match="--metric acuracy: expected auto or accuracy"):
        trackml.leaderboard("x", metric="acuracy")


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "KILLED"), (ValueError("x"), "FAILED")]
)
def test_what_stops_a_run_leaves_the_process_as_it_was(
    error: BaseException, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state() -> object:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        return handlers, mpl.rcParams["backend"], np.geterr(), sys.stdout, sys.stderr

    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr("tests.pipelines.own.tk.evaluate_classifier", stop, raising=False)
    before = state()
    with pytest.raises(type(error)):
        trackml.run(own.main)
    assert state() == before
    (run,) = runs(tmp_path)
    assert run.info.status == status


SHOW = """
import ast, json, sys
import numpy as np
names = {}
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        *statements, last = ast.parse("".join(cell["source"])).body
        if not isinstance(last, ast.Expr):
            statements, last = [*statements, last], None
        exec(compile(ast.Module(statements, []), "cell", "exec"), names)
        shown = last and eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        print(shown._repr_png_()[:4] if hasattr(shown, "_repr_png_") else repr(shown))
"""


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW, NOTEBOOK],
        cwd=tmp_path,
        env=user_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "epoch 2/2" in done.stdout
    assert "hidden_units=512" in done.stdout
    assert r"b'\x89PNG'" in done.stdout
    assert "array([7, 2, 1, 0" in done.stdout
    assert {run.info.status for run in runs(tmp_path)} == {"FINISHED"}


def test_the_notebook_is_committed_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"]] == []
