"""Training of `housing` by trackml's loop against `model.fit` of the same model on arrays.

python -m benchmarks.housing --rounds 5
"""

import argparse
from functools import partial
from statistics import mean, stdev
from time import perf_counter

from sklearn.preprocessing import StandardScaler

from benchmarks.arithmetic import dense_flops, print_share
from benchmarks.side_by_side import in_turns, show
from pipelines.housing import Params
from trackml.backends import keras, seed_everything
from trackml.data import load
from trackml.metrics import regression_metrics
from trackml.models.keras import dense_regressor
from trackml.params import parse_widths
from trackml.training.keras import fit, predictor


def main(rounds: int, epochs: int) -> None:
    """Each round has a seed of its own, which both ways start from."""
    data = load("california_housing", validation_split=0.2)
    scaler = StandardScaler().fit(data.train.features)
    scores: dict[str, list[dict[str, float]]] = {"trackml": [], "model.fit": []}

    def train(name: str, seed: int) -> float:
        documented = {"batch_size": 32, "learning_rate": 0.001}
        params = Params.parse(documented | {"epochs": epochs, "seed": seed})
        seed_everything(params.seed)
        model = dense_regressor(scaler.mean_, scaler.scale_, parse_widths(params.hidden_units))
        adam = keras.optimizers.Adam(params.learning_rate)
        started = perf_counter()
        if name == "trackml":
            fit(model, data, params, optimizer=adam)
        else:
            model.compile(adam, loss="mse", metrics=["mae"])
            model.fit(
                *data.train.arrays,
                batch_size=params.batch_size,
                epochs=epochs,
                validation_data=data.validation.arrays,
                verbose=0,
            )
        seconds = perf_counter() - started
        answers = predictor(model)(data.test.features)
        scores[name].append(regression_metrics(answers, data.test.target))
        return seconds

    seconds = in_turns({name: partial(train, name) for name in scores}, rounds)
    show(f"housing, training for {epochs} epochs", seconds, targets={"model.fit": 0.45})
    rate = epochs * len(data.train) / min(seconds["trackml"])  # validation included
    units = parse_widths(Params.parse({}).hidden_units)
    print_share("housing", dense_flops(8, *units, 1), rate, "float32")
    for name, reached in scores.items():
        for metric in ("rmse", "mae"):
            values = [score[metric] for score in reached]
            spread = f" ± {stdev(values):.4f}" if rounds > 1 else ""
            print(f"{name}: test {metric} {mean(values):.4f}{spread} (seeds 0 to {rounds - 1})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=100)
    given = parser.parse_args()
    main(given.rounds, given.epochs)
