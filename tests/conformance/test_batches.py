"""The providers' own batches: our items against the mock server, our examples against the vendors' own types."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from flexllm_core.endpoint import endpoint_from
from flexllm_core.errors import LLMRequestError
from flexllm_core.requests import ChatRequest
from flexllm_mock import MockServer
from flexllm_providers.batch_codecs import BatchCodec, decode_line, encode_line, find_batch_codec
from flexllm_providers.batch_status import BatchStatus
from flexllm_providers.claude import batch_jobs as claude_jobs
from flexllm_providers.gemini import batch_jobs as gemini_jobs
from flexllm_providers.gemini.batch_items import encode_inlined
from flexllm_providers.openai import batch_jobs as openai_jobs
from flexllm_providers.target import Target
from flexllm_providers.wires import find_wire

TESTS = Path(__file__).parents[2] / "packages/flexllm-providers/tests/wires"
EXAMPLES: dict[str, dict[str, Any]] = json.loads((TESTS / "batches.json").read_bytes())
OPENAI, CLAUDE, GEMINI = (EXAMPLES[provider] for provider in ("openai", "claude", "gemini"))
REQUESTS = {
    f"row-{number}": ChatRequest([{"role": "user", "content": f"question {number}"}], None, {"max_tokens": 50})
    for number in range(5)
}
WAIT = 10.0
"""Real seconds after which a batch of the mock server is taken to be stuck."""


def known(model: BaseModel) -> None:
    """Every key is one that the SDK knows, at every depth."""
    assert not model.model_extra, model.model_extra
    for value in dict(model).values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, BaseModel):
                known(item)


def required(params: Any) -> set[str]:
    """The keys that a TypedDict of an SDK requires; its annotations are texts, so the dict itself does not know."""
    return {key for key, kind in params.__annotations__.items() if "Required[" in str(kind)}


def test_openais_types_take_the_examples() -> None:
    """The file, the batch, and the answer in a line; a batch without a status is refused."""
    types = pytest.importorskip("openai.types")
    known(types.FileObject.model_validate(OPENAI["file"]))
    known(types.Batch.model_validate(OPENAI["batch"]))
    chat = pytest.importorskip("openai.types.chat")
    known(chat.ChatCompletion.model_validate(OPENAI["succeeded"]["response"]["body"]))
    created = openai_jobs.create_body("file-7a", {"run": "rivers"})
    params = pytest.importorskip("openai.types.batch_create_params").BatchCreateParams
    assert required(params) <= created.keys() <= params.__annotations__.keys()
    assert required(params)
    with pytest.raises(ValidationError):
        types.Batch.model_validate({key: value for key, value in OPENAI["batch"].items() if key != "status"})


def test_anthropics_types_take_the_examples() -> None:
    """The batch and each kind of result; an unknown kind is refused."""
    batches = pytest.importorskip("anthropic.types.messages")
    known(batches.MessageBatch.model_validate(CLAUDE["batch"]))
    for name in ("succeeded", "errored", "expired", "canceled"):
        known(batches.MessageBatchIndividualResponse.model_validate(CLAUDE[name]))
    (item,) = CLAUDE["create"]["requests"]
    params = pytest.importorskip("anthropic.types.messages.batch_create_params").Request
    assert required(params) == item.keys() == params.__annotations__.keys()
    with pytest.raises(ValidationError):
        batches.MessageBatchIndividualResponse.model_validate({"custom_id": "a", "result": {"type": "postponed"}})


def test_googles_types_take_the_examples() -> None:
    """What stands in an operation, by the converters of its SDK; an unknown key is refused."""
    types = pytest.importorskip("google.genai.types")
    batches = pytest.importorskip("google.genai.batches")
    job = types.BatchJob.model_validate(batches._BatchJob_from_mldev(GEMINI["operation"]))
    assert (job.name, job.state, job.display_name) == ("batches/q8", types.JobState.JOB_STATE_SUCCEEDED, "mountains")
    good, bad = job.dest.inlined_responses
    assert (good.metadata, good.response.text, bad.error.code) == ({"key": "row-2"}, "Elbrus", 3)
    with pytest.raises(ValidationError):
        types.InlinedResponse.model_validate({"responses": {}})


@pytest.fixture(scope="module")
def server() -> Any:
    """A mock server whose batches are done soon."""
    with MockServer() as running:
        yield running


def target(provider: str, server: MockServer, base_path: str, model: str) -> Target:
    """The mock server as a provider's endpoint."""
    given = {"name": "e", "provider": provider, "base_url": server.url + base_path, "model": model, "api_key": "k" * 20}
    return find_wire(provider).target(endpoint_from(given))


