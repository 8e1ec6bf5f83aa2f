"""Where rows come from: every format, and every way in which a file can be damaged."""

from __future__ import annotations

import builtins
import contextlib
import gzip
import io
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_batch.inputs.json_source import JsonLines, SpooledLines
from flexllm_batch.inputs.records import Record, RowShape
from flexllm_batch.inputs.row_files import RowSource
from flexllm_batch.inputs.sources import MessageLists, MessageStream, open_source, read_records
from flexllm_batch.inputs.table_sources import DelimitedText, ParquetFile
from flexllm_core.errors import InputError, MissingExtraError
from flexllm_core.json_codec import decode_json, encode_json


def source_of(path: Path, data: bytes) -> RowSource:
    path.write_bytes(data)
    return open_source(path)


def outcomes(source: RowSource) -> list[Any]:
    """Each row's value, or the line and text of its error."""
    return [str(row) if isinstance(row, InputError) else row for _, row in source.rows()]


def prompts(records: list[Record]) -> list[Any]:
    return [record.messages[-1]["content"] if record.error is None else str(record.error) for record in records]


def test_bom_crlf_and_blank_lines_are_fine(tmp_path: Path) -> None:
    """A byte order mark, Windows line ends, blank lines and a last line without newline are read."""
    source = source_of(tmp_path / "in.jsonl", b'\xef\xbb\xbf{"q":1}\r\n\r\n   \n{"q":2}\n\n{"q":3}')
    assert list(source.rows()) == [(1, {"q": 1}), (4, {"q": 2}), (6, {"q": 3})]


def test_only_newlines_end_a_line(tmp_path: Path) -> None:
    """U+2028, U+0085 and form feeds inside a text do not tear it."""
    text = "a\u2028b\u2029c\x85d\x0ce"
    source = source_of(tmp_path / "in.jsonl", json.dumps({"q": text}, ensure_ascii=False).encode() + b"\n")
    assert outcomes(source) == [{"q": text}]


LINES = st.sampled_from(
    [b'{"q":"a"}', b'\xef\xbb\xbf{"q":"b"}\r', b"", b"  \t", b"\x0c", b'{"q":', b"[1]", b"null", b'{"q":1}', b'{"x":1}']
)


@given(st.lists(LINES, max_size=8), st.sets(st.integers(0, 8)), st.booleans(), st.integers(0, 8) | st.none())
def test_rows_that_are_skipped_are_left_out_and_change_no_other(
    lines: list[bytes], skipped: set[int], ended: bool, limit: int | None
) -> None:
    """Whatever stands in their lines, which are not parsed: the others keep their numbers, lines and errors."""
    with contextlib.closing(SpooledLines(io.BytesIO(b"\n".join(lines) + b"\n" * ended))) as source:
        every = list(read_records(source, RowShape(), limit))
        found = list(read_records(source, RowShape(), limit, skipped.__contains__))
    wanted = [record for record in every if record.index not in skipped]
    assert [(record.index, record.line, str(record.error)) for record in found] == [
        (record.index, record.line, str(record.error)) for record in wanted
    ]
    assert prompts(found) == prompts(wanted)


def test_skipped_rows_of_a_table_are_left_out_too(tmp_path: Path) -> None:
    """Sources that cannot pass over a row unread give it, and it is left out all the same."""
    source = source_of(tmp_path / "in.csv", b"q\na\nb\nc\n")
    assert prompts(list(read_records(source, RowShape(), None, lambda index: index == 1))) == ["a", "c"]


def test_bad_lines_are_named_and_do_not_stop_the_others(tmp_path: Path) -> None:
    """Each unreadable line comes as an error with the file and its own number."""
    path = tmp_path / "in.jsonl"
    data = b'{"q":1}\n{"q":\n\x00\x00\n{"q":"\xff"}\n[1, 2]\n"text"\n{"q":2}\n'
    found = outcomes(source_of(path, data))
    assert [found[0], *found[4:]] == [{"q": 1}, [1, 2], "text", {"q": 2}]
    assert found[1].startswith(f"{path}, line 2: not valid JSON")
    assert found[2].startswith(f"{path}, line 3: not valid JSON")
    assert found[3] == f"{path}, line 4: not valid JSON: the line is not UTF-8 text"


