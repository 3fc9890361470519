"""What the models of `compare` cost: time and peak memory of whole runs, one after another.

python -m benchmarks.models FOLDER --seeds 0 1   # runs go to FOLDER/mlflow.db
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from benchmarks.side_by_side import ROOT, machine

MODELS = {
    "cnn": ["pipelines.cnn"],
    "alexnet": ["pipelines.transfer", "--backbone", "alexnet", "--weights", "none"],
    "vgg16": ["pipelines.transfer", "--backbone", "vgg16", "--weights", "none"],
    "detector": ["pipelines.detector"],
}


def main(folder: Path, models: list[str], seeds: list[int]) -> None:
    """Run each model with each seed, and print what it took; at the end, their comparison."""
    folder.mkdir(parents=True, exist_ok=True)
    print(machine(), flush=True)
    for model in models:
        for seed in seeds:
            seconds, peak = cost([*MODELS[model], "--seed", str(seed)], folder)
            print(f"{model} seed {seed}: {seconds:.0f} s, {peak / 2**30:.2f} GiB", flush=True)
    cost(["pipelines.compare"], folder, quiet=False)


def cost(command: list[str], folder: Path, *, quiet: bool = True) -> tuple[float, int]:
    """Seconds of a module as a process, and the most memory that it held, in bytes."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    started = perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=kept | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        stdout=subprocess.DEVNULL if quiet else None,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return perf_counter() - started, usage.ru_maxrss * unit


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    given = parser.parse_args()
    main(given.folder.absolute(), given.models, given.seeds)
