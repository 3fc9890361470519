"""Many runs of one pipeline, executed by Ray Tune: what to try, who does it, what it shows."""

DEFAULT_TRIALS = 20  # of a random search, and of TPE
MAX_TRIALS = 10_000
