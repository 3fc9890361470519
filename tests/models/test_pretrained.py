"""Weights from files, good and bad, and from a network that is not there."""

import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from requests.adapters import HTTPAdapter
from torch import Tensor

from tests.waits import noting
from trackml.data import sources
from trackml.data.cache import DataUnavailable
from trackml.errors import TrackmlError, UsageError
from trackml.models import pretrained
from trackml.models.pretrained import load_weights


@pytest.fixture(scope="module")
def full() -> "OrderedDict[str, Tensor]":
    """What torchvision's AlexNet has; a classifier of 3 classes will do as well as one of 1000."""
    return OrderedDict(torchvision.models.alexnet(weights=None, num_classes=3).state_dict())


@pytest.fixture(scope="module")
def state(full: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same without most of the classifier, which has nine tenths of the weights."""
    return {name: tensor for name, tensor in full.items() if "classifier.1." not in name}


def saved(content: Any, folder: Path) -> str:
    path = folder / "weights.pth"
    torch.save(content, path)
    return str(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_of_torchvision_gives_its_convolutions(
    full: dict[str, Tensor], tmp_path: Path, zipped: bool
) -> None:
    state = full
    path = tmp_path / "weights.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    weights = load_weights("alexnet", str(path))
    assert weights
    convolutions = {name for name in state if name.startswith("features.")}
    assert {f"features.{name}" for name in weights.tensors} == convolutions
    for name, tensor in weights.tensors.items():
        torch.testing.assert_close(tensor, state[f"features.{name}"])
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_none_is_no_weights() -> None:
    assert load_weights("vgg16", "none") is None


class Payload:
    """As an attacker's: to load it runs a command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


def test_what_a_pickle_would_run_is_not_run(tmp_path: Path) -> None:
    target = tmp_path / "owned"
    path = saved({"features.0.weight": Payload(target)}, tmp_path)
    with pytest.raises(TrackmlError, match="weights_only") as error:
        load_weights("alexnet", path)
    assert not target.exists()
    assert "weights_only=False" not in str(error.value)  # no hint how to run it all the same


def save_program(path: str) -> None:
    program = torch.jit.trace(torch.nn.ReLU(), torch.zeros(1))  # type: ignore[no-untyped-call]
    torch.jit.save(program, path)


@pytest.mark.parametrize("scripted", [False, True])
def test_a_whole_network_is_refused(tmp_path: Path, scripted: bool) -> None:
    path = str(tmp_path / "weights.pth")
    if scripted:
        with pytest.warns(FutureWarning):  # that there are better ways by now
            save_program(path)
    else:
        torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(
        TrackmlError, match=r"weights\.pth: refused by torch\.load\(weights_only=True"
    ):
        load_weights("alexnet", path)


@pytest.mark.parametrize(
    "content",
    [
        *([1, 2], {"a": 1}, {1: torch.zeros(2)}, torch.zeros(3), "text"),
        *({"a": torch.zeros(2, device="meta")}, {"a": torch.ones(2).to_sparse()}),
    ],
    ids=str,
)
def test_what_is_no_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    with pytest.raises(TrackmlError, match=r"weights\.pth: holds \w+, and not a state dict"):
        load_weights("alexnet", saved(content, tmp_path))


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "text", "flipped", "bit"])
def test_a_damaged_file_is_refused_in_one_line(
    damage: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = Path(saved(state, tmp_path))
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "noise": os.urandom(5000),
            "empty": b"",
            "text": b"<html>404</html>",
            "bit": content[: len(content) // 2] + b"\x7f\x7f" + content[len(content) // 2 + 2 :],
            "flipped": content[:100] + bytes(b ^ 0xFF for b in content[100:4000]) + content[4000:],
        }[damage]
    )
    with pytest.raises(TrackmlError, match=r"^--weights .*weights\.pth: ") as error:
        load_weights("alexnet", str(path))
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.0.weight": None}, "features.0.weight is missing in the file"),
        ({"features.0.weight": torch.zeros(64, 1, 11, 11)}, "is 64 x 1 x 11 x 11 in the file and"),
        ({"features.1.weight": torch.zeros(2)}, "features.1.weight is 2 in the file and missing"),
        ({"fc.weight": torch.zeros(2)}, "alexnet: fc.weight is 2 in the file and missing in"),
        ({"0.weight": torch.zeros(2)}, "alexnet: 0.weight is 2 in the file and missing in"),
        ({"features.0.bias": torch.full((64,), torch.nan)}, "no finite numbers"),
        ({"features.0.bias": torch.full((64,), 1e300, dtype=torch.float64)}, "no finite numbers"),
        ({"features.0.bias": torch.zeros(64, dtype=torch.complex64)}, "not a state dict"),
        ({"a\n\x1b[31m": torch.zeros(2)}, r"alexnet: 'a\\n\\x1b\[31m' is 2 in the file"),
    ],
)
def test_weights_of_another_network_are_refused(
    change: dict[str, Any], message: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    changed = {name: tensor for name, tensor in (state | change).items() if tensor is not None}
    with pytest.raises(TrackmlError, match=message):
        load_weights("alexnet", saved(changed, tmp_path))


def test_another_architecture_is_refused_by_name(state: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(TrackmlError, match=r"weights\.pth: not of torchvision's vgg16"):
        load_weights("vgg16", saved(state, tmp_path))


@pytest.mark.parametrize("name", ["imagenett", "no/such/file.pth", "."])
def test_a_file_that_is_not_there_is_bad_usage(name: str) -> None:
    with pytest.raises(UsageError, match="expected imagenet, none, or the path of a state dict"):
        load_weights("alexnet", name)


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No web, and an empty cache, which is returned; PyTorch's own is beside it."""
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("TRACKML_DATA_MIRROR", raising=False)
    monkeypatch.setenv("TRACKML_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("backbone", "file"),
    [("alexnet", "alexnet-owt-7be5be79.pth"), ("vgg16", "vgg16-397923af.pth")],
)
def test_without_a_network_it_waits_for_seconds_and_says_what_to_do(
    backbone: Any, file: str, closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(HTTPAdapter, "send", noting(waits.append))
    with pytest.raises(DataUnavailable) as error:
        load_weights(backbone, "imagenet")
    assert waits == [sources.ANSWER_SECONDS]
    assert sources.ANSWER_SECONDS < 10
    assert f"Put into {closed / f'{backbone}_imagenet'}: {file}" in str(error.value)
    assert "--weights none" in str(error.value)
    assert error.value.exit_code == 1


@pytest.mark.parametrize("place", ["cache/alexnet_imagenet", "torch/hub/checkpoints"])
def test_a_file_that_is_there_already_is_used_if_its_sum_is_right(
    place: str, closed: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = closed.parent / place
    folder.mkdir(parents=True)
    file = Path(saved(state, folder)).rename(folder / "alexnet-owt-7be5be79.pth")
    with pytest.raises(DataUnavailable, match="wrong checksum"):
        load_weights("alexnet", "imagenet")

    content = file.read_bytes()
    published, _, _ = pretrained._IMAGENET["alexnet"]
    sums = {"alexnet": (published, len(content), hashlib.sha256(content).hexdigest())}
    monkeypatch.setattr(pretrained, "_IMAGENET", sums)
    weights = load_weights("alexnet", "imagenet")
    assert weights
    torch.testing.assert_close(weights.tensors["0.bias"], state["features.0.bias"])


def test_the_sums_begin_as_torchvisions_names_say() -> None:
    for published, _, sha256 in pretrained._IMAGENET.values():
        assert published.value.url.endswith(f"-{sha256[:8]}.pth")
