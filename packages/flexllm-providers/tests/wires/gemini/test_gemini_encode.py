"""The request on the wire: URL, headers and JSON body."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from flexllm_core.errors import ConfigError, InputError
from flexllm_core.requests import ChatRequest
from flexllm_providers.gemini.encode import encode

SCHEMA = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def test_the_documented_request(gemini_wire: Any, examples: Any) -> None:
    """Everything that Gemini takes, from OpenAI's names and shapes."""
    expected = examples["request"]
    parameters = expected["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"]
    content = [
        {"type": "text", "text": "What colour is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,R0lGODlhAQ=="}},
    ]
    sent = gemini_wire.body(
        [{"role": "system", "content": "Answer in one line."}, {"role": "user", "content": content}],
        temperature=0.7,
        top_p=0.8,
        top_k=12,
        max_tokens=99,
        stop="###",
        seed=41,
        n=2,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logprobs=True,
        top_logprobs=3,
        response_format={"type": "json_schema", "json_schema": {"name": "c", "schema": SCHEMA, "strict": True}},
        tools=[
            {
                "type": "function",
                "function": {"name": "look_up", "description": "Finds a colour.", "parameters": parameters},
            }
        ],
        tool_choice={"type": "function", "function": {"name": "look_up"}},
        thinking="medium",
        service_tier="flex",
        parallel_tool_calls=True,
        extra_body={"safetySettings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}]},
    )
    assert sent == expected


def test_the_plain_request(gemini_wire: Any) -> None:
    """Method, URL, headers, and nothing but the contents in the body."""
    request = gemini_wire.http("hi")
    assert (request.method, request.url) == (
        "POST",
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-3.7-flash:generateContent",
    )
    assert request.headers == {
        "content-type": "application/json",
        "x-goog-api-key": gemini_wire.KEY,
        "user-agent": "flexllm",
    }
    assert json.loads(request.body) == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def test_a_stream_has_a_url_of_its_own_and_the_same_body(gemini_wire: Any) -> None:
    """With `alt=sse`, without which the stream is a JSON array."""
    stream = gemini_wire.http("hi", stream=True, temperature=0)
    assert stream.url.endswith("/models/gemini-3.7-flash:streamGenerateContent?alt=sse")
    assert stream.body == gemini_wire.http("hi", temperature=0).body


def test_the_key_is_only_in_its_header(gemini_wire: Any) -> None:
    """Never in the URL, as `?key=` would have it, nor in body or repr."""
    for endpoint in ({}, {"provider": "vertex"}, {"provider": "vertex", "dialect": {"project_id": "p"}}):
        request = gemini_wire.http("hi", stream=True, endpoint=endpoint)
        assert gemini_wire.KEY not in request.url + request.body.decode() + repr(request)
        assert "key=" not in request.url
        assert sum(gemini_wire.KEY in value for value in request.headers.values()) == 1


def test_vertex_gets_the_token_that_it_is_given(gemini_wire: Any) -> None:
    """The target's key is the access token; another one takes its place without more."""
    target = gemini_wire.target(provider="vertex", dialect={"project_id": "p", "location": "us"}, api_key=None)
    request = ChatRequest([{"role": "user", "content": "hi"}], "gemini-3.7-flash")
    assert "authorization" not in encode(request, target, stream=False).headers
    for token in ("ya29.first", "ya29.second"):
        http = encode(request, replace(target, key=token), stream=False)
        assert http.headers["authorization"] == f"Bearer {token}"
        assert "x-goog-api-key" not in http.headers
    assert http.url == (
        "https://aiplatform.us.rep.googleapis.com/v1/projects/p/locations/us"
        "/publishers/google/models/gemini-3.7-flash:generateContent"
    )


def test_no_key_no_header(gemini_wire: Any) -> None:
    """Local servers need none, and an empty one would be refused by others."""
    assert "x-goog-api-key" not in gemini_wire.http("hi", endpoint={"api_key": None}).headers


def test_extra_headers_win_and_are_lower_case(gemini_wire: Any) -> None:
    """Those of the call over those of the endpoint."""
    endpoint = {"headers": {"X-Goog-User-Project": "a", "X-Other": "b"}}
    headers = gemini_wire.http("hi", endpoint=endpoint, extra_headers={"X-GOOG-USER-PROJECT": "c"}).headers
    assert (headers["x-goog-user-project"], headers["x-other"]) == ("c", "b")
    assert gemini_wire.http("hi", endpoint=endpoint).headers["x-goog-user-project"] == "a"


def test_the_model(gemini_wire: Any) -> None:
    """The request's wins over the endpoint's; without any the URL cannot be made."""
    assert "/models/own:" in gemini_wire.http("hi", None, endpoint={"model": "own"}).url
    assert "/models/m:" in gemini_wire.http("hi", "m", endpoint={"model": "own"}).url
    with pytest.raises(ConfigError, match="e: no model"):
        gemini_wire.http("hi", None)


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [FUNCTION]}},
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [FUNCTION]}},
            {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_tool_choice(gemini_wire: Any, choice: Any, config: dict[str, Any]) -> None:
    """Each of OpenAI's forms."""
    assert gemini_wire.params(tool_choice=choice) == {"toolConfig": {"functionCallingConfig": config}}


def test_tools(gemini_wire: Any) -> None:
    """Functions in one declaration, Gemini's own tools as they are."""
    plain = {"type": "function", "function": {"name": "g", "strict": True}}
    assert gemini_wire.params(tools=[FUNCTION, {"googleSearch": {}}, plain]) == {
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "f", "parametersJsonSchema": {"type": "object"}},
                    {"name": "g"},
                ]
            },
            {"googleSearch": {}},
        ]
    }


