"""Pipelines as programs: bad input, a closed network, several at once."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.conftest import execute, read, runs, start
from tests.pipelines.families import begun
from tests.pipelines.servers import silent
from tests.waits import waits
from trackml.cli import parse_flags
from trackml.data import registries, sources
from trackml.errors import TrackmlError, UsageError

BAD_INPUT = [
    ("fashion", "--epochs 0", "--epochs 0: expected an integer >= 1"),
    ("fashion", "--batch_size -1", "--batch_size -1: expected an integer >= 1"),
    ("fashion", "--dropout 1.5", "--dropout 1.5: expected a number >= 0 and < 1"),
    ("fashion", "--learning_rate nan", "--learning_rate nan: expected a number"),
    ("fashion", "--rotate 3", "--rotate: there is no such flag; did you mean --rotation?"),
    ("fashion", "--validation_split 1", "--validation_split 1: expected a number"),
    ("fashion", "--validation_split 1e-9", "--validation_split 1e-09: of 60"),
    ("dense_mnist", "--activation foo", "--activation foo: expected relu or leaky"),
    ("dense_mnist", "--patience -1", "--patience -1: expected an integer >= 0"),
    ("dense_mnist", "--hidden_layers 0", "--hidden_layers 0: expected an integer"),
    ("dense_mnist", "--optimizer adan", "--optimizer adan: expected adam or sgd"),
    ("dense_mnist", "--schedule step", "--schedule step: expected constant or"),
    ("cnn", "--variant foo", "--variant foo: expected plain or dropout or"),
    ("cnn", "--conv_layers 4", "--conv_layers 4: expected an integer >= 2 and"),
    ("cnn", "--weight_decay -1", "--weight_decay -1: expected a number >= 0"),
    ("cnn", "--learning_rate -1", "--learning_rate -1: expected a number >= 0"),
    ("cnn", "--device tpu", "--device tpu: expected auto or cpu or cuda"),
    ("cnn_suite", "--variants plain,foo", "--variants plain,foo: expected all, or"),
    ("cnn_suite", "--optimizers ", "--optimizers : expected all, or some of adam"),
    ("cnn_suite", "--concurrency 0", "--concurrency 0: expected an integer >= 1"),
    ("cnn_suite", "--seeds 0", "--seeds 0: expected an integer >= 1 and <= 1000"),
    ("cnn_suite", "--seed 4294967295 --seeds 2", "--seed 4294967296: expected"),
    ("cnn_suite", "--ray_address here", "--ray_address here: expected local, auto"),
    ("transfer", "--backbone vgg19", "--backbone vgg19: expected alexnet or vgg16"),
    ("transfer", "--backbone vgg16 --image_size 31", "--image_size 31: vgg16 needs at least 32"),
    ("transfer", "--train none", "--train none: expected head or last_block or all"),
    ("transfer", "--weights absent.pth", "--weights absent.pth: expected imagenet, none, or the"),
    ("detector", "--digits 0", "--digits 0: expected an integer >= 1 and <= 5"),
    ("detector", "--canvas_size 39", "--canvas_size 39: expected an integer >= 40"),
    ("scratch_mnist", "--model cnn", "--model cnn: expected softmax or mlp"),
    ("scratch_mnist", "--momentum 1", "--momentum 1: expected a number >= 0 and < 1"),
    ("scratch_mnist", "--target_loss -1", "--target_loss -1: expected a number >= 0"),
    ("sweep", "--pipeline compare", "--pipeline compare: expected cnn or"),
    ("sweep", "--search bayes", "--search bayes: expected grid or random or tpe"),
    ("sweep", "--space dropout=2|3", "--space, --dropout 2: expected a number >= 0"),
    ("sweep", "--space absent.yaml", "--space absent.yaml: No such file"),
    ("sweep", "--trials -1", "--trials -1: expected an integer >= 0"),
    ("ensemble", "--members none", "--members none: expected two models or more"),
    ("ensemble", "--weights best", "--weights best: expected validation or equal"),
    ("compare", "--task a'b", "--task a'b: expected the name of a task, without"),
    ("compare", "--metric f-1", "--metric f-1: expected auto or the name of a metric"),
    ("compare", "--min_runs 0", "--min_runs 0: expected an integer >= 1"),
    ("compare", "--epochs 2", "--epochs: there is no such flag; --help lists them"),
    ("housing", "--hidden_units 64,x", "--hidden_units 64,x: expected at most 20"),
    ("housing", "--hidden_units 64,0", "--hidden_units 64,0: expected at most 20"),
    ("housing", "--hidden_units ", "--hidden_units : expected at most 20"),
    ("housing", "--activation foo", "--activation foo: expected relu or leaky"),
    ("housing", "--patience 1.5", "--patience 1.5: expected an integer >= 0"),
]


@pytest.mark.parametrize(("pipeline", "flags", "line"), BAD_INPUT, ids=[f for _, f, _ in BAD_INPUT])
def test_bad_input_is_refused_before_anything_is_made(
    pipeline: str, flags: str, line: str, empty_folder: Path
) -> None:
    module = import_module(f"pipelines.{pipeline}")
    with pytest.raises(UsageError) as refusal:
        module.main(parse_flags(module.Params, flags.split(" ")))
    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)
    assert not list(empty_folder.iterdir())


@pytest.mark.parametrize(
    ("pipeline", "flags", "line"), [BAD_INPUT[4], BAD_INPUT[6]], ids=["by the parser", "by main"]
)
def test_a_refusal_is_one_line_and_exit_code_2(
    pipeline: str, flags: str, line: str, tmp_path: Path
) -> None:
    result = start(f"pipelines.{pipeline}", *flags.split(" "), folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {line}")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_weights_that_are_refused_make_no_run(empty_folder: Path) -> None:
    module = import_module("pipelines.transfer")
    weights = empty_folder / "weights.pth"
    weights.write_bytes(b"no weights at all")
    with pytest.raises(TrackmlError, match=r"^--weights weights.pth: .*weights_only"):
        module.main(module.Params.parse({"weights": "weights.pth"}))
    assert list(empty_folder.iterdir()) == [weights]


def test_with_nothing_reachable_it_waits_for_seconds_and_says_what_to_do(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    command, folder = ("tests.waits", "pipelines.fashion"), {"TRACKML_DATA_DIR": str(cache)}
    with silent() as address:
        variables = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        proxies = dict.fromkeys(variables, address)
        result = start(*command, folder=tmp_path, no_proxy="", **folder, **proxies)
    assert result.returncode == 1
    error = result.stderr.splitlines()[-1]
    assert error.startswith("error: fashion_mnist: no source could provide it")
    assert set(waits(result.stdout)) == {sources.RESPONSE_SECONDS}  # all at the same time
    assert error.count("did not reach its registry in time") <= 1
    assert sources.RESPONSE_SECONDS + registries.CONTACT_SECONDS < 10
    assert f"Put into {cache / 'fashion_mnist'}: train-images-idx3-ubyte or" in error
    assert not (tmp_path / "mlflow.db").exists()


def test_a_pipeline_in_pytorch_does_not_load_tensorflow(tmp_path: Path) -> None:
    program = "import sys\nfrom pipelines.cnn import tk\nprint(tk.fit, *sys.modules)"
    loaded = execute(sys.executable, "-c", program, folder=tmp_path).stdout.split()
    assert {"torch", "tensorflow", "keras", "ray"} & set(loaded) == {"torch"}


@pytest.mark.slow
def test_four_starts_at_once_in_an_empty_folder_share_one_database(tmp_path: Path) -> None:
    short = ("--epochs", "1", "--limit", "500")
    processes = [begun(tmp_path, "scratch_mnist", *short, "--seed", str(n)) for n in range(4)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    finished = runs(tmp_path)
    assert [run.info.status for run in finished] == ["FINISHED"] * 4
    assert len({run.info.experiment_id for run in finished}) == 1
    client = read(tmp_path)
    champion = client.get_model_version_by_alias("mnist", "champion")
    best = max(finished, key=lambda run: run.data.metrics["best_val_accuracy"])
    held = client.get_run(str(champion.run_id)).data.metrics["best_val_accuracy"]
    assert held == best.data.metrics["best_val_accuracy"]
