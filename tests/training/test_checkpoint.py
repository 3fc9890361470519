"""Interrupted training continues as if it had not been interrupted; damaged files are refused."""

import errno
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from tests.pipelines.expected import without_times
from tests.training.examples import Trained, train
from tests.training.recorder import Recorder
from trackml.data import ImageData
from trackml.errors import TrackmlError
from trackml.metrics import Metric
from trackml.training.augmentation import Augmentation
from trackml.training.checkpoint import Array, Checkpoint, read, write
from trackml.training.schedules import one_cycle, plateau

NUMPY = {"patience": 2}
TORCH = {"dropout": 0.4, "schedule": one_cycle}
BRIGHT = Metric("bright", True, lambda _targets, answers: float(answers[:, 0].mean()))
EVERY = {
    "schedule": one_cycle,
    "clip_norm": 1.0,
    "class_weights": {"top": 2.0},
    "label_smoothing": 0.1,
    "ema_decay": 0.9,
    "metrics": (BRIGHT,),
    "rank_by": BRIGHT,
}
AUGMENT = Augmentation(20, 0.1, 0.1, mirror=True, erase=0.4, mixup=0.3)
KERAS = {"dropout": 0.4, "schedule": plateau, "augment": AUGMENT}


class Killed(Exception):
    """Ends training between two epochs, as a kill would."""


def killed_after(last: int, file: Path) -> Recorder:
    def callback(epoch: int, _metrics: Any) -> None:
        if epoch == last:
            raise Killed

    return Recorder(file, callback)


def assert_equal(resumed: Trained, expected: Trained) -> None:
    assert without_times(resumed.history) == without_times(expected.history)
    assert resumed.history.initial == expected.history.initial
    assert resumed.history.stopped == expected.history.stopped
    for one, other in zip(resumed.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("framework", "options"),
    [
        *(("numpy", {**NUMPY, "optimizer": name}) for name in ("sgd", "momentum")),
        *(("torch", {**TORCH, "optimizer": name}) for name in ("adam", "sgd", "rmsprop")),
        *(("keras", {**KERAS, "optimizer": name}) for name in ("adam", "sgd", "rmsprop")),
        ("keras", {**KERAS, **EVERY, "optimizer": "adamw", "precision": "bfloat16"}),
        ("torch", {**TORCH, **EVERY, "augment": AUGMENT, "optimizer": "adamw"}),
        ("torch", {**TORCH, **EVERY, "optimizer": "sgd", "precision": "bfloat16"}),
        ("numpy", {**EVERY, "augment": AUGMENT, "optimizer": "momentum", "weight_decay": 1e-3}),
    ],
)
def test_training_that_is_killed_repeatedly_ends_as_undisturbed_training(
    framework: str, options: dict[str, Any], blobs: ImageData, tmp_path: Path
) -> None:
    expected = train(framework, blobs, epochs=5, **options)
    runs = [killed_after(last, tmp_path / "checkpoint.npz") for last in (1, 3, 4)]
    for run in runs:
        with pytest.raises(Killed):
            train(framework, blobs, epochs=5, run=run, **options)
    runs.append(Recorder(tmp_path / "checkpoint.npz"))
    assert_equal(train(framework, blobs, epochs=5, run=runs[-1], **options), expected)
    reported = [epoch for run in runs for epoch in run.epochs]
    assert reported == [*([0] if framework == "numpy" else []), 1, 2, 3, 4, 5]


def test_finished_training_is_not_repeated(blobs: ImageData, tmp_path: Path) -> None:
    first, second = (Recorder(tmp_path / "checkpoint.npz") for _ in range(2))
    finished = train("numpy", blobs, optimizer="momentum", run=first)
    assert_equal(train("numpy", blobs, optimizer="momentum", run=second), finished)
    assert not second.epochs


def test_early_stopping_counts_the_epochs_before_an_interruption(
    blobs: ImageData, tmp_path: Path
) -> None:
    """Steps of 1e-12 change nothing: with a patience of 2 the third epoch is the last."""
    options: dict[str, Any] = {"epochs": 9, "learning_rate": 1e-12, "patience": 2}
    file = tmp_path / "checkpoint.npz"
    for last in (2, 3):
        with pytest.raises(Killed):
            train("numpy", blobs, run=killed_after(last, file), **options)
    history = train("numpy", blobs, run=Recorder(file), **options).history
    assert len(history.rows) == 3
    assert history.stopped


arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
)
rows = st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=4)


@settings(max_examples=50)
@given(
    st.dictionaries(st.from_regex(r"[a-z0-9 ]+", fullmatch=True), arrays, max_size=4),
    st.lists(arrays, max_size=12),
    st.lists(rows, max_size=4),
    rows,
)
def test_a_file_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, state: Any, best: Any, history: Any, initial: Any
) -> None:
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.npz"
    write(path, Checkpoint(state, best, history, initial), {0: 5, 12: 7})
    restored, times = read(path)
    assert times == {0: 5, 12: 7}
    assert (restored.rows, restored.initial) == (history, initial)
    assert restored.state.keys() == state.keys()
    written = [*state.values(), *best]
    for one, other in zip(written, [*restored.state.values(), *restored.best_weights], strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.npz"]


EXAMPLE = Checkpoint({"w": np.arange(1000.0)}, [np.ones(3)], [{"val_loss": 0.5}], {})


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "folder", "pickled"])
def test_a_damaged_file_is_refused_with_its_path(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    write(path, EXAMPLE, {})
    content = path.read_bytes()
    changed = content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]
    contents = {"cut": content[: len(content) // 2], "flipped": changed, "empty": b""}
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "pickled":
        np.savez(path, record=np.array([{}], dtype=object))
    else:
        path.write_bytes(contents[damage])
    with pytest.raises(TrackmlError, match=r"cannot read the checkpoint .*checkpoint.npz"):
        read(path)


def test_a_file_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.npz"
    write(path, EXAMPLE, {})
    content = path.read_bytes()

    def full_disk(file: BinaryIO, **_arrays: Array) -> None:
        file.write(content[:100])
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write(path, EXAMPLE, {1: 2})
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
