"""The mock's files, batches and embeddings of Gemini, driven through Google's own client and held against its types.

Every field of Google's types is optional, but unknown fields and wrong types are errors in them.
"""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

genai = pytest.importorskip("google.genai", reason="needs Google's SDK: pip install google-genai")
pydantic = pytest.importorskip("pydantic", reason="needs pydantic, which Google's SDK brings")

from google.genai import errors, types  # noqa: E402 only where the SDK is installed

from flexllm_mock import FaultMatch, FaultRule, MockServer  # noqa: E402

SDK = "gemini"

MODEL = "gemini-2.5-flash"
STATS = {"requestCount", "pendingRequestCount", "successfulRequestCount", "failedRequestCount"}
pytestmark = pytest.mark.filterwarnings("ignore:.*experimental.*")


def get(server: MockServer, path: str) -> Any:
    """Ask without the SDK, which changes an answer before it shows it."""
    with urllib.request.urlopen(f"{server.url}/v1beta/{path}", timeout=20) as response:
        return json.load(response)


@pytest.fixture
def strict_operation(strict: Any) -> Callable[[Any], Any]:
    """Holds a batch's operation against what the API states of it, and its inlined answers against the SDK's type."""

    def check(value: Any) -> Any:
        assert set(value) <= {"name", "metadata", "done", "response", "error"}
        metadata = value["metadata"]
        assert set(metadata) <= {
            *("@type", "model", "displayName", "state", "name", "createTime", "updateTime", "endTime", "batchStats"),
            "output",
        }
        assert metadata["@type"].startswith("type.googleapis.com/google.ai.generativelanguage.v1")
        assert metadata["name"] == value["name"]
        assert set(metadata["batchStats"]) == STATS
        assert all(isinstance(count, str) for count in metadata["batchStats"].values())
        for name in ("createTime", "updateTime", "endTime"):
            assert name not in metadata or metadata[name].endswith("Z")
        assert ("response" in value) == ("output" in metadata)
        for each in metadata.get("output", {}).get("inlinedResponses", {}).get("inlinedResponses", []):
            strict(types.InlinedResponse, json.dumps(each))
        return value

    return check


def inlined(*texts: str, **config: Any) -> list[Any]:
    """Requests for the body of a batch, as the SDK takes them."""
    return [
        {"contents": [{"role": "user", "parts": [{"text": text}]}], "metadata": {"key": text}, "config": config}
        for text in texts
    ]


def test_files_are_valid(flexllm_mock: MockServer, client: Any, tmp_path: Path, strict: Any) -> None:
    """A file is uploaded in pieces, described, listed and deleted, and each answer satisfies its type."""
    path = tmp_path / "big.bin"
    path.write_bytes(b"0123456789abcdef" * 600_000)  # more than the SDK sends at once
    file = client.files.upload(file=path, config={"mime_type": "video/mp4", "display_name": "Big"})
    assert (file.size_bytes, file.mime_type, file.display_name) == (9_600_000, "video/mp4", "Big")
    assert file.uri.startswith(flexllm_mock.url)
    raw = get(flexllm_mock, file.name)
    times = [raw.pop(name) for name in ("createTime", "updateTime", "expirationTime")]
    assert all(time.endswith("Z") for time in times)
    assert strict(types.File, json.dumps({**raw, "sizeBytes": int(raw["sizeBytes"])})).state == "ACTIVE"
    named = client.files.upload(file=io.BytesIO(b"hi"), config={"mime_type": "text/plain", "name": "my-file"})
    assert named.name == "files/my-file"
    assert [each.name for each in client.files.list(config={"page_size": 1})] == [file.name, "files/my-file"]
    with pytest.raises(errors.ClientError, match="already exists"):
        client.files.upload(file=io.BytesIO(b"hi"), config={"mime_type": "text/plain", "name": "my-file"})
    with pytest.raises(errors.ClientError, match="name"):
        client.files.upload(file=io.BytesIO(b"hi"), config={"mime_type": "text/plain", "name": "My_File"})
    with pytest.raises(errors.ClientError, match="generated"):
        urllib_error(flexllm_mock, "my-file")
    client.files.delete(name=file.name)
    with pytest.raises(errors.ClientError) as caught:
        client.files.get(name=file.name)
    assert (caught.value.code, caught.value.status) == (403, "PERMISSION_DENIED")


