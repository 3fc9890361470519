"""Pipelines as programs: bad input, signals, a closed network, `mlflow run`."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.conftest import ROOT, entry_points, read, runs, start, user_environment
from tests.pipelines.expected import SHORT
from tests.test_imports import FRAMEWORKS
from tests.waits import waits
from trackml.data import registries, sources

BAD_INPUT = [
    ("fashion", ["--epochs", "0"], "error: --epochs 0: expected an integer >= 1"),
    ("fashion", ["--batch_size", "-1"], "error: --batch_size -1: expected an integer >= 1"),
    ("fashion", ["--dropout", "1.5"], "error: --dropout 1.5: expected a number >= 0 and < 1"),
    (
        "fashion",
        ["--learning_rate", "nan"],
        "error: --learning_rate nan: expected a number",
    ),
    (
        "fashion",
        ["--rotate", "3"],
        "error: --rotate: there is no such flag; did you mean --rotation?",
    ),
    (
        "fashion",
        ["--validation_split", "1"],
        "error: --validation_split 1: expected a number",
    ),
    (
        "fashion",
        ["--validation_split", "1e-9"],
        "error: --validation_split 1e-09: of 60",
    ),
    ("dense_mnist", ["--activation", "foo"], "error: --activation foo: expected relu or leaky"),
    ("dense_mnist", ["--patience", "-1"], "error: --patience -1: expected an integer >= 0"),
    ("dense_mnist", ["--hidden_layers", "0"], "error: --hidden_layers 0: expected an integer"),
    ("dense_mnist", ["--optimizer", "adamw"], "error: --optimizer adamw: expected adam or sgd"),
    ("dense_mnist", ["--schedule", "step"], "error: --schedule step: expected constant or"),
    (
        "cnn",
        ["--variant", "foo"],
        "error: --variant foo: expected plain or dropout or",
    ),
    (
        "cnn",
        ["--conv_layers", "4"],
        "error: --conv_layers 4: expected an integer >= 2 and",
    ),
    ("cnn", ["--weight_decay", "-1"], "error: --weight_decay -1: expected a number >= 0"),
    ("cnn", ["--learning_rate", "-1"], "error: --learning_rate -1: expected a number >= 0"),
    ("cnn", ["--device", "tpu"], "error: --device tpu: expected auto or cpu or cuda"),
    ("cnn_suite", ["--variants", "plain,foo"], "error: --variants plain,foo: expected all, or"),
    ("cnn_suite", ["--optimizers", ""], "error: --optimizers : expected all, or some of adam"),
    (
        "cnn_suite",
        ["--concurrency", "0"],
        "error: --concurrency 0: expected an integer >= 1",
    ),
    ("cnn_suite", ["--seeds", "0"], "error: --seeds 0: expected an integer >= 1 and <= 1000"),
    (
        "cnn_suite",
        ["--seed", f"{2**32 - 1}", "--seeds", "2"],
        "error: --seed 4294967296: expected",
    ),
    ("cnn_suite", ["--ray_address", "here"], "error: --ray_address here: expected local, auto"),
    ("transfer", ["--backbone", "vgg19"], "error: --backbone vgg19: expected alexnet or vgg16"),
    (
        "transfer",
        ["--backbone", "vgg16", "--image_size", "31"],
        "error: --image_size 31: vgg16 needs at least 32 pixels",
    ),
    (
        "transfer",
        ["--train", "none"],
        "error: --train none: expected head or last_block or all",
    ),
    (
        "transfer",
        ["--weights", "absent.pth"],
        "error: --weights absent.pth: expected imagenet, none, or the path of a state dict",
    ),
    ("detector", ["--digits", "0"], "error: --digits 0: expected an integer >= 1 and <= 5"),
    ("detector", ["--canvas_size", "39"], "error: --canvas_size 39: expected an integer >= 40"),
    ("scratch_mnist", ["--model", "cnn"], "error: --model cnn: expected softmax or mlp"),
    ("scratch_mnist", ["--momentum", "1"], "error: --momentum 1: expected a number >= 0 and < 1"),
    ("scratch_mnist", ["--target_loss", "-1"], "error: --target_loss -1: expected a number >= 0"),
    ("sweep", ["--pipeline", "main"], "error: --pipeline main: expected dense_mnist or cnn or"),
    ("sweep", ["--search", "bayes"], "error: --search bayes: expected grid or random or tpe"),
    ("sweep", ["--space", "dropout=2|3"], "error: --space, --dropout 2: expected a number >= 0"),
    ("sweep", ["--space", "absent.yaml"], "error: --space absent.yaml: No such file"),
    ("sweep", ["--trials", "-1"], "error: --trials -1: expected an integer >= 0"),
    ("compare", ["--task", "a'b"], "error: --task a'b: expected the name of a task, without"),
    ("compare", ["--metric", "f1"], "error: --metric f1: expected auto or accuracy or mae or"),
    ("compare", ["--min_runs", "0"], "error: --min_runs 0: expected an integer >= 1"),
    ("compare", ["--epochs", "2"], "error: --epochs: there is no such flag; --help lists them"),
    ("housing", ["--hidden_units", "64,x"], "error: --hidden_units 64,x: expected at most 20"),
    ("housing", ["--hidden_units", "64,0"], "error: --hidden_units 64,0: expected at most 20"),
    ("housing", ["--hidden_units", ""], "error: --hidden_units : expected at most 20"),
    ("housing", ["--activation", "foo"], "error: --activation foo: expected relu or leaky"),
    ("housing", ["--patience", "1.5"], "error: --patience 1.5: expected an integer >= 0"),
]


@pytest.mark.parametrize(
    ("pipeline", "flags", "line"), BAD_INPUT, ids=[" ".join(flags) for _, flags, _ in BAD_INPUT]
)
def test_bad_input_is_refused_before_anything_is_made(
    pipeline: str, flags: list[str], line: str, tmp_path: Path
) -> None:
    result = start(f"pipelines.{pipeline}", *flags, folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_weights_that_are_refused_make_no_run(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"no weights at all")
    result = start("pipelines.transfer", "--weights", "weights.pth", folder=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: --weights weights.pth: ")
    assert "weights_only" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [weights]


def test_a_loss_that_is_not_a_number_fails_the_run_and_registers_nothing(tmp_path: Path) -> None:
    result = start("pipelines.fashion", *SHORT, "--learning_rate", "1e10", folder=tmp_path)
    assert result.returncode == 1
    assert "is nan in epoch 1" in result.stderr
    (run,) = runs(tmp_path)
    assert run.info.status == "FAILED"
    assert "epoch 1" in run.data.tags["trackml.failure"]
    assert not read(tmp_path).search_registered_models()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_mid_training_leaves_the_run_killed(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    point, flags = f"{number.name}@before:batch:10", ("--epochs", "100000", "--limit", "2000")
    said = start("tests.failpoints", point, "pipelines.fashion", *flags, folder=tmp_path)
    assert said.returncode == code
    assert said.stderr.count("\n") == 1
    assert "epoch      1/100000" in said.stdout
    (run,) = runs(tmp_path)
    assert run.info.status == "KILLED"


def test_ctrl_c_in_mlflow_run_is_told_from_a_failure(tmp_path: Path) -> None:
    """The terminal signals all processes, and MLflow then signals its child again.

    The status is MLflow's last word, FAILED for all that did not end well; the tag is ours.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", "fashion"]
        + ["--env-manager", "local", "-P", "epochs=100000", "-P", "limit=2000"],
        cwd=tmp_path,
        env=user_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    assert any(line.startswith("epoch") for line in process.stdout)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate()
    (run,) = runs(tmp_path)
    assert run.info.status in {"KILLED", "FAILED"}
    assert run.data.tags["trackml.failure"] == "stopped by a signal"


