"""Weights from files, good and damaged, and without a connection to the web."""

import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass
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
    """The weights of torchvision's AlexNet, but for 3 instead of 1000 classes."""
    return OrderedDict(torchvision.models.alexnet(weights=None, num_classes=3).state_dict())


@pytest.fixture(scope="module")
def state(full: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same without most of the head, which has nine tenths of the weights."""
    return {name: tensor for name, tensor in full.items() if "classifier.1." not in name}


def saved(content: Any, folder: Path) -> str:
    path = folder / "weights.pth"
    torch.save(content, path)
    return str(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_of_torchvision_gives_its_convolutions(
    full: dict[str, Tensor], tmp_path: Path, zipped: bool
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(full, path, _use_new_zipfile_serialization=zipped)
    weights = load_weights("alexnet", str(path))
    assert weights
    expected = {name: full[name] for name in full if name.startswith("features.")}
    tensors = {f"features.{name}": tensor for name, tensor in weights.tensors.items()}
    torch.testing.assert_close(tensors, expected)
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_weights("alexnet", "none") is None


@dataclass
class Attack:
    """Unpickling this runs a command."""

    target: Path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    target = tmp_path / "owned"
    path = saved({"features.0.weight": Attack(target)}, tmp_path)
    with pytest.raises(TrackmlError, match="weights_only") as error:
        load_weights("alexnet", path)
    assert not target.exists()
    assert "weights_only=False" not in str(error.value)  # no hint how to run it all the same


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch.jit
@pytest.mark.parametrize("scripted", [False, True])
def test_a_whole_network_is_refused(tmp_path: Path, scripted: bool) -> None:
    path = saved(torch.nn.ReLU(), tmp_path)
    if scripted:
        torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), path)  # type: ignore[no-untyped-call]
    with pytest.raises(TrackmlError, match=r"\.pth: refused by torch\.load\(weights_only=True"):
        load_weights("alexnet", path)


@pytest.mark.parametrize(
    "content",
    [
        *([1, 2], {"a": 1}, {1: torch.zeros(2)}, torch.zeros(3), "text"),
        *({"a": torch.zeros(2, device="meta")}, {"a": torch.ones(2).to_sparse()}),
    ],
    ids=str,
)
def test_a_file_without_a_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
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
        ({"features.0.bias": torch.full((64,), torch.nan)}, "not finite numbers"),
        ({"features.0.bias": torch.full((64,), 1e300, dtype=torch.float64)}, "not finite numbers"),
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
    with pytest.raises(
        TrackmlError, match=r"weights\.pth: (not of torchvision's vgg16|holds dict)"
    ):
        load_weights("vgg16", saved(changed, tmp_path))


@pytest.mark.parametrize("name", ["imagenett", "no/such/file.pth", "."])
def test_a_missing_file_is_bad_usage(name: str) -> None:
    with pytest.raises(UsageError, match="expected imagenet, none, or the path of a state dict"):
        load_weights("alexnet", name)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no connection to the web. PyTorch's own cache is beside it."""
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.delenv("TRACKML_DATA_MIRROR", raising=False)
    monkeypatch.setenv("TRACKML_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("backbone", "file"),
    [("alexnet", "alexnet-owt-7be5be79.pth"), ("vgg16", "vgg16-397923af.pth")],
)
def test_without_the_web_it_says_soon_what_to_do(
    backbone: str, file: str, offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(HTTPAdapter, "send", noting(waits.append))
    with pytest.raises(DataUnavailable) as error:
        load_weights(backbone, "imagenet")
    assert waits == [sources.RESPONSE_SECONDS]
    assert sources.RESPONSE_SECONDS < 10
    assert f"Put into {offline / f'{backbone}_imagenet'}: {file}" in str(error.value)
    assert "--weights none" in str(error.value)
    assert error.value.exit_code == 1


@pytest.mark.parametrize("place", ["cache/alexnet_imagenet", "torch/hub/checkpoints"])
def test_a_file_that_was_downloaded_before_is_used_if_its_checksum_is_right(
    place: str, offline: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = offline.parent / place
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


def test_the_names_of_torchvisions_files_have_the_first_digits_of_the_checksums() -> None:
    for published, _, sha256 in pretrained._IMAGENET.values():
        assert published.value.url.endswith(f"-{sha256[:8]}.pth")
