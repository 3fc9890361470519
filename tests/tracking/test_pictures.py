"""Pictures of a network that learns, and the caption that each figure of a run has."""

import re
from collections.abc import Iterable

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.conftest import files
from tests.tracking.toy import Example, Store, finish, network, refuse
from trackml.evaluation.figures.progress import draw_progress
from trackml.evaluation.report import Report
from trackml.tracking.artifacts import MAX_PICTURES
from trackml.tracking.outbox import MISSING_TAG
from trackml.tracking.run import Run
from trackml.training.numpy import SGD, fit


def learn(store: Store, run: Run, epochs: int) -> None:
    model, params = network(store.data), Example.parse({"epochs": epochs})
    finish(run, history=fit(model, store.data, params, optimizer=SGD(model), run=run))


def pictures(store: Store, run_id: str) -> list[str]:
    return [path for path in files(store.client, run_id) if path.startswith("images/")]


@pytest.mark.parametrize("epochs", [1, 40])
def test_pictures_of_a_few_epochs_are_where_mlflow_shows_them(store: Store, epochs: int) -> None:
    with store.tracked() as run:
        learn(store, run, epochs)
        made = pictures(store, run.run_id)
        with Image.open(run.outbox.artifact_folder / made[0]) as picture:
            assert max(picture.size) < 700
        noise = np.zeros((9, 9, 3), np.uint8)
        store.client.log_image(run.run_id, noise, key="validation_images", step=1)
    as_mlflow = {*pictures(store, run.run_id)} - {*made}
    steps = sorted({int(path.split("+")[2]) for path in made})
    assert (steps[0], steps[-1], len(steps)) == (1, epochs, min(epochs, MAX_PICTURES))
    assert len(made) == 2 * len(steps)

    def shapes(paths: Iterable[str]) -> set[str]:
        return {re.sub(r"[0-9a-f-]{36}|\d+", "N", path) for path in paths}

    assert shapes(made) == shapes(as_mlflow)
    assert store.tags(run.run_id)["mlflow.loggedImages"] == "True"


def test_a_picture_has_room_for_the_caption_of_a_run_with_a_long_name(store: Store) -> None:
    answers = np.full((len(store.data.validation), 3), 1 / 3)
    short, long = (draw_progress(store.data, answers, "", "run " * n) for n in (1, 60))
    assert long.height > short.height
    edges = np.asarray(long.convert("L"))[short.height - 40 :, [0, -1]]
    assert (edges == 255).all()


def test_a_trial_has_no_pictures_and_a_run_that_resumes_has_one_of_an_epoch(store: Store) -> None:
    with store.tracked() as run:
        place = run.as_parent().of_trial("first")
        answers = np.full((50, 3), 1 / 3)
        for _ in "ab":
            run.show_progress(1, 2, answers)
        run.show_progress(2, 2, answers[:7])  # of a fit to other data
        assert len(run.outbox.artifacts) == 2
        with store.tracked("dense", parent=place) as trial:
            trial.show_progress(1, 2, answers)
            assert not trial.outbox.artifacts


def test_a_picture_that_cannot_be_drawn_is_one_warning(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("trackml.evaluation.figures.progress.draw_progress", refuse)
    with store.tracked() as run:
        learn(store, run, 5)
    assert store.status(run.run_id) == "FINISHED"
    (line,) = caplog.messages
    assert line.startswith("warning: the run goes on without images/validation_images+step+1+")
    assert store.tags(run.run_id)[MISSING_TAG].count("images/") == 2


def test_a_figure_names_its_model_its_data_and_its_run(store: Store) -> None:
    figures = [Figure((6, 4)), Figure((1, 1))]
    report = Report(
        figures={"figures/a.png": lambda: figures[0], "figures/b.png": lambda: figures[1]}
    )
    with store.tracked() as run:
        run.log_report(report)
        place = run.as_parent().of_trial("lr=0.1")
        with store.tracked(parent=place) as trial:
            own = Figure((9, 4))
            trial.log_report(Report(figures={"figures/x.png": lambda: own}))
    assert figures[0].get_supxlabel() == f"cnn (numpy) · data blobs · run {run.run_id}"
    assert f"run lr=0.1 {trial.run_id}" in own.get_supxlabel()
    lines = figures[1].get_supxlabel().split("\n")
    assert len(lines) > 3
    assert "".join(lines).replace(" ", "") == figures[0].get_supxlabel().replace(" ", "")
