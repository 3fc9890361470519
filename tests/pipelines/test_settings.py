"""What a user has set, in a file or in a notebook, gets into no model, and stays as it was."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
import sklearn
import torch
from numpy.typing import NDArray

import trackml
from pipelines import cnn, fashion, housing, scratch_mnist, transfer
from tests.conftest import execute, files, read, runs, start
from tests.pipelines.expected import EXPECTED, without_times
from trackml.backends import keras, standard_settings, tf
from trackml.data import TableData
from trackml.metrics import LATENCY
from trackml.models import faster_rcnn, keras as models
from trackml.models.torch import mnist_cnn
from trackml.models.transfer import transfer_network
from trackml.tracking.outbox import MISSING_TAG


class Setting(NamedTuple):
    """How something is read and set, and what a user has set."""

    get: Callable[[], Any]
    change: Callable[[Any], object]
    value: Any

    @contextmanager
    def chosen(self) -> Iterator[None]:
        before = self.get()
        self.change(self.value)
        try:
            yield
            assert self.get() == self.value
        finally:
            self.change(before)


def of_matplotlib(name: Any, value: Any) -> Setting:
    return Setting(
        lambda: mpl.rcParams[name], lambda value: mpl.rcParams.update({name: value}), value
    )


def of_pandas(name: str, value: Any) -> Setting:
    return Setting(partial(pd.get_option, name), partial(pd.set_option, name), value)


def set_default_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)


KERAS = keras.config
SETTINGS = {
    # The first, as Keras makes one of floatx where there is none.
    "dtype policy": Setting(
        lambda: KERAS.dtype_policy().name, KERAS.set_dtype_policy, "mixed_float16"
    ),
    "floatx": Setting(KERAS.floatx, KERAS.set_floatx, "float16"),
    "data format": Setting(KERAS.image_data_format, KERAS.set_image_data_format, "channels_first"),
    "epsilon": Setting(KERAS.epsilon, KERAS.set_epsilon, 0.1),
    "eager functions": Setting(
        tf.config.functions_run_eagerly, tf.config.run_functions_eagerly, True
    ),
    "XLA": Setting(tf.config.optimizer.get_jit, tf.config.optimizer.set_jit, "autoclustering"),
    "default dtype": Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "default device": Setting(torch.get_default_device, set_default_device, torch.device("meta")),
    "gradients": Setting(torch.is_grad_enabled, torch.set_grad_enabled, False),
    "autocast": Setting(
        partial(torch.is_autocast_enabled, "cpu"), partial(torch.set_autocast_enabled, "cpu"), True
    ),
    "anomalies": Setting(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, True),
    "deterministic": Setting(
        torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 2
    ),
    "products": Setting(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "products of all": Setting(
        partial(getattr, torch.backends, "fp32_precision"),
        partial(setattr, torch.backends, "fp32_precision"),
        "tf32",
    ),
    "numpy": Setting(
        np.geterr,
        lambda each: np.seterr(**each),
        dict.fromkeys(("divide", "over", "under", "invalid"), "raise"),
    ),
    "sklearn": Setting(
        lambda: sklearn.get_config()["transform_output"],
        lambda value: sklearn.set_config(transform_output=value),
        "pandas",
    ),
    "usetex": of_matplotlib("text.usetex", True),
    "format": of_matplotlib("savefig.format", "pdf"),
    "dpi": of_matplotlib("savefig.dpi", 5.0),
    "lines": of_matplotlib("lines.linewidth", 0.0),
}
NOT_OURS = {
    "digits": of_pandas("display.precision", 1),
    "width": of_pandas("display.max_colwidth", 3),
}


@contextmanager
def all_chosen() -> Iterator[None]:
    with ExitStack() as stack:
        for setting in (SETTINGS | NOT_OURS).values():
            stack.enter_context(setting.chosen())
        stack.enter_context(torch.autocast("cpu", torch.bfloat16))
        stack.enter_context(torch.inference_mode())
        yield


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_the_librarys_own_in_the_block_and_the_users_after_it(name: str) -> None:
    setting = SETTINGS[name]
    usual = setting.get()
    assert usual != setting.value
    with setting.chosen():
        with standard_settings():
            assert setting.get() == usual
        assert setting.get() == setting.value
        with pytest.raises(ValueError, match="stop"), standard_settings():
            raise ValueError("stop")
        assert setting.get() == setting.value


def test_a_theme_of_seaborn_and_inference_mode_are_left_for_the_block() -> None:
    usual = dict(mpl.rcParams)
    with mpl.rc_context(), torch.inference_mode():
        sns.set_theme("poster", "darkgrid", font="no such font")
        theme = dict(mpl.rcParams)
        with standard_settings():
            assert dict(mpl.rcParams) == usual
            assert torch.ones(1, requires_grad=True).exp().requires_grad
        assert dict(mpl.rcParams) == theme
        assert torch.is_inference_mode_enabled()


DETECTOR = {name: value.numpy() for name, value in faster_rcnn.faster_rcnn(3).state_dict().items()}
PIPELINES = [
    pytest.param(fashion, {}, marks=pytest.mark.slow),
    (housing, {}),
    pytest.param(cnn, {"variant": "dropout_batchnorm"}, marks=pytest.mark.slow),
    (scratch_mnist, {"model": "mlp"}),
    pytest.param(transfer, {"weights": "none"}, marks=pytest.mark.slow),
]


def answers(data: Any, architecture: str) -> NDArray[Any]:
    """Of the latest model, to raw inputs."""
    model = trackml.load(data.name, architecture)
    if isinstance(data, TableData):
        rows: Any = pd.DataFrame(data.test.features[:5], columns=data.columns)
    else:
        rows = data.test.images[:5].copy()
    return np.asarray(model.predict(rows))


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(("pipeline", "values"), PIPELINES)
def test_a_pipeline_makes_the_same_model_whatever_a_user_has_set(
    pipeline: Any, values: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    params = pipeline.Params.parse({"limit": 200, "epochs": 1, **values})
    data = pipeline.TASK.load(params)
    usual = pipeline.main(params)
    expected = answers(data, usual.architecture)
    with all_chosen():
        result = pipeline.main(params)
        given = answers(data, usual.architecture)
    assert result.registration.version == "2"
    assert without_times(result.history) == without_times(usual.history)
    scores = dict(usual.report.metrics) | {LATENCY: result.report.metrics[LATENCY]}
    assert result.report.metrics == scores
    np.testing.assert_array_equal(answers(data, usual.architecture), expected)
    np.testing.assert_array_equal(given, expected)
    assert not [line for line in caplog.messages if line.startswith("warning: ")]


@pytest.mark.parametrize(
    "build",
    [
        lambda: models.fashion_cnn(10, 0.5),
        lambda: models.dense_classifier([4], classes=3, batch_norm=True),
        lambda: models.with_named_columns(
            models.dense_regressor(np.ones(2), np.ones(2), [4]), ["a", "b"]
        ),
    ],
)
def test_a_network_of_keras_says_its_own_types_and_data_format(build: Callable[[], Any]) -> None:
    keras.utils.clear_session()  # Keras numbers the names of layers
    usual = build().to_json()
    keras.utils.clear_session()
    with all_chosen():
        assert build().to_json() == usual


@pytest.mark.parametrize(
    "build",
    [
        lambda: mnist_cnn(10, batch_norm=True),
        lambda: transfer_network("alexnet", 10, image_size=64, dropout=0.5),
        lambda: faster_rcnn.restore(DETECTOR),
    ],
)
def test_a_network_of_pytorch_is_float32_on_the_cpu(build: Callable[[], Any]) -> None:
    with all_chosen():
        network = build()
    assert {(each.dtype, each.device.type) for each in network.parameters()} == {
        (torch.float32, "cpu")
    }


@pytest.mark.slow
def test_a_program_depends_on_no_file_or_variable_of_its_user(tmp_path: Path) -> None:
    keras_json = {"floatx": "float16", "image_data_format": "channels_first", "backend": "jax"}
    (tmp_path / "keras.json").write_text(json.dumps(keras_json))
    (tmp_path / "matplotlibrc").write_text("text.usetex: true\nsavefig.format: pdf\n")
    said = start(
        *("pipelines.fashion", "--limit", "200", "--epochs", "1"),
        folder=tmp_path,
        KERAS_HOME=str(tmp_path),
        MATPLOTLIBRC=str(tmp_path),
        MPLBACKEND="nonsense",
        PYTHONWARNINGS="error",
    )
    assert said.returncode == 0, said.stderr
    (run,) = runs(tmp_path)
    assert (run.info.status, MISSING_TAG in run.data.tags) == ("FINISHED", False)
    assert set(files(read(tmp_path), run.info.run_id)) >= EXPECTED["fashion"].artifacts
    (file,) = tmp_path.rglob("*.keras")
    model = keras.saving.load_model(file)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    program = "import trackml, numpy as np\nmodel = trackml.load('fashion_mnist')\n"
    program += "print(model.predict(np.zeros((2, 28, 28), np.uint8)).dtype)"
    said = execute(sys.executable, "-c", program, folder=tmp_path, KERAS_HOME=str(tmp_path))
    assert said.returncode == 0, said.stderr
    assert said.stdout.endswith("float32\n")
