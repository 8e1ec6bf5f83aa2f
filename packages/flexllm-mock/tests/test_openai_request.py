"""What a chat request must hold, and how the mock says what is wrong."""

from __future__ import annotations

import pytest

HELLO = [{"role": "user", "content": "Hello"}]
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 3}, "model"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"messages": [{"content": "no role"}]}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream": True, "stream_options": 1}, "stream_options"),
        ({"thinking": True}, "thinking"),
        ({"tools": {"a": 1}}, "tools"),
        ({"tools": ["a"]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "f"}, "tool_choice"),
        (
            {
                "tools": [{"type": "function", "function": {"name": "f"}}],
                "tool_choice": {"type": "function", "function": {"name": "g"}},
            },
            "tool_choice",
        ),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "any"}}}}, "response_format"),
        ({"tools": [{"function": {"name": "f", "parameters": {"not": {}}}}]}, "tools"),
    ],
)
def test_bad_parameter_is_named(client, change, param):
    """A parameter that is missing or wrong gives 400 in OpenAI's shape, with the parameter's name."""
    answer = client.post(CHAT, {"model": "mock", "messages": HELLO, **change})
    assert answer.status == 400
    assert answer.error["param"] == param
    assert answer.error["type"] == "invalid_request_error"
    assert param.split("[")[0].split(".")[0] in answer.error["message"]


@pytest.mark.parametrize("name", ["model", "messages"])
def test_missing_parameter_is_named(client, name):
    """A request without model or messages says which is missing."""
    body = {"model": "mock", "messages": HELLO}
    del body[name]
    answer = client.post(CHAT, body)
    assert answer.status == 400
    assert answer.error["message"] == f"Missing required parameter: '{name}'."


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"model": NaN}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
    ],
)
def test_body_that_is_no_json_object_is_refused(client, body):
    """Whatever the bytes are, the answer is 400 and says that the body is the problem."""
    answer = client.post(CHAT, body)
    assert answer.status == 400
    assert "JSON body" in answer.error["message"]
    assert client.chat().status == 200


def test_deep_but_valid_request_does_not_break_the_server(client):
    """A request nested as deeply as JSON reading allows, which depends on Python, is answered or refused."""
    for depth in (100, 400, 800, 900, 950, 990, 5_000, 20_000):
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"function":{"name":"f","parameters":'
        assert client.post(CHAT, body + deep + b"}}]}").status in (200, 400)
        nested = b'{"model": "m", "messages": ' + b"[" * depth + b"]" * depth + b"}"
        assert client.post(CHAT, nested).error["type"] == "invalid_request_error"


def test_null_parameters_count_as_absent(client):
    """Parameters that are null are those that were not given."""
    nulls = dict.fromkeys(("max_tokens", "n", "stop", "stream", "tools", "response_format", "tool_choice"))
    answer = client.chat(**nulls)
    assert answer.status == 200
    assert answer.json["choices"][0]["finish_reason"] == "stop"


def test_unknown_parameters_are_accepted(client):
    """Parameters of other servers are no error."""
    assert client.chat(top_k=4, min_p=0.1, cache_salt="x").status == 200


def test_unknown_path_and_wrong_method(client):
    """Unknown paths give 404 and wrong methods 405 with `allow`, both as JSON."""
    assert client.get("/nothing").status == 404
    assert "GET /nothing" in client.get("/nothing").error["message"]
    assert client.post("/v1/other", {}).error["code"] == "unknown_url"
    wrong = client.get(CHAT)
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert client.post("/v1/models", {}).headers["allow"] == "GET"
    assert wrong.error["message"]


def test_api_key_is_required_when_set(serve):
    """With a key, other bearers get 401, except for the health check; the key is never shown."""
    client = serve(api_key="sk-right")
    body = {"model": "mock", "messages": HELLO}
    for headers in ({}, {"authorization": "Bearer sk-wrong"}, {"authorization": "Basic sk-right"}, {"x-api-key": ""}):
        answer = client.post(CHAT, body, **headers)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert b"sk-" not in answer.body
        assert client.get("/__mock__/stats", **headers).status == 401
    for headers in ({"authorization": "Bearer sk-right"}, {"x-api-key": "sk-right"}, {"api-key": "sk-right"}):
        assert client.post(CHAT, body, **headers).status == 200
        assert client.get("/__mock__/stats", **headers).status == 200
    assert client.get("/health").json == {"status": "ok"}
    assert "sk-right" not in repr(client.server.config)


def test_body_over_the_limit_is_refused(serve, protocol):
    """A body above the limit gets 413, whether it says its length or comes in chunks, and the server goes on."""
    client = serve(max_body_bytes=100_000)
    large = b'{"model":"mock","messages":[{"role":"user","content":"' + b"x" * 200_000 + b'"}]}'
    assert client.post(CHAT, large).error["code"] == "request_too_large"
    chunked = client.request("POST", CHAT, iter([large[:70_000], large[70_000:]]), {"transfer-encoding": "chunked"})
    assert chunked.status == 413
    assert client.post(CHAT, large[:50_000] + b'"}]}').status == 200


def test_limit_holds_for_small_bodies_too(serve):
    """A body that comes in one piece is measured as well."""
    assert serve(max_body_bytes=20).chat().status == 413


def test_large_body_is_accepted(client, protocol):
    """A body of several megabytes, which comes in many pieces, is read whole."""
    text = "word " * 1_000_000
    assert client.chat(text, model="echo", max_tokens=2).text == "word word"
    assert client.server.requests[-1].body_size > 5_000_000
    assert client.server.requests[-1].body is None
