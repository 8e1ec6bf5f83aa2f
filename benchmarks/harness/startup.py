"""How long the command and the import take to be there."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.child import clean_environ, run_child

HELP = "flexllm --help"
VERSION = "flexllm version"
IMPORT = 'python -c "import flexllm"'
IMPORT_CLIENT = 'python -c "from flexllm import LLMClient"'
NOTHING = 'python -c "pass"'


def startup_times(folder: Path, repeats: int) -> dict[str, float]:
    """Median seconds of each command, run in turn; the first of all rounds fills the caches and is not counted.

    Raises:
        ChildError: One of them fails.
    """
    commands: Mapping[str, list[str]] = {
        NOTHING: [sys.executable, "-c", "pass"],
        IMPORT: [sys.executable, "-c", "import flexllm"],
        IMPORT_CLIENT: [sys.executable, "-c", "from flexllm import LLMClient"],
        VERSION: [_flexllm(), "version"],
        HELP: [_flexllm(), "--help"],
    }
    environ = clean_environ(folder)
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(repeats + 1):
        for name, command in commands.items():
            usage = run_child(command, cwd=folder, environ=environ, timeout=60)
            if number:
                seconds[name].append(usage.seconds)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _flexllm() -> str:
    """The command beside this Python."""
    return str(Path(sys.executable).with_name("flexllm"))
