"""`compare` over 10,000 runs against nothing but paging through them: time and peak memory.

python -m benchmarks.compare --rounds 5
"""

import argparse
import sqlite3
import tempfile
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np

from benchmarks.models import cost
from benchmarks.side_by_side import in_turns, show
from trackml.tracking.database import create_database

RUNS = 10_000
SEEDS = 5
OF_PAGING = 1.3  # times its seconds
MEMORY = 2**30
CURVES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "epoch_seconds")
SUMMARY = ("best_epoch", "best_val_loss", "model_size_bytes", "prediction_seconds_per_1000")
TEST = ("test_loss", "test_f1_macro", *(f"test_f1_class_{label}" for label in range(10)))


def main(rounds: int, runs: int) -> None:
    """A store of runs that nobody trained, and what both ways make of it."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "made")
        made.mkdir()
        fill(made, runs)
        peaks: list[int] = []

        def seconds_of(module: str, _round: int) -> float:
            seconds, peak = cost([module], made)  # `compare` adds a run, of no task
            if module == "pipelines.compare":
                peaks.append(peak)
            return seconds

        seconds = in_turns(
            {
                "compare": partial(seconds_of, "pipelines.compare"),
                "search_runs": partial(seconds_of, "benchmarks.page_through"),
            },
            rounds,
        )
        show(f"{runs:,} runs, whole process", seconds, targets={"search_runs": OF_PAGING})
        print(f"peak memory of compare: {max(peaks) / 2**20:.0f} MiB, target {MEMORY / 2**20:.0f}")


def fill(folder: Path, count: int) -> None:
    """A database with so many finished runs of mnist, SEEDS of each configuration.

    Written row by row into MLflow's tables: through its client it would take minutes.
    """
    path = folder / "mlflow.db"
    create_database(path)
    random = np.random.default_rng(0)
    with sqlite3.connect(path) as database:
        database.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, "
            "creation_time, last_update_time) VALUES (1, 'mnist', ?, 'active', 0, 0)",
            (str(folder / "mlruns"),),
        )
        for number in range(count):
            _insert(database, number, random)
    database.close()


def _insert(database: sqlite3.Connection, number: int, random: np.random.Generator) -> None:
    run_id, configuration = uuid4().hex, number // SEEDS
    framework, architecture = (("torch", "cnn"), ("keras", "dense"), ("numpy", "scratch-mlp"))[
        configuration % 3
    ]
    database.execute(
        "INSERT INTO runs (run_uuid, name, source_type, status, start_time, end_time, "
        "lifecycle_stage, artifact_uri, experiment_id, user_id) "
        "VALUES (?, ?, 'UNKNOWN', 'FINISHED', ?, ?, 'active', '', 1, 'nobody')",
        (run_id, architecture, number, number + 1),
    )
    tags = {
        "trackml.task": "mnist",
        "trackml.framework": framework,
        "trackml.architecture": architecture,
        "trackml.data_sha256": "0" * 64,
        "trackml.version": "0",
    }
    params = {
        "seed": number % SEEDS,
        "learning_rate": 0.001 * (1 + configuration),
        "model_parameters": 100_000,
        "validation_samples": 6_000,
        **dict.fromkeys(("epochs", "batch_size", "limit", "train_samples", "test_samples"), 8),
        **dict.fromkeys(("optimizer", "schedule", "variant", "device", "precision"), "usual"),
    }
    for table, values in (("tags", tags), ("params", params)):
        database.executemany(
            f"INSERT INTO {table} (run_uuid, key, value) VALUES (?, ?, ?)",
            [(run_id, key, str(value)) for key, value in values.items()],
        )
    best = random.normal(0.9 + 0.05 * (configuration % 97) / 97, 0.002)
    # On the test rows the order is the opposite one.
    scores = dict.fromkeys((*CURVES, *SUMMARY, *TEST), 0.5)
    scores |= {"best_val_accuracy": best, "test_accuracy": 1.8 - best, "best_epoch": 8}
    latest = [(run_id, name, value, 0, 8, 0) for name, value in scores.items()]
    for table in ("latest_metrics", "metrics"):
        database.executemany(
            f"INSERT INTO {table} (run_uuid, key, value, timestamp, step, is_nan) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            latest,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args()
    main(given.rounds, given.runs)