def urllib_error(server: MockServer, name: str) -> None:
    """Download without the SDK, which refuses by itself to download what was uploaded."""
    try:
        get(server, f"files/{name}:download?alt=media")
    except urllib.error.HTTPError as error:
        with error:
            raise errors.ClientError(error.code, json.load(error)) from None


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_inlined_batches_answer_as_direct_calls_do(
    client_for: Any, flexllm_mock_server_factory: Any, version: str, strict_operation: Any
) -> None:
    """Each answer is the direct call's, in order and with its metadata; what that refuses is an error."""
    server = flexllm_mock_server_factory()
    client = client_for(server, api_version=version)
    requests = [*inlined("One", "Two", max_output_tokens=9), *inlined("Three", candidate_count=99)]
    begun = client.batches.create(model=MODEL, src=requests, config={"display_name": "job"})
    assert (begun.state.name, begun.display_name, begun.dest) == ("JOB_STATE_PENDING", "job", None)
    done = client.batches.get(name=begun.name)
    assert (done.state.name, done.model) == ("JOB_STATE_SUCCEEDED", f"models/{MODEL}")
    answers = done.dest.inlined_responses
    assert [each.metadata["key"] for each in answers] == ["One", "Two", "Three"]
    for each, text in zip(answers, ("One", "Two"), strict=False):
        direct = client.models.generate_content(model=MODEL, contents=text, config={"max_output_tokens": 9})
        assert each.response.text == direct.text
        assert each.response.usage_metadata == direct.usage_metadata
    assert answers[2].error.code == 3
    operation = strict_operation(get(server, begun.name))
    assert operation["done"] is True
    assert operation["metadata"]["batchStats"] == {
        "requestCount": "3",
        "pendingRequestCount": "0",
        "successfulRequestCount": "2",
        "failedRequestCount": "1",
    }
    broken = json.loads(json.dumps(operation).replace("finishReason", "finishedReason"))
    with pytest.raises(pydantic.ValidationError):
        strict_operation(broken)
    assert [each.name for each in client.batches.list()] == [begun.name]
    client.batches.delete(name=begun.name)
    with pytest.raises(errors.ClientError):
        client.batches.get(name=begun.name)


def test_batches_of_a_file(client: Any, strict: Any) -> None:
    """The requests of an uploaded file are answered in a file of their own, line by line, which can be downloaded."""
    lines = [
        {"key": f"k{n}", "request": {"contents": [{"role": "user", "parts": [{"text": f"Q{n}"}]}]}} for n in range(3)
    ]
    lines[1]["request"] = {"contents": []}
    content = "\n".join([json.dumps(line) for line in lines]).encode()
    file = client.files.upload(file=io.BytesIO(content), config={"mime_type": "application/jsonl"})
    begun = client.batches.create(model=MODEL, src=file.name)
    done = client.batches.get(name=begun.name)
    rows = [json.loads(line) for line in client.files.download(file=done.dest.file_name).splitlines()]
    assert [row["key"] for row in rows] == ["k0", "k1", "k2"]
    assert ["error" in row for row in rows] == [False, True, False]
    assert set(rows[1]["error"]) == {"code", "message"}
    direct = client.models.generate_content(model=MODEL, contents="Q2")
    answer = strict(types.GenerateContentResponse, json.dumps(rows[2]["response"]))
    assert (answer.text, answer.response_id) == (direct.text, direct.response_id)
    generated = client.files.get(name=done.dest.file_name)
    assert generated.source == "GENERATED"
    wrong = client.files.upload(file=io.BytesIO(b"[]"), config={"mime_type": "application/jsonl"})
    failed = client.batches.get(name=client.batches.create(model=MODEL, src=wrong.name).name)
    assert failed.state.name == "JOB_STATE_FAILED"
    with pytest.raises(errors.ClientError):
        client.batches.create(model=MODEL, src="files/nothing")


def test_batches_are_cancelled_and_expire(
    client_for: Any, flexllm_mock_server_factory: Any, strict_operation: Any
) -> None:
    """A batch that takes time is running, can be cancelled, and expires with its window; neither has output."""
    slow = flexllm_mock_server_factory(batch_seconds=1000)
    client = client_for(slow)
    begun = client.batches.create(model=MODEL, src=inlined("One"))
    assert client.batches.get(name=begun.name).state.name == "JOB_STATE_PENDING"
    client.batches.cancel(name=begun.name)
    assert strict_operation(get(slow, begun.name))["metadata"]["state"] == "BATCH_STATE_RUNNING"
    late = flexllm_mock_server_factory(batch_seconds=1000, batch_window=0.01)
    client = client_for(late)
    begun = client.batches.create(model=MODEL, src=inlined("One"))
    while not get(late, begun.name).get("done"):
        pass
    expired = strict_operation(get(late, begun.name))
    assert (expired["metadata"]["state"], "output" in expired["metadata"]) == ("BATCH_STATE_EXPIRED", False)
    assert expired["error"]["code"] == 4
    with pytest.raises(errors.ClientError) as caught:
        client.batches.cancel(name=begun.name)
    assert caught.value.status == "FAILED_PRECONDITION"


