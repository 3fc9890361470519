"""The arithmetic of the training steps."""

from pathlib import Path
from typing import Literal

from trackml.params import Precision

_CPU_INFO = Path("/proc/cpuinfo")  # on Linux
_AMX_FLAG = "amx_bf16"
_BFLOAT16_FLAGS = {"avx512_bf16", _AMX_FLAG, "bf16"}


def resolve_precision(precision: Precision, *, native: bool) -> Literal["float32", "bfloat16"]:
    """The precision on this machine: "auto" is bfloat16 if the hardware has it (`native`)."""
    if precision != "auto":
        return precision
    return "bfloat16" if native else "float32"


def cpu_computes_in_bfloat16() -> bool:
    """True if the CPU has bfloat16 instructions; False if that is unknown."""
    return not _BFLOAT16_FLAGS.isdisjoint(_cpu_flags())


def cpu_has_amx() -> bool:
    """True if the CPU multiplies tiles of bfloat16 matrices; False if that is unknown."""
    return _AMX_FLAG in _cpu_flags()


def _cpu_flags() -> list[str]:
    try:
        return _CPU_INFO.read_text().split()
    except OSError:
        return []
