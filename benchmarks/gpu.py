"""Every pipeline of PyTorch and Keras on the GPU, its model on a CPU, and a suite on one GPU.

Each trains for two epochs; then a process that sees no GPU loads its model. Registration has
compared the model's answers on the CPU with those of training. Without a GPU all of it runs on the
CPU, which tries this script.

python -m benchmarks.gpu --limit 6000
"""

import argparse
import tempfile
from pathlib import Path
from time import perf_counter

from mlflow.tracking import MlflowClient
from rich.console import Console
from rich.table import Table

from benchmarks.side_by_side import machine, said
from trackml.tasks import EntryPoint, find_entry_points

FRAMEWORKS = ("torch", "keras")
TRIALS_AT_ONCE = 4  # that share the GPU
LOAD = "import sys, mlflow; mlflow.pyfunc.load_model(sys.argv[1])"


def main(limit: int) -> None:
    """A row per entry point, and the time of the suite."""
    table = Table("entry point", "device", "examples/s", "whole process", "loaded on the CPU")
    with tempfile.TemporaryDirectory() as name:
        folder, shown = Path(name), Console(width=100)
        for each in find_entry_points().values():
            if each.task and each.task.framework in FRAMEWORKS:
                table.add_row(*_row(each, folder, limit))
        shown.print(table)
        flags = f"--limit={limit}", "--epochs=1", f"--concurrency={TRIALS_AT_ONCE}"
        seconds = _seconds(folder, "-m", "pipelines.cnn_suite", *flags)
        print(f"cnn_suite, {TRIALS_AT_ONCE} trials at a time: {seconds:.0f} s")
    print(f"{limit:,} examples an epoch, the second one; {machine()}")


def _row(entry: EntryPoint, folder: Path, limit: int) -> list[str]:
    preset = [f"--{flag}={str(value).lower()}" for flag, value in entry.preset.items()]
    flags = f"--limit={limit}", "--epochs=2", *preset
    seconds = _seconds(folder, "-m", entry.module.__name__, *flags)
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiments = [each.experiment_id for each in client.search_experiments()]
    (run,) = client.search_runs(experiments, order_by=["start_time DESC"], max_results=1)
    (model,) = run.outputs.model_outputs if run.outputs else []
    loading = _seconds(folder, "-c", LOAD, f"models:/{model.model_id}", CUDA_VISIBLE_DEVICES="")
    rate = run.data.metrics["samples_per_second"]
    device = run.data.tags["trackml.device"]
    return [entry.name, device, f"{rate:,.0f}", f"{seconds:.0f} s", f"{loading:.0f} s"]


def _seconds(folder: Path, *words: str, **variables: str) -> float:
    """Of a Python program, whose store is in that folder."""
    begun = perf_counter()
    said(folder, *words, **variables)
    return perf_counter() - begun


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=6000)
    main(parser.parse_args().limit)
