"""The text of a configuration file, bounded in bytes; without a file nobody has to load the parser."""

from __future__ import annotations

from pathlib import Path

from flexllm_core.errors import ConfigError

MAX_BYTES = 1_000_000


def read_text(file: Path) -> str:
    """The text of a file of at most `MAX_BYTES`; of anything that can be read, a pipe or device included.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: It cannot be read, is too large or is not UTF-8.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        text = data.decode("utf-8") if len(data) <= MAX_BYTES else None
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: cannot be read: not UTF-8 at byte {error.start}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if text is None:
        raise ConfigError(f"{file}: a configuration file has at most {MAX_BYTES} bytes")
    return text
