"""LineReader: the lines of a file by their offsets, in whatever order they are asked for."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_batch.outputs import line_reader as line_reader_module
from flexllm_batch.outputs.line_reader import LineReader

LENGTHS = st.sampled_from([0, 1, 5, 4094, 4095, 4096, 9000, 65_535, 65_536, 70_000, 300_000])


@given(data=st.data(), lengths=st.lists(LENGTHS, min_size=1, max_size=8), ended=st.booleans())
def test_any_line_is_read_whole_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, lengths: list[int], ended: bool
) -> None:
    """Rising, falling or repeated offsets, lines longer than a block, and a last line without its newline."""
    lines = [b"%d" % number * (length + 1) + b"\n" for number, length in enumerate(lengths)]
    lines[-1] = lines[-1] if ended else lines[-1].rstrip(b"\n")
    offsets = list(accumulate(map(len, lines), initial=0))
    path: Path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(b"".join(lines))
    with path.open("rb") as file:
        reader = LineReader(file.fileno())
        for number in data.draw(st.lists(st.integers(0, len(lines) - 1), max_size=20)):
            assert reader.read(offsets[number]) == lines[number]
        reader = LineReader(file.fileno())
        assert [reader.read(offset) for offset in offsets[:-1]] == lines


def test_lines_near_each_other_take_few_reads_and_lines_apart_no_more_than_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block at a time where the offsets rise with small leaps; in any other order no block is read for one line."""
    path, order = tmp_path / "file", list(range(10_000))
    path.write_bytes(b"".join(b"%0399d\n" % number for number in order))
    for start in range(0, len(order), 100):  # as finished by a hundred in flight
        order[start : start + 100] = reversed(order[start : start + 100])
    sizes: list[int] = []
    pread = line_reader_module.pread
    monkeypatch.setattr(line_reader_module, "pread", lambda fd, size, at: sizes.append(size) or pread(fd, size, at))
    with path.open("rb") as file:
        reader = LineReader(file.fileno())
        for number in order:
            assert int(reader.read(number * 400)) == number
        assert len(sizes) < 40
        sizes.clear()
        reader = LineReader(file.fileno())
        for number in range(9_999, 0, -500):
            assert int(reader.read(number * 400)) == number
        assert sum(sizes) <= 20 * 4096
