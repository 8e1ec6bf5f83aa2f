"""What an output file holds: every damage that a crash can leave is mended or refused, and nothing is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from flexllm_batch.outputs.scan import Scan, repair, scan_output
from flexllm_core.errors import JournalConflictError


def success(index: int, output: str = "an answer") -> bytes:
    line = {"index": index, "output": output, "status": "success", "metadata": {}, "key": f"{index:032x}"}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def error(index: int) -> bytes:
    line = {"index": index, "output": None, "status": "error", "metadata": {}, "error": {"type": "X"}}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def mend(path: Path, scan: Scan) -> list[str]:
    fd = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        return repair(path, fd, scan)
    finally:
        os.close(fd)


def bad_content(path: Path) -> bytes:
    side = path.with_name(path.name + ".bad")
    return side.read_bytes() if side.exists() else b""


def check_clean(path: Path, answers: int) -> Scan:
    """Scan again: nothing is left to mend, and all answers are there."""
    again = scan_output(path)
    assert (again.torn, again.unterminated, again.bad) == (0, False, [])
    assert again.end == path.stat().st_size
    assert len(again.answers) == answers
    return again


def test_a_whole_file_needs_no_repair(tmp_path: Path) -> None:
    """Answers, failed rows and blank lines are counted; the first answer is kept for messages."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(success(3) + error(1) + b"\n" + success(2))
    scan = scan_output(path)
    assert (len(scan.answers), scan.errors, scan.lines, scan.blank, scan.end) == (2, 1, 3, 1, path.stat().st_size)
    assert scan.sample is not None
    assert scan.sample["index"] == 3
    assert mend(path, scan) == []


def test_an_empty_file_is_nobodys(tmp_path: Path) -> None:
    """It holds nothing, and may be used."""
    path = tmp_path / "out.jsonl"
    path.touch()
    scan = scan_output(path)
    assert (len(scan.answers), scan.lines, scan.end, scan.sample) == (0, 0, 0, None)
    assert mend(path, scan) == []


def test_a_tail_torn_at_any_byte_is_cut_off(tmp_path: Path) -> None:
    """Wherever the last write was cut, the lines before it stay, and the file is clean after the repair."""
    path = tmp_path / "out.jsonl"
    before, last = success(0) + error(1), success(2, 'é \\u0041 {["')
    for cut in range(len(last) + 1):
        path.write_bytes(before + last[:cut])
        scan = scan_output(path)
        assert path.read_bytes() == before + last[:cut], "scanning changes nothing"
        mend(path, scan)
        whole = cut >= len(last) - 1
        assert path.read_bytes() == before + (last if whole else b"")
        assert scan.end == path.stat().st_size
        check_clean(path, answers=1 + whole)
    assert bad_content(path) == b""


def test_a_first_line_torn_at_any_byte_is_cut_off(tmp_path: Path) -> None:
    """A run killed in its first write leaves a file that the next run can use."""
    path = tmp_path / "out.jsonl"
    last = success(0)
    for cut in range(1, len(last)):
        path.write_bytes(last[:cut])
        scan = scan_output(path)
        mend(path, scan)
        check_clean(path, answers=int(cut == len(last) - 1))


