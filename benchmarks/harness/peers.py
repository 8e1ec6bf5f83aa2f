"""Other people's packages, each in a virtual environment of its own that is made when it is first needed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

DEFAULT_CACHE = Path("~/.cache/flexllm-bench").expanduser()

_READY = ".ready"  # is written last: an environment without it is not whole


class PeerError(Exception):
    """A peer that cannot be installed."""


def peer_python(cache: Path, requirements: tuple[str, ...]) -> Path:
    """The Python of the environment that holds these requirements, made now if it is not there.

    Raises:
        PeerError: It cannot be made.
    """
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache / "-".join([version, *(name.replace("==", "-") for name in requirements)])
    python = folder / "bin" / "python"
    if not (folder / _READY).exists():
        print(f"installing {' '.join(requirements)} into {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        for command in _commands(folder, python, requirements):
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                raise PeerError(f"cannot install {' '.join(requirements)}: {result.stderr.strip()[-400:]}")
        (folder / _READY).touch()
    return python


def _commands(folder: Path, python: Path, requirements: tuple[str, ...]) -> list[list[str]]:
    uv = _find_uv()
    if uv is None:
        return [[sys.executable, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", "-q", *requirements]]
    return [
        [uv, "venv", "-q", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "-q", "--python", str(python), *requirements],
    ]


def _find_uv() -> str | None:
    """Hatch names its uv to what it runs; otherwise the one that this Python or the PATH has."""
    if named := os.environ.get("HATCH_UV"):
        return named
    if importlib.util.find_spec("uv") is not None:
        uv = importlib.import_module("uv")
        with contextlib.suppress(FileNotFoundError):
            found: str = uv.find_uv_bin()
            return found
    return shutil.which("uv")


def installed_version(python: Path, package: str) -> str:
    """The version of a package in an environment; `not installed` where it has none."""
    code = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
    result = subprocess.run([str(python), "-c", code, package], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else "not installed"
