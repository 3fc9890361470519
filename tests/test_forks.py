"""Which programs of tests are forks of a process that has their libraries."""

import pytest

from tests.programs import framework_to_fork, user_environment

COMMAND = ("pipelines.cnn", "--limit", "500")


@pytest.mark.usefixtures("client")  # for which trackml sets variables of MLflow
def test_a_training_is_a_fork_whatever_this_process_has_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Libraries set variables as they are loaded, which a user's shell does not have."""
    import mlflow  # noqa: F401
    import ray.tune  # noqa: F401
    import torch  # noqa: F401

    from trackml.backends import keras  # noqa: F401

    assert framework_to_fork(COMMAND, user_environment()) == "torch"
    monkeypatch.setenv("TRACKML_DATA_DIR", "elsewhere")
    assert framework_to_fork(COMMAND, user_environment()) == "torch"
    assert user_environment()["TRACKML_DATA_DIR"] == "elsewhere"


@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "PYTHONHASHSEED", "CUDA_VISIBLE_DEVICES"])
def test_what_libraries_read_as_they_load_takes_a_process_of_its_own(variable: str) -> None:
    assert framework_to_fork(COMMAND, user_environment() | {variable: "7"}) is None


def test_commands_and_suites_are_processes_of_their_own() -> None:
    assert framework_to_fork(("trackml", "runs"), user_environment()) is None
    assert framework_to_fork(("pipelines.cnn_suite",), user_environment()) is None
