"""What the documents promise is run here, word for word."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, Start
from tests.test_pipelines import entry_points, read, runs


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the page's example saved where the page says."""
    (example,) = blocks("docs/add-a-pipeline.md", "python")
    assert example.count("\n") < 60
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "digits.py").write_text(example)
    return tmp_path


def test_the_example_of_add_a_pipeline_runs_as_the_page_says(project: Path, start: Start) -> None:
    (commands,) = blocks("docs/add-a-pipeline.md", "bash")
    run, mistyped, load = (shlex.split(line)[1:] for line in commands.splitlines())
    alone = {"PYTHONPATH": f"{project}:{ROOT / 'src'}"}

    result = start(*run[1:], folder=project, **alone)
    assert result.returncode == 0, result.stderr
    assert "registered digits version 1, aliases: dense, champion" in result.stdout
    (logged,) = runs(project)
    assert logged.data.metrics["test_accuracy"] > 0.85
    assert read(project).get_experiment(logged.info.experiment_id).name == "digits"

    result = start(*mistyped[1:], folder=project, **alone)
    assert result.returncode == 2
    assert "did you mean --epochs?" in result.stderr

    assert load[0] == "-c"
    (project / "load.py").write_text(load[1])
    result = start("load", folder=project, **alone)
    assert "Tensor('uint8', (-1, 8, 8))" in result.stdout
    assert "Tensor('float32', (-1, 10))" in result.stdout


def test_readmes_lines_load_a_model_in_other_code(finished_store: Path, start: Start) -> None:
    (example,) = blocks("README.md", "python")
    assert example.count("\n") <= 5
    (finished_store / "elsewhere.py").write_text(example)
    images = np.zeros((2, 28, 28), np.uint8)
    np.save(finished_store / "images.npy", images)
    result = start("elsewhere", folder=finished_store, PYTHONPATH=str(finished_store))
    assert result.returncode == 0, result.stderr


def test_readme_lists_every_entry_point_with_its_parameters_and_defaults() -> None:
    readme = (ROOT / "README.md").read_text()
    for name, entry in entry_points().items():
        (row,) = re.findall(rf"^\| `{name}` \|.*$", readme, flags=re.MULTILINE)
        cell = row.split("|")[3]
        listed = dict(re.findall(r"`(\w+)` ([^\s,]+)", cell))
        assert listed == {key: str(p["default"]) for key, p in entry["parameters"].items()}


def test_readmes_tree_has_every_folder() -> None:
    (tree,) = blocks("README.md", "text")
    for folder in ("pipelines", "src/trackml", "tests", "docs", "docs/decisions"):
        assert f"{folder}/" in tree
    for package in (path.parent.name for path in (ROOT / "src/trackml").glob("*/__init__.py")):
        assert f"{package}/" in tree


@pytest.mark.parametrize("page", ["README.md", *(str(p) for p in Path("docs").rglob("*.md"))])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target
