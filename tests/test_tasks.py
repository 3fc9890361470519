"""Entry points: found by name, by the path of a file, and by a pipeline's `main`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import fashion
from tests.conftest import ROOT
from tests.pipelines import own
from trackml.errors import UsageError
from trackml.tasks import entry_point, find_entry_points, run_command

PIPELINE = """
from {neighbor} import Params
def main(params: Params):
    "Does {what}."
"""


@pytest.fixture(autouse=True)
def _own_files_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write(file: Path, neighbor: str = "neighbor", what: str = "much") -> Path:
    (file.parent / "neighbor.py").write_text("from tests.pipelines.own import Params")
    file.write_text(PIPELINE.format(neighbor=neighbor, what=what))
    return file


def test_a_name_has_the_parameters_that_it_sets() -> None:
    entry = entry_point("fashion_aug")
    assert (entry.main, entry.params, entry.preset) == (
        fashion.main,
        fashion.Params,
        {"augment": 1},
    )
    assert entry.task is fashion.TASK


def test_a_file_of_any_folder_finds_its_neighbors_and_is_read_anew(tmp_path: Path) -> None:
    file = write(tmp_path / "my-own.py")
    first = entry_point(str(file))
    assert (first.main.__doc__, first.params.__doc__) == ("Does much.", own.Params.__doc__)
    write(file, what="even more")
    assert entry_point(file).main.__doc__ == "Does even more."
    assert entry_point(file).main == sys.modules["my-own"].main  # where trials of a sweep find it


def test_a_file_of_a_package_is_a_module_of_it(tmp_path: Path) -> None:
    package = tmp_path / "house"
    package.mkdir()
    (package / "__init__.py").touch()
    entry = entry_point(write(package / "mine.py", ".neighbor"))
    assert entry.main.__module__ == "house.mine"
    assert entry_point(str(ROOT / "pipelines/fashion.py")).main.__module__ == "pipelines.fashion"


def test_a_main_tells_its_parameters() -> None:
    entry = entry_point(own.main)
    assert (entry.main, entry.params, entry.name) == (own.main, own.Params, "main")
    assert entry_point(own).task is own.TASK


def test_what_is_no_pipeline_is_named(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").touch()
    (tmp_path / "empty.py").touch()
    wrong: dict[Any, str] = {
        "fashoin": "fashoin: there is no such entry point; did you mean fashion?",
        "xyz": f"xyz: there is no such entry point; there are {', '.join(find_entry_points())}",
        "no.py": "no.py: there is no such file",
        tmp_path / "empty.py": "a pipeline has a class Params and a function main; no Params",
        tmp_path / "numpy.py": "Python has another module named numpy; rename the file",
        len: "len: expected a pipeline's main, with its class of parameters as the annotation",
    }
    for pipeline, words in wrong.items():
        with pytest.raises(UsageError) as refusal:
            entry_point(pipeline)
        assert words in str(refusal.value)


def test_a_command_runs_a_checkouts_entry_point_or_a_file() -> None:
    values = {"backbone": "vgg16", "space": "a b"}
    assert (
        run_command("transfer", values)
        == "mlflow run . -e transfer -P backbone=vgg16 -P 'space=a b'"
    )
    assert run_command("my own.py", {"epochs": "3"}) == "trackml run 'my own.py' epochs=3"
