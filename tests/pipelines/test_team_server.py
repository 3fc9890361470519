"""A team's server as docs/team-server.md has it: PostgreSQL, passwords, files by way of it."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.conftest import ROOT, execute, read, runs, start, user_environment
from tests.pages import blocks, with_ours
from tests.pipelines.families import begun_and_stopped
from tests.pipelines.servers import free_port, postgres_cluster, started

pytestmark = pytest.mark.services
PAGE = "docs/team-server.md"
SAME_ROWS = ("--limit", "3000", "--validation_split", "0.02")
RUNS = {
    "alexnet": ("bob", "transfer", ("--epochs", "1", "--weights", "none")),
    "cnn": ("ada", "cnn", ("--epochs", "10")),
    "dense": ("bob", "dense_mnist", ("--epochs", "40")),
    "scratch-softmax": ("ada", "scratch_mnist", ("--epochs", "5")),
}
PASSWORDS = {name: f"the word of {name} in the test" for name in ("admin", "ada", "bob")}


@dataclass(frozen=True)
class Team:
    """A server that was set up as the page says."""

    folder: Path
    address: str

    def shell(self, user: str) -> Mapping[str, str]:
        """What a person has in the environment."""
        return {
            "MLFLOW_TRACKING_URI": self.address,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": PASSWORDS[user],
        }


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed here")
    folder, port = tmp_path_factory.mktemp("team"), str(free_port())
    address = f"http://127.0.0.1:{port}"
    _, database, serve, _ = blocks(PAGE, "bash")
    (settings,), (auth,), (account,) = (blocks(PAGE, each) for each in ("sh", "ini", "python"))
    place = {"/srv/mlflow": str(folder)}
    with postgres_cluster(folder) as administrator:
        run(
            ["bash", "-ec", with_ours(database, {"sudo -u postgres ": ""})],
            said="mlflow-and-this\nmlflow-and-this\n",
            **administrator,
        )
        theirs = {
            ":PASSWORD@": ":mlflow-and-this@",
            ":5432/": f":{administrator['PGPORT']}/",
            "PORT=5000": f"PORT={port}",
            "=ADMIN_PASSWORD": f"='{PASSWORDS['admin']}'",
            "=SECRET_KEY": "=0123456789abcdef",
        }
        (folder / "server.env").write_text(with_ours(settings, place | theirs))
        (folder / "venv").symlink_to(sys.prefix)
        (folder / "auth.ini").write_text(with_ours(auth, place))
        server = ["bash", "-ec", with_ours(serve, place)]
        with started(server, f"{address}/health", folder):
            for user in ("ada", "bob"):
                lines = with_ours(account, {"http://127.0.0.1:5000": address, "ada": user})
                (folder / "account.py").write_text(lines)
                said = f"{PASSWORDS['admin']}\n{PASSWORDS[user]}\n"
                run([sys.executable, "-W", "ignore", str(folder / "account.py")], said=said)
            yield Team(folder, address)


def run(command: list[str], said: str = "", **environment: str) -> None:
    """Run a command without a terminal, so that it takes passwords from what is said to it."""
    subprocess.run(
        command,
        input=said,
        env=user_environment() | environment,
        check=True,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def client(team: Team) -> Iterator[MlflowClient]:
    """What ada sees."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in team.shell("ada").items():
            patch.setenv(variable, value)
        yield read(team.address)


@pytest.fixture(scope="module")
def together(team: Team, client: MlflowClient) -> list[Run]:
    """Runs of three frameworks and of two people: all have begun before one goes on."""
    processes: dict[str, subprocess.Popen[str]] = {}
    with ExitStack() as ends:
        for name, (user, pipeline, own) in RUNS.items():
            folder = team.folder / name
            folder.mkdir()
            flags, point = (*SAME_ROWS, *own), "after:create_run"
            process = begun_and_stopped(point, folder, pipeline, *flags, **team.shell(user))
            processes[name] = process
            ends.callback(process.kill)
        for process in processes.values():
            process.send_signal(signal.SIGCONT)
        for name, process in processes.items():
            stdout, stderr = process.communicate()
            assert process.returncode == 0, (name, stdout, stderr)
    return runs(team.address)