@pytest.fixture
def silent_proxy() -> Iterator[str]:
    """The address of something that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_with_nothing_reachable_it_waits_for_seconds_and_says_what_to_do(
    tmp_path: Path, silent_proxy: str
) -> None:
    proxies = dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), silent_proxy
    )
    cache = tmp_path / "cache"
    command, folder = ("tests.waits", "pipelines.fashion"), {"TRACKML_DATA_DIR": str(cache)}
    result = start(*command, folder=tmp_path, no_proxy="", **folder, **proxies)
    assert result.returncode == 1
    error = result.stderr.splitlines()[-1]
    assert error.startswith("error: fashion_mnist: nobody delivered it")
    assert set(waits(result.stdout)) == {sources.ANSWER_SECONDS}  # all at the same time
    assert error.count("did not reach its registry in time") <= 1
    assert sources.ANSWER_SECONDS + registries.SIGN_SECONDS < 10
    assert f"Put into {cache / 'fashion_mnist'}: train-images-idx3-ubyte or" in error
    assert not (tmp_path / "mlflow.db").exists()


def test_help_waits_for_no_framework(tmp_path: Path) -> None:
    noted = {"PYTHONPROFILEIMPORTTIME": "1"}  # each import, on stderr
    result = start("pipelines.fashion", "--help", folder=tmp_path, **noted)
    loaded = re.findall(r"\| +(\w+)[.\w]*$", result.stderr, re.M)
    assert "pydantic" in loaded
    assert not FRAMEWORKS & set(loaded)
    assert "largest rotation, degrees [a number >= 0 and <= 180] (default: 10.0)" in " ".join(
        result.stdout.split()
    )


def test_four_starts_at_once_in_an_empty_folder_share_one_database(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "pipelines.fashion", "--epochs", "1", "--limit", "500"]
            + ["--seed", str(seed)],
            cwd=tmp_path,
            env=user_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(4)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    finished = runs(tmp_path)
    assert [run.info.status for run in finished] == ["FINISHED"] * 4
    assert len({run.info.experiment_id for run in finished}) == 1
    client = read(tmp_path)
    champion = client.get_model_version_by_alias("fashion_mnist", "champion")
    best = max(finished, key=lambda run: run.data.metrics["best_val_accuracy"])
    held = client.get_run(str(champion.run_id)).data.metrics["best_val_accuracy"]
    assert held == best.data.metrics["best_val_accuracy"]


def test_mlflow_run_works_from_another_folder_with_its_own_text_of_a_number(tmp_path: Path) -> None:
    result = start(
        *("mlflow", "run", str(ROOT), "-e", "fashion", "--env-manager", "local"),
        *("-P", "learning_rate=1e-3", "-P", "epochs=1", "-P", "limit=500"),
        folder=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    (run,) = runs(tmp_path)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "cnn")
    assert run.data.params["learning_rate"] == "1e-3"
    assert run.data.params["epochs"] == "1"
    assert "test_accuracy" in run.data.metrics


# Parameters that an entry point fixes, or that have no effect there.
NOT_TURNED = {
    "fashion": {"augment", "rotation", "zoom", "shift"},
    "fashion_aug": {"augment"},
    "cnn": {"learning_rate"},  # see MLproject
    "cnn_suite": {"learning_rate", "tracking"},
    "transfer": {"learning_rate", "image_size"},
    "sweep": {"searched"},  # what the space holds: no parameter, but logged like one
}


@pytest.mark.parametrize("name", list(entry_points()))
def test_mlproject_and_params_have_the_same_names_and_defaults(name: str) -> None:
    entry = entry_points()[name]
    (module,) = re.findall(r"-m (pipelines\.\w+)", entry["command"])
    defaults = import_module(module).Params.parse({}).as_text()
    for parameter, declared in entry["parameters"].items():
        assert str(declared["default"]) == defaults[parameter], parameter
        assert f"--{parameter} {{{parameter}}}" in entry["command"]
    undeclared = set(defaults) - set(entry["parameters"])
    assert undeclared == NOT_TURNED.get(name, set())
