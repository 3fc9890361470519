"""Which arithmetic to train in."""

from pathlib import Path
from typing import Literal

from trackml.fields import Precision

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def resolve_precision(asked: Precision, *, native: bool) -> Literal["float32", "bfloat16"]:
    """What `asked` means on this machine: "auto" is bfloat16 where the hardware computes in it.

    Args:
        native: the processor or GPU that will do the training computes in bfloat16.
    """
    if asked != "auto":
        return asked
    return "bfloat16" if native else "float32"


def cpu_computes_in_bfloat16() -> bool:
    """Whether the processor has instructions for it; False where that cannot be told."""
    return bool(_cpu_flags() & _BFLOAT16_FLAGS)


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()  # not Linux: float32 is right everywhere
    return {
        flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()
    }
