"""`flexllm version`."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from importlib.util import find_spec

PACKAGES = ("flexllm", "flexllm-core", "flexllm-providers", "flexllm-batch", "flexllm-cli", "flexllm-mock")
LIBRARIES = ("httpx", "httptools", "pydantic", "uvloop", "typer", "genai-prices")
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def version() -> None:
    """Show the versions of flexllm and of what it uses, and how requests are sent.

    Example: flexllm version
    """
    for name in (*PACKAGES, *LIBRARIES):
        try:
            number = installed(name)
        except PackageNotFoundError:
            number = "not installed"
        print(f"{name:<18} {number}")  # noqa: T201 - the result of the command
    print(f"{'Python':<18} {platform.python_version()} ({platform.system()} {platform.machine()})")  # noqa: T201
    print(f"{'transport':<18} {transport_in_use()}")  # noqa: T201


def transport_in_use() -> str:
    """How requests are sent: straight, or through the proxies that the environment names."""
    loop = "uvloop" if find_spec("uvloop") else "asyncio"
    proxies = [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())]
    return f"HTTP/1.1 on {loop}" + (f"; httpx where {', '.join(proxies)} names a proxy" if proxies else "")
