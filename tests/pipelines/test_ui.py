"""What a person looks for in MLflow's UI is there, on a store with real runs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.conftest import Finished, start
from tests.pipelines import ui
from trackml.tracking.color import COLOR_TAG

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def page() -> "Iterator[Page]":
    with ui.browser() as page:
        yield page


@pytest.fixture(scope="module")
def address(finished: Finished, page: "Page") -> Iterator[str]:
    with ui.ui(finished.folder) as address:
        yield address


@pytest.fixture
def experiment(finished: Finished) -> str:
    return str(finished.run("fashion").info.experiment_id)


@pytest.fixture(autouse=True)
def kept(page: "Page", request: pytest.FixtureRequest, finished: Finished) -> Iterator[None]:
    """A screenshot of each page, below the folder of pytest's temporary files."""
    yield
    folder = finished.folder.parent / "screenshots"
    folder.mkdir(exist_ok=True)
    page.screenshot(path=folder / f"{request.node.name}.png")


def test_experiments_are_listed_by_their_data(page: "Page", address: str) -> None:
    ui.show_experiments(page, address)
    for name in ("mnist", "fashion_mnist", "california_housing", "mnist_detector"):
        page.get_by_role("link", name=name, exact=True).first.wait_for()


def test_runs_are_listed_by_their_architecture(page: "Page", address: str, experiment: str) -> None:
    ui.show_runs(page, address, experiment)
    for name in ("cnn", "cnn-aug"):
        page.get_by_role("link", name=name, exact=True).first.wait_for()  # else it raises


def test_a_run_has_its_numbers_parameters_and_model(
    page: "Page", address: str, experiment: str, finished: Finished
) -> None:
    run_id = finished.run("fashion").info.run_id
    page.goto(f"{address}/#/experiments/{experiment}/runs/{run_id}")
    page.get_by_text("Registered models").first.wait_for()
    page.get_by_text("test_accuracy").first.wait_for()
    shown = page.inner_text("body")
    for words in ("Finished", "fashion_mnist", "trackml.framework", "best_val_accuracy"):
        assert words in shown


def test_a_run_has_its_curves(
    page: "Page", address: str, experiment: str, finished: Finished
) -> None:
    run = finished.run("fashion")
    losses = "^(train|val)_loss$"
    ui.show_metrics(page, address, experiment, run.info.run_id, losses, charts=2, lines=2)
    for name in ("train_loss", "val_loss"):
        page.get_by_text(name, exact=True).first.wait_for()
    points = page.locator(f"{ui.LINE} .points path")
    assert points.count() == 2 * int(run.data.params["epochs"])


def test_the_confusion_matrix_is_an_image(
    page: "Page", address: str, experiment: str, finished: Finished
) -> None:
    run_id = finished.run("fashion").info.run_id
    ui.show_artifact(page, address, experiment, run_id, "figures/confusion_matrix.png")
    widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert max(widths) >= 1000


def test_curves_of_plain_and_augmented_lie_over_each_other_in_colors_of_their_own(
    page: "Page", address: str, experiment: str, finished: Finished
) -> None:
    ui.show_charts(page, address, experiment, "^val_accuracy$", charts=1, lines=2)
    lines = page.locator(f"{ui.LINE} .js-line").all()
    logged = [finished.run(name).data.tags[COLOR_TAG] for name in ("fashion", "fashion_aug")]
    colors = {tuple(int(color[start : start + 2], 16) for start in (1, 3, 5)) for color in logged}
    strokes = [line.evaluate("line => line.style.stroke") for line in lines]
    assert {tuple(map(int, re.findall(r"\d+", stroke))) for stroke in strokes} == colors
    legend = page.inner_text("body")
    for name in ("cnn (val_accuracy)", "cnn-aug (val_accuracy)"):
        assert name in legend


def test_the_comparison_shows_what_differs(
    page: "Page", address: str, experiment: str, finished: Finished
) -> None:
    run_ids = [finished.run(name).info.run_id for name in ("fashion", "fashion_aug")]
    ui.show_comparison(page, address, experiment, run_ids)
    shown = page.inner_text("body")
    for words in ("augment", "cnn-aug", "test_accuracy", "val_loss"):
        assert words in shown


def test_the_registry_shows_aliases_and_what_each_version_is(page: "Page", address: str) -> None:
    ui.show_model(page, address, "fashion_mnist")
    shown = page.inner_text("body")
    for words in ("champion", "cnn-aug", "best_val_accuracy: cnn"):
        assert words in shown


def test_the_pictures_for_readme_are_taken(tmp_path: Path, page: "Page") -> None:
    short = ("--epochs", "2", "--limit", "1000")
    for more in ((), ("--augment", "true")):
        assert start("pipelines.fashion", *short, *more, folder=tmp_path).returncode == 0
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    said = start("tests.pipelines.ui", str(pictures), folder=tmp_path)
    assert said.returncode == 0, said.stderr
    for name in ("ui_curves.png", "ui_registry.png"):
        with Image.open(pictures / name) as picture:
            assert picture.width >= 1000
            assert len(picture.convert("RGB").getcolors(maxcolors=2**24) or []) > 100  # not blank


def test_pictures_of_other_runs_are_refused_in_one_line(finished: Finished, tmp_path: Path) -> None:
    said = start("tests.pipelines.ui", str(tmp_path), folder=finished.folder)
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert "start both directly" in said.stderr
