"""Registered models behind MLflow's own server: as the page says, and as in process."""

import json
import math
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from tests.conftest import ROOT, Finished, execute, start
from tests.pipelines.expected import canvases
from tests.pipelines.servers import SERVING, free_ports, is_up, served, started
from trackml.backends import keep_triton_out
from trackml.data import load

Array = NDArray[Any]


def ask(address: str, body: object) -> requests.Response:
    headers = {"Content-Type": "application/json"}  # `json=` would refuse what is not a number
    text = json.dumps(body)
    return requests.post(f"{address}/invocations", data=text, headers=headers, timeout=60)


def answers(address: str, **body: object) -> Any:
    return ask(address, body).json()["predictions"]


def loaded(folder: Path, task: str, alias: str) -> Any:
    """The same model in this program."""
    keep_triton_out()
    return mlflow.pyfunc.load_model(str(Finished(folder, {}).model_folder(task, alias)))


IMAGES = [
    ("mnist", "scratch-softmax"),
    *(
        pytest.param(task, alias, marks=pytest.mark.services)
        for task, alias in (
            *(("mnist", alias) for alias in ("dense", "cnn", "alexnet", "scratch-mlp")),
            *(("fashion_mnist", alias) for alias in ("cnn", "cnn-aug")),
        )
    ),
]


@pytest.mark.parametrize(("task", "alias"), IMAGES)
def test_images_are_answered_as_in_process_and_what_is_wrong_is_refused(
    task: str, alias: str, finished: Finished
) -> None:
    check_answers(finished.folder, task, alias)


@pytest.mark.services
def test_vgg16_is_answered_as_in_process_too(tmp_path: Path) -> None:
    """In a folder of its own: half a gigabyte that no other test needs."""
    short = ("--backbone", "vgg16", "--weights", "none", "--epochs", "1", "--limit", "200")
    trained = start("pipelines.transfer", *short, "--validation_split", "0.01", folder=tmp_path)
    assert trained.returncode == 0, trained.stderr
    check_answers(tmp_path, "mnist", "vgg16")


