"""Which arithmetic to train in."""

from pathlib import Path
from typing import Literal

from trackml.params import Precision

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def resolve_precision(asked: Precision, *, gpu: bool = False) -> Literal["float32", "bfloat16"]:
    """What `asked` means on this machine: "auto" is bfloat16 where the hardware computes in it.

    Args:
        gpu: training runs on a GPU; every one that current frameworks support knows bfloat16.
    """
    if asked != "auto":
        return asked
    return "bfloat16" if gpu or _cpu_flags() & _BFLOAT16_FLAGS else "float32"


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()  # not Linux: float32 is right everywhere
    return {
        flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()
    }
