"""The batch methods of LLMClient: every example of the documents, and what goes wrong."""

from __future__ import annotations

import asyncio
import inspect
import io
import itertools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from flexllm_batch.batch_methods import ITEMS_AHEAD, RowSkippedError
from flexllm_batch.client import LLMClient
from flexllm_batch.cost.metered import CostReport
from flexllm_core.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigError,
    InputError,
    JournalConflictError,
    JournalError,
)

KEY = "sk-very-secret-0123456789"
URL = "https://api.example.com/v1"
HELLO = [{"role": "user", "content": "Hello"}]
ReadLines = Callable[[Path], list[dict[str, Any]]]


def refusal(status: int, code: str = "refused") -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": f"no: {code}", "code": code}})


@pytest.mark.parametrize("name", ["output_jsonl", "output_file"])
async def test_a_batch_with_a_checkpoint_as_documented(
    server: Any, tmp_path: Path, read_lines: ReadLines, name: str
) -> None:
    """The same call goes on with the file: nothing is asked twice, and the texts come from it."""
    output = tmp_path / "results.jsonl"
    options: dict[str, Any] = {name: str(output), "save_input": False, "show_progress": True, "track_cost": True}
    messages_list = [[{"role": "user", "content": str(number)}] for number in range(20)]
    expected = [f"re: {number}" for number in range(20)]
    async with server.client(price={"input": 0.15, "output": 0.6}) as client:
        assert await client.chat_completions_batch(messages_list, **options) == expected
        assert await client.chat_completions_batch(messages_list, **options) == expected
    assert len(server.bodies) == 20
    lines = read_lines(output)
    assert [line["output"] for line in lines] == expected
    assert "input" not in lines[0]
    assert lines[0]["usage"]["total_tokens"] == 1500
    assert lines[0]["cost"] == pytest.approx(0.00045)


async def test_a_cost_report_as_documented(server: Any) -> None:
    """total_cost is a number to be printed; unknown models are counted as unknown."""
    async with server.client(price={"input": 1.0, "output": 2.0}) as client:
        results, report = await client.chat_completions_batch(["a", "b"], return_cost_report=True)
        assert results == ["re: a", "re: b"]
        assert f"total: ${report.total_cost:.4f}" == "total: $0.0040"
        _, report = await client.chat_completions_batch(["a"], return_cost_report=True, track_cost=False)
        assert report.total_cost == Decimal("0.002")
    assert report.request_count == 1


async def test_a_client_that_tracks_costs_counts_its_batches_too(server: Any) -> None:
    """The batch's report is its own, the client's holds everything."""
    async with server.client(price={"input": 1.0, "output": 2.0}, track_cost=True) as client:
        await client.chat("a")
        batch = await client.chat_batch(["b", "c"])
        assert batch.cost.total_cost == Decimal("0.004")
        assert batch.stats.cost == Decimal("0.004")
        assert client.cost_report.total_cost == Decimal("0.006")
        assert [item.cost for item in batch] == [Decimal("0.002")] * 2
    async with server.client() as client:
        assert (await client.chat_batch(["a"])).cost == CostReport() == client.cost_report


async def test_items_come_as_they_complete(server: Any) -> None:
    """iter_chat_completions_batch gives each outcome once, with its index."""
    async with server.client() as client:
        items = [item async for item in client.iter_chat_completions_batch(["a", "b", "c"])]
    assert {item.index: item.content for item in items} == {0: "re: a", 1: "re: b", 2: "re: c"}


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("with_output", [False, True])
async def test_a_generator_is_read_no_further_than_the_consumer_needs(
    server: Any, tmp_path: Path, asynchronous: bool, with_output: bool
) -> None:
    """A source of any length: what was taken but not given back is bounded by the rows in flight."""
    taken = given = 0

    def rows() -> Iterator[str]:
        nonlocal taken
        for number in range(300):
            taken += 1
            yield str(number)

    async def async_rows() -> AsyncIterator[str]:
        for row in rows():
            yield row

    output = tmp_path / "out.jsonl" if with_output else None
    async with server.client(concurrency_limit=5) as client:
        source = async_rows() if asynchronous else rows()
        async for item in client.chat_batch_iter(source, output_jsonl=output):
            assert item.ok
            given += 1
            assert taken - given <= 4 * 5
            if given < 20:
                await asyncio.sleep(0.005)
    assert given == taken == 300


