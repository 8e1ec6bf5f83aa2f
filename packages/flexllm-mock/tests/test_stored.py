"""Files, batches and responses as raw requests see them: paths, links, keys, uploads in pieces."""

from __future__ import annotations

import json

import pytest

CLAUDE = {"anthropic-version": "2023-06-01"}
UPLOAD = "/upload/v1beta/files"
START = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}


def begin_upload(client, **headers):
    """Begin an upload and return the path to send the content to."""
    answer = client.post(UPLOAD, {"file": {"display_name": "f"}}, **{**START, **headers})
    assert answer.headers["x-goog-upload-status"] == "active"
    return answer.headers["x-goog-upload-url"]


def path_of(url):
    return "/" + url.split("/", 3)[3]


def claude_batch(client, prefix="/v1", **headers):
    params = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
    body = {"requests": [{"custom_id": "a", "params": params}]}
    return client.post(f"{prefix}/messages/batches", body, **CLAUDE, **headers).json


def test_links_lead_back_to_where_the_client_called(client):
    """Links have the host, the scheme and the path's prefix that the client used."""
    batch = claude_batch(client, "/proxy/anthropic/v1")
    headers = {**CLAUDE, "host": "mock.example:8443", "x-forwarded-proto": "https"}
    shown = client.get(f"/proxy/anthropic/v1/messages/batches/{batch['id']}", **headers).json
    base = "https://mock.example:8443/proxy/anthropic/v1/messages/batches"
    assert shown["results_url"] == f"{base}/{batch['id']}/results"
    assert path_of(begin_upload(client, host="mock.example")).startswith(UPLOAD)
    assert begin_upload(client, host="mock.example").startswith("http://mock.example/")
    results = client.get(path_of(shown["results_url"]), **CLAUDE)
    assert results.headers["content-type"] == "application/x-jsonl"
    assert json.loads(results.body)["result"]["type"] == "succeeded"


def test_vendors_share_paths(client):
    """`/v1/files` and `/v1/batches` are those of the vendor that the client seems to mean."""
    for path, name in (("/v1/files", "files"), ("/v1/batches", "operations")):
        assert client.get(path).json["object"] == "list"
        assert client.get(path, **{"x-goog-api-key": "k"}).json == {}
        assert client.get(path, **CLAUDE).claude_error["type"] == "not_found_error"
        assert client.get(path.replace("v1", "v1beta")).json.get(name) is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/files/f"),
        ("DELETE", "/v1/files"),
        ("POST", "/v1/files/f/content"),
        ("DELETE", "/v1/batches/b"),
        ("POST", "/v1/batches/b"),
        ("GET", "/v1/batches/b/cancel"),
        ("GET", "/v1/responses"),
        ("POST", "/v1/responses/r"),
        ("GET", "/v1/uploads/u"),
        ("POST", "/v1/uploads/u"),
        ("DELETE", "/v1/uploads/u/parts"),
        ("GET", "/v1/moderations"),
    ],
)
def test_wrong_methods(client, method, path):
    """A method that a path does not have gets 405 in the vendor's shape."""
    answer = client.request(method, path, b"{}" if method == "POST" else None)
    assert answer.status == 405
    assert answer.error["type"] == "invalid_request_error"


