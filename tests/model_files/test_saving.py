"""Models as files: what it takes to answer many rows at once."""

import sys
from pathlib import Path

import pytest
from mlflow.utils import requirements_utils

from tests.conftest import ABSENT, execute, small_model
from trackml.checks.model import save_checked
from trackml.data import ImageData, load
from trackml.model_files.saving import save_model
from trackml.models.torch import mnist_cnn, with_probabilities
from trackml.models.transfer import transfer_network
from trackml.training.keras import predictor

# A new process, whose memory has grown for nothing else.
ANSWER = """
import re, sys, mlflow, numpy as np, torch
from pathlib import Path
path, rows = sys.argv[1], int(sys.argv[2])
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
images = np.random.default_rng(0).integers(256, size=(rows, 28, 28), dtype=np.uint8)
program = mlflow.pytorch.load_model(path)
for predict in mlflow.pyfunc.load_model(path).predict, lambda x: program(torch.from_numpy(x)):
    predict(images[:500])
    before = peak()
    answers = predict(images)
    assert answers.shape == (rows, 10)
    np.testing.assert_allclose(answers[-300:], predict(images[-300:]), atol=1e-5)
    print(peak() - before)
"""


def test_a_model_is_saved_without_a_look_at_the_files_of_all_packages(
    blobs: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements_utils, "_MODULES_TO_PACKAGES", None)  # as in a new process
    monkeypatch.setattr("importlib_metadata.packages_distributions", pytest.fail)
    model = small_model()
    save_checked(str(tmp_path / "model"), model, "keras", blobs, predictor(model))
    assert vars(requirements_utils)["_MODULES_TO_PACKAGES"] is None  # others still get the list


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load("mnist")


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
@pytest.mark.parametrize(
    ("architecture", "rows"),
    [
        pytest.param("cnn", 20_000, marks=pytest.mark.slow),
        pytest.param("alexnet", 10_000, marks=pytest.mark.slow),
        pytest.param("vgg16", 5_000, marks=pytest.mark.slow),
    ],
)
def test_the_memory_of_many_answers_is_that_of_few(
    architecture: str, rows: int, digits: ImageData, tmp_path: Path
) -> None:
    """In one piece, 20,000 rows would take `cnn` 2 GB."""
    sizes = {"alexnet": 64, "vgg16": 32}
    if size := sizes.get(architecture):
        network = transfer_network(architecture, 10, image_size=size, dropout=0.3)
    else:
        network = mnist_cnn(10)
    save_model(str(tmp_path / "model"), with_probabilities(network), "torch", digits)
    program = (sys.executable, "-c", ABSENT + ANSWER, "trackml,pipelines")
    said = execute(*program, str(tmp_path / "model"), str(rows), folder=tmp_path, PYTHONPATH="")
    assert said.returncode == 0, said.stderr
    grown = [int(line) for line in said.stdout.split()]  # kilobytes
    assert len(grown) == 2
    assert max(grown) < 100_000
