"""The mock's message batches, driven through Anthropic's own client and held against its types."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

anthropic = pytest.importorskip("anthropic", reason="needs Anthropic's SDK: pip install anthropic")
pydantic = pytest.importorskip("pydantic", reason="needs pydantic, which Anthropic's SDK brings")

from anthropic.types.messages import (  # noqa: E402 only where the SDK is installed
    DeletedMessageBatch,
    MessageBatch,
    MessageBatchIndividualResponse,
)

from flexllm_mock import FaultMatch, FaultRule, MockServer  # noqa: E402

SDK = "anthropic"


def row(number: int, **params: Any) -> Any:
    """One request of a batch."""
    messages = [{"role": "user", "content": f"Question {number}"}]
    return {"custom_id": f"r{number}", "params": {"model": "mock", "max_tokens": 64, "messages": messages, **params}}


def test_batches_answer_as_direct_calls_do(flexllm_mock: MockServer, client: Any, strict: Any) -> None:
    """Each row's message is the direct call's; what that refuses is errored; the results come from this server."""
    requests = [row(0), row(1, max_tokens=None), row(2, stream=True), row(3, stop_sequences=["e"])]
    begun = strict(MessageBatch, client.messages.batches.with_raw_response.create(requests=requests).text())
    assert (begun.processing_status, begun.results_url, begun.request_counts.processing) == ("in_progress", None, 4)
    raw = client.messages.batches.with_raw_response.retrieve(begun.id).text()
    ended = strict(MessageBatch, raw)
    counts = {"processing": 0, "succeeded": 2, "errored": 2, "canceled": 0, "expired": 0}
    assert (ended.processing_status, ended.request_counts.model_dump()) == ("ended", counts)
    assert ended.created_at <= ended.ended_at <= ended.expires_at
    assert ended.results_url.startswith(flexllm_mock.url + "/v1/")
    results = httpx.get(ended.results_url, headers={"anthropic-version": "2023-06-01"})
    assert results.headers["request-id"].startswith("req_")
    lines = results.text.splitlines()
    found = [strict(MessageBatchIndividualResponse, line) for line in lines]
    assert found == list(client.messages.batches.results(begun.id))
    assert [each.result.type for each in found] == ["succeeded", "errored", "errored", "succeeded"]
    for number in (0, 3):
        direct = client.messages.with_raw_response.create(**requests[number]["params"]).text()
        assert json.loads(lines[number])["result"]["message"] == json.loads(direct)
    assert found[1].result.error.error.type == "invalid_request_error"
    assert "max_tokens" in found[1].result.error.error.message
    assert strict(DeletedMessageBatch, client.messages.batches.with_raw_response.delete(begun.id).text())
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(begun.id)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("processing_status",), "done"),
        (("request_counts", "succeeded"), None),
        (("request_counts", "errored"), "0"),
        (("created_at",), "yesterday"),
        (("expires_at",), None),
        (("type",), "batch"),
        (("status",), "ended"),
    ],
)
def test_strictness_catches_what_is_wrong(client: Any, path: tuple[str, ...], value: Any, strict: Any) -> None:
    """One wrong value, a missing field or an unknown one anywhere is found: the checks can fail."""
    batch = client.messages.batches.create(requests=[row(0)])
    document = json.loads(client.messages.batches.with_raw_response.retrieve(batch.id).text())
    assert strict(MessageBatch, json.dumps(document))
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(pydantic.ValidationError):
        strict(MessageBatch, json.dumps(document))


@pytest.mark.parametrize(
    ("line", "broken"),
    [("succeeded", '"type":"text"'), ("succeeded", '"custom_id"'), ("errored", '"message":')],
)
def test_strictness_of_results(client: Any, line: str, broken: str, strict: Any) -> None:
    """A result with a name that is wrong anywhere is found."""
    batch = client.messages.batches.create(requests=[row(0), row(1, max_tokens=-1)])
    url = client.messages.batches.retrieve(batch.id).results_url
    [text] = [each for each in httpx.get(url, headers={"anthropic-version": "x"}).text.splitlines() if line in each]
    assert strict(MessageBatchIndividualResponse, text)
    assert broken in text
    with pytest.raises(pydantic.ValidationError):
        strict(MessageBatchIndividualResponse, text.replace(broken, broken.upper()))


def test_batches_are_canceled(client_for: Any, flexllm_mock_server_factory: Any, strict: Any) -> None:
    """A batch that takes time has no results at first, cannot be deleted, and is canceling when told to."""
    client = client_for(flexllm_mock_server_factory(batch_seconds=1000))
    batch = client.messages.batches.create(requests=[row(0), row(1)])
    with pytest.raises(anthropic.AnthropicError, match="No `results_url`"):
        client.messages.batches.results(batch.id)
    with pytest.raises(anthropic.BadRequestError, match="cancel it first"):
        client.messages.batches.delete(batch.id)
    canceling = strict(MessageBatch, client.messages.batches.with_raw_response.cancel(batch.id).text())
    assert canceling.processing_status == "canceling"
    assert canceling.cancel_initiated_at is not None


def test_batches_expire(client_for: Any, flexllm_mock_server_factory: Any) -> None:
    """What is not done when the window closes is expired."""
    client = client_for(flexllm_mock_server_factory(batch_seconds=1000, batch_window=0.01))
    batch = client.messages.batches.create(requests=[row(0), row(1)])
    while batch.processing_status != "ended":
        batch = client.messages.batches.retrieve(batch.id)
    assert batch.request_counts.expired == 2
    assert [each.result.type for each in client.messages.batches.results(batch.id)] == ["expired", "expired"]
    with pytest.raises(anthropic.BadRequestError, match="has ended"):
        client.messages.batches.cancel(batch.id)


def test_lists_come_page_by_page(client: Any, strict: Any) -> None:
    """The SDK follows the pages, newest first, and each batch satisfies its type."""
    made = [client.messages.batches.create(requests=[row(number)]).id for number in range(5)]
    assert [batch.id for batch in client.messages.batches.list(limit=2)] == made[::-1]
    for batch in json.loads(client.messages.batches.with_raw_response.list().text())["data"]:
        assert strict(MessageBatch, json.dumps(batch)).processing_status == "ended"


def test_faults_hit_rows(client_for: Any, flexllm_mock_server_factory: Any) -> None:
    """A rule that concerns a row makes it errored, in the vendor's shape."""
    rule = FaultRule(status=529, match=FaultMatch(contains="Question 1", path="/v1/messages"))
    client = client_for(flexllm_mock_server_factory(faults=[rule]))
    batch = client.messages.batches.create(requests=[row(0), row(1)])
    first, second = client.messages.batches.results(batch.id)
    assert (first.result.type, second.result.error.error.type) == ("succeeded", "overloaded_error")


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "requests"),
        ([row(0), row(0)], "unique"),
        ([{"custom_id": "a b", "params": {}}], "requests.0.custom_id"),
        ([{"custom_id": "a"}], "requests.0.params"),
    ],
)
def test_wrong_batches_are_refused(client: Any, requests: Any, message: str) -> None:
    """What the API refuses at once is refused."""
    with pytest.raises(anthropic.BadRequestError, match=message):
        client.messages.batches.create(requests=requests)


async def test_async_client(flexllm_mock_server_factory: Any) -> None:
    """The asynchronous client submits, waits and reads as the other does, with a key."""
    server = flexllm_mock_server_factory(api_key="right")
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="right", max_retries=0) as client:
        batch = await client.messages.batches.create(requests=[row(0)])
        results = [each async for each in await client.messages.batches.results(batch.id)]
        direct = await client.messages.create(**row(0)["params"])
        assert results[0].result.message == direct
        assert [each.id async for each in client.messages.batches.list()] == [batch.id]
        assert (await client.messages.batches.delete(batch.id)).id == batch.id
