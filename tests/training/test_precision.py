import pytest

from trackml.training import precision
from trackml.training.precision import cpu_computes_in_bfloat16, resolve_precision


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx2", "avx512_bf16"}, True), ({"amx_bf16"}, True), ({"avx2"}, False), (set(), False)],
)
def test_the_processor_is_asked_what_it_computes_in(
    flags: set[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu_flags", lambda: flags)
    assert cpu_computes_in_bfloat16() is expected


def test_auto_is_what_the_hardware_computes_in() -> None:
    assert resolve_precision("auto", native=True) == "bfloat16"
    assert resolve_precision("auto", native=False) == "float32"


def test_what_was_asked_for_is_what_one_gets() -> None:
    assert resolve_precision("float32", native=True) == "float32"
    assert resolve_precision("bfloat16", native=False) == "bfloat16"