async def test_a_generator_goes_on_with_its_output(server: Any, tmp_path: Path, read_lines: ReadLines) -> None:
    """Over an output with answers the rows are matched as those of a list."""
    output = tmp_path / "out.jsonl"
    async with server.client() as client:
        async for _ in client.chat_batch_iter(iter(["a", "b", "c"]), output_jsonl=output):
            pass
        server.bodies.clear()

        async def rows() -> AsyncIterator[str]:
            for row in ("new", "c", "a", "b", "a"):
                yield row

        items = [item async for item in client.chat_batch_iter(rows(), output_jsonl=output)]
    assert sorted(server.prompts) == ["a", "new"]
    assert sorted((item.index, item.content) for item in items) == [
        (0, "re: new"),
        (1, "re: c"),
        (2, "re: a"),
        (3, "re: b"),
        (4, "re: a"),
    ]
    assert sum(item.resumed for item in items) == 3
    assert [line["output"] for line in read_lines(output)] == ["re: new", "re: c", "re: a", "re: b", "re: a"]


async def test_a_generator_with_resume_never_keeps_the_old_answers_aside(
    server: Any, tmp_path: Path, read_lines: ReadLines
) -> None:
    """They were paid for: they are moved to `.stale`, not dropped."""
    output = tmp_path / "out.jsonl"
    async with server.client() as client:
        await client.chat_batch(["a", "b"], output_jsonl=output)
        items = [item async for item in client.chat_batch_iter(iter(["a"]), output_jsonl=output, resume="never")]
    assert (len(items), len(server.bodies)) == (1, 3)
    assert [line["output"] for line in read_lines(output)] == ["re: a"]
    assert [line["output"] for line in read_lines(tmp_path / "out.jsonl.stale")] == ["re: a", "re: b"]


async def test_leaving_the_loop_early_ends_the_run(server: Any, tmp_path: Path, read_lines: ReadLines) -> None:
    """No further request is sent, the lock is freed, and what was answered is in the output."""
    output = tmp_path / "out.jsonl"
    async with server.client(concurrency_limit=4) as client:
        stream = client.chat_batch_iter([str(number) for number in range(500)], output_jsonl=output)
        async for item in stream:
            assert item.ok
            break
        await stream.aclose()
        sent = len(server.bodies)
        await asyncio.sleep(0.02)
        assert len(server.bodies) == sent < 20
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl"]
        kept = len(read_lines(output))
        batch = await client.chat_batch([str(number) for number in range(500)], output_jsonl=output)
        assert (batch.stats.resumed, len(batch.failed)) == (kept, 0)
    assert len(server.bodies) - sent == 500 - kept


async def test_a_lone_surrogate_in_one_answer_does_not_stop_the_other_59(
    make_server: Any, tmp_path: Path, read_lines: ReadLines
) -> None:
    """A limit that cut an emoji: all sixty rows are answered and written, and the next run asks none of them."""
    server = make_server(lambda prompt: "cut \ud83d" if prompt == "30" else prompt)
    output = tmp_path / "out.jsonl"
    texts = [str(number) for number in range(60)]
    async with server.client() as client:
        for _ in range(2):
            batch = await client.chat_batch(texts, output_jsonl=output)
            assert [item.content for item in batch] == [*texts[:30], "cut \ud83d", *texts[31:]]
    assert len(server.bodies) == 60
    assert len(read_lines(output)) == 60


async def test_failed_rows_have_an_error_and_the_others_an_answer(make_server: Any, tmp_path: Path) -> None:
    """chat_batch never raises for a row, and contents holds None for it."""
    server = make_server(lambda prompt: refusal(400) if prompt == "b" else prompt)
    async with server.client() as client:
        batch = await client.chat_batch(["a", "b", "c"], output_jsonl=tmp_path / "out.jsonl")
        assert await client.chat_completions_batch(["a", "b", "c"]) == ["a", None, "c"]
    assert batch.contents == ["a", None, "c"]
    assert isinstance(batch[1].error, BadRequestError)
    assert batch.stats.failed == 1


async def test_a_rejected_key_stops_the_run_and_says_so_on_every_row(server: Any) -> None:
    """The rows that were not asked have the reason; only the rows in flight were sent."""
    server.reply = lambda _: refusal(401, "invalid_api_key")
    async with server.client(concurrency_limit=3) as client:
        batch = await client.chat_batch([str(number) for number in range(100)])
    assert len(server.bodies) <= 3
    assert len(batch) == len(batch.failed) == 100
    assert all(isinstance(item.error, AuthenticationError) for item in batch)
    assert batch.stats.stopped is not None
    assert "invalid_api_key" in batch.stats.stopped


