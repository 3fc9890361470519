"""Which code a run was made by."""

import hashlib
import sys
from pathlib import Path

_PACKAGE = Path(__file__).parent


def digest_of(made_by: type) -> str:
    """SHA-256 of trackml's own sources, and of the file that defines a class of parameters."""
    module = sys.modules[made_by.__module__]
    own = getattr(module, "__file__", None)
    files = sorted(_PACKAGE.rglob("*.py")) + ([Path(own)] if own else [])
    total = hashlib.sha256()
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