def test_batches_of_embeddings(client: Any) -> None:
    """A batch of embeddings has the vectors of the direct call."""
    begun = client.batches.create_embeddings(model="e", src={"inlined_requests": {"contents": ["a", "b"]}})
    done = client.batches.get(name=begun.name)
    direct = client.models.embed_content(model="e", contents=["a", "b"])
    vectors = [each.response.embedding.values for each in done.dest.inlined_embed_content_responses]
    assert vectors == [each.values for each in direct.embeddings]


def test_embeddings_are_valid(client_for: Any, flexllm_mock: MockServer, client: Any, strict: Any) -> None:
    """Vectors are of the length asked for and the same for the same text, one by one, together and on Vertex AI."""
    options = {"task_type": "RETRIEVAL_QUERY", "output_dimensionality": 8}
    both = client.models.embed_content(model="e", contents=["a", "b"], config=options)
    assert [len(each.values) for each in both.embeddings] == [8, 8]
    body = json.dumps({"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 8}).encode()
    request = urllib.request.Request(f"{flexllm_mock.url}/v1beta/models/e:embedContent", body)
    with urllib.request.urlopen(request, timeout=20) as response:
        single = json.load(response)
    assert strict(types.ContentEmbedding, json.dumps(single["embedding"])).values == both.embeddings[0].values
    assert sum([value * value for value in single["embedding"]["values"]]) == pytest.approx(1, rel=1e-5)
    assert len(client.models.embed_content(model="e", contents="a").embeddings[0].values) == 3072
    with pytest.raises(errors.ClientError):
        client.models.embed_content(model="e", contents="a", config={"output_dimensionality": 0})


def test_faults_hit_rows(client_for: Any, flexllm_mock_server_factory: Any) -> None:
    """A rule that concerns a row makes it an error with the code that stands for its status."""
    rule = FaultRule(status=503, match=FaultMatch(contains="Two", path=":generateContent"))
    client = client_for(flexllm_mock_server_factory(faults=[rule]))
    done = client.batches.get(name=client.batches.create(model=MODEL, src=inlined("One", "Two")).name)
    first, second = done.dest.inlined_responses
    assert (first.error, second.error.code) == (None, 14)


def test_keys_are_checked(client_for: Any, flexllm_mock_server_factory: Any) -> None:
    """Files and batches need the key; the pieces of an upload go to a URL that stands for it."""
    server = flexllm_mock_server_factory(api_key="right")
    client = client_for(server, api_key="right")
    file = client.files.upload(file=io.BytesIO(b"hi"), config={"mime_type": "text/plain"})
    assert client.files.get(name=file.name).size_bytes == 2
    for call in (
        lambda wrong: wrong.files.get(name=file.name),
        lambda wrong: wrong.files.upload(file=io.BytesIO(b"hi"), config={"mime_type": "text/plain"}),
        lambda wrong: wrong.batches.create(model=MODEL, src=inlined("One")),
        lambda wrong: list(wrong.batches.list()),
    ):
        with pytest.raises(errors.ClientError, match="API key not valid"):
            call(client_for(server, api_key="wrong"))


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # where aiohttp is
async def test_async_client(flexllm_mock: MockServer) -> None:
    """The asynchronous client uploads, submits, reads and deletes as the other does."""
    http = types.HttpOptions(base_url=flexllm_mock.url)
    async with genai.Client(api_key="k", http_options=http).aio as client:
        line = json.dumps({"key": "k", "request": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}}).encode()
        file = await client.files.upload(file=io.BytesIO(line), config={"mime_type": "application/jsonl"})
        begun = await client.batches.create(model=MODEL, src=file.name)
        done = await client.batches.get(name=begun.name)
        row = json.loads(await client.files.download(file=done.dest.file_name))
        direct = await client.models.generate_content(model=MODEL, contents="Hi")
        assert row["response"]["candidates"][0]["content"]["parts"][0]["text"] == direct.text
        assert [each.name async for each in await client.batches.list()] == [begun.name]
        embedded = await client.models.embed_content(model="e", contents="a", config={"output_dimensionality": 4})
        assert len(embedded.embeddings[0].values) == 4
        await client.files.delete(name=file.name)
        await client.batches.delete(name=begun.name)