@pytest.mark.parametrize("policy", ["fail", "skip", "record"])
async def test_bad_rows_of_a_list(server: Any, tmp_path: Path, read_lines: ReadLines, policy: Any) -> None:
    """By default nothing is sent; left out or recorded, every row still has its item."""
    output = tmp_path / "out.jsonl"
    rows: Any = ["a", 5, [{"role": "user", "content": "c", "extra": object()}], "d"]
    async with server.client() as client:
        if policy == "fail":
            with pytest.raises(InputError, match=r"^item 1: .*on_bad_row='skip'"):
                await client.chat_batch(rows, output_jsonl=output, on_bad_row=policy)
            assert (server.bodies, list(tmp_path.iterdir())) == ([], [])
            return
        batch = await client.chat_batch(rows, output_jsonl=output, on_bad_row=policy)
    assert batch.contents == ["re: a", None, None, "re: d"]
    assert isinstance(batch[1].error, RowSkippedError if policy == "skip" else InputError)
    assert isinstance(batch[2].error, InputError)
    statuses = ["success", "error", "success"] if policy == "skip" else ["success", "error", "error", "success"]
    assert [line["status"] for line in read_lines(output)] == statuses


async def test_bad_items_of_a_generator(server: Any) -> None:
    """They come as items with an error, or are left out with on_bad_row="skip"."""
    rows: list[Any] = ["a", 5, "c"]
    async with server.client() as client:
        items = [item async for item in client.chat_batch_iter(iter(rows))]
        assert {item.index: item.ok for item in items} == {0: True, 1: False, 2: True}
        items = [item async for item in client.chat_batch_iter(iter(rows), on_bad_row="skip")]
        assert sorted(item.index for item in items) == [0, 2]


async def test_metadata_go_to_the_lines_and_items(server: Any, tmp_path: Path, read_lines: ReadLines) -> None:
    """Each row's own fields; after a change the kept rows have the new ones."""
    output = tmp_path / "out.jsonl"
    async with server.client() as client:
        await client.chat_batch(["a", "b"], output_jsonl=output, metadata=[{"id": 1}, {"id": 2}])
        batch = await client.chat_batch(["a", "b"], output_jsonl=output, metadata=[{"id": 3}, {"id": 2}])
        assert [item.metadata for item in batch] == [{"id": 3}, {"id": 2}]
        assert all(item.resumed for item in batch)
        with pytest.raises(InputError, match="1 entries for 2 rows"):
            await client.chat_batch(["a", "b"], metadata=[{}])
        with pytest.raises(ConfigError, match="metadata needs a list"):
            _ = [item async for item in client.chat_batch_iter(iter(["a"]), metadata=[{}])]
    assert [line["metadata"] for line in read_lines(output)] == [{"id": 3}, {"id": 2}]
    assert len(server.bodies) == 2


async def test_metadata_that_cannot_be_written_are_found_before_anything_is_paid_for(
    server: Any, tmp_path: Path
) -> None:
    """Else the answer would be bought and could not be kept."""
    async with server.client() as client:
        with pytest.raises(InputError, match="metadata, line 2: cannot be written as JSON"):
            await client.chat_batch(["a", "b"], output_jsonl=tmp_path / "out.jsonl", metadata=[{}, {"x": object()}])
    assert server.bodies == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"save_input": "lats"}, "save_input is 'lats'; expected one of True, False, 'last'"),
        ({"resume": "always"}, "resume is 'always'; expected one of 'auto', 'strict', 'never'"),
        ({"on_bad_row": "ignore"}, "on_bad_row is 'ignore'"),
        ({"concurrency": 0}, "concurrency is 0; expected a number of rows above 0"),
        ({"concurrency": -1}, "concurrency is -1"),
        ({"max_failures": "some"}, "max failures is 'some'"),
        ({"output_jsonl": "a", "output_file": "b"}, "another name of output_jsonl"),
    ],
)
async def test_values_that_can_only_be_mistakes_are_refused(server: Any, options: dict[str, Any], message: str) -> None:
    """Before anything is sent."""
    async with server.client() as client:
        with pytest.raises(ConfigError, match=message):
            await client.chat_batch(["a"], **options)
    assert server.bodies == []


@pytest.mark.parametrize("single", ["Hello", b"bytes", HELLO[0]])
async def test_a_single_text_is_not_a_batch(server: Any, single: Any) -> None:
    """Its characters would be asked one by one."""
    async with server.client() as client:
        with pytest.raises(InputError, match="expected several messages"):
            await client.chat_batch(single)
        with pytest.raises(InputError, match="expected several messages"):
            _ = [item async for item in client.chat_batch_iter(single)]
    assert server.bodies == []


