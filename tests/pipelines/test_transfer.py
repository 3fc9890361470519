"""`transfer` from a weights file: what is loaded, what is trained, what is exported."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
import torchvision
from mlflow.tracking import MlflowClient

from pipelines import transfer
from trackml.data import ImageData, ImageSplit
from trackml.models.torch import with_probabilities
from trackml.models.transfer import transfer_network
from trackml.tracking.run import Result

BRIEF = {"limit": 300, "epochs": 2, "validation_split": 0.005, "register": False}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.manual_seed(7)
    torch.save(torchvision.models.alexnet(weights=None, num_classes=2).state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def few_to_test(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a store of the test's own. All 10,000 test images would take a minute."""

    def load(params: transfer.Params) -> ImageData:
        data = task.load(params)
        few = ImageSplit(data.test.images[:200], data.test.labels[:200])
        return replace(data, test=few)

    task = transfer.TASK
    monkeypatch.setattr(transfer, "TASK", replace(task, load=load))


def trained(weights: Path, **values: Any) -> Result:
    return transfer.main(transfer.Params.parse({"weights": str(weights), **BRIEF, **values}))


def unchanged(result: Result, weights: Path) -> set[int]:
    """The layers of the logged model whose weights are still those of the file."""
    outputs = mlflow.get_run(result.run_id).outputs
    assert outputs
    (output,) = outputs.model_outputs
    program = mlflow.pytorch.load_model(f"models:/{output.model_id}")
    kept = [w for name, w in program.state_dict().items() if "block" in name and w.dim() == 4]
    file = torch.load(weights, weights_only=True)
    return {
        layer
        for layer, weight in zip((0, 3, 6, 8, 10), kept, strict=True)
        if torch.equal(weight.contiguous(), file[f"features.{layer}.weight"])
    }


def test_with_train_head_the_convolutions_stay_what_the_file_says(weights: Path) -> None:
    result, other = (trained(weights, train="head", augment=False, seed=seed) for seed in (1, 2))
    assert unchanged(result, weights) == {0, 3, 6, 8, 10}
    first, second = result.history.rows
    assert second["train_loss"] < first["train_loss"]
    assert other.history.rows[0]["train_loss"] != first["train_loss"]  # the head is drawn by seed
    run = mlflow.get_run(result.run_id)
    assert (run.data.params["weights"], run.data.params["image_size"]) == (str(weights), "64")
    assert run.data.params["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_with_train_last_block_only_that_is_trained_besides(weights: Path) -> None:
    assert unchanged(trained(weights, train="last_block", epochs=1), weights) == {0, 3}


@pytest.mark.parametrize(("backbone", "size"), [("alexnet", 64), ("vgg16", 32)])
def test_an_exported_backbone_answers_as_many_images_as_there_are(backbone: Any, size: int) -> None:
    bare = transfer_network(backbone, 10, image_size=size, dropout=0.3)
    network, example = with_probabilities(bare).eval(), torch.zeros((2, 28, 28), dtype=torch.uint8)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (example,), dynamic_shapes=(batch,)).module()
    images = torch.randint(256, (5, 28, 28), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(program(images), network(images))