def test_rows_that_are_no_objects_become_errors_with_their_line(tmp_path: Path) -> None:
    """Valid JSON that is no row is a bad row, counted in the index."""
    path = tmp_path / "in.jsonl"
    records = list(read_records(source_of(path, b'\n[1]\n{"q":"hi"}\n{"x":1}\n'), RowShape()))
    assert [record.index for record in records] == [0, 1, 2]
    assert str(records[0].error) == f"{path}, line 2: expected an object with fields, found a list"
    assert records[1].error is None
    assert str(records[2].error).startswith(f"{path}, line 4: no known format")
    assert records[2].metadata == {"x": 1}


def test_a_huge_line_is_one_row(tmp_path: Path) -> None:
    """A prompt of several megabytes is read whole."""
    text = "x" * 5_000_000
    assert outcomes(source_of(tmp_path / "in.jsonl", encode_json({"q": text}) + b"\n")) == [{"q": text}]


def test_what_is_read_can_be_written_and_read_again(tmp_path: Path) -> None:
    """Rows nested so deep that their output line could not be read again are refused, others kept."""
    for depth in range(150, 230):
        data = b'{"q":"hi","deep":' + b"[" * depth + b"]" * depth + b"}\n"
        (record,) = read_records(source_of(tmp_path / "in.jsonl", data), RowShape())
        if record.error is None:
            decode_json(encode_json({"index": 0, "metadata": record.metadata}))
        else:
            assert depth > 190, record.error


def test_brackets_inside_texts_are_not_depth(tmp_path: Path) -> None:
    """A prompt full of brackets is an ordinary prompt."""
    assert outcomes(source_of(tmp_path / "in.jsonl", encode_json({"q": "[{" * 500}) + b"\n")) == [{"q": "[{" * 500}]


@pytest.mark.parametrize("name", ["in.jsonl.gz", "in.jsonl"])
def test_gzip_is_found_by_its_content(tmp_path: Path, name: str) -> None:
    """A gzipped file is read whatever its name."""
    assert outcomes(source_of(tmp_path / name, gzip.compress(b'{"q":1}\n{"q":2}\n'))) == [{"q": 1}, {"q": 2}]