async def test_options_of_a_batch_reach_every_request(server: Any) -> None:
    """Model, sampling and headers; concurrency is at most the client's."""
    async with server.client(concurrency_limit=8, params={"top_p": 0.5}) as client:
        await client.chat_batch(["a"] * 30, model="other", temperature=0, extra_headers={"x-run": "7"}, concurrency=3)
        assert server.peak == 3
        await client.chat_batch(["a"] * 30, concurrency=1000)
        assert server.peak == 8
    assert {(body["model"], body["temperature"], body["top_p"]) for body in server.bodies[:30]} == {("other", 0, 0.5)}
    assert {headers["x-run"] for headers in server.headers[:30]} == {"7"}


async def test_an_output_in_use_is_refused_with_the_pid(server: Any, tmp_path: Path) -> None:
    """A second batch of this process on the same file is refused before it sends anything."""
    output = tmp_path / "out.jsonl"
    async with server.client() as client:
        stream = client.chat_batch_iter(["a", "b"], output_jsonl=output)
        await anext(stream)
        sent = len(server.bodies)
        with pytest.raises(JournalConflictError, match="being written by another run"):
            await client.chat_batch(["a"], output_jsonl=output)
        assert len(server.bodies) == sent
        await stream.aclose()


async def test_an_output_that_cannot_be_written_raises(server: Any, tmp_path: Path) -> None:
    """A missing folder is said before anything is sent; a damaged line of the output too."""
    output = tmp_path / "out.jsonl"
    async with server.client() as client:
        with pytest.raises(JournalError, match="does not exist"):
            await client.chat_batch(["a"], output_jsonl=tmp_path / "missing" / "out.jsonl")
        await client.chat_batch(["a"], output_jsonl=output)
        output.write_bytes(output.read_bytes().replace(b'"attempts"', b'"tool_calls":[5],"attempts"'))
        with pytest.raises(JournalError, match="row 0 is damaged"):
            await client.chat_batch(["a"], output_jsonl=output)
    assert len(server.bodies) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


async def test_no_rows_are_an_empty_result(server: Any, tmp_path: Path) -> None:
    """With and without an output, as a list and as an iterator."""
    async with server.client() as client:
        assert await client.chat_completions_batch([]) == []
        assert (await client.chat_batch([], output_jsonl=tmp_path / "out.jsonl")).contents == []
        assert [item async for item in client.chat_batch_iter(iter([]))] == []


async def test_progress_goes_to_standard_error(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And never to standard output, where results may go."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr("flexllm_batch.progress._Ticking.interval", 0.001)
    async with server.client(concurrency_limit=1) as client:
        await client.chat_batch(["a"] * 10, show_progress=True, track_cost=True)
    assert "/10 rows" in err.getvalue()
    assert "$" in err.getvalue()
    assert out.getvalue() == ""


def test_a_batch_is_an_ordinary_iterator_too(server: Any) -> None:
    """Outcomes as they come, from an iterator whose items are not taken before they are needed."""
    taken: list[int] = []

    def questions() -> Iterator[str]:
        for number in range(3000):
            taken.append(number)
            yield str(number)

    with server.client(concurrency_limit=5) as client:
        outcomes = client.chat_batch_iter_sync(questions())
        first = next(outcomes)
        client.chat_sync("something else meanwhile")
        assert first.content == f"re: {first.index}"
        rest = [item.index for item in itertools.islice(outcomes, 500)]
        assert len({first.index, *rest}) == 501
        outcomes.close()
        assert len(taken) < 700
        assert sorted(item.index for item in client.iter_chat_completions_batch_sync(["a", "b"])) == [0, 1]


def test_a_slow_consumer_of_an_iterator_holds_the_batch_back(server: Any) -> None:
    """No more rows are taken than fit into the window and what is ahead of the consumer."""
    taken: list[int] = []

    def questions() -> Iterator[str]:
        for number in range(5000):
            taken.append(number)
            yield str(number)

    with server.client(concurrency_limit=4) as client:
        outcomes = client.chat_batch_iter_sync(questions())
        next(outcomes)
        before = -1
        while before != len(taken):  # until it stands still
            before = len(taken)
            for _ in range(20):
                client.chat_sync("x")
        outcomes.close()
    assert len(taken) <= 1 + ITEMS_AHEAD + 5 * 4


def test_every_method_that_waits_has_a_twin_that_does_not_need_await() -> None:
    """With the same arguments; so the documents say."""
    methods = {name: value for name, value in inspect.getmembers(LLMClient) if not name.startswith("_")}
    generators = {"chat_batch_iter", "iter_chat_completions_batch"}
    asyncs = {
        name
        for name, value in methods.items()
        if inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value) or name in generators
    }
    assert len(asyncs) >= 10
    for name in asyncs - {"aclose"}:
        ours, twins = inspect.signature(methods[name]), inspect.signature(methods[f"{name}_sync"])
        assert list(ours.parameters.values()) == list(twins.parameters.values()), name
