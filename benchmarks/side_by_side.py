"""Ways of doing the same thing, timed in turns: A B A B.

Timings of one machine drift with its load, so only ratios of what ran side by side are of use.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.table import Table

from trackml.model_files.saving import installed_version

ROOT = Path(__file__).parents[1]

Way = Callable[[int], float]
"""Does the thing once, in the round of that number, from 0; returns the seconds that count."""


def in_turns(ways: Mapping[str, Way], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, the ways taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            seconds[name].append(way(number))
            print(f"round {number + 1}/{rounds}: {name} {seconds[name][-1]:.3g} s", flush=True)
    return seconds


def seconds_of_process(command: Sequence[str], _round: int) -> float:
    """Seconds that a Python program takes in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        started = perf_counter()
        said(Path(folder), *command)
        return perf_counter() - started


def said(folder: Path, *command: str, **variables: str) -> str:
    """What a Python program of this checkout prints, in that folder and its store.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=own_environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def epochs_of(folder: Path) -> list[dict[str, float]]:
    """The metrics of each epoch of the only run in a folder."""
    (history,) = folder.rglob("history.json")
    rows: list[dict[str, float]] = json.loads(history.read_text(encoding="utf-8"))["epochs"]
    return rows


def own_environment() -> dict[str, str]:
    """For a program of this checkout, without the user's store: it makes a database of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return kept | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}


def show(title: str, seconds: Mapping[str, Sequence[float]], targets: Mapping[str, float]) -> None:
    """Print the first way against each other one, as ratios, with the machine and the versions.

    Args:
        targets: what the ratio to a way is to be at most.
    """
    (ours, own), *others = seconds.items()
    table = Table("way", "median", "least", "most", "ratio", "rounds", "target", title=title)
    table.columns[0].no_wrap = True
    table.add_row(ours, *_three(own))
    for name, theirs in others:
        ratios = [mine / other for mine, other in zip(own, theirs, strict=True)]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        target = f"{targets[name]:.2f}" if name in targets else ""
        ratio = f"{median(own) / median(theirs):.2f}"
        table.add_row(name, *_three(theirs), ratio, spread, target)
    console = Console(highlight=False, width=100)
    console.print(table)
    console.print(
        f"n = {len(own)} rounds in turns; ratio: {ours} to the other, of medians, then the least "
        f"and most of all rounds; {machine()}"
    )


def machine() -> str:
    """The processor, the versions and the date of a measurement."""
    names = ("numpy", "tensorflow", "keras", "torch", "ray", "mlflow")
    packages = ", ".join(f"{name} {installed_version(name)}" for name in names)
    return ", ".join(
        [
            f"{os.cpu_count()} cores of {_processor()}",
            f"Python {platform.python_version()}",
            packages,
            f"{datetime.now(UTC):%Y-%m-%d}",
        ]
    )


def _three(values: Sequence[float]) -> list[str]:
    return [f"{value:.2f} s" for value in (median(values), min(values), max(values))]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "?")