def test_all_finish_and_one_is_champion(client: MlflowClient, together: list[Run]) -> None:
    assert [run.info.status for run in together] == ["FINISHED"] * len(RUNS)
    assert {run.data.tags["trackml.framework"] for run in together} == {"keras", "torch", "numpy"}
    assert max(run.info.start_time for run in together) < min(run.info.end_time for run in together)
    # Whoever made the model, both have versions of it.
    versions = client.search_model_versions("name = 'mnist'")
    assert {version.run_id for version in versions} == {run.info.run_id for run in together}
    champion = client.get_model_version_by_alias("mnist", "champion")
    best = max(together, key=lambda run: run.data.metrics["best_val_accuracy"])
    assert champion.run_id == best.info.run_id


def test_compare_shows_them_all(team: Team, together: list[Run], tmp_path: Path) -> None:
    said = start("pipelines.compare", "--task", "mnist", folder=tmp_path, **team.shell("bob"))
    assert said.returncode == 0, said.stderr
    for architecture in RUNS:
        assert architecture in said.stdout


def test_artifacts_and_the_champion_load_from_another_folder(
    team: Team, together: list[Run], tmp_path: Path
) -> None:
    program = (
        "import sys, mlflow, numpy as np\n"
        "print(len(mlflow.artifacts.load_image(sys.argv[1]).getbands()))\n"
        "model = mlflow.pyfunc.load_model('models:/mnist@champion')\n"
        "print(model.predict(np.zeros((2, 28, 28), np.uint8)).shape)\n"
    )
    figure = f"{together[0].info.artifact_uri}/figures/confusion_matrix.png"
    assert figure.startswith("mlflow-artifacts:")
    shell = {**team.shell("bob"), "PYTHONPATH": ""}
    said = execute(sys.executable, "-c", program, figure, folder=tmp_path, **shell)
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[-1] == "(2, 10)"
    assert (team.folder / "artifacts").is_dir()


def test_who_has_no_password_gets_nothing(team: Team, tmp_path: Path) -> None:
    stranger = {**team.shell("ada"), "MLFLOW_TRACKING_PASSWORD": "wrong"}
    said = start("pipelines.scratch_mnist", *SAME_ROWS, folder=tmp_path, **stranger)
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    experiments = f"{team.address}/api/2.0/mlflow/experiments/get"
    assert requests.get(experiments, timeout=60).status_code == 401


def test_it_answers_to_its_own_name_and_its_own_pages(team: Team) -> None:
    """As a browser asks in which ada has logged in."""
    host, origin = "tracking.example.org", "https://tracking.example.org"
    for headers, code in (
        ({"Host": host, "Origin": origin}, 200),
        ({"Host": "elsewhere.example.org", "Origin": origin}, 403),
        ({"Host": host, "Origin": "https://elsewhere.org"}, 403),
    ):
        answer = requests.post(
            f"{team.address}/ajax-api/2.0/mlflow/runs/search",
            json={"experiment_ids": ["0"]},
            headers=headers,
            auth=("ada", PASSWORDS["ada"]),
            timeout=60,
        )
        assert answer.status_code == code, headers


def test_everybodys_lines_run_against_it(team: Team, client: MlflowClient, tmp_path: Path) -> None:
    """As the page has them, but shorter, and in the environment that is there."""
    *_, lines = blocks(PAGE, "bash")
    ours = {"https://tracking.example.org": team.address, "=...": f"='{PASSWORDS['ada']}'"}
    shorter = "--experiment-name 'by hand' --env-manager local -P epochs=1 -P limit=3000"
    command = f"cd {ROOT}; {with_ours(lines, ours).strip()} {shorter}"
    run(["bash", "-ec", command], TRACKML_RUNS_DIR=str(tmp_path / "runs"))
    experiment = client.get_experiment_by_name("by hand")
    assert experiment
    (made,) = client.search_runs([experiment.experiment_id])
    assert made.info.status == "FINISHED"
