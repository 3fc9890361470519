"""Which code a run was made by."""

import hashlib
import sys
from pathlib import Path

_PACKAGE = Path(__file__).parent


def digest_of(made_by: type) -> str:
    """SHA-256 of trackml's sources, and of those beside the one that defines a class."""
    file = getattr(sys.modules[made_by.__module__], "__file__", None)
    beside = sorted(Path(file).absolute().parent.glob("*.py")) if file else []
    files = [*sorted(_PACKAGE.rglob("*.py")), *beside]
    total = hashlib.sha256()
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
