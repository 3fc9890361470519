"""Addresses as people type and paste them, and what is shown of them."""

from pathlib import Path

import pytest

from tests.conftest import start
from trackml.errors import UsageError
from trackml.tracking import server
from trackml.tracking.address import check_address, without_password


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:5000",
        "https://tracking.example.org/mlflow/",
        "http://me:s%40cret@[::1]:5000",
        "sqlite:////home/me/a b/mlflow.db",
        "sqlite:///C#d@e'f.db?timeout=30",
        "postgresql://me:secret@host:5432/mlflow?sslmode=require",
        "postgresql+psycopg://host/mlflow",
        "mysql+pymysql://me:a/b@host/mlflow",
        "databricks",
        "databricks://profile",
    ],
)
def test_an_address_that_mlflow_takes_is_accepted(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("localhost:5000", "http://localhost:5000"),
        ("tracking.example.org:5000/", "http://tracking.example.org:5000/"),
        ("tracking.example.org/mlflow", "http://tracking.example.org/mlflow"),
        ("10.0.0.1:5000", "http://10.0.0.1:5000"),
        ("mlflow-server:80", "http://mlflow-server:80"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("//localhost:5000", "http://localhost:5000"),
        ("://localhost:5000", "http://localhost:5000"),
        ("http:/host:5000", "http://host:5000"),
        ("http//host:5000", "http://host:5000"),
        ("https:host", "https://host"),
        ("http://host:5000/#/experiments/1", "http://host:5000/"),
        ("http://host/mlflow/#/models/mnist?x=1", "http://host/mlflow/"),
        ("http://host:5000/?workspace=a#/experiments", "http://host:5000/"),
        ("host:5000/#/experiments/1", "http://host:5000/"),
        (" http://host:5000 ", "http://host:5000"),
        ("http://host:5000\n", "http://host:5000"),
        ('"http://host:5000"', "http://host:5000"),
        ("'sqlite:////a b/mlflow.db'", "sqlite:////a b/mlflow.db"),
        ("http://me:secret@host:5000/#/experiments/1", "http://***@host:5000/"),
        ("me:secret@host:5000", "http://***@host:5000"),
        ("postgres://me:secret@host/mlflow", "postgresql://***@host/mlflow"),
        ("postgresql:me:secret@host/mlflow", ""),
        ("sqlite://mlflow.db", "sqlite:///{here}/mlflow.db"),
        ("sqlite:/data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("sqlite:mlflow", "sqlite:///mlflow"),
        ("results/mlflow.db", "sqlite:///{here}/results/mlflow.db"),
        ("/data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("file:///data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("./mlruns", ""),
        ("host/path", ""),
        ("file:///data/mlruns", ""),
        ("htp://host:5000", ""),
        ("http://", ""),
        ("http://host:port", ""),
        ("http://host:99999999", ""),
        ("http://me:sec/ret@host:5000", "http://***@host:5000"),
        ("postgresql://me:se@cret@host/mlflow", "postgresql://***@host/mlflow"),
        ("  ", ""),
    ],
)
def test_a_wrong_address_is_told_in_one_line_with_the_right_one(
    empty_folder: Path, typed: str, meant: str
) -> None:
    with pytest.raises(UsageError) as refused:
        check_address(typed)
    said = str(refused.value)
    assert said.startswith("MLFLOW_TRACKING_URI=")
    remedy = f"; set MLFLOW_TRACKING_URI={meant.format(here=empty_folder)}"
    assert said.endswith(remedy) if meant else "set it to http://HOST:PORT" in said
    assert "\n" not in said
    assert "sec" not in said.replace("store", "")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:secret@host/x@y", "http://host/x@y"),
        ("postgresql://me:se/cret@host/mlflow", "postgresql://host/mlflow"),
        ("postgresql://host/x?user=me&password=secret", "postgresql://host/x?user=me&password=***"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
    ],
)
def test_a_password_is_left_out(address: str, shown: str) -> None:
    assert without_password(address) == shown


def test_the_registrys_own_address_is_checked(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "models.example.org:5000")
    words = r"; set MLFLOW_REGISTRY_URI=http://models\.example\.org:5000$"
    with pytest.raises(UsageError, match=words):
        server.prepare()


@pytest.mark.parametrize("command", [("trackml", "runs"), ("pipelines.scratch_mnist",)])
def test_a_program_refuses_a_wrong_address_and_leaves_nothing(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    said = start(*command, folder=tmp_path, MLFLOW_TRACKING_URI="localhost:5000")
    assert said.returncode == 2
    assert said.stderr.endswith("; set MLFLOW_TRACKING_URI=http://localhost:5000\n")
    assert not any(tmp_path.iterdir())
