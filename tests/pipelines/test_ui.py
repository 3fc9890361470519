"""What a person looks for in MLflow's UI is there, on a store with real runs."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Finished, execute
from tests.pipelines import ui
from tests.pipelines.ui import View
from trackml.tracking.initial_state import COLOR_TAG
from trackml.ui.links import compare_link, ui_link

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def browser(finished: Finished) -> Iterator[View]:
    with ui.view(finished.folder) as view:
        yield view


@pytest.fixture
def view(browser: View, finished: Finished, request: pytest.FixtureRequest) -> Iterator[View]:
    """A browser; a screenshot of what the test has opened is kept beside pytest's folders."""
    yield browser
    folder = finished.folder.parent / "screenshots"
    folder.mkdir(exist_ok=True)
    browser.page.screenshot(path=folder / f"{request.node.name}.png")


@pytest.fixture
def experiment(finished: Finished) -> str:
    """Where the runs of `fashion` are."""
    return f"experiments/{finished.run('fashion').info.experiment_id}/runs"


@pytest.fixture
def run(experiment: str, finished: Finished) -> str:
    """Where the run of `fashion` is."""
    return f"{experiment}/{finished.run('fashion').info.run_id}"


def check_links(view: View, *names: str) -> None:
    for name in names:
        view.page.get_by_role("link", name=name, exact=True).first.wait_for()  # else it raises


def check_words(view: View, *words: str) -> None:
    shown = view.page.inner_text("body")
    for each in words:
        assert each in shown


def test_experiments_are_listed_by_their_data(view: View) -> None:
    view.open("experiments")
    check_links(view, "mnist", "fashion_mnist", "california_housing", "mnist_detector")


def test_runs_are_listed_by_what_differs(view: View, experiment: str) -> None:
    view.open(experiment)
    check_links(view, "cnn epochs=2 limit=3000", "cnn-aug epochs=2 limit=3000")


def test_a_run_has_its_numbers_parameters_and_model(view: View, run: str) -> None:
    view.open(run)
    for words in ("Registered models", "test_accuracy"):
        view.page.get_by_text(words).first.wait_for()
    check_words(view, "Finished", "fashion_mnist", "trackml.framework", "best_val_accuracy")


def test_a_run_has_its_curves(view: View, run: str, finished: Finished) -> None:
    view.open_charts(f"{run}/model-metrics", "^(train|val)_loss$", charts=2, lines=2)
    for name in ("train_loss", "val_loss"):
        view.page.get_by_text(name, exact=True).first.wait_for()
    points = view.page.locator(f"{ui.LINE} .points path")
    assert points.count() == 2 * int(finished.run("fashion").data.params["epochs"])


def test_the_confusion_matrix_is_an_image(view: View, run: str) -> None:
    view.open(f"{run}/artifacts/figures/confusion_matrix.png")
    view.page.wait_for_function("[...document.images].some(image => image.naturalWidth >= 1000)")


def test_curves_of_runs_lie_over_each_other_in_colors_of_their_own(
    view: View, experiment: str, finished: Finished
) -> None:
    charts = f"{experiment}?compareRunsMode=CHART"
    runs = [finished.run(name) for name in ("fashion", "fashion_aug", "fashion_best")]
    view.open_charts(charts, "^val_accuracy$", charts=1, lines=len(runs))
    lines = view.page.locator(f"{ui.LINE} .js-line").all()
    logged = [run.data.tags[COLOR_TAG] for run in runs]
    colors = {tuple(int(color[start : start + 2], 16) for start in (1, 3, 5)) for color in logged}
    strokes = [line.evaluate("line => line.style.stroke") for line in lines]
    assert {tuple(map(int, re.findall(r"\d+", stroke))) for stroke in strokes} == colors
    check_words(view, *(f"{run.info.run_name} (val_accuracy)" for run in runs))


def test_the_comparison_shows_what_differs(view: View, finished: Finished) -> None:
    """The page of the button Compare, by the link of the program `compare`."""
    runs = [finished.run(name).info for name in ("fashion", "fashion_aug")]
    link = compare_link(view.address, {run.run_id: run.experiment_id for run in runs})
    view.page.goto(link)
    view.page.get_by_text("Comparing 2 Runs").wait_for()
    view.page.locator(f"{ui.CHART} .main-svg").first.wait_for()
    check_words(view, "augment", "cnn-aug", "test_accuracy", "val_loss")


def test_the_registry_shows_aliases_and_what_each_version_is(view: View) -> None:
    view.open_model("fashion_mnist")
    check_words(view, "champion", "cnn-aug", "best_val_accuracy: cnn")


def test_the_link_of_an_experiment_opens_on_scores_the_best_first(
    view: View, finished: Finished
) -> None:
    link = ui_link(view.address, experiment=finished.run("fashion").info.experiment_id)
    view.page.goto(link)
    view.page.get_by_text("Sort: best_val_accuracy").wait_for()
    view.page.locator("[col-id='metrics.`test_accuracy`']").nth(1).wait_for()  # below the heading
    view.page.goto(f"{link}&compareRunsMode=CHART")
    view.page.get_by_text(re.compile(r"^Scores\s*\(\d+\)$")).first.wait_for()
    view.page.locator(ui.CHART).first.wait_for()


@pytest.mark.usefixtures("browser")  # skipped where there is none
def test_each_page_is_photographed(finished: Finished, tmp_path: Path) -> None:
    words = "-m", "tests.pipelines.ui", str(tmp_path), "fashion_mnist"  # as `make screenshots`
    result = execute(sys.executable, *words, folder=finished.folder)
    assert result.returncode == 0, result.stderr
    pictures = sorted(tmp_path.glob("*.png"))
    assert len(pictures) == 8
    for file in pictures:
        with Image.open(file) as picture:
            assert len(picture.convert("RGB").getcolors(maxcolors=2**24) or []) > 100  # not blank
