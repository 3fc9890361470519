"""MLproject, the reference page and README's results are what they are made from."""

from docs import generate, results
from tests.conftest import ROOT, entry_points, execute


def test_mlproject_and_the_reference_page_are_up_to_date() -> None:
    assert (ROOT / "MLproject").read_text() == generate.mlproject(), "run `make generated`"
    assert (ROOT / "docs/reference.md").read_text() == generate.reference(), "run `make generated`"


def test_readme_has_the_results_of_the_file() -> None:
    page = (ROOT / "README.md").read_text()
    assert page == results.with_table(page, results.results()), "run `make results`"
    assert "| `cnn` |" in page


def test_a_command_runs_where_python_does_not_look_in_the_current_folder() -> None:
    command = entry_points()["scratch_mnist"]["command"].partition(" --")[0]
    said = execute("sh", "-c", f"{command} --help", folder=ROOT, PYTHONSAFEPATH="1")
    assert said.returncode == 0, said.stderr
