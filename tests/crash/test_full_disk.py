"""A disk that fills up in the middle of a run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"mounting a small file system needs privileges: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_stops_the_run_and_a_resume_completes(mock, cli, files, small_disk):
    """Exit code 8 with the path, only whole lines, few answers lost, and the same command completes it."""
    files.write_input([{"q": f"question {number} " + "x" * 300} for number in range(150)])
    files.output = small_disk / "out.jsonl"
    command = ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-c", 10)
    full = cli(*command)
    assert full.returncode == 8, full.stderr
    assert str(files.output) in full.stderr
    kept = len(files.lines())
    assert 0 < kept < 150
    assert mock.requests() - kept <= 30
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    again = cli(*command)
    assert again.returncode == 0, again.stderr
    assert [line["index"] for line in files.lines()] == list(range(150))
    assert sorted(os.listdir(small_disk)) == ["out.jsonl", "out.jsonl.run.json"]
