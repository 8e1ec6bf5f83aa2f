"""Which paths may be an output."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flexllm_batch.outputs.path import SIDE_FILES, check_output_path
from flexllm_core.errors import JournalConflictError, JournalError


def test_a_new_file_and_an_old_one_may_be_outputs(tmp_path: Path) -> None:
    """The real path is returned."""
    assert check_output_path(str(tmp_path / "new.jsonl"), []) == tmp_path / "new.jsonl"
    (tmp_path / "old.jsonl").touch()
    assert check_output_path(tmp_path / "old.jsonl", [tmp_path / "missing.jsonl"]) == tmp_path / "old.jsonl"


def test_a_link_is_followed(tmp_path: Path) -> None:
    """The file behind it is the output, so that a rewrite does not replace the link."""
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real.jsonl")
    assert check_output_path(tmp_path / "link.jsonl", []) == tmp_path / "real.jsonl"


def test_the_input_may_not_be_the_output(tmp_path: Path) -> None:
    """Neither by its name, nor by another spelling, a symbolic link or a hard link."""
    source = tmp_path / "in.jsonl"
    source.write_text("{}")
    (tmp_path / "soft").symlink_to(source)
    (tmp_path / "hard").hardlink_to(source)
    for output in (source, tmp_path / "x" / ".." / "in.jsonl", tmp_path / "soft", tmp_path / "hard"):
        with pytest.raises(JournalConflictError, match="is the input file"):
            check_output_path(output, [source])


@pytest.mark.parametrize("suffix", SIDE_FILES)
def test_the_input_may_not_be_written_beside_the_output(tmp_path: Path, suffix: str) -> None:
    """A temporary, side or lock file of the output must not overwrite the input."""
    source = tmp_path / f"out.jsonl{suffix}"
    source.write_text("{}")
    with pytest.raises(JournalConflictError, match="which is the input file"):
        check_output_path(tmp_path / "out.jsonl", [source])


def test_folders_and_devices_are_refused(tmp_path: Path) -> None:
    """What is no regular file cannot be resumed or rewritten."""
    with pytest.raises(JournalConflictError, match="is a folder"):
        check_output_path(tmp_path, [])
    with pytest.raises(JournalConflictError, match="not a regular file"):
        check_output_path(os.devnull, [])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_refused(tmp_path: Path) -> None:
    """A named pipe is refused without being opened, which would hang."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(JournalConflictError, match="not a regular file"):
        check_output_path(tmp_path / "pipe", [])


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    """It is not made silently."""
    with pytest.raises(JournalError, match="does not exist"):
        check_output_path(tmp_path / "missing" / "out.jsonl", [])
