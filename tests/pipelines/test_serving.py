"""Registered models behind MLflow's own server: as the page says, and as in process."""

import json
import math
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from numpy.typing import NDArray

from tests.conftest import ROOT, Finished, start, user_environment
from tests.pipelines.expected import canvases
from tests.pipelines.servers import SERVING, free_ports, is_up, served, started
from trackml.data import load

Array = NDArray[Any]


def ask(address: str, body: Any) -> requests.Response:
    headers = {"Content-Type": "application/json"}  # `json=` would refuse what is not a number
    return requests.post(
        f"{address}/invocations", data=json.dumps(body), headers=headers, timeout=60
    )


def in_process(folder: Path, task: str, alias: str, inputs: Path) -> Any:
    """What the same model says in a program that has loaded it."""
    (folder / "in_process.py").write_text(
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
        folder=folder,
        PYTHONPATH=str(folder),
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
    check_answers(finished.folder, task, alias, tmp_path)


@pytest.mark.services
def test_vgg16_is_answered_as_in_process_too(tmp_path: Path) -> None:
    """In a folder of its own: half a gigabyte that no other test needs."""
    short = ("--backbone", "vgg16", "--weights", "none", "--epochs", "1", "--limit", "200")
    trained = start("pipelines.transfer", *short, "--validation_split", "0.01", folder=tmp_path)
    assert trained.returncode == 0, trained.stderr
    check_answers(tmp_path, "mnist", "vgg16", tmp_path)


def check_answers(folder: Path, task: str, alias: str, tmp_path: Path) -> None:
    images = load("mnist" if task == "mnist" else "fashion_mnist").test.images[:20]
    np.save(tmp_path / "images.npy", images)
    expected = in_process(folder, task, alias, tmp_path / "images.npy")
    with served(folder, task, alias) as address:
        batch = ask(address, {"inputs": images.tolist()}).json()["predictions"]
        np.testing.assert_allclose(batch, expected, rtol=0, atol=1e-5)
        single = ask(address, {"inputs": images[:1].tolist()}).json()["predictions"]
        np.testing.assert_allclose(single, expected[:1], rtol=0, atol=1e-5)
        check_that_wrong_images_are_refused(address, images)
        # What the page warns of.
        scaled = ask(address, {"inputs": (images / 255).tolist()})
        cut = ask(address, {"inputs": (images // 255).tolist()})
        assert scaled.json() == cut.json()
        dark = ask(address, {"inputs": (images > 100).tolist()})
        assert dark.json() == ask(address, {"inputs": (images > 100).astype(int).tolist()}).json()
        again = ask(address, {"inputs": images.tolist()}).json()["predictions"]
        assert again == batch


@pytest.mark.parametrize(("task", "alias"), IMAGES)
def test_in_a_program_floats_are_refused(task: str, alias: str, finished: Finished) -> None:
    (finished.folder / "floats.py").write_text(
        "import sys, numpy as np, trackml\n"
        "from mlflow.exceptions import MlflowException\n"
        "model = trackml.load(*sys.argv[1:])\n"
        "for kind in ('float32', 'float64', 'bool', 'int64'):\n"
        "    try:\n"
        "        model.predict(np.ones((2, 28, 28), kind))\n"
        "    except MlflowException as error:\n"
        "        print(kind, 'uint8' in str(error), end=';')\n"
    )
    ours = {"PYTHONPATH": f"{finished.folder}:{ROOT / 'src'}"}
    said = start("floats", task, alias, folder=finished.folder, **ours)
    assert said.stdout == "float32 True;float64 True;bool True;int64 True;", said.stderr


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
        "null among numbers": {"inputs": [[[None] * 28] * 28]},
        "not a number": {"inputs": [[[float("nan")] * 28] * 28]},
        "no inputs": {"images": images.tolist()},
        "a table": {"dataframe_split": {"columns": ["a"], "data": [[1]]}},
    }
    for name, body in bodies.items():
        answer = ask(address, body)
        assert answer.status_code == 400, (name, answer.text[:300])
    check_that_noise_is_refused(address)


def check_that_noise_is_refused(address: str) -> None:
    noise = np.random.default_rng(0).bytes(10_000_000)
    for body, kind in ((b"", "json"), (noise, "json"), (noise, "csv"), (noise, "octet-stream")):
        content = "text/csv" if kind == "csv" else f"application/{kind}"
        answer = requests.post(
            f"{address}/invocations", data=body, headers={"Content-Type": content}, timeout=60
        )
        expected = 415 if kind == "octet-stream" else 400
        assert answer.status_code == expected, (kind, answer.text[:300])
    # What MLflow's server itself stumbles over.
    for body in (b"[" * 100_000, b'{"inputs": [[[' + b"9" * 5_000 + b"]]]}"):
        headers = {"Content-Type": "application/json"}
        answer = requests.post(f"{address}/invocations", data=body, headers=headers, timeout=60)
        assert answer.status_code == 500, answer.text[:300]
    assert requests.post(f"{address}/invocations", timeout=60).status_code == 500
    assert is_up(f"{address}/ping")


@pytest.mark.services
def test_houses_are_answered_by_name_and_what_is_wrong_is_refused(
    finished: Finished, tmp_path: Path
) -> None:
    homes = load("california_housing", 0.2)
    table = pd.DataFrame(homes.test.features[:20].astype(float), columns=homes.columns)
    table.to_csv(tmp_path / "homes.csv", index=False)
    expected = in_process(finished.folder, "california_housing", "champion", tmp_path / "homes.csv")
    with served(finished.folder, "california_housing", "champion") as address:
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
            {"dataframe_split": {"columns": list(homes.columns), "data": [[1.0]]}},
            {"dataframe_split": {"columns": [*homes.columns, "MedInc"], "data": [[1.0] * 9]}},
            {"dataframe_records": []},
            {"inputs": [list(first.values())]},
        ]
        for wrong in requests_that_are_wrong:
            answer = ask(address, wrong)
            assert answer.status_code == 400, (wrong, answer.text[:300])
        for unknown in (None, 1e300):
            answer = ask(address, {"dataframe_records": [{**first, "MedInc": unknown}]})
            assert math.isnan(answer.json()["predictions"][0][0])
        check_that_noise_is_refused(address)


@pytest.mark.services
def test_what_is_found_on_canvases_is_found_when_served(finished: Finished, tmp_path: Path) -> None:
    images = canvases().test.images[:5]
    np.save(tmp_path / "canvases.npy", images)
    expected = in_process(finished.folder, "mnist_detector", "champion", tmp_path / "canvases.npy")
    assert expected
    with served(finished.folder, "mnist_detector", "champion") as address:
        answers = ask(address, {"inputs": images.tolist()}).json()["predictions"]
        # Sums of pixels in float32: 1e-4 of a pixel is 2e-6 of the canvas's width.
        exact = dict.fromkeys(("image", "label"), 0.0) | {"score": 1e-5}
        for name, most in (exact | dict.fromkeys(("x1", "y1", "x2", "y2"), 1e-4)).items():
            np.testing.assert_allclose(
                [row[name] for row in answers], [row[name] for row in expected], rtol=0, atol=most
            )
        check_that_noise_is_refused(address)
        again = ask(address, {"inputs": images.tolist()}).json()["predictions"]
        assert again == answers


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
            command = {"bash": ["bash", "-ec"], "python": [sys.executable, "-c"]}[language]
            if port := re.search(r"serve .* --port (\d+)", example):
                up = f"http://127.0.0.1:{port[1]}/ping"
                servers.enter_context(started([*command, example], up, finished.folder))
                continue
            done = subprocess.run(
                [*command, example],
                cwd=finished.folder,
                env=user_environment(),
                capture_output=True,
                text=True,
                check=False,
            )
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
