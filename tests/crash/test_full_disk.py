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


def test_a_read_only_folder_is_refused_before_anything_is_sent(mock, cli, files, small_disk):
    """Exit code 8, with the path; a finished output there is left as it is."""
    files.write_input([{"q": f"question {number}"} for number in range(5)])
    files.output = small_disk / "out.jsonl"
    command = ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url)
    assert cli(*command).returncode == 0
    before = files.output.read_bytes()
    files.write_input([{"q": f"question {number}"} for number in range(9)])
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    refused = cli(*command)
    assert refused.returncode == 8, refused.stderr
    assert str(small_disk) in refused.stderr
    assert (mock.requests(), files.output.read_bytes()) == (5, before)


def test_an_output_deleted_by_hand_comes_back(start_mock, cli, files, wait_until):
    """The run says that it was gone, and ends with every line."""
    mock = start_mock("--delay", "0.2")
    files.write_input([{"q": f"question {number}"} for number in range(60)])
    process = cli.start("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-c", 5)
    wait_until(lambda: files.output.exists() and files.output.read_bytes().count(b"\n") >= 5, "answers")
    files.output.unlink()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "was deleted while the run wrote it" in errors
    assert [line["index"] for line in files.lines()] == list(range(60))
    assert mock.requests() == 60
