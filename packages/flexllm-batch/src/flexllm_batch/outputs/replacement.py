"""Replaces a file by a whole new one: durable when it is done, and as it was when that fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from flexllm_batch.outputs.journal import sync_folder

_BUFFER = 1 << 20


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path`, called like it with `.tmp`, that takes its place at the end.

    Whatever is read from the old file must be closed before: not every system renames over an open file.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb", buffering=_BUFFER) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
