"""No request, however wrong, breaks an endpoint: requests that were valid, with any part of them replaced."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexllm_mock import MockApp
from flexllm_mock.asgi import ApiRequest

SCHEMA = {"type": "object", "properties": {"x": {"type": "array", "items": {"type": "string"}}}, "required": ["x"]}
GOOGLE_SCHEMA = {"type": "OBJECT", "properties": {"x": {"type": "STRING", "nullable": True}}, "required": ["x"]}
VALID = {
    "/v1/chat/completions": {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "f"}]}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "o", "schema": SCHEMA}},
        "stream": True,
        "stream_options": {"include_usage": True},
        "stop": ["x"],
        "n": 2,
        "max_tokens": 5,
    },
    "/v1/messages": {
        "model": "m",
        "max_tokens": 4096,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [
            {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "u"}}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}]}],
            },
        ],
        "tools": [{"name": "f", "input_schema": SCHEMA}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        "stop_sequences": ["x"],
        "temperature": 1,
    },
    "/v1beta/models/gemini-3-m:generateContent": {
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "f"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
            {
                "role": "model",
                "parts": [
                    {
                        "functionCall": {"id": "c", "name": "f", "args": {}},
                        "thoughtSignature": "skip_thought_signature_validator",
                    }
                ],
            },
            {"role": "user", "parts": [{"functionResponse": {"id": "c", "name": "f", "response": {"a": 1}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": GOOGLE_SCHEMA}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "maxOutputTokens": 5,
            "stopSequences": ["x"],
            "responseMimeType": "application/json",
            "responseSchema": GOOGLE_SCHEMA,
            "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "LOW"},
        },
    },
    "/v1beta/models/m:countTokens": {"generateContentRequest": {"contents": [{"parts": [{"text": "x"}]}]}},
    "/v1/embeddings": {"model": "m", "input": ["a", [1]], "dimensions": 2, "encoding_format": "base64"},
    "/v1/completions": {"model": "m", "prompt": ["a", [1]], "n": 2, "echo": True, "logprobs": 2, "stop": "x"},
    "/v1/moderations": {"input": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "u"}}]},
    "/v1/responses": {
        "model": "m",
        "instructions": "s",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "f"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "t"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "r"}]},
            {"role": "user", "content": "f"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}, {"type": "web_search"}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        "text": {"format": {"type": "json_schema", "name": "o", "schema": SCHEMA}, "verbosity": "low"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
        "top_logprobs": 2,
        "max_output_tokens": 16,
        "temperature": 1,
        "metadata": {"a": "b"},
        "stream": True,
    },
    "/v1/messages/batches": {
        "requests": [{"custom_id": "a", "params": {"model": "m", "max_tokens": 1, "messages": []}}],
    },
    "/v1beta/models/m:embedContent": {
        "content": {"parts": [{"text": "a"}]},
        "taskType": "CLUSTERING",
        "outputDimensionality": 2,
    },
    "/v1beta/models/m:batchEmbedContents": {"requests": [{"model": "m", "content": {"parts": [{"text": "a"}]}}]},
    "/v1/projects/p/locations/l/publishers/google/models/m:predict": {
        "instances": [{"content": "a", "task_type": "CLUSTERING"}],
        "parameters": {"outputDimensionality": 2},
    },
    "/v1beta/models/m:batchGenerateContent": {
        "batch": {
            "display_name": "b",
            "input_config": {"requests": {"requests": [{"request": {"contents": []}, "metadata": {"key": "k"}}]}},
        }
    },
}
HEADERS = [(b"anthropic-version", b"2023-06-01")]

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from places(item, (*path, name))


def replaced(value, path, other):
    """A copy of a value with one place replaced."""
    if not path:
        return other
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], other)
    return copy


def decide(app, path, body):
    async def run():
        return app._decide(app._find(path), ApiRequest("POST", path, HEADERS, b"alt=sse", json.dumps(body).encode()))

    return asyncio.run(run())  # batches look at the loop's clock


@pytest.mark.parametrize("path", VALID)
def test_the_requests_are_valid(path):
    """The requests from which the others come are answered."""
    assert decide(MockApp(), path, VALID[path]).status == 200


@pytest.mark.parametrize("path", VALID)
def test_any_part_can_be_anything(path):
    """Whatever stands in one place of a request, it is answered or refused with a body that is JSON."""
    app = MockApp()
    everywhere = list(places(VALID[path]))

    @settings(max_examples=400, deadline=None)
    @given(where=st.sampled_from(everywhere), other=ANY_JSON)
    def check(where, other):
        reply = decide(app, path, replaced(VALID[path], where, other))
        assert reply.status in (200, 400, 404)  # 404 for a reference to what is not stored
        if reply.steps is None:
            assert json.loads(reply.body)

    check()
