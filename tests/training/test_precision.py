import pytest

from trackml.training import precision
from trackml.training.precision import resolve_precision


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx2", "avx512_bf16"}, "bfloat16"), ({"amx_bf16"}, "bfloat16"), ({"avx2"}, "float32")],
)
def test_auto_is_bfloat16_where_the_processor_computes_in_it(
    flags: set[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu_flags", lambda: flags)
    assert resolve_precision("auto") == expected
    assert resolve_precision("auto", gpu=True) == "bfloat16"


def test_what_was_asked_for_is_what_one_gets() -> None:
    assert resolve_precision("float32", gpu=True) == "float32"
    assert resolve_precision("bfloat16") == "bfloat16"
