"""How TensorFlow and Keras are imported, and what a seed reaches."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import user_environment
from trackml import backends
from trackml.backends import keras, seed_everything, tf

OTHER_SETTINGS = '{"backend": "torch", "floatx": "float64", "image_data_format": "channels_first"}'


def python(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code]
    environment = user_environment() | environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_an_import_is_silent_and_a_block_overrides_the_settings_of_this_machine(
    tmp_path: Path,
) -> None:
    (tmp_path / "keras.json").write_text(OTHER_SETTINGS)
    code = """
import os, sys
from trackml.backends import keras, standard_settings, tf
def settings():
    return keras.backend.backend(), keras.backend.floatx(), keras.backend.image_data_format()
with standard_settings():
    assert settings() == ("tensorflow", "float32", "channels_last"), settings()
assert settings() == ("tensorflow", "float64", "channels_first"), settings()
assert "KERAS_BACKEND" not in os.environ
assert "TF_CPP_MIN_LOG_LEVEL" not in os.environ
assert sys.modules["triton"] is None
os.write(2, b"the end")
"""
    result = python(code, KERAS_HOME=str(tmp_path))
    assert (result.returncode, result.stderr) == (0, "the end")


@pytest.mark.parametrize("backend", [pytest.param("tensorflow", marks=pytest.mark.slow), "torch"])
def test_keras_may_be_imported_before_if_with_tensorflow(backend: str) -> None:
    code = """
import sys, keras as first
from trackml.backends import keras, tf
assert keras is first
assert sys.modules["triton"] is None
"""
    result = python(code, KERAS_BACKEND=backend)
    if backend == "tensorflow":
        assert result.returncode == 0, result.stderr
    else:
        assert "already imported with its torch backend; set KERAS_BACKEND" in result.stderr


def test_a_log_level_of_the_user_is_left_alone_and_shows_all_lines() -> None:
    code = "from trackml.backends import tf; import os; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    result = python(code, TF_CPP_MIN_LOG_LEVEL="0")
    assert result.stdout == "0\n"
    assert "cpu_feature_guard" in result.stderr


def test_a_second_import_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(backends, "_import_tensorflow")
    assert (backends.keras, backends.tf) == (keras, tf)
    with pytest.raises(AttributeError, match="no attribute 'jax'"):
        backends.jax  # noqa: B018


def test_a_seed_repeats_the_random_numbers_of_all_frameworks() -> None:
    def draws(seed: int) -> list[float]:
        seed_everything(seed)
        legacy = np.random.random()  # noqa: NPY002  # the one that is seeded
        numbers = [random.random(), legacy, torch.rand(()), tf.random.uniform(())]
        return [float(number) for number in numbers]

    assert draws(1) == draws(1)
    assert not set(draws(1)) & set(draws(2))
