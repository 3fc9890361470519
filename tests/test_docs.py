"""What the documents promise is run here, word for word."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
import yaml
from sklearn.datasets import load_wine

from tests.conftest import ROOT, Finished, execute, read, runs
from tests.pages import WITH_COMMANDS, blocks
from tests.pipelines.expected import canvases
from tests.pipelines.servers import served
from trackml.data import load
from trackml.tasks import find_entry_points

NEW = "docs/add-a-pipeline.md"
PATHS = dict(zip(("digits", "diabetes", "wine"), blocks(NEW, "python"), strict=True))
SHELL, IN_A_CHECKOUT = blocks(NEW, "bash")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a checkout has that a new pipeline needs."""
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs/generate.py", tmp_path / "docs")
    for name in ("src", "Makefile", "python_env.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def typed(folder: Path, command: str, *, code: int = 0) -> str:
    """What a command prints that somebody types where the environment is active."""
    command = command.replace("make ", "make --old-file .venv/ready ")
    is_checkout = (folder / "src").exists()
    ours = {"PYTHONPATH": f"{folder}:{folder}/src"} if is_checkout else {}
    done = execute("bash", "-ec", command, folder=folder, **ours)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def write(folder: Path, *names: str) -> None:
    """Save examples of the page, as its reader does."""
    for name in names:
        (folder / f"{name}.py").write_text(PATHS[name])


def test_each_path_is_a_short_file_that_registers_a_model(store_folder: Path) -> None:
    write(store_folder, *PATHS)
    assert all(sum(map(bool, text.split("\n"))) < 45 for text in PATHS.values())
    ours = f"--config {ROOT}/pyproject.toml --config 'src = [\"{ROOT}/src\"]'"
    typed(store_folder, f"python -m ruff check {ours} *.py")
    for name, alias in {"digits": "dense", "diabetes": "dense"}.items():
        printed = typed(store_folder, f"python -m trackml run {name}.py epochs=8")
        assert f"registered {name} version 1, aliases: {alias}, champion" in printed
    scores = {run.data.tags["trackml.task"]: run.data.metrics for run in runs(store_folder)}
    assert scores["digits"]["test_accuracy"] > 0.85
    assert scores["diabetes"]["test_mae"] < 60


@pytest.mark.slow
def test_from_a_file_to_a_sweep_and_answers_as_the_page_says(store_folder: Path) -> None:
    write(store_folder, "wine")
    run, again, mistyped, compare, save, predict, sweep, _serve = SHELL.splitlines()
    assert "registered wine version 1, aliases: logistic, champion" in typed(store_folder, run)
    assert "registered wine version 2" in typed(store_folder, again)
    assert "did you mean --penalty?" in typed(store_folder, mistyped, code=2)
    assert "penalty=0.1" in typed(store_folder, compare)
    typed(store_folder, save)
    assert typed(store_folder, predict).count("class_0,") > 50
    assert "best on validation" in typed(store_folder, sweep)


@pytest.mark.services
def test_its_model_is_served_as_the_page_says(store_folder: Path) -> None:
    write(store_folder, "wine")
    typed(store_folder, SHELL.splitlines()[0])
    table = load_wine(as_frame=True).data.head(3)
    with served(store_folder, "wine", "champion") as address:
        answer = requests.post(
            f"{address}/invocations",
            json={"dataframe_split": table.to_dict(orient="split", index=False)},
            timeout=60,
        )
    assert np.argmax(answer.json()["predictions"], axis=1).tolist() == [0, 0, 0]


@pytest.mark.slow
def test_a_pipeline_is_added_as_the_page_says(checkout: Path) -> None:
    write(checkout / "pipelines", "wine")
    direct, generate, *by_mlflow = IN_A_CHECKOUT.splitlines()
    assert "registered wine version 1, aliases: logistic, champion" in typed(checkout, direct)
    typed(checkout, generate)
    entry = yaml.safe_load((checkout / "MLproject").read_text())["entry_points"]["wine"]
    assert "\n## wine\n" in (checkout / "docs/reference.md").read_text()
    for command in by_mlflow:
        typed(checkout, command)
    first, other, *_ = runs(checkout)
    assert read(checkout).get_experiment(first.info.experiment_id).name == "wine"
    defaults = {name: str(each["default"]) for name, each in entry["parameters"].items()}
    assert {name: other.data.params[name] for name in defaults} == defaults | {"penalty": "0.1"}
    search = "python -m pipelines.sweep --pipeline wine --space penalty=0"
    assert "--penalty 0: expected a number > 0" in typed(checkout, search, code=2)


def test_readmes_lines_predict_an_image_of_ones_own(finished: Finished) -> None:
    (program,) = blocks("README.md", "python")
    assert re.search(r"\[\[(\d?\.\d* *){10}\]\]", run_elsewhere(program, finished))


def test_the_pages_lines_load_a_model_in_other_code(finished: Finished) -> None:
    np.save(finished.folder / "images.npy", load("fashion_mnist").test.images[:3])
    homes = load("california_housing", 0.2)
    table = pd.DataFrame(homes.test.features[:3], columns=homes.columns)
    table.to_csv(finished.folder / "homes.csv", index=False)
    np.save(finished.folder / "canvases.npy", canvases().test.images[:20])
    keras, housing, torch = blocks("docs/use-a-model.md", "python")
    assert max(example.count("\n") for example in (keras, housing, torch)) <= 5
    said = run_elsewhere(keras + housing, finished) + run_elsewhere(torch, finished)
    assert re.search(r"\[\d \d \d\]\n", said)
    assert len(re.findall(r"\[\d\.\d+ *\]", said)) == 3
    assert re.search(r"image +x1 +y1 +x2 +y2 +label +score\n0 +0 ", said)


def run_elsewhere(program: str, finished: Finished) -> str:
    """What a program prints that does not see trackml, beside the database of short runs."""
    result = execute(sys.executable, "-c", program, folder=finished.folder, PYTHONPATH="")
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_derivative_of_backpropagation_is_what_the_page_says(tmp_path: Path) -> None:
    (example,) = blocks("docs/backpropagation.md", "python")
    result = execute(sys.executable, "-c", example, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    ours, theirs = map(float, result.stdout.split())
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert ours != 0


def test_readme_lists_every_entry_point() -> None:
    listed = re.findall(r"\[`(\w+)`\]\(docs/reference.md#\1\)", (ROOT / "README.md").read_text())
    assert set(listed) == set(find_entry_points())


def test_readme_is_read_within_minutes() -> None:
    text = (ROOT / "README.md").read_text()
    tour = text.partition("## A tour")[2].partition("## What there is")[0]
    assert (len(tour.split()) <= 400, len(text.split()) <= 1200) == (True, True)


def test_the_tree_has_every_folder_and_module() -> None:
    """Each folder, and of the two rooms that a reader enters first, each module."""
    (tree,) = blocks("docs/house.md", "text")
    folders = [path.parent for path in (ROOT / "src/trackml").glob("*/__init__.py")]
    for folder in [*map(ROOT.joinpath, ("pipelines", "tests", "benchmarks", "docs")), *folders]:
        assert f"{folder.name}/ " in tree
    for room in (ROOT / "src/trackml", ROOT / "src/trackml/tracking"):
        for module in room.glob("*.py"):
            assert re.search(rf"\b{module.name}\s", tree) or module.name == "__init__.py"


# Where each is run: here, or in tests/test_examples.py, pipelines/test_serving.py and so on.
RUN = {
    "README.md": {"bash", "python"},
    **{f"docs/{name}.md": {"bash"} for name in WITH_COMMANDS},
    "docs/use-a-model.md": {"bash", "python"},
    "docs/add-a-pipeline.md": {"bash", "python"},
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
    assert set(fences[::2]) <= known | {"text", "math", "mermaid"}
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
