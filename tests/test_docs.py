"""What the documents promise is run here, word for word."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.conftest import ROOT, Finished, execute, read, runs
from tests.pages import blocks, rows, with_ours
from tests.pipelines.expected import canvases
from trackml.data import load
from trackml.tasks import find_entry_points

NEW = "docs/add-a-pipeline.md"
(EXAMPLE,) = blocks(NEW, "python")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a checkout has that a new pipeline needs."""
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs/generate.py", tmp_path / "docs")
    for name in ("src", "Makefile", "python_env.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def typed(checkout: Path, command: str, *, code: int = 0) -> str:
    """What a command prints that somebody types in a checkout, whose environment is active."""
    command = command.replace("make ", "make --old-file .venv/ready ")
    ours = {"PYTHONPATH": f"{checkout}:{checkout}/src"}
    done = execute("bash", "-ec", command, folder=checkout, **ours)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_a_pipeline_is_added_as_the_page_says(checkout: Path) -> None:
    assert EXAMPLE.count("\n") < 60
    (checkout / "pipelines/digits.py").write_text(EXAMPLE)
    typed(checkout, f"python -m ruff check --config {ROOT}/pyproject.toml pipelines/digits.py")
    (commands,) = blocks(NEW, "bash")
    run, mistyped, use, generate, by_mlflow = commands.splitlines()
    assert "registered digits version 1, aliases: dense, champion" in typed(checkout, run)
    assert "did you mean --epochs?" in typed(checkout, mistyped, code=2)
    assert "Tensor('uint8', (-1, 8, 8))" in typed(checkout, use)
    typed(checkout, generate)
    typed(checkout, by_mlflow)
    direct, other = runs(checkout)
    assert direct.data.metrics["test_accuracy"] > 0.85
    assert read(checkout).get_experiment(direct.info.experiment_id).name == "digits"
    entry = yaml.safe_load((checkout / "MLproject").read_text())["entry_points"]["digits"]
    defaults = {name: str(each["default"]) for name, each in entry["parameters"].items()}
    counted = {f"{split}_samples" for split in ("train", "validation", "test")}
    assert set(other.data.params) - counted - {"model_parameters"} == set(defaults)
    assert {name: other.data.params[name] for name in defaults} == defaults | {"epochs": "2"}
    assert "\n## digits\n" in (checkout / "docs/reference.md").read_text()
    search = "python -m pipelines.sweep --pipeline digits --space batch_size=0"
    assert "--batch_size 0: expected an integer >= 1" in typed(checkout, search, code=2)


# What the page leaves to its reader: the model, and the form of the arrays.
OWN = {
    "A table instead of images": {
        '(digits.images * 255 / 16).astype("uint8")': "digits.data",
        '(8, 8), dtype="uint8"': "(64,)",
        "layers.Flatten()(layers.Rescaling(1 / 255)(pixels))": "pixels",
        '10, activation="softmax"': "1",
    },
    "PyTorch instead of Keras": {
        'layers, pixels = tk.keras.layers, tk.keras.Input((8, 8), dtype="uint8")': """\
class Network(tk.torch.nn.Linear):
            def forward(self, pixels):
                return super().forward(pixels.flatten(1) / 255)
""",
        "        x = layers.Flatten()(layers.Rescaling(1 / 255)(pixels))\n": "",
        '        x = layers.Dense(64, activation="relu")(x)\n': "",
        'tk.keras.Model(pixels, layers.Dense(10, activation="softmax")(x))': "Network(64, 10)",
    },
}


@pytest.mark.parametrize(
    "heading",
    [
        pytest.param("A table instead of images", marks=pytest.mark.slow),
        "PyTorch instead of Keras",
    ],
)
def test_the_pages_tables_make_another_pipeline_of_its_example(
    heading: str, checkout: Path
) -> None:
    pipeline = with_ours(EXAMPLE, OWN[heading])
    for cells in rows(NEW, heading):
        old, new = (re.findall("`(.*?)`", cell)[0].replace(", …)", "") for cell in cells)
        pipeline = with_ours(pipeline, {old: new})
        for name, module in re.findall(r"`(\w+)` from `([\w.]+)`", cells[1]):
            line = f"from {module} import {name}\n"
            pipeline = pipeline.replace("from trackml", f"{line}from trackml", 1)
        for name in re.findall(r"\btk\.\w+", cells[1]):  # also those that are only named
            pipeline = pipeline.replace("        tk.seed", f"        {name}\n        tk.seed")
    (checkout / "pipelines/digits.py").write_text(pipeline)
    said = typed(checkout, "python -m pipelines.digits --epochs 2")
    assert "registered digits version 1, aliases: dense, champion" in said


def test_readmes_lines_load_a_model_in_other_code(finished: Finished) -> None:
    np.save(finished.folder / "images.npy", load("fashion_mnist").test.images[:3])
    homes = load("california_housing", 0.2)
    table = pd.DataFrame(homes.test.features[:3], columns=homes.columns)
    table.to_csv(finished.folder / "homes.csv", index=False)
    np.save(finished.folder / "canvases.npy", canvases().test.images[:20])
    keras, housing, torch = blocks("README.md", "python")
    assert max(example.count("\n") for example in (keras, housing, torch)) <= 5
    said = ""
    for program in (keras + housing, torch):
        command = (sys.executable, "-c", program)
        result = execute(*command, folder=finished.folder, PYTHONPATH="")
        assert result.returncode == 0, result.stderr
        said += result.stdout
    assert re.search(r"\[\d \d \d\]\n", said)
    assert len(re.findall(r"\[\d\.\d+ *\]", said)) == 3
    assert re.search(r"image +x1 +y1 +x2 +y2 +label +score\n0 +0 ", said)


def test_the_derivative_of_backpropagation_is_what_the_page_says(tmp_path: Path) -> None:
    (example,) = blocks("docs/backpropagation.md", "python")
    result = execute(sys.executable, "-c", example, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    ours, theirs = map(float, result.stdout.split())
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert ours != 0


def test_readme_lists_every_entry_point_once() -> None:
    names, _ = zip(*rows("README.md", "Entry points"), strict=True)
    listed = re.findall(r"\[`(\w+)`\]\(docs/reference.md#\1\)", " ".join(names))
    assert sorted(listed) == sorted(find_entry_points())


def test_readmes_tree_has_every_folder_and_module() -> None:
    """Each folder, and of the two rooms that a reader enters first, each module."""
    (tree,) = blocks("README.md", "text")
    folders = [path.parent for path in (ROOT / "src/trackml").glob("*/__init__.py")]
    for folder in [*map(ROOT.joinpath, ("pipelines", "tests", "benchmarks", "docs")), *folders]:
        assert f"{folder.name}/ " in tree
    for room in (ROOT / "src/trackml", ROOT / "src/trackml/tracking"):
        for module in room.glob("*.py"):
            assert re.search(rf"\b{module.name}\s", tree) or module.name == "__init__.py"


# Where each is run: here, or in tests/test_examples.py, pipelines/test_serving.py and so on.
RUN = {
    "README.md": {"bash", "python"},
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