class Colour(BaseModel):
    """A response format as a class."""

    colour: str


def test_response_formats(gemini_wire: Any) -> None:
    """Text, JSON, JSON by a schema and by a class."""
    assert gemini_wire.params(response_format={"type": "text"}) == {}
    assert gemini_wire.params(response_format={"type": "json_object"}) == {
        "generationConfig": {"responseMimeType": "application/json"}
    }
    config = gemini_wire.params(response_format=Colour)["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"]["required"] == ["colour"]


@pytest.mark.parametrize(
    "options",
    [
        {"response_format": {"type": "grammar"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
        {"tools": [{"type": "function", "function": {}}]},
        {"tools": ["f"]},
        {"tools": 5},
        {"tool_choice": {"type": "function", "function": {"name": ""}}},
        {"extra_body": {"x": object()}},
    ],
)
def test_what_makes_no_sense_is_an_input_error(gemini_wire: Any, options: dict[str, Any]) -> None:
    """Before anything is sent."""
    with pytest.raises(InputError):
        gemini_wire.params(**options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"logit_bias": {"1": 1.0}}, "logit_bias"),
        ({"user": "u", "verbosity": "low"}, "user, verbosity"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"tools": [{"type": "web_search"}]}, "tools of type 'web_search'"),
        ({"tool_choice": "sometimes"}, "tool_choice 'sometimes'"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice 'custom'"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": 5}}, "tool_choice 'allowed_tools'"),
    ],
)
def test_what_cannot_be_said_is_left_out_with_one_warning(
    gemini_wire: Any, options: dict[str, Any], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names endpoint and param, once for each endpoint and not for each row."""
    endpoint = {"name": f"left-out-{named}"}
    with caplog.at_level(logging.WARNING, "flexllm"):
        for _ in range(3):
            assert gemini_wire.params(endpoint=endpoint, **options) == {}
    (record,) = caplog.records
    assert record.getMessage().startswith(f"left-out-{named} does not take {named};")


def test_an_endpoint_can_refuse_more(gemini_wire: Any, caplog: pytest.LogCaptureFixture) -> None:
    """By the same key of its configuration as at every other wire."""
    endpoint = {"name": "refusing", "dialect": {"refused": ["seed"], "extra_body": {"store": False}}}
    with caplog.at_level(logging.WARNING, "flexllm"):
        assert gemini_wire.params(endpoint=endpoint, seed=1, top_k=2) == {
            "generationConfig": {"topK": 2},
            "store": False,
        }
    assert [record.getMessage() for record in caplog.records] == ["refusing does not take seed; left out"]


@pytest.mark.parametrize(("tier", "sent"), [("auto", {}), ("default", {"serviceTier": "standard"})])
def test_openais_tiers_by_googles_names(gemini_wire: Any, tier: str, sent: dict[str, Any]) -> None:
    """And those that both have as they are."""
    assert gemini_wire.params(service_tier=tier) == sent
    assert gemini_wire.params(service_tier="priority") == {"serviceTier": "priority"}


def test_extra_body_is_merged_last(gemini_wire: Any) -> None:
    """It wins, and mappings are merged key by key; what it came from is not changed."""
    extra = {"generationConfig": {"topK": 9, "mediaResolution": "MEDIA_RESOLUTION_LOW"}, "cachedContent": "c"}
    assert gemini_wire.params(top_k=1, seed=2, extra_body=extra) == {
        "generationConfig": {"topK": 9, "seed": 2, "mediaResolution": "MEDIA_RESOLUTION_LOW"},
        "cachedContent": "c",
    }
    assert extra["generationConfig"] == {"topK": 9, "mediaResolution": "MEDIA_RESOLUTION_LOW"}


def test_the_two_knobs_of_thinking_never_go_together(gemini_wire: Any) -> None:
    """One in extra_body takes the place of the other one, whoever had set it; both there are refused."""

    def knob(**config: Any) -> dict[str, Any]:
        return {"generationConfig": {"thinkingConfig": config}}

    assert gemini_wire.params(thinking="high", extra_body=knob(thinkingBudget=5)) == knob(
        includeThoughts=True, thinkingBudget=5
    )
    endpoint = {"dialect": {"extra_body": knob(thinkingBudget=5)}}
    for _ in range(2):  # the endpoint's own is not changed by the first call
        assert gemini_wire.params(endpoint=endpoint, extra_body=knob(thinkingLevel="LOW")) == knob(thinkingLevel="LOW")
        assert gemini_wire.params(endpoint=endpoint) == knob(thinkingBudget=5)
    with pytest.raises(ConfigError, match="exclude each other"):
        gemini_wire.params(extra_body=knob(thinkingBudget=5, thinkingLevel="LOW"))
