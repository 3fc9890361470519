"""MLproject, the reference page and README's results are what they are made from."""

from collections.abc import Callable

import pytest

from docs import generate, results
from tests.conftest import ROOT, entry_points, execute


def test_mlproject_and_the_reference_page_are_up_to_date() -> None:
    assert (ROOT / "MLproject").read_text() == generate.mlproject(), "run `make generated`"
    assert (ROOT / "docs/reference.md").read_text() == generate.reference(), "run `make generated`"


@pytest.mark.parametrize(
    ("path", "table"), [("README.md", results.overview), ("docs/results.md", results.table)]
)
def test_a_page_has_the_results_of_the_file(path: str, table: Callable[..., str]) -> None:
    page = (ROOT / path).read_text()
    assert page == results.with_table(page, table(results.results())), "run `make results`"
    assert "| MNIST, CNN |" in page


def test_a_command_runs_where_python_does_not_look_in_the_current_folder() -> None:
    command = entry_points()["scratch_mnist"]["command"].partition(" --")[0]
    said = execute("sh", "-c", f"{command} --help", folder=ROOT, PYTHONSAFEPATH="1")
    assert said.returncode == 0, said.stderr
