"""The lock beside an output file: one writer at a time, and the name of the one who has it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from flexllm_core.errors import JournalConflictError, JournalError


class OutputLock:
    """Held while a run writes `output`. The system frees it when its process dies, however it dies.

    The lock file `<output>.lock` holds the process id of its holder and is removed at the end.
    """

    def __init__(self, output: Path) -> None:
        from filelock import FileLock  # only runs with an output pay for its import

        self.path = output.with_name(output.name + ".lock")
        self._output = output
        self._lock = FileLock(self.path, thread_local=False)

    def acquire(self) -> None:
        """Take the lock at once or not at all.

        Raises:
            JournalConflictError: Another process or run has it; `pid` says which.
            JournalError: The lock file cannot be made.
        """
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            error = JournalConflictError(f"{self._output} is being written by another run{self._holder_text()}")
            error.pid = self._holder()
            raise error from None
        except (OSError, NotImplementedError) as error:  # the latter where the file system has no locks
            reason = getattr(error, "strerror", None) or error
            raise JournalError(f"{self.path}: the lock file cannot be made: {reason}") from error
        with contextlib.suppress(OSError):  # on a full disk the lock itself still works
            self.path.write_text(f"{os.getpid()}\n")

    def _holder(self) -> int | None:
        try:
            return int(self.path.read_text().strip())
        except (OSError, ValueError):
            return None

    def _holder_text(self) -> str:
        pid = self._holder()
        return f" (process {pid})" if pid is not None else ""

    def release(self) -> None:
        """Remove the lock file and free the lock; a second call does nothing."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self._lock.release()
