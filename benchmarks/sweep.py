"""`sweep` with TPE and pruning against random search of the same cost, on `cnn`.

python -m benchmarks.sweep --seeds 0 1 2
"""

import argparse
import io
import tempfile
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.tracking import MlflowClient

from benchmarks.models import cost

TRIALS = 20
SPACE = (
    "learning_rate=1e-4..1e-1 log, optimizer=adam|sgd|rmsprop, batch_size=16..128 log, "
    "dropout=0.0..0.6, variant=plain|dropout|batchnorm|dropout_batchnorm"
)
COMMON = [
    "--pipeline",
    "cnn",
    "--space",
    SPACE,
    "--trials",
    str(TRIALS),
    "--epochs",
    "4",
    "--limit",
    "5000",
]
WAYS = {"random": ["--search", "random"], "tpe, pruned": ["--search", "tpe", "--prune"]}


def main(seeds: list[int]) -> None:
    """A row per seed and way; cost is counted in epochs, as times are noisy."""
    rows = []
    for seed in seeds:
        tried = {name: trials_of([*flags, "--seed", str(seed)]) for name, flags in WAYS.items()}
        epochs = tried["tpe, pruned"]["epochs"].sum()
        random = tried["random"].sort_values("trial")
        tried["random, same cost"] = random[random["epochs"].cumsum() <= epochs]
        for name, trials in tried.items():
            finished = trials[trials["state"] == "finished"]
            rows.append(
                {
                    "seed": seed,
                    "search": name,
                    "trials": len(trials),
                    "pruned": (trials["state"] == "pruned").sum(),
                    "epochs": trials["epochs"].sum(),
                    "best": finished["best_val_accuracy"].max(),
                }
            )
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    print(table.groupby("search")[["pruned", "epochs", "best"]].agg(["mean", "std"]).to_string())


def trials_of(flags: list[str]) -> pd.DataFrame:
    """The trials.csv of a sweep in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        cost(["pipelines.sweep", *COMMON, *flags], Path(folder))
        client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
        (experiment,) = client.search_experiments(filter_string="name = 'mnist'")
        (parent,) = client.search_runs(
            [experiment.experiment_id], "tags.`trackml.architecture` = 'sweep'"
        )
        text = mlflow.artifacts.load_text(f"{parent.info.artifact_uri}/trials.csv")
        return pd.read_csv(io.StringIO(text))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    main(parser.parse_args().seeds)