def test_a_damaged_gzip_file_ends_in_an_error(tmp_path: Path) -> None:
    """Truncated, garbled or with a wrong checksum: what could be read comes, then one error; never a crash."""
    rows = b"".join(b'{"q":%d}\n' % number for number in range(20_000))
    whole = gzip.compress(rows)
    garbled = bytearray(whole)
    garbled[len(whole) // 2] ^= 0xFF
    for data in (whole[:-9], whole[: len(whole) // 2], bytes(garbled), whole[:-4] + b"\0\0\0\0"):
        found = list(source_of(tmp_path / "in.jsonl.gz", data).rows())
        errors = [row for _, row in found if isinstance(row, InputError)]
        assert errors
        assert isinstance(found[-1][1], InputError)
        assert "cannot be read" in str(errors[-1])


def test_a_damaged_gzip_table_ends_in_an_error(tmp_path: Path) -> None:
    """The same for CSV."""
    whole = gzip.compress(b"q\n" + b"".join(b"%d\n" % number for number in range(20_000)))
    found = list(source_of(tmp_path / "in.csv.gz", whole[: len(whole) // 2]).rows())
    assert isinstance(found[-1][1], InputError)


def test_csv_with_quotes_and_newlines_in_cells(tmp_path: Path) -> None:
    """Quoted cells may hold the delimiter, quotes and newlines; a BOM is no part of the header."""
    data = '\ufeffq,id\r\n"a, ""b""\nc",1\r\nplain,2\r\n'.encode()
    source = source_of(tmp_path / "in.csv", data)
    assert list(source.rows()) == [(2, {"q": 'a, "b"\nc', "id": "1"}), (4, {"q": "plain", "id": "2"})]


def test_tsv_is_split_by_tabs(tmp_path: Path) -> None:
    """A comma is text in a TSV file."""
    assert outcomes(source_of(tmp_path / "in.tsv", b"q\tid\na,b\t1\n")) == [{"q": "a,b", "id": "1"}]


def test_ragged_rows_of_a_table(tmp_path: Path) -> None:
    """A short row lacks its last fields, a long one is an error with its line, blank lines are no rows."""
    path = tmp_path / "in.csv"
    found = outcomes(source_of(path, b"q,id\nshort\n\na,1,extra\nb,2\n"))
    assert found == [{"q": "short"}, f"{path}, line 4: has more values than the header's 2", {"q": "b", "id": "2"}]


def test_a_quote_that_is_never_closed_does_not_swallow_rows_in_silence(tmp_path: Path) -> None:
    """It is an error at its own line; the rows before it are there."""
    path = tmp_path / "in.csv"
    found = outcomes(source_of(path, b'q,id\na,1\n"open,2\nb,3\n'))
    assert found[0] == {"q": "a", "id": "1"}
    assert found[1].startswith(f"{path}, line 3: cannot be read")
    assert len(found) == 2


def test_a_malformed_row_of_a_table_does_not_stop_the_others(tmp_path: Path) -> None:
    """Text behind a closing quote is an error of that row alone."""
    found = outcomes(source_of(tmp_path / "in.csv", b'q\n"a"b\nc\n'))
    assert "line 2" in found[0]
    assert found[1:] == [{"q": "c"}]


def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    """One of the two columns would be lost."""
    (found,) = outcomes(source_of(tmp_path / "in.csv", b"q,q\n1,2\n"))
    assert "line 1: the header names a column twice" in found


def test_a_cell_may_be_large(tmp_path: Path) -> None:
    """Prompts of more than the csv module's default limit of 128 KiB are read."""
    text = "x" * 300_000
    assert outcomes(source_of(tmp_path / "in.csv", b"q\n" + text.encode() + b"\n")) == [{"q": text}]


def test_a_table_that_is_not_utf8_says_so(tmp_path: Path) -> None:
    """A cp1252 file ends in an error, not in wrong characters."""
    found = outcomes(source_of(tmp_path / "in.csv", b"q\nok\ncaf\xe9\n"))
    assert "cannot be read" in found[-1]


def test_parquet_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    real_import = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == "pyarrow":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    path = tmp_path / "in.parquet"
    path.write_bytes(b"PAR1")
    source = open_source(path)
    assert isinstance(source, ParquetFile)
    with pytest.raises(MissingExtraError, match=r"flexllm-batch\[parquet\]"):
        list(source.rows())


def test_standard_input_is_kept_in_a_file_and_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is standard input, also gzipped, and can be read as often as needed."""
    for data in (b'{"q":1}\n{"q":2}', gzip.compress(b'{"q":1}\n{"q":2}')):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        source = open_source("-")
        assert isinstance(source, SpooledLines)
        assert outcomes(source) == outcomes(source) == [{"q": 1}, {"q": 2}]
        source.close()


def test_errors_of_standard_input_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no file name to give."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{\n")))
    source = open_source("-")
    assert outcomes(source)[0].startswith("standard input, line 1: not valid JSON")
    assert isinstance(source, SpooledLines)
    source.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_read_once_and_kept(tmp_path: Path) -> None:
    """Process substitution gives a pipe, which a batch must read twice."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b'{"q":1}\n',), daemon=True)
    writer.start()
    source = open_source(pipe)
    writer.join(5)
    assert isinstance(source, SpooledLines)
    assert outcomes(source) == outcomes(source) == [{"q": 1}]
    source.close()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", JsonLines),
        ("a.json", JsonLines),
        ("a", JsonLines),
        ("a.jsonl.gz", JsonLines),
        ("a.CSV", DelimitedText),
        ("a.v1.csv.gz", DelimitedText),
        ("a.tsv", DelimitedText),
        ("a.parquet", ParquetFile),
    ],
)
def test_the_ending_decides_the_format(tmp_path: Path, name: str, kind: type) -> None:
    """What has no ending of a table is JSON Lines."""
    path = tmp_path / name
    path.touch()
    assert type(open_source(path)) is kind


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A missing file and a folder are two different mistakes."""
    with pytest.raises(FileNotFoundError, match="no such input file"):
        open_source(tmp_path / "missing.jsonl")
    with pytest.raises(InputError, match="is a folder"):
        open_source(tmp_path)


def test_a_limit_reads_only_so_many_rows(tmp_path: Path) -> None:
    """Bad rows count, blank lines do not."""
    source = source_of(tmp_path / "in.jsonl", b'\n{"q":"a"}\n{\n{"q":"b"}\n{"q":"c"}\n')
    assert [record.index for record in read_records(source, RowShape(), 3)] == [0, 1, 2]


def test_message_lists_carry_metadata() -> None:
    """Each row has its own further fields; the messages of the list win over a field of that name."""
    source = MessageLists(["a", [{"role": "user", "content": "b"}]], [{"id": 1, "messages": "x"}, {"id": 2}])
    records = list(read_records(source, RowShape()))
    assert prompts(records) == ["a", "b"]
    assert [record.metadata for record in records] == [{"id": 1}, {"id": 2}]


def test_metadata_of_another_length_is_refused() -> None:
    """Otherwise rows would get the wrong fields."""
    with pytest.raises(InputError, match="1 entries for 2 rows"):
        MessageLists(["a", "b"], [{}])


def test_metadata_that_json_cannot_hold_make_a_bad_row() -> None:
    """A row whose line could not be written is found before it is paid for."""
    records = list(read_records(MessageLists(["a", "b"], [{"x": object()}, {}]), RowShape()))
    assert "metadata, line 1: cannot be written as JSON" in str(records[0].error)
    assert records[1].error is None


def everything(_: Record) -> bool:
    return True


async def collect(records: Iterator[Record] | AsyncIterator[Record]) -> list[Record]:
    if isinstance(records, AsyncIterator):
        return [record async for record in records]
    return list(records)


async def numbers(count: int, taken: list[int]) -> AsyncIterator[str]:
    for number in range(count):
        taken.append(number)
        yield str(number)


@pytest.mark.parametrize("limit", [None, 0, 1, 3, 5])
async def test_streams_take_no_more_than_the_limit(limit: int | None) -> None:
    """Neither an iterator nor an async iterator is asked for an item that is not used."""
    taken: list[int] = []
    records = await collect(MessageStream(numbers(4, taken)).records(RowShape(), limit, everything))
    expected = list(range(4))[:limit]
    assert prompts(records) == [str(number) for number in expected]
    assert taken == expected
    iterator = iter(["0", "1", "2", "3"])
    assert prompts(await collect(MessageStream(iterator).records(RowShape(), limit, everything))) == prompts(records)
    assert len(list(iterator)) == 4 - len(expected)


async def test_bad_items_of_a_stream_become_errors_with_their_position() -> None:
    """An item that is no message does not end the stream."""
    items: list[Any] = ["a", 5, "c"]
    stream = MessageStream(iter(items))
    records = await collect(stream.records(RowShape(), None, everything))
    assert prompts(records) == ["a", "item 1: messages must be a text, a message or a list of messages, not int", "c"]


async def test_a_stream_can_be_kept_in_a_file() -> None:
    """Spooling an iterator or async iterator makes it readable again, with the same records."""
    taken: list[int] = []
    for stream in (MessageStream(iter(["0", "1"])), MessageStream(numbers(2, taken))):
        spooled = await stream.spool()
        for _ in range(2):
            assert prompts(list(read_records(spooled, RowShape()))) == ["0", "1"]
        spooled.close()


async def test_a_stream_item_that_json_cannot_hold_is_an_input_error() -> None:
    """Spooling says so."""
    stream: Any = MessageStream(iter([[{"role": "user", "content": "x", "extra": object()}]]))
    with pytest.raises(InputError, match="cannot be written as JSON"):
        await stream.spool()
