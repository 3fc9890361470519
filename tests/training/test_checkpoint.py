"""Training that was broken off goes on as if it had not been; and what a file of it survives."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.conftest import small_model
from tests.pipelines.expected import without_times
from tests.training import test_keras, test_numpy, test_torch
from trackml.data import ImageData
from trackml.errors import TrackmlError
from trackml.history import History
from trackml.seeding import seed_everything
from trackml.tensorflow import keras
from trackml.training import keras as in_keras
from trackml.training import numpy as in_numpy
from trackml.training import torch as in_torch
from trackml.training.augmentation import random_affine
from trackml.training.checkpoint import Array, Checkpoint, keeping, read, write
from trackml.training.schedules import SCHEDULES

EPOCHS = 5


class File:
    """Keeps checkpoints in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Checkpoint | None:
        return read(self.path)[0] if self.path.exists() else None

    def save(self, checkpoint: Checkpoint) -> None:
        write(self.path, checkpoint, {})


class Killed(Exception):
    """As a kill would, it ends training between two epochs."""


Hooks = Sequence[Callable[[int, Any], None]]
Trained = tuple[Sequence[Array], History]


def train_numpy(data: ImageData, hooks: Hooks, kind: str) -> Trained:
    network = test_numpy.untrained()
    momentum = {"sgd": 0.0, "momentum": 0.9}[kind]
    params = test_numpy.Example.parse({"epochs": EPOCHS})
    optimizer = in_numpy.SGD(network, momentum)
    history = in_numpy.fit(network, data, params, optimizer=optimizer, patience=2, hooks=hooks)
    return [array for layer in network for array in (layer.W, layer.b)], history


def train_torch(data: ImageData, hooks: Hooks, kind: str) -> Trained:
    seed_everything(0)
    network = test_torch.small_network(dropout=0.4)
    params = test_torch.Example.parse({"epochs": EPOCHS, "precision": "float32"})
    optimizer = in_torch.OPTIMIZERS[kind](network.parameters(), weight_decay=1e-4)  # type: ignore[index]
    schedule = SCHEDULES["one_cycle"]
    history = in_torch.fit(
        network, data, params, optimizer=optimizer, schedule=schedule, hooks=hooks
    )
    return [value.numpy() for value in network.state_dict().values()], history


def train_keras(data: ImageData, hooks: Hooks, kind: str) -> Trained:
    seed_everything(0)
    model = small_model(dropout=0.4)
    precision = "bfloat16" if kind == "bfloat16" else "float32"
    params = test_keras.Example.parse({"epochs": EPOCHS, "precision": precision})
    history = in_keras.fit(
        model,
        data,
        params,
        optimizer=in_keras.OPTIMIZERS.get(kind, keras.optimizers.Adam)(),  # type: ignore[call-overload]
        augment=random_affine(20, 0.1, 0.1),
        schedule=SCHEDULES["plateau"],
        hooks=hooks,
    )
    return model.get_weights(), history


def killed_after(last: int) -> Hooks:
    def hook(epoch: int, _metrics: Any) -> None:
        if epoch == last:
            raise Killed

    return [hook]


@pytest.mark.parametrize(
    ("train", "kind"),
    [
        *((train_numpy, kind) for kind in ("sgd", "momentum")),
        *((train_torch, kind) for kind in ("adam", "sgd", "rmsprop")),
        *((train_keras, kind) for kind in ("adam", "sgd", "rmsprop", "bfloat16")),
    ],
)
def test_training_that_was_killed_again_and_again_ends_as_one_that_was_not(
    train: Any, kind: str, blobs: ImageData, tmp_path: Path
) -> None:
    weights, history = train(blobs, [], kind)
    seen: list[int] = []
    for last in (1, 3, 4):
        with suppress(Killed), keeping(File(tmp_path / "checkpoint.npz")):
            train(blobs, [lambda epoch, _: seen.append(epoch), *killed_after(last)], kind)
            raise AssertionError("it was not killed")
    with keeping(File(tmp_path / "checkpoint.npz")):
        again, resumed = train(blobs, [lambda epoch, _: seen.append(epoch)], kind)
    assert without_times(resumed) == without_times(history)
    assert (resumed.initial, resumed.stopped) == (history.initial, history.stopped)
    for one, other in zip(weights, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [epoch for epoch in seen if epoch] == [1, 2, 3, 4, 5]


def test_what_was_done_is_not_done_again(blobs: ImageData, tmp_path: Path) -> None:
    keeper = File(tmp_path / "checkpoint.npz")
    epochs: list[int] = []
    with keeping(keeper):
        weights, history = train_numpy(blobs, [], "momentum")
    with keeping(keeper):
        again, finished = train_numpy(blobs, [lambda epoch, _: epochs.append(epoch)], "momentum")
    assert finished.rows == history.rows
    assert not epochs
    for one, other in zip(weights, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_early_stopping_counts_what_was_before(blobs: ImageData, tmp_path: Path) -> None:
    """Steps of 1e-12 change nothing: with a patience of 2 the third epoch is the last."""
    params = test_numpy.Example.parse({"epochs": 9, "learning_rate": 1e-12})

    def train(hooks: Hooks) -> History:
        network = test_numpy.untrained()
        optimizer = in_numpy.SGD(network)
        return in_numpy.fit(network, blobs, params, optimizer=optimizer, patience=2, hooks=hooks)

    for last in (2, 3):
        with suppress(Killed), keeping(File(tmp_path / "checkpoint.npz")):
            train(killed_after(last))
    with keeping(File(tmp_path / "checkpoint.npz")):
        history = train([])
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
    tmp_path_factory: pytest.TempPathFactory,
    state: Any,
    best: Any,
    history: Any,
    initial: Any,
) -> None:
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.npz"
    write(path, Checkpoint(state, best, history, initial), {0: 5, 12: 7})
    found, times = read(path)
    assert times == {0: 5, 12: 7}
    assert (found.rows, found.initial) == (history, initial)
    assert found.state.keys() == state.keys()
    for one, other in zip(
        [*state.values(), *best], [*found.state.values(), *found.best_weights], strict=True
    ):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.npz"]


EXAMPLE = Checkpoint({"w": np.arange(1000.0)}, [np.ones(3)], [{"val_loss": 0.5}], {})


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "folder", "pickled"])
def test_a_damaged_file_is_refused_by_its_name(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    write(path, EXAMPLE, {})
    content = bytearray(path.read_bytes())
    path.unlink()
    match damage:
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "flipped":
            content[1000] ^= 1
            path.write_bytes(content)
        case "empty":
            path.write_bytes(b"")
        case "folder":
            path.mkdir()
        case "pickled":
            np.savez(path, record=np.array([{}], dtype=object))
    with pytest.raises(TrackmlError, match=r"cannot read the checkpoint .*checkpoint.npz"):
        read(path)


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    write(path, EXAMPLE, {})
    content = path.read_bytes()
    path.with_name(".checkpoint.npz").mkdir()  # where it is written first
    with pytest.raises(OSError, match=r"\.checkpoint\.npz"):
        write(path, EXAMPLE, {1: 2})
    assert path.read_bytes() == content


def test_a_second_training_does_not_continue_the_first(blobs: ImageData, tmp_path: Path) -> None:
    epochs: list[int] = []
    with keeping(File(tmp_path / "checkpoint.npz")):
        train_numpy(blobs, [], "sgd")
        train_numpy(blobs, [lambda epoch, _: epochs.append(epoch)], "sgd")
    assert epochs
