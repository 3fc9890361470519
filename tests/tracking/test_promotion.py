"""Champions by hand: what is taken, what is refused, and what stays as it was."""

from pathlib import Path

import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from tests.conftest import start
from trackml.data import ImageData
from trackml.errors import TrackmlError, UsageError
from trackml.evaluation.report import Report
from trackml.history import History
from trackml.models.numpy import dense_network
from trackml.params import TrainingParams
from trackml.tracking.promotion import promote
from trackml.tracking.registry import version_behind
from trackml.tracking.run import tracked_run

PARAMS = {"epochs": 1, "batch_size": 1, "learning_rate": 0.1}


def trained(data: ImageData, accuracy: float, *, register: bool = True) -> str:
    """The id of a finished run with a model."""
    params = TrainingParams.parse(PARAMS | {"register": register})
    row = {"train_loss": 1.0, "val_loss": 1.0, "val_accuracy": accuracy}
    history = History("accuracy", "float32").extended(row)
    pixels = int(np.prod(data.test.images.shape[1:]))
    random = np.random.default_rng(0)
    network = dense_network(pixels, (), classes=len(data.classes), random=random)
    with tracked_run(params, data, framework="numpy", architecture="toy") as run:
        run.log_result(network, history, Report())
    return run.run_id


def other(data: ImageData, side: int = 9, classes: int = 3) -> ImageData:
    """Data of the same name with another content, perhaps of another shape."""
    images = np.ones((20, side, side), np.uint8)
    part = images, np.arange(20) % 3
    names = ("top", "middle", "bottom", "none")[:classes]
    return ImageData.from_arrays(data.name, part, part, classes=names, validation_split=0.25)


def champion(client: MlflowClient) -> str | None:
    version = version_behind(client, "blobs", "champion")
    return str(version.run_id) if version else None


def test_a_person_may_prefer_a_version_that_was_beaten(
    client: MlflowClient, blobs: ImageData
) -> None:
    best, beaten = trained(blobs, 0.9), trained(blobs, 0.8)
    assert champion(client) == best
    promotion = promote("blobs", beaten)
    assert champion(client) == beaten
    assert (promotion.version, promotion.before) == ("2", {"champion": "1"})


def test_a_model_that_was_not_registered_is_registered_once(
    client: MlflowClient, blobs: ImageData
) -> None:
    run_id = trained(blobs, 0.9, register=False)
    assert promote("blobs", run_id).before == {"champion": None}
    promote("blobs", run_id)
    assert champion(client) == run_id
    (version,) = client.search_model_versions("name = 'blobs'")
    assert version.tags["trackml.best_val_accuracy"] == "0.9"


def test_other_aliases_leave_the_champion_alone(client: MlflowClient, blobs: ImageData) -> None:
    best, beaten = trained(blobs, 0.9), trained(blobs, 0.8)
    promote("blobs", beaten, ["staging", "blue"])
    assert champion(client) == best
    for alias in ("staging", "blue"):
        version = version_behind(client, "blobs", alias)
        assert version
        assert version.run_id == beaten


@pytest.mark.parametrize(
    ("side", "classes", "words"),
    [
        (9, 3, ["its data sum is "]),
        (8, 3, ["its data sum is ", "its inputs are ", "-1, 8, 8", "-1, 9, 9"]),
        (9, 4, ["its data sum is ", "its outputs are ", "-1, 4", "-1, 3"]),
    ],
)
def test_a_model_that_other_code_could_not_swap_is_refused_with_the_difference(
    side: int, classes: int, words: list[str], client: MlflowClient, blobs: ImageData
) -> None:
    best, another = trained(blobs, 0.9), trained(other(blobs, side, classes), 0.95)
    before = len(client.search_model_versions("name = 'blobs'"))
    with pytest.raises(TrackmlError) as refusal:
        promote("blobs", another)
    for word in words:
        assert word in str(refusal.value)
    assert blobs.sha256 in str(refusal.value)
    assert champion(client) == best
    assert len(client.search_model_versions("name = 'blobs'")) == before


def test_without_a_champion_the_newest_version_says_what_is_taken(
    client: MlflowClient, blobs: ImageData
) -> None:
    trained(blobs, 0.9)
    client.delete_registered_model_alias("blobs", "champion")
    another = trained(other(blobs, 8), 0.95, register=False)
    with pytest.raises(TrackmlError, match="in place of version 1: its data sum"):
        promote("blobs", another, ["staging"])


def test_an_error_half_way_leaves_everything_as_it_was(
    client: MlflowClient, blobs: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    best, another = trained(blobs, 0.9), trained(blobs, 0.8, register=False)
    usual = MlflowClient.set_registered_model_alias

    def broken(self: MlflowClient, name: str, alias: str, version: str) -> None:
        if alias == "green":
            raise MlflowException("the server is gone")
        usual(self, name, alias, version)

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", broken)
    with pytest.raises(MlflowException):
        promote("blobs", another, ["blue", "champion", "green"])
    assert champion(client) == best
    assert version_behind(client, "blobs", "blue") is None
    assert len(client.search_model_versions("name = 'blobs'")) == 1


@pytest.mark.parametrize("alias", ["latest", "Latest", "v3", "V3", "a b", "", "a" * 256])
def test_what_mlflow_takes_for_no_alias_is_refused(alias: str, client: MlflowClient) -> None:
    with pytest.raises(UsageError, match="--alias"):
        promote("blobs", "no matter", [alias])


def test_only_finished_runs_of_the_task_with_a_model(
    client: MlflowClient, blobs: ImageData
) -> None:
    run_id = trained(blobs, 0.9)
    with pytest.raises(TrackmlError, match="it is of the task blobs, not of mnist"):
        promote("mnist", run_id)
    with pytest.raises(TrackmlError, match="there is no such run"):
        promote("blobs", "0" * 32)
    client.delete_run(run_id)
    with pytest.raises(TrackmlError, match="it is in the trash"):
        promote("blobs", run_id)
    client.restore_run(run_id)
    client.update_run(run_id, status="KILLED")
    with pytest.raises(TrackmlError, match="it is KILLED; expected a finished run"):
        promote("blobs", run_id)
    bare = client.create_run("0", tags={"trackml.task": "blobs"}).info.run_id
    client.set_terminated(bare)
    with pytest.raises(TrackmlError, match="it has no model; expected"):
        promote("blobs", bare)


def test_as_a_command(client: MlflowClient, blobs: ImageData, empty_folder: Path) -> None:
    best, beaten = trained(blobs, 0.9), trained(blobs, 0.8)
    result = start("trackml", "promote", "blobs", "--run", beaten, folder=empty_folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "blobs@champion is version 2 (before, version 1)\n"
    arguments = ("promote", "blobs", "--run", best, "--alias", "blue", "--alias", "green")
    result = start("trackml", *arguments, folder=empty_folder)
    assert result.stdout.splitlines()[1] == "blobs@green is version 1 (before, none)"
    result = start("trackml", "promote", "blobs", "--run", "nobody", folder=empty_folder)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: --run nobody: there is no such run in sqlite:")
    assert result.stderr.count("\n") == 1