def test_upload_in_pieces(client):
    """Pieces add up at their offsets; a wrong offset is refused; a finished upload is gone."""
    url = path_of(begin_upload(client))
    part = client.post(url, b"ab", **{"x-goog-upload-command": "upload", "x-goog-upload-offset": "0"})
    assert (part.status, part.headers["x-goog-upload-status"]) == (200, "active")
    asked = client.post(url, b"", **{"x-goog-upload-command": "query"})
    assert asked.headers["x-goog-upload-size-received"] == "2"
    wrong = client.post(url, b"cd", **{"x-goog-upload-command": "upload", "x-goog-upload-offset": "1"})
    assert wrong.gemini_error["status"] == "INVALID_ARGUMENT"
    last = client.post(url, b"cd", **{"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "2"})
    assert last.headers["x-goog-upload-status"] == "final"
    assert last.json["file"]["sizeBytes"] == "4"
    assert client.post(url, b"", **{"x-goog-upload-command": "query"}).status == 404


def test_upload_is_cancelled_or_wrong(client):
    """An upload can be cancelled; other commands and protocols are refused."""
    url = path_of(begin_upload(client))
    assert client.post(url, b"", **{"x-goog-upload-command": "dance"}).status == 400
    assert client.post(url, b"", **{"x-goog-upload-command": "cancel"}).headers["x-goog-upload-status"] == "cancelled"
    assert client.post(url, b"", **{"x-goog-upload-command": "query"}).status == 404
    assert client.post(UPLOAD, {}).status == 400
    assert client.post(UPLOAD, {"file": []}, **START).status == 400


def test_the_same_requests_get_the_same_answers(serve):
    """Two servers with one seed give equal bytes, ids and times included, and another seed gives others."""
    form = {"content-type": "multipart/form-data; boundary=b"}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": "x"}}
    head = "--b\r\nContent-Disposition: form-data; name="
    body = f'{head}"purpose"\r\n\r\nbatch\r\n{head}"file"; filename="f"\r\n\r\n{json.dumps(line)}\r\n--b--'

    def run(**options):
        client, seen = serve(**options), []
        file = client.request("POST", "/v1/files", body.encode(), form)
        wanted = {"input_file_id": file.json["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
        begun = client.post("/v1/batches", wanted)
        done = client.get(f"/v1/batches/{begun.json['id']}")
        output = client.get(f"/v1/files/{done.json['output_file_id']}/content")
        seen = [file.body, begun.body, done.body, output.body, json.dumps(claude_batch(client))]
        return [*seen, client.post("/v1/responses", {"model": "m", "input": "Hi"}).body]

    assert run() == run()
    assert not set(run()) & set(run(seed=1))


def test_response_that_is_cut(client):
    """A response that its limit cuts is incomplete, and so is its last item."""
    answer = client.post(
        "/v1/responses", {"model": "m", "input": "Hi", "max_output_tokens": 16, "reasoning": {"effort": "high"}}
    )
    shown = answer.json
    assert shown["usage"]["output_tokens"] == 16
    assert (shown["status"], shown["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert shown["completed_at"] is None
    if shown["output"][-1]["type"] != "reasoning":
        assert shown["output"][-1]["status"] == "incomplete"


def test_response_with_a_lone_surrogate(client):
    """Text that has no UTF-8 is escaped, whole and in a stream."""
    body = b'{"model":"echo","input":"x \\ud83d y"%s}'
    whole = client.request("POST", "/v1/responses", body % b"")
    assert whole.json["output"][0]["content"][0]["text"] == "x \ud83d y"
    stream = client.request("POST", "/v1/responses", body % b',"stream":true').body.decode()
    deltas = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    assert "".join([each["delta"] for each in deltas if each["type"].endswith("text.delta")]) == "x \ud83d y"


def test_claudes_former_format(client):
    """With its beta header, `output_format` is what `output_config.format` is now; without it, it is unknown."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    body = {
        "model": "m",
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "Hi"}],
        "output_format": {"type": "json_schema", "schema": schema},
    }
    beta = {"anthropic-beta": "other-1,structured-outputs-2025-11-13"}
    answer = client.post("/v1/messages", body, **CLAUDE, **beta)
    assert isinstance(json.loads(answer.json["content"][0]["text"])["a"], int)
    assert client.post("/v1/messages", body, **CLAUDE).claude_error["message"].startswith("output_format: Extra")


def test_stored_things_need_the_key(serve):
    """With a key set, files, batches and responses need it too."""
    client = serve(api_key="right")
    for path in ("/v1/files", "/v1/batches", "/v1/responses/resp_1"):
        assert client.get(path).status == 401
    assert client.get("/v1/files", authorization="Bearer right").status == 200
    assert client.get("/v1/messages/batches", **CLAUDE).claude_error["type"] == "authentication_error"
    assert client.post(UPLOAD, {}, **START).gemini_error["details"][0]["reason"] == "API_KEY_INVALID"
    assert client.post(f"{UPLOAD}/abc", b"").status == 404
