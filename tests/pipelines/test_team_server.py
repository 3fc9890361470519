"""A team's server as docs/team-server.md has it: PostgreSQL, passwords, files by way of it."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.conftest import start, user_environment
from tests.pipelines.families import begun
from tests.pipelines.servers import free_port, postgres, started
from tests.test_docs import blocks

pytestmark = pytest.mark.services
PAGE = "docs/team-server.md"
SAME_ROWS = ("--limit", "3000", "--validation_split", "0.02")
RUNS = {
    "softmax": ("scratch_mnist", ("--epochs", "5")),
    "mlp": ("scratch_mnist", ("--epochs", "5", "--model", "mlp")),
    "dense": ("dense_mnist", ("--epochs", "2")),
    "cnn": ("cnn", ("--epochs", "2")),
}


@dataclass(frozen=True)
class Team:
    """A server that was set up as the page says, and what ada has in her shell."""

    folder: Path
    address: str
    shell: Mapping[str, str]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed here")
    folder = tmp_path_factory.mktemp("team")
    port = free_port()
    install, differs, serve, account, _ = blocks(PAGE, "bash")
    assert "psycopg[binary]" in install
    (auth,) = blocks(PAGE, "ini")
    (folder / "auth.ini").write_text(auth)
    with postgres(folder) as database:
        ours = {
            "DATABASE": database,
            "ARTIFACTS": str(folder / "artifacts"),
            "NAMES": f"127.0.0.1,127.0.0.1:{port}",
            "ADDRESS": "127.0.0.1",
            "PORT": str(port),
            "ADMIN_PASSWORD": "a password of the test",
            "SECRET_KEY": "a secret of the test",
            "SERVER": f"http://127.0.0.1:{port}",
            "ADAS_PASSWORD": "another of the test",
        }
        assert set(re.findall(r"(\w+)=", differs)) < set(ours)
        with started(["bash", "-ec", serve], f"{ours['SERVER']}/health", folder, **ours):
            environment = user_environment() | ours
            subprocess.run(["bash", "-ec", account], env=environment, cwd=folder, check=True)
            shell = {"MLFLOW_TRACKING_URI": ours["SERVER"], "MLFLOW_TRACKING_USERNAME": "ada"}
            shell["MLFLOW_TRACKING_PASSWORD"] = ours["ADAS_PASSWORD"]
            yield Team(folder, ours["SERVER"], shell)


@pytest.fixture(scope="module")
def together(team: Team) -> list[Run]:
    """Runs of three frameworks that went on at the same time."""
    processes = {}
    for name, (pipeline, flags) in RUNS.items():
        folder = team.folder / name
        folder.mkdir()
        processes[name] = begun(folder, pipeline, *SAME_ROWS, *flags, **team.shell)
    for name, process in processes.items():
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, (name, stdout, stderr)
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in team.shell.items():
            patch.setenv(variable, value)
        client = MlflowClient(team.address, team.address)
        experiment = client.get_experiment_by_name("mnist")
        assert experiment
        return list(client.search_runs([experiment.experiment_id]))


def test_all_finish_and_one_is_champion(
    team: Team, together: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [run.info.status for run in together] == ["FINISHED"] * len(RUNS)
    assert {run.data.tags["trackml.framework"] for run in together} == {"keras", "torch", "numpy"}
    for variable, value in team.shell.items():
        monkeypatch.setenv(variable, value)
    client = MlflowClient(team.address, team.address)
    versions = client.search_model_versions("name = 'mnist'")
    assert {version.run_id for version in versions} == {run.info.run_id for run in together}
    champion = client.get_model_version_by_alias("mnist", "champion")
    best = max(together, key=lambda run: run.data.metrics["best_val_accuracy"])
    assert champion.run_id == best.info.run_id


def test_compare_shows_them_all(team: Team, together: list[Run], tmp_path: Path) -> None:
    said = start("pipelines.compare", "--task", "mnist", folder=tmp_path, **team.shell)
    assert said.returncode == 0, said.stderr
    for architecture in ("scratch-softmax", "scratch-mlp", "dense", "cnn"):
        assert architecture in said.stdout


def test_artifacts_and_the_champion_load_from_another_folder(
    team: Team, together: list[Run], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere.py").write_text(
        "import sys, mlflow, numpy as np\n"
        "print(len(mlflow.artifacts.load_image(sys.argv[1]).getbands()))\n"
        "model = mlflow.pyfunc.load_model('models:/mnist@champion')\n"
        "print(model.predict(np.zeros((2, 28, 28), np.uint8)).shape)\n"
    )
    figure = f"{together[0].info.artifact_uri}/figures/confusion_matrix.png"
    assert figure.startswith("mlflow-artifacts:")
    said = start("elsewhere", figure, folder=tmp_path, PYTHONPATH=str(tmp_path), **team.shell)
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[-1] == "(2, 10)"
    assert (team.folder / "artifacts").is_dir()


def test_who_has_no_password_gets_nothing(team: Team, tmp_path: Path) -> None:
    stranger = {**team.shell, "MLFLOW_TRACKING_PASSWORD": "wrong"}
    said = start("pipelines.scratch_mnist", *SAME_ROWS, folder=tmp_path, **stranger)
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert (
        requests.get(f"{team.address}/api/2.0/mlflow/experiments/get", timeout=5).status_code == 401
    )


def test_another_name_than_its_own_is_refused(team: Team) -> None:
    said = requests.get(team.address, headers={"Host": "elsewhere.example.org"}, timeout=5)
    assert said.status_code in (400, 403)


def test_mlflow_run_against_it_ends_in_the_experiment_that_is_named(
    team: Team, tmp_path: Path
) -> None:
    from tests.conftest import ROOT

    command = ["run", str(ROOT), "-e", "scratch_mnist", "--env-manager", "local"]
    command += ["--experiment-name", "by hand", "-P", "epochs=2", "-P", "limit=3000"]
    said = subprocess.run(
        [sys.executable, "-m", "mlflow", *command],
        cwd=tmp_path,
        env=user_environment() | {**team.shell, "TRACKML_RUNS_DIR": str(tmp_path / "runs")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
