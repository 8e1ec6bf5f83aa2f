"""The mock's files and batches, driven through OpenAI's own client and held against its types."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

openai = pytest.importorskip("openai", reason="needs OpenAI's SDK: pip install openai")
pydantic = pytest.importorskip("pydantic", reason="needs pydantic, which OpenAI's SDK brings")

from openai.types import Batch, CreateEmbeddingResponse, FileDeleted, FileObject  # noqa: E402 only with the SDK
from openai.types.chat import ChatCompletion  # noqa: E402
from openai.types.responses import Response  # noqa: E402

from flexllm_mock import FaultMatch, FaultRule, MockServer  # noqa: E402

SDK = "openai"

CHAT = "/v1/chat/completions"


def question(number: int, **options: Any) -> dict[str, Any]:
    """The body of a chat request."""
    return {"model": "mock", "messages": [{"role": "user", "content": f"Question {number}"}], **options}


def as_lines(bodies: list[Any], url: str = CHAT) -> bytes:
    """The input file for some bodies, the first of which has the id r0."""
    rows = [{"custom_id": f"r{at}", "method": "POST", "url": url, "body": body} for at, body in enumerate(bodies)]
    return "\n".join([json.dumps(row) for row in rows]).encode()


def submit(client: Any, bodies: list[Any], url: str = CHAT, **options: Any) -> Any:
    """Upload some bodies and begin a batch of them."""
    file = client.files.create(file=("in.jsonl", as_lines(bodies, url)), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h", **options)


def rows_of(client: Any, file_id: str | None) -> list[Any]:
    """The lines of a result file."""
    return [] if file_id is None else [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


def test_files_are_valid(client: Any, strict: Any) -> None:
    """A file is created, described, listed, returned byte by byte and deleted, and each answer satisfies its type."""
    content = b"line\r\n--boundary\r\n\r\n\x00\xff" * 1000
    made = client.files.with_raw_response.create(file=("data.bin", io.BytesIO(content)), purpose="user_data")
    file = strict(FileObject, made.text)
    assert (file.filename, file.bytes, file.purpose) == ("data.bin", len(content), "user_data")
    assert strict(FileObject, client.files.with_raw_response.retrieve(file.id).text) == file
    assert client.files.content(file.id).content == content
    again = client.files.create(
        file=("data.bin", content), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert again.id != file.id
    assert again.expires_at == again.created_at + 3600
    batch = client.files.create(file=b"{}", purpose="batch")
    assert [each.id for each in client.files.list()] == [batch.id, again.id, file.id]
    assert [each.id for each in client.files.list(limit=1, order="asc")] == [file.id, again.id, batch.id]
    assert [each.id for each in client.files.list(purpose="batch")] == [batch.id]
    assert strict(FileDeleted, client.files.with_raw_response.delete(file.id).text).deleted
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(file.id)


def test_batches_answer_as_direct_calls_do(client: Any, strict: Any) -> None:
    """Each row's answer is the direct call's, byte by byte; what that refuses is in the error file."""
    bodies = [question(0), question(1, n=-1), question(2, stream=True), question(3, max_tokens=3, logprobs=True)]
    begun = strict(Batch, json.dumps(submit(client, bodies, metadata={"job": "a"}).to_dict()))
    assert (begun.status, begun.request_counts.total, begun.output_file_id) == ("validating", 0, None)
    raw = client.batches.with_raw_response.retrieve(begun.id).text
    done = strict(Batch, raw)
    assert (done.status, done.metadata, done.model) == ("completed", {"job": "a"}, "mock")
    assert done.request_counts.model_dump() == {"total": 4, "completed": 2, "failed": 2}
    assert done.created_at <= done.in_progress_at <= done.finalizing_at <= done.completed_at <= done.expires_at
    right = {row["custom_id"]: row for row in rows_of(client, done.output_file_id)}
    assert list(right) == ["r0", "r3"]
    for name, row in right.items():
        direct = client.chat.completions.with_raw_response.create(**bodies[int(name[1:])])
        assert json.dumps(row["response"]["body"]) == json.dumps(json.loads(direct.text))
        assert strict(ChatCompletion, json.dumps(row["response"]["body"]))
        assert (row["error"], row["response"]["status_code"]) == (None, 200)
        assert row["response"]["request_id"] == direct.headers["x-request-id"]
    wrong = {row["custom_id"]: row["response"] for row in rows_of(client, done.error_file_id)}
    assert {name: row["status_code"] for name, row in wrong.items()} == {"r1": 400, "r2": 400}
    assert wrong["r1"]["body"]["error"]["param"] == "n"
    usages = [row["response"]["body"]["usage"] for row in right.values()]
    assert done.usage.total_tokens == sum([usage["total_tokens"] for usage in usages])
    assert client.files.retrieve(done.output_file_id).purpose == "batch_output"
    assert client.batches.with_raw_response.retrieve(begun.id).text == raw


@pytest.mark.parametrize(
    ("url", "body", "kind"),
    [
        ("/v1/responses", {"model": "mock", "input": "Hi"}, Response),
        ("/v1/embeddings", {"model": "mock", "input": "Hi", "dimensions": 4}, CreateEmbeddingResponse),
    ],
)
def test_other_endpoints(client: Any, url: str, body: Any, kind: Any, strict: Any) -> None:
    """Batches of responses and embeddings work as those of chats do."""
    done = client.batches.retrieve(submit(client, [body], url).id)
    [row] = rows_of(client, done.output_file_id)
    assert strict(kind, json.dumps(row["response"]["body"]))
    assert done.usage.input_tokens > 0


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("status",), "done"),
        (("request_counts", "total"), "4"),
        (("request_counts", "failed"), None),
        (("endpoint",), None),
        (("usage", "output_tokens_details"), None),
        (("created_at",), 1.5),
        (("progress",), 1),
    ],
)
def test_strictness_catches_what_is_wrong(client: Any, path: tuple[Any, ...], value: Any, strict: Any) -> None:
    """One wrong value, a missing field or an unknown one anywhere is found: the checks can fail."""
    raw = client.batches.with_raw_response.retrieve(submit(client, [question(0)]).id).text
    assert strict(Batch, raw)
    document = json.loads(raw)
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(pydantic.ValidationError):
        strict(Batch, json.dumps(document))


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"{not json}\n", "invalid_json_line", 1),
        (b"\n \n", "empty_file", None),
        (as_lines([question(0)]) + b"\n" + as_lines([question(1)]), "duplicate_custom_id", 2),
        (as_lines([question(0)], "/v1/embeddings"), "invalid_url", 1),
        (as_lines([question(0), question(1, model="other")]), "mismatched_model", 2),
        (as_lines([[]]), "invalid_type", 1),
        (as_lines([question(0)]).replace(b"POST", b"GET"), "invalid_method", 1),
        (as_lines([question(0)]).replace(b"custom_id", b"id"), "missing_required_parameter", 1),
    ],
)
def test_wrong_input_fails_the_batch(client: Any, content: bytes, code: str, line: int | None, strict: Any) -> None:
    """A batch whose file cannot be read fails, and says which line is wrong."""
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    begun = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    failed = strict(Batch, client.batches.with_raw_response.retrieve(begun.id).text)
    assert (failed.status, failed.errors.data[0].code, failed.errors.data[0].line) == ("failed", code, line)
    assert (failed.output_file_id, failed.error_file_id) == (None, None)
    assert failed.failed_at is not None


def test_batches_are_cancelled(client_for: Any, flexllm_mock_server_factory: Any, strict: Any) -> None:
    """A batch that takes time is cancelling first; what was not done comes as batch_cancelled."""
    client = client_for(flexllm_mock_server_factory(batch_seconds=1000))
    begun = submit(client, [question(0), question(1)])
    assert client.batches.retrieve(begun.id).status == "validating"
    cancelling = strict(Batch, client.batches.with_raw_response.cancel(begun.id).text)
    assert (cancelling.status, cancelling.completed_at) == ("cancelling", None)
    assert cancelling.cancelling_at is not None
    assert client.batches.list().data[0].status == "cancelling"


async def test_batches_end_by_the_clock(flexllm_mock_server_factory: Any) -> None:
    """A short batch is seen in progress before it is completed, and one that outlasts its window expires."""
    server = flexllm_mock_server_factory(batch_seconds=0.4)
    late = flexllm_mock_server_factory(batch_seconds=1000, batch_window=0.01)
    content = as_lines([question(0), question(1)])
    async with (
        openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client,
        openai.AsyncOpenAI(base_url=late.base_url, api_key="k", max_retries=0) as late_client,
    ):
        ended: list[Any] = []
        for each in (client, late_client):
            file = await each.files.create(file=("in.jsonl", content), purpose="batch")
            batch = await each.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
            seen = [batch.status]
            while seen[-1] in ("validating", "in_progress", "finalizing"):
                batch = await each.batches.retrieve(batch.id)
                seen.append(batch.status)
            ended.append((seen, batch))
        order = ["validating", "in_progress", "finalizing", "completed"]
        assert ended[0][0] == sorted(ended[0][0], key=order.index)
        assert len(set(ended[0][0])) > 1
        assert [each.id async for each in client.batches.list()] == [ended[0][1].id]
        expired = ended[1][1]
        assert (expired.status, expired.output_file_id) == ("expired", None)
        lines = (await late_client.files.content(expired.error_file_id)).text.splitlines()
        assert [json.loads(line)["error"]["code"] for line in lines] == ["batch_expired", "batch_expired"]
        with pytest.raises(openai.BadRequestError, match="Cannot cancel"):
            await late_client.batches.cancel(expired.id)


def test_faults_hit_rows(client_for: Any, flexllm_mock_server_factory: Any) -> None:
    """A rule that concerns a row fails it, as it would fail the direct call; the rows are no requests in the log."""
    chat = "/chat/completions"  # else the rules would hit the upload, which holds the same texts
    server = flexllm_mock_server_factory(
        faults=[
            FaultRule(status=500, match=FaultMatch(contains="Question 1", path=chat)),
            FaultRule(disconnect="before", match=FaultMatch(contains="Question 2", path=chat)),
        ]
    )
    client = client_for(server)
    done = client.batches.retrieve(submit(client, [question(number) for number in range(4)]).id)
    failed = {row["custom_id"]: row["response"]["status_code"] for row in rows_of(client, done.error_file_id)}
    assert failed == {"r1": 500, "r2": 500}
    assert [row["custom_id"] for row in rows_of(client, done.output_file_id)] == ["r0", "r3"]
    assert server.stats().requests == 5


def test_long_batches_let_others_through(client: Any) -> None:
    """A batch of thousands of rows is worked on in the background, and is complete in the end."""
    begun = submit(client, [question(number, max_tokens=1) for number in range(3000)])
    while (batch := client.batches.retrieve(begun.id)).status != "completed":
        assert batch.status in ("validating", "in_progress")
        assert client.chat.completions.create(**question(0)).choices
    rows = rows_of(client, batch.output_file_id)
    assert [row["custom_id"] for row in rows] == [f"r{number}" for number in range(3000)]
    assert batch.request_counts.completed == 3000


def test_reset_forgets(flexllm_mock: MockServer, client: Any) -> None:
    """A reset forgets files, batches and responses, and the next ones get the ids that the first ones had."""
    first = submit(client, [question(0)])
    response = client.responses.create(model="mock", input="Hi")
    flexllm_mock.reset()
    for call in (
        lambda: client.batches.retrieve(first.id),
        lambda: client.files.retrieve(first.input_file_id),
        lambda: client.responses.retrieve(response.id),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    assert submit(client, [question(0)]).id == first.id
    assert submit(client, [question(0)]).id != first.id


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"endpoint": "/v1/images"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
    ],
)
def test_wrong_batches_are_refused(client: Any, options: Any, param: str) -> None:
    """What the API refuses is refused, with the parameter that is wrong."""
    file = client.files.create(file=as_lines([question(0)]), purpose="batch")
    with pytest.raises(openai.BadRequestError) as caught:
        client.batches.create(**{"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **options})
    assert caught.value.param == param
    other = client.files.create(file=as_lines([question(0)]), purpose="user_data")
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.batches.create(input_file_id=other.id, endpoint=CHAT, completion_window="24h")
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id="file-0", endpoint=CHAT, completion_window="24h")
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_0")


async def test_async_client(flexllm_mock: MockServer, strict: Any) -> None:
    """The asynchronous client uploads, submits, waits and reads as the other does."""
    async with openai.AsyncOpenAI(base_url=flexllm_mock.base_url, api_key="k", max_retries=0) as client:
        file = await client.files.create(file=("in.jsonl", as_lines([question(0)])), purpose="batch")
        begun = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        done = strict(Batch, (await client.batches.with_raw_response.retrieve(begun.id)).text)
        assert done.status == "completed"
        [line] = (await client.files.content(done.output_file_id)).text.splitlines()
        direct = await client.chat.completions.create(**question(0))
        assert json.loads(line)["response"]["body"]["id"] == direct.id
        assert [each.id async for each in client.files.list()] == [done.output_file_id, file.id]
        assert (await client.files.delete(file.id)).deleted
