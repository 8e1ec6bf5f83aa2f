"""Which paths may be an output: checked before anything is locked, opened or sent."""

from __future__ import annotations

import os
from pathlib import Path

from flexllm_core.errors import JournalConflictError, JournalError

JOURNAL = ".journal"
MANIFEST = ".run.json"

SIDE_FILES = (".lock", ".tmp", ".bad", ".stale", ".rescued", JOURNAL, MANIFEST)
"""What is written beside an output, by the ending put behind its name."""


def check_output_path(output: str | Path, inputs: list[Path]) -> Path:
    """The real path of an output file, links followed.

    Raises:
        JournalConflictError: It is an input file, a folder or a device, or a file that is written beside it
            would be an input file.
        JournalError: Its folder does not exist.
    """
    path = Path(os.path.realpath(output))
    if path.is_dir():
        raise JournalConflictError(f"{output} is a folder; choose another output")
    if path.exists() and not path.is_file():
        raise JournalConflictError(f"{output} is not a regular file (a device or pipe); choose another output")
    for source in inputs:
        for written in (path, *(path.with_name(path.name + suffix) for suffix in SIDE_FILES)):
            if written.exists() and source.exists() and written.samefile(source):
                how = "is" if written == path else f"writes {written.name}, which is"
                raise JournalConflictError(f"the output {output} {how} the input file {source}; choose another output")
    if not path.parent.is_dir():
        raise JournalError(f"{output}: the folder {path.parent} does not exist")
    return path
