"""Gemini's wire against the types of Google's own SDK: names, enums and shapes are those that Google has.

All fields of those types are optional, so this proves names and types and not that nothing is missing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flexllm_core.endpoint import endpoint_from
from flexllm_core.options import params_from_options
from flexllm_core.requests import ChatRequest
from flexllm_core.thinking import EFFORTS
from flexllm_providers.gemini.decode import decode
from flexllm_providers.gemini.encode import generate_body
from flexllm_providers.gemini.target import gemini_target_from
from flexllm_providers.http import HttpResponse

types = pytest.importorskip("google.genai.types", reason="google-genai is not installed")
from pydantic import ValidationError  # noqa: E402

TESTS = Path(__file__).parents[2] / "packages" / "flexllm-providers" / "tests" / "wires" / "gemini"
EXAMPLES = json.loads((TESTS / "examples.json").read_bytes())
MODELS = ("gemini-2.5-pro", "gemini-2.5-flash", "gemini-3-flash", "gemini-3.8-flash")
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


def check_request(body: dict[str, Any]) -> None:
    """Every key of a request belongs to the SDK's types, which forbid others, and has a value of its type."""
    rest = dict(body)
    for content in rest.pop("contents"):
        assert types.Content.model_validate(content).role in ("user", "model")
    config = rest.pop("generationConfig", {})
    types.GenerateContentConfig.model_validate(
        {
            **{key: value for key, value in config.items() if key != "responseJsonSchema"},
            **rest,
            "responseJsonSchema": config.get("responseJsonSchema"),
        }
    )
    # The names are those on the wire too: what is only the SDK's own spelling would be refused by the server.
    assert not [key for key in _keys({**config, **rest}) if "_" in key]


def _keys(value: Any) -> list[str]:
    """All keys but those of schemas and arguments, which are the user's."""
    if isinstance(value, dict):
        own = {key: each for key, each in value.items() if key not in ("responseJsonSchema", "parametersJsonSchema")}
        return [*value, *(key for each in own.values() for key in _keys(each))]
    return [key for each in value for key in _keys(each)] if isinstance(value, list) else []


def body(messages: Any, model: str = "gemini-3.8-flash", **options: Any) -> dict[str, Any]:
    """What the wire sends."""
    target = gemini_target_from(endpoint_from({"name": "e", "provider": "gemini"}), {})
    sent: dict[str, Any] = json.loads(
        json.dumps(generate_body(ChatRequest(messages, model, params_from_options(options)), target))
    )
    return sent


def test_the_check_can_fail() -> None:
    """An unknown key, a wrong type, an unknown role and the SDK's spelling are refused."""
    contents = [{"role": "user", "parts": [{"text": "a"}]}]
    for wrong in (
        {"contents": contents, "generationConfig": {"topQ": 1}},
        {"contents": contents, "generationConfig": {"topP": "high"}},
        {"contents": [{"role": "user", "parts": [{"texts": "a"}]}]},
        {"contents": [{"role": "assistant", "parts": []}]},
        {"contents": contents, "generationConfig": {"top_p": 1}},
    ):
        with pytest.raises((ValidationError, AssertionError)):
            check_request(wrong)


def test_the_documented_examples() -> None:
    """The fixtures of the wire's own tests are what Google's types say."""
    check_request(EXAMPLES["request"])
    for turn in EXAMPLES["tool_turns"]:
        types.Content.model_validate(turn)
    for answer in (EXAMPLES["response"], EXAMPLES["blocked"], *EXAMPLES["stream"]):
        parsed = types.GenerateContentResponse.model_validate(answer)
        assert parsed.model_version == "gemini-3.7-flash"
    for listed in EXAMPLES["models"]["models"]:
        # The server's name for what the SDK calls supportedActions.
        renamed = {key.replace("supportedGenerationMethods", "supportedActions"): listed[key] for key in listed}
        types.Model.model_validate(renamed)


@pytest.mark.parametrize(
    ("model", "thinking"),
    [(model, thinking) for model in MODELS for thinking in (False, True, *EFFORTS)]
    + [(model, 2048) for model in MODELS if "2.5" in model],
)
def test_thinking(model: str, thinking: Any) -> None:
    """Every mode that a model can be asked for is of the SDK's type."""
    sent = body([{"role": "user", "content": "q"}], model, thinking=thinking)
    check_request(sent)
    config = sent.get("generationConfig", {}).get("thinkingConfig", {})
    types.ThinkingConfig.model_validate(config)
    level = config.get("thinkingLevel")
    assert level is None or level in [each.value for each in types.ThinkingLevel]


@pytest.mark.parametrize(
    "choice",
    [
        "auto",
        "none",
        "required",
        {"type": "function", "function": {"name": "f"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
        },
    ],
)
def test_tool_choices(choice: Any) -> None:
    """The modes are the SDK's."""
    tools = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}]
    sent = body([{"role": "user", "content": "q"}], tools=tools, tool_choice=choice)
    check_request(sent)
    mode = sent["toolConfig"]["functionCallingConfig"]["mode"]
    assert mode in [each.value for each in types.FunctionCallingConfigMode]


def test_every_param() -> None:
    """All that the wire maps, in one request."""
    check_request(
        body(
            [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
            temperature=1,
            top_p=0.5,
            top_k=3,
            max_tokens=5,
            stop=["a", "b"],
            seed=1,
            n=2,
            presence_penalty=1,
            frequency_penalty=1,
            logprobs=True,
            top_logprobs=2,
            response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
            tools=[{"googleSearch": {}}, {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
            service_tier="default",
            thinking="high",
        )
    )


def test_every_kind_of_content() -> None:
    """Media, calls of another model and their results, and parts that go back as they came."""
    content = [
        {"type": "text", "text": "t"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://h/a.jpg"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
    ]
    function = {"name": "f", "arguments": '{"x":1}'}
    answer = decode(
        HttpResponse(200, {}, json.dumps(EXAMPLES["response"]).encode()),
        ChatRequest([], "gemini-3.7-flash"),
        gemini_target_from(endpoint_from({"provider": "gemini"}), {}),
        0.0,
    )
    sent = body(
        [
            {"role": "user", "content": content},
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": "c", "content": content[:2]},
            answer.assistant_message,
            {"role": "user", "content": "more"},
        ],
        "gemini-3.7-flash",
    )
    check_request(sent)
    assert [turn["role"] for turn in sent["contents"]] == ["user", "model", "user", "model", "user"]


def test_every_finish_reason_of_the_sdk_is_known() -> None:
    """A new one would be passed on under Google's name: this says when there is one."""
    target = gemini_target_from(endpoint_from({"provider": "gemini"}), {})
    known = {"stop", "length", "content_filter", "other", None}
    unknown = []
    for reason in types.FinishReason:
        answer = {"candidates": [{"content": {"parts": [{"text": "t"}]}, "finishReason": reason.value}]}
        try:
            result = decode(HttpResponse(200, {}, json.dumps(answer).encode()), ChatRequest([], "m"), target, 0.0)
        except Exception as error:
            assert getattr(error, "code", None) == reason.value  # noqa: PT017
        else:
            unknown += [] if result.finish_reason in known else [reason.value]
    assert unknown == []