def wait(codec: BatchCodec, client: httpx.Client, path: str) -> BatchStatus:
    """The status of a batch that has ended."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        status = codec.decode_status(client.get(path).raise_for_status().json())
        if status.has_ended:
            return status
        time.sleep(0.01)
    raise AssertionError("the batch does not end")


def check(codec: BatchCodec, outcomes: list[dict[str, Any]], target: Target, failing: str) -> None:
    """Each request has its outcome, found by its custom id; the failing one a typed error, the others answers."""
    found = {codec.custom_id_of(item): item for item in outcomes}
    assert found.keys() == REQUESTS.keys()
    for custom_id, item in found.items():
        if custom_id == failing:
            with pytest.raises(LLMRequestError) as caught:
                codec.decode_item(item, REQUESTS[custom_id], target, 0.0)
            assert (caught.value.kind, caught.value.endpoint) == ("refused", "e")
        else:
            result = codec.decode_item(item, REQUESTS[custom_id], target, 0.0)
            assert result.content
            assert result.usage is not None


def test_a_batch_of_openai(server: MockServer) -> None:
    """A file of items goes in, the files of outcomes are joined by their ids."""
    codec, endpoint = find_batch_codec("openai"), target("openai", server, "/v1", "gpt-test")
    items = {key: codec.encode_item(request, key, endpoint) for key, request in REQUESTS.items()}
    items["row-3"]["body"]["messages"] = []
    lines = b"".join(map(encode_line, items.values()))
    with httpx.Client(base_url=f"{server.url}/v1", headers=endpoint.bearer_headers, trust_env=False) as client:
        del client.headers["content-type"]  # of the file it is another
        sent = client.post("/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", lines)})
        made = client.post("/batches", json=openai_jobs.create_body(sent.raise_for_status().json()["id"]))
        status = wait(codec, client, f"/batches/{made.raise_for_status().json()['id']}")
        bodies = [client.get(f"/files/{name}/content").raise_for_status().content for name in status.files]
    assert (status.state, status.total, status.succeeded, status.failed) == ("done", 5, 4, 1)
    outcomes = [decode_line(line, endpoint) for body in bodies for line in body.splitlines()]
    check(codec, outcomes, endpoint, "row-3")


def test_a_batch_of_claude(server: MockServer) -> None:
    """The items are in the request, the outcomes below the batch."""
    codec, endpoint = find_batch_codec("claude"), target("claude", server, "/v1", "claude-sonnet-4-5")
    items = {key: codec.encode_item(request, key, endpoint) for key, request in REQUESTS.items()}
    items["row-2"]["params"]["messages"] = []
    headers = {"x-api-key": "k" * 20, "anthropic-version": "2023-06-01"}
    with httpx.Client(base_url=f"{server.url}/v1/messages", headers=headers, trust_env=False) as client:
        made = client.post("/batches", json=claude_jobs.create_body(items.values()))
        batch_id = made.raise_for_status().json()["id"]
        status = wait(codec, client, f"/batches/{batch_id}")
        body = client.get(f"/batches/{batch_id}/results").raise_for_status().content
    assert (status.state, status.total, status.succeeded, status.failed) == ("done", 5, 4, 1)
    check(codec, [decode_line(line, endpoint) for line in body.splitlines()], endpoint, "row-2")


def test_a_batch_of_gemini(server: MockServer) -> None:
    """The requests and the responses are inlined."""
    codec, endpoint = find_batch_codec("gemini"), target("gemini", server, "/v1beta", "gemini-2.5-flash")
    items = {key: encode_inlined(request, key, endpoint) for key, request in REQUESTS.items()}
    items["row-1"]["request"]["contents"] = []
    headers = {"x-goog-api-key": "k" * 20}
    with httpx.Client(base_url=f"{server.url}/v1beta", headers=headers, trust_env=False) as client:
        made = client.post(
            "/models/gemini-2.5-flash:batchGenerateContent", json=gemini_jobs.create_body(items.values(), "questions")
        )
        status = wait(codec, client, "/" + made.raise_for_status().json()["name"])
    assert (status.state, status.total, status.succeeded, status.failed) == ("done", 5, 4, 1)
    check(codec, [dict(item) for item in status.inlined], endpoint, "row-1")