def test_an_unterminated_whole_line_keeps_its_answer(tmp_path: Path) -> None:
    """A line that lacks only its newline gets it, so that the next line is not glued to it."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(success(0) + success(1)[:-1])
    scan = scan_output(path)
    assert scan.unterminated
    mend(path, scan)
    assert path.read_bytes() == success(0) + success(1)
    assert scan.end == path.stat().st_size


@pytest.mark.parametrize(
    "bad",
    [
        b"garbage\n",
        b"\xff\xfe\n",
        b"\x00" * 5000 + b"\n",
        success(8)[:20] + success(9),
        success(8)[:-10] + b"\n",
        b'{"a":1}\n',
        b"[1,2]\n",
        b'"text"\n',
        b"null\n",
        b'{"index":"0","output":"x","status":"success","key":"' + b"0" * 32 + b'"}\n',
        b'{"index":true,"output":"x","status":"success","key":"' + b"0" * 32 + b'"}\n',
        b'{"index":0,"status":"success","key":"' + b"0" * 32 + b'"}\n',
        b'{"index":0,"output":"x","status":"success","key":"short"}\n',
        b'{"index":0,"output":"x","status":"success","key":"' + b"G" * 32 + b'"}\n',
        b'{"index":0,"output":"x","status":["success"],"key":"' + b"0" * 32 + b'"}\n',
        b'{"index":0,"output":"x","status":"success"}\n',
        b"[" * 100_000 + b"\n",
        b"x\n",
    ],
    ids=range(18),
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_bad_line_anywhere_is_set_aside(tmp_path: Path, bad: bytes, at: int) -> None:
    """Unreadable and foreign lines go to `.bad` byte for byte; every other line stays where it was."""
    path = tmp_path / "out.jsonl"
    lines = [success(0), success(1)]
    lines.insert(at, bad)
    path.write_bytes(b"".join(lines))
    scan = scan_output(path)
    assert len(scan.answers) == 2
    offsets = [scan.answers.claim(f"{index:032x}") for index in (0, 1)]
    (note,) = mend(path, scan)
    assert ".bad" in note
    assert bad_content(path) == bad
    check_clean(path, answers=2)
    data = path.read_bytes()
    assert [data[offset:].split(b"\n")[0] + b"\n" for offset in offsets] == [success(0), success(1)]


def test_many_damages_at_once(tmp_path: Path) -> None:
    """Bad lines, blank lines and a torn tail together; a second repair adds to the same side file."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"one\n" + success(0) + b"\n\r\ntwo\n" + success(1) + b'{"index":2,"ou')
    mend(path, scan_output(path))
    assert bad_content(path) == b"one\ntwo\n"
    assert check_clean(path, answers=2).blank == 4
    with path.open("ab") as file:
        file.write(b"three\n")
    mend(path, scan_output(path))
    assert bad_content(path) == b"one\ntwo\nthree\n"
    check_clean(path, answers=2)


@pytest.mark.parametrize("nuls", [1, 8, 9, 4096, 70_000])
def test_nuls_at_the_end_are_a_torn_tail(tmp_path: Path, nuls: int) -> None:
    """A power cut may leave the end of a file as NULs, also when it held nothing else."""
    for before in (b"", success(0), success(0) + success(1)[:-7]):
        path = tmp_path / "out.jsonl"
        path.write_bytes(before + b"\0" * nuls)
        mend(path, scan_output(path))
        assert path.read_bytes() == (success(0) if before else b"")


def test_a_foreign_last_line_without_newline_is_not_thrown_away(tmp_path: Path) -> None:
    """Whole JSON of another tool that lacks its newline is set aside, not cut off as torn."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(success(0) + b'{"mine":1}')
    mend(path, scan_output(path))
    assert bad_content(path) == b'{"mine":1}\n'
    check_clean(path, answers=1)


@pytest.mark.parametrize(
    "content",
    [
        b'{"text":"another tool"}\n' * 3,
        b'{"text":"another tool"}',
        b"plain text\nof somebody\n",
        b"no newline at all",
        b"\n\nno newline at all",
        b"\x1f\x8b\x08\x00binary",
        b"\0" * 12 + b"a binary file that begins with NULs",
        b'{"index":0,"output":"x","status":"success","input":[],"metadata":{}}\n',
        b'{"index": 0, "custom": 1}\n',
        b"[\n1,\n2\n]\n",
        b"a,b\n1,2\n",
    ],
    ids=range(11),
)
def test_another_tools_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    """Where no line is ours and something is there, nothing is touched."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)
    with pytest.raises(JournalConflictError, match="was not written by flexllm"):
        scan_output(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_the_side_file_is_on_the_disk_before_a_line_is_blanked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the copy fails, the output still has the line."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(success(0) + b"precious\n")
    scan = scan_output(path)

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        mend(path, scan)
    assert path.read_bytes() == success(0) + b"precious\n"
