"""`cnn_suite` of 12 short runs against the same 12 trainings, bare, one after another.

python -m benchmarks.cnn_suite --rounds 3 --epochs 3
"""

import argparse
from functools import partial

from benchmarks.side_by_side import in_turns, seconds_of_process, show


def main(rounds: int, epochs: int) -> None:
    """Whole processes: with the start of Ray, validation, tests, figures, models, registration."""
    short = ["--epochs", str(epochs)]
    seconds = in_turns(
        {
            "cnn_suite": partial(seconds_of_process, ["-m", "pipelines.cnn_suite", *short]),
            "12 bare trainings": partial(
                seconds_of_process, ["-m", "benchmarks.bare_trainings", *short]
            ),
        },
        rounds,
    )
    show(f"12 runs of {epochs} epochs", seconds, targets={"12 bare trainings": 1.2})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    main(given.rounds, given.epochs)
