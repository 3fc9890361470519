"""What the documents promise is run here, word for word."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.conftest import ROOT, Finished, entry_points, read, runs, start
from tests.pages import blocks
from tests.pipelines.expected import canvases
from trackml.data import load


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the page's example saved where the page says."""
    (example,) = blocks("docs/add-a-pipeline.md", "python")
    assert example.count("\n") < 60
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "digits.py").write_text(example)
    style = ["ruff", "check", "--config", str(ROOT / "pyproject.toml"), str(tmp_path)]
    subprocess.run([sys.executable, "-m", *style], check=True)
    return tmp_path


def test_the_example_of_add_a_pipeline_runs_as_the_page_says(project: Path) -> None:
    (commands,) = blocks("docs/add-a-pipeline.md", "bash")
    run, mistyped, load = (shlex.split(line, comments=True)[1:] for line in commands.splitlines())
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


def test_the_entry_point_of_add_a_pipeline_has_all_its_parameters(project: Path) -> None:
    (entry,) = blocks("docs/add-a-pipeline.md", "yaml")
    (project / "MLproject").write_text((ROOT / "MLproject").read_text() + entry)
    (project / "python_env.yaml").touch()
    (project / "src").symlink_to(ROOT / "src")
    local = ["--env-manager", "local", "-P", "epochs=2"]
    result = start("mlflow", "run", ".", "-e", "digits", *local, folder=project)
    assert result.returncode == 0, result.stderr
    (logged,) = runs(project)
    declared = yaml.safe_load(entry)["digits"]["parameters"]
    defaults = {name: str(each["default"]) for name, each in declared.items()}
    counted = {f"{split}_samples" for split in ("train", "validation", "test")}
    assert set(logged.data.params) - counted - {"model_parameters"} == set(defaults)
    assert {name: logged.data.params[name] for name in defaults} == defaults | {"epochs": "2"}


def test_readmes_lines_load_a_model_in_other_code(finished: Finished) -> None:
    np.save(finished.folder / "images.npy", load("fashion_mnist").test.images[:3])
    homes = load("california_housing", 0.2)
    table = pd.DataFrame(homes.test.features[:3], columns=homes.columns)
    table.to_csv(finished.folder / "homes.csv", index=False)
    np.save(finished.folder / "canvases.npy", canvases().test.images[:20])
    said = []
    for example in blocks("README.md", "python"):
        assert example.count("\n") <= 5
        (finished.folder / "elsewhere.py").write_text(example)
        result = start("elsewhere", folder=finished.folder, PYTHONPATH=str(finished.folder))
        assert result.returncode == 0, result.stderr
        said.append(result.stdout)
    assert re.search(r"\[\d \d \d\]\n$", said[0])  # behind Keras's progress bar
    assert len(re.findall(r"\[\d\.\d+ *\]", said[1])) == 3
    assert re.search(r"image +x1 +y1 +x2 +y2 +label +score\n0 +0 ", said[2])


def test_the_derivative_of_backpropagation_is_what_the_page_says(tmp_path: Path) -> None:
    (example,) = blocks("docs/backpropagation.md", "python")
    (tmp_path / "example.py").write_text(example)
    result = start("example", folder=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT / 'src'}")
    assert result.returncode == 0, result.stderr
    ours, theirs = map(float, result.stdout.split())
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert ours != 0


def test_readme_lists_every_entry_point_with_its_parameters_and_defaults() -> None:
    readme = (ROOT / "README.md").read_text()
    for name, entry in entry_points().items():
        if name == "main":  # that of dense_mnist, as another test holds
            continue
        (row,) = re.findall(rf"^\| `{name}` \|.*$", readme, flags=re.MULTILINE)
        cell = row.split("|")[3]
        listed = dict(re.findall(r"`(\w+)` (\S+?)(?:, | $)", cell))
        assert listed == {key: str(p["default"]) for key, p in entry["parameters"].items()}


def test_readmes_tree_has_every_folder() -> None:
    (tree,) = blocks("README.md", "text")
    for folder in ("pipelines", "src/trackml", "tests", "benchmarks", "docs", "decisions"):
        assert f"{folder}/" in tree
    for package in (path.parent.name for path in (ROOT / "src/trackml").glob("*/__init__.py")):
        assert f"{package}/" in tree


# Where each is run: here, or in tests/test_examples.py, pipelines/test_serving.py and so on.
RUN = {
    "README.md": {"bash", "python"},
    "docs/add-a-pipeline.md": {"bash", "python", "yaml"},
    "docs/backpropagation.md": {"python"},
    "docs/serving.md": {"bash", "python"},
    "docs/team-server.md": {"bash", "ini", "python", "sh"},
}
PAGES = [
    *(page for folder in (".", "benchmarks") for page in (ROOT / folder).glob("*.md")),
    *(ROOT / "docs").rglob("*.md"),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_an_example_of_which_no_test_knows(page: Path) -> None:
    """Of the languages in RUN, a page's tests run every block."""
    fences = re.findall(r"^\s*```(.*)$", page.read_text(), flags=re.MULTILINE)
    known = RUN.get(page.relative_to(ROOT).as_posix(), set())
    assert set(fences[::2]) <= known | {"text", "math"}
    assert set(fences[1::2]) <= {""}


def test_the_teams_server_is_of_the_mlflow_that_we_use() -> None:
    install, *_ = blocks("docs/team-server.md", "bash")  # the one block that no test runs
    (pinned,) = re.findall(r"'mlflow\[auth\]==(\S+)'", install)
    assert f"\nmlflow=={pinned} " in (ROOT / "requirements.txt").read_text().replace("\n ", " ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
