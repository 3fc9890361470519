"""All that a pipeline needs, a module per framework, imported when it is first used.

A pipeline names it on top, and `--help` still waits for neither TensorFlow nor PyTorch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from trackml.process.garbage import importing

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
            if self.__name__ not in sys.modules:  # once, as it keeps the garbage of its moment
                with importing():
                    import_module(self.__name__)
            return getattr(import_module(self.__name__), name)

    ensemble, keras, numpy, sklearn, torch = (
        _Lazy(f"{__name__}.{name}") for name in ("ensemble", "keras", "numpy", "sklearn", "torch")
    )

__all__ = ["ensemble", "keras", "numpy", "sklearn", "torch"]
