"""Lazy exports of a package: a public name is imported from its module when it is first used (PEP 562).

So `import flexllm` costs next to nothing, and whoever needs one part does not load the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(
    package: str, homes: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The module-level `__getattr__` and `__dir__` of a package.

    Args:
        package: The package's `__name__`.
        homes: The full name of each module with the public names that it gives.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def getattr_(name: str) -> Any:
        module = home_of.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(module), name)
        vars(import_module(package))[name] = value  # the next use finds it at once
        return value

    return getattr_, lambda: sorted(home_of)
