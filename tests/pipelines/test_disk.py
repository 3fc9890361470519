"""A disk that is full, or takes nothing: what was there stays, and a person learns which it is."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import read, runs, start

FLAGS = (
    *("--model", "mlp", "--limit", "3000", "--seed", "3", "--epochs", "4", "--patience", "0"),
    *("--ema_decay", "0"),  # its averages make a checkpoint larger
)
RESUME = ("pipelines.scratch_mnist", *FLAGS, "--resume", "true")


def mount(options: str, folder: Path) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True, capture_output=True
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, with room for a checkpoint, but not for a second one beside it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount("size=2250k", folder)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a tmpfs")  # to fill a shared disk would harm others
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_takes_no_more_leaves_the_checkpoint_from_which_the_run_goes_on(
    disk: Path, tmp_path: Path
) -> None:
    """First it is full, then read-only, and then there is room again."""
    where = {"TRACKML_RUNS_DIR": str(disk)}
    said = start("pipelines.scratch_mnist", *FLAGS, folder=tmp_path, **where)
    assert said.returncode == 1
    (folder,) = disk.glob("[!.]*")
    assert said.stderr.startswith(f"error: cannot write to {folder}, where a run is kept: No space")
    assert said.stderr.count("\n") == 1
    (run,) = runs(tmp_path)
    assert run.info.status == "FAILED"
    assert run.data.tags["trackml.failure"].startswith(f"cannot write to {folder}")
    assert sorted(path.name for path in folder.glob("*.npz")) == ["checkpoint.npz"]
    assert not list(folder.glob(".*"))

    said = start(*RESUME, folder=tmp_path, **where)
    assert said.returncode == 1
    assert "epoch 1/4" not in said.stdout

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    mount("remount,ro", disk)
    said = start(*RESUME, folder=tmp_path, **where)
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1].startswith(f"error: cannot write to {disk}")
    assert "Read-only file system" in said.stderr
    assert "val_loss" not in said.stdout
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    said = start("pipelines.scratch_mnist", *FLAGS, folder=tmp_path, **where)
    assert said.returncode == 1
    assert f"error: cannot write to {disk}" in said.stderr
    (run,) = runs(tmp_path)  # no run is made that could not be kept
    assert run.info.status == "FAILED"

    mount("remount,rw,size=20m", disk)
    said = start(*RESUME, folder=tmp_path, **where)
    assert said.returncode == 0, said.stderr
    assert "epoch 1/4" not in said.stdout
    assert "epoch 2/4" in said.stdout
    (run,) = runs(tmp_path)
    assert run.info.status == "FINISHED"
    assert "trackml.failure" not in run.data.tags
    history = read(tmp_path).get_metric_history(run.info.run_id, "val_loss")
    assert sorted(row.step for row in history) == [0, 1, 2, 3, 4]
    assert not list(disk.glob("[!.]*"))
