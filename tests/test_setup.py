"""What `make` installs, and the files for Docker, which no test can build."""

import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, execute

PIN = re.compile(r"^([\w.-]+)==([^\s;]+)( ; .+?)?$", re.MULTILINE)
CPU, ALL = "requirements-cpu.txt", "requirements.txt"


def pins(file: str) -> dict[str, str]:
    return {name: version for name, version, _ in PIN.findall((ROOT / file).read_text())}


def test_without_a_gpu_the_same_versions_are_installed_but_for_what_only_a_gpu_uses() -> None:
    everything, cpu = pins(ALL), pins(CPU)
    assert cpu.pop("tensorflow-cpu") == everything["tensorflow"]
    assert cpu.items() <= everything.items()
    left_out = everything.keys() - cpu.keys()
    assert {"triton", "nvidia-cusolver"} < left_out
    assert all(re.match("cuda-|nvidia-|triton", name) for name in left_out)


def test_they_are_made_by_make_requirements(tmp_path: Path) -> None:
    for name in ("Makefile", ALL):
        shutil.copy(ROOT / name, tmp_path)
    assert execute("make", CPU, folder=tmp_path).returncode == 0
    assert (tmp_path / CPU).read_text() == (ROOT / CPU).read_text(), "run `make requirements`"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("GPU=no",), "requirements-cpu.txt"),
        (("GPU=yes",), "requirements.txt"),
        (("GPU=maybe",), "GPU=maybe: say yes or no"),
    ],
)
def test_a_gpu_decides_what_is_installed(words: tuple[str, ...], line: str, tmp_path: Path) -> None:
    for name in ("Makefile", ALL, CPU, "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    said = execute("make", "--dry-run", ".venv/ready", *words, folder=tmp_path)
    assert re.search(rf"\b{re.escape(line)}", said.stdout + said.stderr)


def test_the_dockerfile_is_linted() -> None:
    lint = ["hadolint", "--failure-threshold", "info", str(ROOT / "Dockerfile")]
    assert subprocess.run(lint, check=False).returncode == 0


def test_the_compose_file_is_one() -> None:
    text = (ROOT / "compose.yaml").read_text()
    spec = import_module("compose_spec")
    spec.PyCompose.from_yaml(text).validate()  # else it raises
    services = yaml.safe_load(text)["services"]
    targets = re.findall(r"^FROM .* AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for service in services.values():
        assert service.get("build", {"target": "server"})["target"] in targets
        assert services.keys() >= set(service.get("depends_on", ()))


def test_docker_gets_what_the_images_copy_and_no_secrets() -> None:
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert allowed[0] == "*"
    copied = re.findall(
        r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    for name in " ".join(copied).split():
        assert any(Path(name).match(pattern.removeprefix("!")) for pattern in allowed[1:])
        assert (ROOT / name).exists()
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()
