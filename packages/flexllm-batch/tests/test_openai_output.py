"""`output_format="openai"`: OpenAI's batch lines at a complete end, made from a journal that a resume goes on with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexllm_batch.outputs.openai_lines import openai_line
from flexllm_core.errors import BadRequestError, JournalConflictError, JournalError, LLMConnectionError
from flexllm_core.results import ChatCompletionResult, ToolCall, Usage

ReadLines = Callable[[Path], list[dict[str, Any]]]
ROWS = [{"q": "a", "custom_id": "first"}, {"q": "b"}, {"q": "c", "custom_id": 7}]


@pytest.fixture
def run(tmp_path: Path, make_model: Any, run_batch: Any, write_rows: Any) -> Callable[..., Any]:
    """Run rows in this format; gives the model."""

    async def run(rows: list[dict[str, Any]], model: Any = None, **settings: Any) -> Any:
        model = model or make_model()
        source = write_rows(tmp_path / "in.jsonl", rows)
        await run_batch(model, source, tmp_path / "out.jsonl", **{"output_format": "openai", **settings})
        return model

    return run


async def test_lines_are_openais(run: Any, tmp_path: Path, read_lines: ReadLines) -> None:
    """Each row's id is its custom_id, or its position; the body is a chat completion."""
    await run(ROWS)
    lines = read_lines(tmp_path / "out.jsonl")
    assert [line["custom_id"] for line in lines] == ["first", "row-1", "row-2"]
    assert len({line["id"] for line in lines}) == 3
    for line, own in zip(lines, read_lines(tmp_path / "out.jsonl.journal"), strict=True):
        assert set(line) == {"id", "custom_id", "response", "error"}
        assert line["error"] is None
        assert line["response"]["status_code"] == 200
        body = line["response"]["body"]
        assert (body["object"], body["model"]) == ("chat.completion", "m")
        assert body["choices"][0]["message"] == {"role": "assistant", "content": own["output"]}
        assert body["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


async def test_everything_of_an_answer_is_in_its_body(
    run: Any, make_model: Any, tmp_path: Path, read_lines: ReadLines
) -> None:
    """Tool calls, thoughts, several choices, the reason and the details of the usage."""
    answer = ChatCompletionResult(
        "one", reasoning_content="hm", tool_calls=(ToolCall("c1", "look", "{}"),), finish_reason="tool_calls",
        usage=Usage(10, 5, 15, cached_tokens=4, reasoning_tokens=3), model="m", choices=("one", "two"),
    )  # fmt: skip
    await run([{"q": "a"}], make_model(lambda _: answer))
    (line,) = read_lines(tmp_path / "out.jsonl")
    first, second = line["response"]["body"]["choices"]
    assert first["message"]["tool_calls"] == [answer.tool_calls[0].to_dict()]
    assert first["message"]["reasoning_content"] == "hm"
    assert first["finish_reason"] == "tool_calls"
    assert (second["index"], second["message"]["content"]) == (1, "two")
    usage = line["response"]["body"]["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 4}
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 3}


async def test_failed_rows_say_why(run: Any, make_model: Any, tmp_path: Path, read_lines: ReadLines) -> None:
    """With the server's status where it answered, without a response where it did not; bad rows too."""

    def answer(request: Any) -> Any:
        if request.messages[-1]["content"] == "refused":
            return BadRequestError("no such option", status_code=400, code="bad", request_id="r1")
        return LLMConnectionError("reset") if request.messages[-1]["content"] == "cut" else "fine"

    await run([{"q": "refused"}, {"q": "cut"}, {"x": 1}, {"q": "ok"}], make_model(answer), on_bad_row="record")
    refused, cut, bad, ok = read_lines(tmp_path / "out.jsonl")
    assert (refused["response"]["status_code"], refused["response"]["request_id"]) == (400, "r1")
    assert refused["error"] == {"message": "no such option", "type": "BadRequestError", "code": "bad"}
    assert cut["response"] is None
    assert cut["error"]["type"] == "LLMConnectionError"
    assert "no known format" in bad["error"]["message"]
    assert ok["error"] is None


async def test_a_resume_asks_only_what_is_missing(
    run: Any, make_model: Any, tmp_path: Path, read_lines: ReadLines
) -> None:
    """After a failure the same run asks the failed rows; an edited input what it added; then nothing."""
    await run(
        ROWS, make_model(lambda request: "x" if request.messages[-1]["content"] == "a" else LLMConnectionError("x"))
    )
    assert (await run(ROWS)).prompts == ["b", "c"]
    assert (await run([{"q": "new"}, *ROWS[1:]])).prompts == ["new"]
    assert [line["custom_id"] for line in read_lines(tmp_path / "out.jsonl")] == ["row-0", "row-1", "row-2"]
    before = (tmp_path / "out.jsonl").stat().st_mtime_ns
    assert (await run([{"q": "new"}, *ROWS[1:]])).prompts == []
    assert (tmp_path / "out.jsonl").stat().st_mtime_ns == before


async def test_an_output_that_was_lost_is_made_again(run: Any, tmp_path: Path, read_lines: ReadLines) -> None:
    """From the journal, without asking; one that is older than the journal, too."""
    output = tmp_path / "out.jsonl"
    await run(ROWS)
    whole = output.read_bytes()
    output.unlink()
    assert (await run(ROWS)).prompts == []
    assert len(output.read_bytes()) == len(whole)
    output.write_bytes(b"")
    os.utime(output, (1, 1))
    assert (await run(ROWS)).prompts == []
    assert len(read_lines(output)) == 3


async def test_an_incomplete_run_leaves_the_output_as_it_was(run: Any, make_model: Any, tmp_path: Path) -> None:
    """Only a complete end makes it; the answers are in the journal."""
    from flexllm_batch.stop_rules import FailureLimit

    model = make_model(lambda request: "x" if request.messages[-1]["content"] == "a" else BadRequestError("no"))
    await run(ROWS, model, max_failures=FailureLimit(count=0), window=1)
    assert not (tmp_path / "out.jsonl").exists()
    assert (tmp_path / "out.jsonl.journal").exists()


async def test_an_output_that_is_not_of_this_format_is_refused(run: Any, tmp_path: Path) -> None:
    """flexllm's own lines, or somebody's file: nothing is sent or changed, and the way out is said."""
    await run(ROWS, output_format="jsonl")
    before = (tmp_path / "out.jsonl").read_bytes()
    with pytest.raises(JournalConflictError, match="rename it"):
        await run(ROWS)
    assert (tmp_path / "out.jsonl").read_bytes() == before
    (tmp_path / "out.jsonl").rename(tmp_path / "out.jsonl.journal")
    assert (await run(ROWS)).prompts == []
    with pytest.raises(JournalConflictError, match="go on with that option"):
        await run(ROWS, output_format="jsonl")
    (tmp_path / "out.jsonl.journal").unlink()
    assert len((await run(ROWS, overwrite=True)).prompts) == 3


async def test_an_output_that_cannot_be_written_is_told(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_lines: ReadLines
) -> None:
    """The journal has all answers, no half-written file is left, and the same command makes it later."""

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(JournalError):
            await run(ROWS)
    assert not (tmp_path / "out.jsonl").exists()
    assert not (tmp_path / "out.jsonl.tmp").exists()
    assert len(read_lines(tmp_path / "out.jsonl.journal")) == 3
    assert (await run(ROWS)).prompts == []
    assert len(read_lines(tmp_path / "out.jsonl")) == 3


def test_lines_that_hold_little_still_make_lines() -> None:
    """Errors without a key or with a text, as an older or edited file may have them."""
    line = openai_line({"index": 3, "output": None, "status": "error", "error": "went wrong"}, 0)
    assert line["error"]["message"] == "went wrong"
    assert line["custom_id"] == "row-3"
