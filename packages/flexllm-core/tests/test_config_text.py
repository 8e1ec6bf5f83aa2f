"""The text of a configuration file: bounded, from anything that can be read, and an error that names the file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from flexllm_core.config_text import MAX_BYTES, read_text
from flexllm_core.errors import ConfigError


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    """One byte too many, and the limit itself is fine."""
    file = tmp_path / "f.yaml"
    file.write_bytes(b"#" * MAX_BYTES)
    assert len(read_text(file)) == MAX_BYTES
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="at most"):
        read_text(file)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_an_endless_device_is_refused() -> None:
    """Its size says 0."""
    with pytest.raises(ConfigError, match="at most"):
        read_text(Path("/dev/zero"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_can_be_read(tmp_path: Path) -> None:
    """`--config <(decrypt config)` works."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("a: 1",))
    writer.start()
    assert read_text(pipe) == "a: 1"
    writer.join()


def test_what_cannot_be_read_is_a_config_error_with_the_file(tmp_path: Path) -> None:
    """A folder, other encodings, names that no file can have."""
    binary = tmp_path / "binary"
    binary.write_bytes("a: é".encode("latin-1"))
    for file in (tmp_path, binary, Path("a\0b"), Path("x" * 5000), binary / "below"):
        with pytest.raises(ConfigError, match="cannot be read") as caught:
            read_text(file)
        assert str(caught.value).startswith(str(file))
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none")
