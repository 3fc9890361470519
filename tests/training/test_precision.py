from pathlib import Path

import pytest

from trackml.training import precision
from trackml.training.precision import cpu_computes_in_bfloat16, cpu_has_amx, resolve_precision


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        *[("avx2 avx512_bf16", True), ("amx_bf16", True), ("bf16", True)],
        *[("avx2", False), ("", False), (None, False)],
    ],
)
def test_bfloat16_is_native_if_a_flag_of_the_cpu_says_so(
    flags: str | None, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_CPU_INFO", tmp_path / "cpuinfo")
    if flags is not None:  # else it is not Linux
        (tmp_path / "cpuinfo").write_text(f"model name\t: CPU\nflags\t\t: fpu {flags}\nbugs\t:\n")
    assert cpu_computes_in_bfloat16() is expected
    assert cpu_has_amx() is (flags == "amx_bf16")


def test_auto_is_bfloat16_only_if_it_is_native() -> None:
    precisions = ("auto", "float32", "bfloat16")
    natively = [resolve_precision(name, native=True) for name in precisions]  # type: ignore[arg-type]
    otherwise = [resolve_precision(name, native=False) for name in precisions]  # type: ignore[arg-type]
    assert natively == ["bfloat16", "float32", "bfloat16"]
    assert otherwise == ["float32", "float32", "bfloat16"]
