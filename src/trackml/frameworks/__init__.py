"""All that a pipeline needs, a module per framework, imported when it is first used.

A pipeline names it on top, and `--help` still waits for neither TensorFlow nor PyTorch.
"""

import sys
from contextlib import nullcontext
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from trackml.process.garbage import loading

if TYPE_CHECKING:
    from trackml.frameworks import ensemble, keras, numpy, sklearn, torch
else:

    class _Lazy(ModuleType):
        """A module that is imported when its first attribute is used.

        It is not in `sys.modules`, as one of importlib's LazyLoader would be: PyTorch looks at all
        modules there while it is imported, and would load TensorFlow.
        """

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            with nullcontext() if self.__name__ in sys.modules else loading():
                module = import_module(self.__name__)
            return getattr(module, name)

    ensemble, keras, numpy, sklearn, torch = (
        _Lazy(f"{__name__}.{name}") for name in ("ensemble", "keras", "numpy", "sklearn", "torch")
    )

__all__ = ["ensemble", "keras", "numpy", "sklearn", "torch"]
