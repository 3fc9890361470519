"""TensorFlow and Triton in one process."""

import sys


def keep_triton_out() -> None:
    """Make Triton unimportable where TensorFlow is, unless it is there already.

    PyTorch imports Triton where it finds it. It has LLVM in it, and so has TensorFlow: the second
    of them in this order ends the process (TensorFlow 2.21, Triton 3.9). PyTorch needs Triton to
    compile models only, and does without it when it cannot be imported.
    """
    if "tensorflow" in sys.modules:
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
