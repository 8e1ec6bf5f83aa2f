"""Rows as no writer should write them: what is stated in docs/batch.md for each kind is what happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexllm_batch.inputs import row_files
from flexllm_batch.inputs.row_files import TOO_LONG, bounded_lines
from flexllm_core.errors import InputError

GOOD = b'{"q": "good"}\n'
ReadLines = Callable[[Path], list[dict[str, Any]]]


@pytest.fixture
def answer(tmp_path: Path, make_model: Any, run_batch: Any, read_lines: ReadLines) -> Callable[..., Any]:
    """Run one line between two good ones; gives the three output lines and the prompts that were sent."""

    async def run(line: bytes) -> tuple[list[dict[str, Any]], list[Any]]:
        source, output, model = tmp_path / "in.jsonl", tmp_path / "out.jsonl", make_model()
        source.write_bytes(GOOD + line + b"\n" + b'{"q": "last"}\n')
        await run_batch(model, source, output, on_bad_row="record")
        return read_lines(output), model.prompts

    return run


@pytest.mark.parametrize(
    ("line", "sent", "metadata"),
    [
        pytest.param(b'{"q": "x", "score": NaN}', "x", {"score": None}, id="NaN in metadata"),
        pytest.param(b'{"q": "x", "a": [Infinity, -Infinity]}', "x", {"a": [None, None]}, id="infinities in metadata"),
        pytest.param(b'{"q": "x", "score": 1e999}', "x", {"score": None}, id="a number too large in metadata"),
        pytest.param(b'{"q": NaN, "prompt": "x"}', "x", {"q": None}, id="NaN in a column that is not used"),
        pytest.param(b'{"q": "half \\ud83d"}', "half \ud83d", {}, id="a lone surrogate in the prompt"),
        pytest.param(b'{"q": "half \xed\xa0\xbd"}', "half \ud83d", {}, id="a lone surrogate as bytes"),
        pytest.param(b'{"q": "x", "a": "\\udc00"}', "x", {"a": "\udc00"}, id="a lone surrogate in metadata"),
        pytest.param(b'{"q": "first", "q": "x"}', "x", {}, id="a key twice: the last counts"),
        pytest.param(b'{"q": "x", "a": 1, "a": 2}', "x", {"a": 2}, id="a metadata key twice"),
        pytest.param(b'{"q": "x\\u0000y"}', "x\x00y", {}, id="a NUL in the prompt"),
        pytest.param(b'{"q": "x", "n": 123456789012345678901234567890}', "x",
                     {"n": 123456789012345678901234567890}, id="an integer of any size"),
    ],
)  # fmt: skip
async def test_odd_but_usable_rows_are_asked(answer: Any, line: bytes, sent: str, metadata: dict[str, Any]) -> None:
    """The row is asked, and its output line is strict JSON."""
    lines, prompts = await answer(line)
    assert [row["status"] for row in lines] == ["success"] * 3
    assert prompts == ["good", sent, "last"]
    assert lines[1]["metadata"] == metadata


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b'{"q": NaN}', "expected a text, found null", id="NaN as the prompt"),
        pytest.param(b'{"q": "\xff\xfe"}', "the line is not UTF-8 text", id="invalid UTF-8"),
        pytest.param(b'["q", "x"]', "expected an object with fields, found a list", id="a list"),
        pytest.param(b'"x"', "expected an object with fields, found a text", id="a text"),
        pytest.param(b"7", "expected an object with fields, found a number", id="a number"),
        pytest.param(b"null", "expected an object with fields, found null", id="null"),
        pytest.param(b"true", "expected an object with fields, found true or false", id="true"),
        pytest.param(b"\x00\x00\x00", "not valid JSON", id="NULs"),
        pytest.param(b'{"q": "x"} {"q": "y"}', "not valid JSON", id="two rows in one line"),
        pytest.param(b'{"q": "x",}', "not valid JSON", id="a comma too many"),
        pytest.param(b"{'q': 'x'}", "not valid JSON", id="single quotes"),
        pytest.param(b'{"q": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply", id="nested too deeply"),
        pytest.param(b"{}", "no known format", id="an object without fields"),
        pytest.param(b'{"q": "x", "params": {"extra_headers": {}}}', "params: extra_headers", id="params not allowed"),
    ],
)
async def test_unusable_rows_become_errors_with_their_line(answer: Any, line: bytes, reason: str) -> None:
    """The row is not sent; the others are; its output line says where and why."""
    lines, prompts = await answer(line)
    assert prompts == ["good", "last"]
    assert [row["status"] for row in lines] == ["success", "error", "success"]
    assert reason in lines[1]["error"]["message"]
    assert "in.jsonl, line 2" in lines[1]["error"]["message"]


async def test_a_number_too_large_in_params_is_never_sent(answer: Any) -> None:
    """JSON cannot say infinity, so the request cannot be written: that row fails, the others are asked."""
    lines, prompts = await answer(b'{"q": "x", "params": {"extra_body": {"a": 1e999}}}')
    assert prompts == ["good", "last"]
    assert "cannot be written as JSON" in lines[1]["error"]["message"]


async def test_a_line_longer_than_the_limit_is_a_bad_row(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is passed over without being held in memory, and the rows behind it are read."""
    monkeypatch.setattr(row_files, "MAX_LINE", 1 << 20)
    lines, prompts = await answer(b'{"q": "' + b"x" * (5 << 20) + b'"}')
    assert prompts == ["good", "last"]
    assert "the line is longer than" in lines[1]["error"]["message"]


@pytest.mark.parametrize("size", [1, 9, 10, 11, 12, 30])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_lines_up_to_the_limit_are_whole(tmp_path: Path, size: int, end: bytes) -> None:
    """Exactly the limit is still a line, with or without its newline."""
    path = tmp_path / "lines"
    path.write_bytes(b"ab\n" + b"x" * size + end)
    with path.open("rb") as file:
        found = list(bounded_lines(file, 10))
    assert found == [b"ab\n", b"x" * size + end if size <= 10 else TOO_LONG]


async def test_utf16_is_named(tmp_path: Path, make_model: Any, run_batch: Any) -> None:
    """A file that a Windows shell wrote says what it is."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"q": "x"}\n', encoding="utf-16")
    with pytest.raises(InputError, match="line 1: not valid JSON: the file is UTF-16; expected UTF-8"):
        await run_batch(make_model(), source, None)
