"""Reads local media files, only below one folder: no `..`, no `~`, no way out over symbolic links, no devices."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flexllm_core.errors import ConfigError, InputError

_SEPARATORS = re.compile(r"[/\\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WINDOWS_DRIVE = re.compile(r"/[A-Za-z]:[/\\]")
_SHOWN = 80
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = _READ | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
# Without O_NONBLOCK a named pipe would hold the thread until somebody writes into it.
_FILE = _READ | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class MediaRoot:
    """A folder below which files may be read.

    Args:
        folder: A relative one counts from the current folder of now, and `~` is the user's.

    Raises:
        ConfigError: There is no such folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._root = Path(os.path.realpath(Path(folder).expanduser()))
        if not self._root.is_dir():
            raise ConfigError(f"media_root: {os.fspath(folder)!r} is no folder")

    def read(self, reference: str, limit: int) -> bytes:
        """The content of a file. Blocks: to be called in a thread.

        Args:
            reference: A path, absolute or relative to the root, or a `file:` URL.
            limit: Bytes.

        Raises:
            InputError: It is not below the root, no regular file, too large, or cannot be read.
        """
        shown = repr(reference[:_SHOWN])
        path = _checked_path(reference, shown)
        try:
            # Where the links lead; that nobody changes them meanwhile is seen to in `_open_below`.
            real = Path(os.path.realpath(self._root / path))
            if not real.is_relative_to(self._root) or real == self._root:
                raise InputError(f"{shown} is outside the media root")
            data = _read_below(self._root, real.relative_to(self._root), limit + 1)
        except OSError as error:
            raise InputError(f"{shown} cannot be read: {_reason(error)}") from None
        if data is None:
            raise InputError(f"{shown} is no regular file")
        if len(data) > limit:
            raise InputError(f"{shown} is larger than the limit of {limit:,} bytes")
        return data


def file_name(reference: str) -> str:
    """The last part of a path or URL, without its query.

    >>> file_name("https://example.com/a/b.pdf?x=1"), file_name("c/d.png")
    ('b.pdf', 'd.png')
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", reference):
        reference = unquote(urlsplit(reference).path)
    return _SEPARATORS.split(reference)[-1]


def _checked_path(reference: str, shown: str) -> str:
    """The path that a reference names, if it may be looked at at all."""
    path = _path_of_url(reference, shown) if reference[:5].lower() == "file:" else reference
    if _CONTROL.search(path):
        raise InputError(f"{shown} holds a control character")
    if path.startswith("~"):
        raise InputError(f"{shown}: `~` is not expanded; give a path below the media root")
    if path[:2] in ("//", "\\\\", "/\\", "\\/"):
        raise InputError(f"{shown} is a path of another machine")
    if ".." in _SEPARATORS.split(path):
        raise InputError(f"{shown}: `..` is refused in a path")
    return path


def _path_of_url(url: str, shown: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InputError(f"{shown} is no file URL") from None
    if parts.netloc.lower() not in ("", "localhost"):
        raise InputError(f"{shown} names a file of another machine")
    if parts.query or parts.fragment:
        raise InputError(f"{shown}: a file URL has no query or fragment; write `?` as %3F and `#` as %23")
    path = unquote(parts.path)
    return path[1:] if os.name == "nt" and _WINDOWS_DRIVE.match(path) else path


def _read_below(root: Path, relative: Path, size: int) -> bytes | None:
    """At most `size` bytes of a file; None for what is no regular file, such as a folder or a pipe."""
    descriptor = _open_below(root, relative)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(size)
    finally:
        os.close(descriptor)


def _open_below(root: Path, relative: Path) -> int:
    """Open a file step by step from the root, following no link: a folder may have been replaced by one just now."""
    if os.open not in os.supports_dir_fd:
        return os.open(root / relative, _FILE)
    folder = os.open(root, _FOLDER)
    try:
        for name in relative.parts[:-1]:
            inner = os.open(name, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(relative.name, _FILE, dir_fd=folder)
    finally:
        os.close(folder)


def _reason(error: OSError) -> str:
    """Why a file cannot be read, without its path."""
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__