def check_answers(folder: Path, task: str, alias: str) -> None:
    images = load("mnist" if task == "mnist" else "fashion_mnist").test.images[:20].copy()
    model = loaded(folder, task, alias)
    expected = model.predict(images)
    for kind in ("float32", "float64", "bool", "int64"):
        with pytest.raises(MlflowException, match="uint8"):
            model.predict(np.ones((2, 28, 28), kind))
    with served(folder, task, alias) as address:
        batch, single, scaled, cut, dark, ones, again = (
            answers(address, inputs=each.tolist())
            for each in (
                *(images, images[:1], images / 255, images // 255),
                *(images > 100, (images > 100).astype(int), images),
            )
        )
        np.testing.assert_allclose(batch, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(single, expected[:1], rtol=0, atol=1e-5)
        assert batch == again
        assert (scaled, dark) == (cut, ones)  # what the page warns of
        check_refused(address, *wrong_images(images))


def wrong_images(images: Array) -> Iterator[dict[str, Any]]:
    yield {"images": images.tolist()}
    yield {"dataframe_split": {"columns": ["a"], "data": [[1]]}}
    integers = images.astype(int)
    for wrong in (images[0], images[:, :10], integers + 256, -integers, images[:0]):
        yield {"inputs": wrong.tolist()}
    for pixel in ("a", None, float("nan")):
        yield {"inputs": [[[pixel] * 28] * 28]}
    yield from ({"inputs": None}, {"inputs": [images[0].tolist(), [[1]]]})


def check_refused(address: str, *bodies: object) -> None:
    """Check that these bodies are refused, and noise; and that the server is still up."""
    for body in bodies:
        answer = ask(address, body)
        assert answer.status_code == 400, (body, answer.text[:300])
    noise = np.random.default_rng(0).bytes(10_000_000)
    for raw, content, status in (
        (b"", "application/json", 400),
        (noise, "application/json", 400),
        (noise, "text/csv", 400),
        (noise, "application/octet-stream", 415),
        # What MLflow's server itself stumbles over.
        (b"[" * 100_000, "application/json", 500),
        (b'{"inputs": [[[' + b"9" * 5_000 + b"]]]}", "application/json", 500),
        (None, None, 500),
    ):
        headers = {"Content-Type": content} if content else {}
        answer = requests.post(f"{address}/invocations", data=raw, headers=headers, timeout=60)
        assert answer.status_code == status, (content, answer.text[:300])
    assert is_up(f"{address}/ping")


@pytest.mark.services
def test_houses_are_answered_by_name_and_what_is_wrong_is_refused(finished: Finished) -> None:
    homes = load("california_housing", 0.2)
    table = pd.DataFrame(homes.test.features[:20].astype(float), columns=homes.columns)
    expected = loaded(finished.folder, "california_housing", "champion").predict(table)
    first, names = table.iloc[0].to_dict(), list(homes.columns)
    mixed = table[reversed(names)].assign(name="a house")
    with served(finished.folder, "california_housing", "champion") as address:
        for given in (
            answers(address, dataframe_split=table.to_dict("split")),
            answers(address, dataframe_records=table.to_dict("records")),
            answers(address, dataframe_records=mixed.to_dict("records")),
        ):
            np.testing.assert_allclose(given, expected, rtol=0, atol=1e-5)
        for unknown in (None, 1e300):
            ((price,),) = answers(address, dataframe_records=[{**first, "MedInc": unknown}])
            assert math.isnan(price)
        check_refused(
            address,
            {"dataframe_records": [{**first, "MedInc": "much"}]},
            {"dataframe_records": table.drop(columns="MedInc").to_dict("records")},
            {"dataframe_split": {"columns": names, "data": [[1.0]]}},
            {"dataframe_split": {"columns": [*names, "MedInc"], "data": [[1.0] * 9]}},
            {"dataframe_records": []},
            {"inputs": [list(first.values())]},
        )


@pytest.mark.services
def test_what_is_found_on_canvases_is_found_when_served(finished: Finished) -> None:
    images = canvases().test.images[:5]
    found = loaded(finished.folder, "mnist_detector", "champion").predict(images)
    assert len(found)
    with served(finished.folder, "mnist_detector", "champion") as address:
        given = answers(address, inputs=images.tolist())
        # Sums of pixels in float32: 1e-4 of a pixel is 2e-6 of the canvas's width.
        exact = dict.fromkeys(("image", "label"), 0.0) | {"score": 1e-5}
        for name, most in (exact | dict.fromkeys(("x1", "y1", "x2", "y2"), 1e-4)).items():
            np.testing.assert_allclose([row[name] for row in given], found[name], 0, most)
        check_refused(address)
        assert answers(address, inputs=images.tolist()) == given


@pytest.mark.services
def test_the_page_runs_from_top_to_bottom(finished: Finished) -> None:
    """With ports of the test's own: those of the page may be taken."""
    page = (ROOT / SERVING).read_text()
    theirs = sorted(set(re.findall(r"--port (\d+)", page)))
    ours = dict(zip(theirs, free_ports(len(theirs)), strict=True))
    page = re.sub(rf"\b({'|'.join(theirs)})\b", lambda port: str(ours[port[0]]), page)
    said = []
    with ExitStack() as servers:
        for language, example in re.findall(r"```(\w+)\n(.*?)```", page, flags=re.DOTALL):
            program = {"bash": ["bash", "-ec"], "python": [sys.executable, "-c"]}[language]
            command = [*program, example]
            if port := re.search(r"serve .* --port (\d+)", example):
                up = f"http://127.0.0.1:{port[1]}/ping"
                servers.enter_context(started(command, up, finished.folder))
                continue
            done = execute(*command, folder=finished.folder)
            assert done.returncode == 0, done.stderr
            said.append(done.stdout)
    _, probabilities, labels, houses, _, found = said
    assert np.shape(json.loads(probabilities)["predictions"]) == (3, 10)
    assert len(re.findall(r"\d", labels)) == 100
    one, two = houses.replace("}{", "}\n{").splitlines()
    assert len(json.loads(one)["predictions"]) == 1
    assert len(json.loads(two)["predictions"]) == 2
    assert found
    for line in found.splitlines():
        assert re.fullmatch(r"[01] \d+ [01]\.\d+", line)
