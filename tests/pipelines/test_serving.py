"""Registered models behind MLflow's own server: as the page says, and as in process."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from numpy.typing import NDArray

from tests.conftest import Finished, start, user_environment
from tests.pipelines.expected import canvases
from tests.pipelines.servers import free_port, is_up, started
from tests.test_docs import blocks
from trackml.data import load

Array = NDArray[Any]
COLUMNS = load("california_housing", 0.2).columns


@contextmanager
def served(finished: Finished, task: str, alias: str) -> Iterator[str]:
    """The address of a model behind a server that was started as the page says."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    model = ["-m", f"models:/{task}@{alias}", "--env-manager", "local", "--port", str(port)]
    command = [sys.executable, "-m", "mlflow", "models", "serve", *model]
    store = f"sqlite:///{finished.folder}/mlflow.db"
    with started(command, f"{address}/ping", finished.folder, MLFLOW_TRACKING_URI=store):
        yield address


def ask(address: str, body: Any) -> requests.Response:
    return requests.post(f"{address}/invocations", json=body, timeout=60)


def in_process(finished: Finished, task: str, alias: str, inputs: Path) -> Any:
    """What the same model says in a program that has loaded it."""
    (finished.folder / "in_process.py").write_text(
        "import json, sys, mlflow, numpy as np, pandas as pd\n"
        "mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        "_, model, path = sys.argv\n"
        "inputs = pd.read_csv(path) if path.endswith('.csv') else np.load(path)\n"
        "answers = mlflow.pyfunc.load_model(model).predict(inputs)\n"
        "frame = isinstance(answers, pd.DataFrame)\n"
        "print(json.dumps(answers.to_dict('records') if frame else answers.tolist()))\n"
    )
    said = start(
        *("in_process", f"models:/{task}@{alias}", str(inputs)),
        folder=finished.folder,
        PYTHONPATH=str(finished.folder),
    )
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout.splitlines()[-1])


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
    task: str, alias: str, finished: Finished, tmp_path: Path
) -> None:
    images = load("mnist" if task == "mnist" else "fashion_mnist").test.images[:20]
    np.save(tmp_path / "images.npy", images)
    expected = in_process(finished, task, alias, tmp_path / "images.npy")
    with served(finished, task, alias) as address:
        batch = ask(address, {"inputs": images.tolist()}).json()["predictions"]
        np.testing.assert_allclose(batch, expected, rtol=0, atol=1e-5)
        single = ask(address, {"inputs": images[:1].tolist()}).json()["predictions"]
        np.testing.assert_allclose(single, expected[:1], rtol=0, atol=1e-5)
        check_that_wrong_images_are_refused(address, images)
        # What the page warns of.
        scaled = ask(address, {"inputs": (images / 255).tolist()})
        cut = ask(address, {"inputs": (images // 255).tolist()})
        assert scaled.json() == cut.json()
        again = ask(address, {"inputs": images.tolist()}).json()["predictions"]
        assert again == batch


def check_that_wrong_images_are_refused(address: str, images: Array) -> None:
    wrong = {
        "a single image": images[0],
        "another size": images[:, :10],
        "too large": images.astype(int) + 256,
        "negative": -images.astype(int),
        "nothing": images[:0],
    }
    bodies: dict[str, Any] = {name: {"inputs": each.tolist()} for name, each in wrong.items()}
    bodies |= {
        "texts": {"inputs": [[["a"] * 28] * 28]},
        "ragged": {"inputs": [images[0].tolist(), [[1]]]},
        "null": {"inputs": None},
        "no inputs": {"images": images.tolist()},
        "a table": {"dataframe_split": {"columns": ["a"], "data": [[1]]}},
    }
    for name, body in bodies.items():
        answer = ask(address, body)
        assert 400 <= answer.status_code < 500, (name, answer.text[:300])
    check_that_noise_is_refused(address)


def check_that_noise_is_refused(address: str) -> None:
    noise = np.random.default_rng(0).bytes(10_000_000)
    for body, kind in ((b"", "json"), (noise, "json"), (noise, "csv"), (noise, "octet-stream")):
        content = "text/csv" if kind == "csv" else f"application/{kind}"
        answer = requests.post(
            f"{address}/invocations", data=body, headers={"Content-Type": content}, timeout=60
        )
        assert 400 <= answer.status_code < 500, (kind, answer.text[:300])
    assert is_up(f"{address}/ping")


@pytest.mark.services
def test_houses_are_answered_by_name_and_what_is_wrong_is_refused(
    finished: Finished, tmp_path: Path
) -> None:
    homes = load("california_housing", 0.2)
    table = pd.DataFrame(homes.test.features[:20].astype(float), columns=homes.columns)
    table.to_csv(tmp_path / "homes.csv", index=False)
    expected = in_process(finished, "california_housing", "champion", tmp_path / "homes.csv")
    with served(finished, "california_housing", "champion") as address:
        mixed = table[reversed(homes.columns)].assign(name="a house")
        for body in (
            {"dataframe_split": table.to_dict("split")},
            {"dataframe_records": table.to_dict("records")},
            {"dataframe_records": mixed.to_dict("records")},
        ):
            answers = ask(address, body).json()["predictions"]
            np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-5)
        first = table.iloc[0].to_dict()
        requests_that_are_wrong: list[dict[str, Any]] = [
            {"dataframe_records": [{**first, "MedInc": "much"}]},
            {"dataframe_records": table.drop(columns="MedInc").to_dict("records")},
            {"dataframe_split": {"columns": list(COLUMNS), "data": [[1.0]]}},
            {"dataframe_records": []},
            {"inputs": [list(first.values())]},
        ]
        for wrong in requests_that_are_wrong:
            answer = ask(address, wrong)
            assert 400 <= answer.status_code < 500, answer.text[:300]
        check_that_noise_is_refused(address)


@pytest.mark.services
def test_what_is_found_on_canvases_is_found_when_served(finished: Finished, tmp_path: Path) -> None:
    images = canvases().test.images[:5]
    np.save(tmp_path / "canvases.npy", images)
    expected = in_process(finished, "mnist_detector", "champion", tmp_path / "canvases.npy")
    with served(finished, "mnist_detector", "champion") as address:
        answers = ask(address, {"inputs": images.tolist()}).json()["predictions"]
        for name in ("image", "label", "score", "x1", "y1", "x2", "y2"):
            np.testing.assert_allclose(
                [row[name] for row in answers], [row[name] for row in expected], rtol=0, atol=1e-4
            )
        check_that_noise_is_refused(address)


@pytest.mark.services
def test_the_examples_of_the_page_run_as_they_stand_there(finished: Finished) -> None:
    """With the ports that the test was given: those of the page may be taken."""
    page = "docs/serving.md"
    folder = finished.folder
    np.save(folder / "images.npy", load("mnist").test.images[:3])
    np.save(folder / "canvases.npy", canvases().test.images[:20])
    serve, curl_images, curl_houses = blocks(page, "bash")
    assert re.search(r"mlflow models serve -m models:/mnist@champion --env-manager local", serve)
    ask_images, ask_canvases = blocks(page, "python")

    def said(example: str, address: str) -> str:
        command = ["bash", "-ec", re.sub(r"http://127.0.0.1:\d+", address, example)]
        if "import" in example and "curl" not in example:
            command = [sys.executable, "-c", command[2]]
        done = subprocess.run(
            command, cwd=folder, env=user_environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with served(finished, "mnist", "champion") as address:
        assert len(json.loads(said(curl_images, address))["predictions"]) == 3
        assert re.fullmatch(r"\[\d \d \d\]\n", said(ask_images, address))
    with served(finished, "california_housing", "champion") as address:
        one, two = said(curl_houses, address).replace("}{", "}\n{").splitlines()
        assert len(json.loads(one)["predictions"]) == 1
        assert len(json.loads(two)["predictions"]) == 2
    with served(finished, "mnist_detector", "champion") as address:
        for line in said(ask_canvases, address).splitlines():
            assert re.fullmatch(r"\d \d+ [01]\.\d+", line)
