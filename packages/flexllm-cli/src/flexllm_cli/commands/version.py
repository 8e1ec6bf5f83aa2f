"""`flexllm version`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

PACKAGES = ("flexllm", "flexllm-core", "flexllm-providers", "flexllm-batch", "flexllm-cli", "flexllm-mock")
LIBRARIES = ("httpx", "httptools", "pydantic", "uvloop")


def version() -> None:
    """Show the versions of flexllm's packages, of Python and of the key libraries."""
    for name in (*PACKAGES, *LIBRARIES):
        try:
            number = installed(name)
        except PackageNotFoundError:
            number = "not installed"
        print(f"{name:<18} {number}")  # noqa: T201 - the result of the command
    print(f"{'Python':<18} {platform.python_version()}")  # noqa: T201
