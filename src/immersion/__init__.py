"""The geometry of data inside deep networks: measure it, see it, train with it.

The public names are listed in `__init__.pyi` and load on first use, so that importing the package
costs next to nothing and the command line answers at once.
"""

import lazy_loader

__version__ = "0.1.0"

# Type checkers read the stub instead of this line, which lazy-loader types in part only.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(  # pyright: ignore[reportUnknownVariableType]
    __name__, __file__
)
