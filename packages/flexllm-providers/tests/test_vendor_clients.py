"""The clients of one vendor: which wire, which address, which key."""

from __future__ import annotations

from typing import Any

import pytest

from flexllm_core.errors import ConfigError
from flexllm_providers import ClaudeClient, GeminiClient, OpenAIClient


def asked(client: Any, transport: Any) -> Any:
    """The request that a call of the client sends; the fake answers nothing of use."""
    with pytest.raises(Exception, match=r"."), client:
        client.chat_sync("Hello")
    return transport.requests[0]


@pytest.mark.parametrize(
    ("cls", "url", "header"),
    [
        (OpenAIClient, "https://api.openai.com/v1/chat/completions", "authorization"),
        (ClaudeClient, "https://api.anthropic.com/v1/messages", "x-api-key"),
        (GeminiClient, "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent", "x-goog-api-key"),
    ],
)
def test_each_speaks_its_vendors_wire(fake_transport: Any, answers: Any, cls: Any, url: str, header: str) -> None:
    """To the vendor's own address, with the key in the vendor's own header and nowhere else."""
    transport = fake_transport(answers.json({}, status=400))
    request = asked(cls(model="m", api_key="the-key-of-the-test", transport=transport), transport)
    assert request.url == url
    assert request.headers[header].endswith("the-key-of-the-test")
    assert [name for name, value in request.headers.items() if "the-key" in value] == [header]
    assert b"the-key" not in request.body


def test_vertex_takes_a_project_and_a_token(fake_transport: Any, answers: Any) -> None:
    """With a key given, it is the access token; without one, google-auth is asked."""
    transport = fake_transport(answers.json({}, status=400))
    client = GeminiClient(
        model="gemini-2.5-flash",
        api_key="an-access-token",
        use_vertex_ai=True,
        project_id="my-project",
        location="europe-west4",
        transport=transport,
    )
    request = asked(client, transport)
    assert request.url == (
        "https://europe-west4-aiplatform.googleapis.com/v1/projects/my-project/locations/europe-west4"
        "/publishers/google/models/gemini-2.5-flash:generateContent"
    )
    assert request.headers["authorization"] == "Bearer an-access-token"


def test_claude_models_on_vertex_use_anthropics_wire(fake_transport: Any, answers: Any) -> None:
    """The body is the Messages API's, the address Google's."""
    transport = fake_transport(answers.json({}, status=400))
    client = GeminiClient(
        model="claude-opus-4-5@20251101",
        api_key="an-access-token",
        use_vertex_ai=True,
        project_id="p",
        location="us-east5",
        transport=transport,
    )
    request = asked(client, transport)
    assert request.url.endswith("/publishers/anthropic/models/claude-opus-4-5@20251101:rawPredict")
    assert b'"anthropic_version"' in request.body


def test_a_project_without_vertex_is_a_mistake() -> None:
    """It would silently go to the Developer API."""
    with pytest.raises(ConfigError, match="use_vertex_ai=True"):
        GeminiClient(model="m", project_id="p")


@pytest.mark.parametrize(
    ("cls", "raw"),
    [
        (
            OpenAIClient,
            {"choices": [{"message": {"content": "4", "reasoning_content": "2+2"}, "finish_reason": "stop"}]},
        ),
        (
            ClaudeClient,
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": "2+2", "signature": "s"}, {"type": "text", "text": "4"}],
                "stop_reason": "end_turn",
            },
        ),
        (
            GeminiClient,
            {
                "candidates": [
                    {"content": {"parts": [{"text": "2+2", "thought": True}, {"text": "4"}]}, "finishReason": "STOP"}
                ]
            },
        ),
    ],
)
def test_thoughts_are_parsed_from_every_vendors_json(cls: Any, raw: dict[str, Any]) -> None:
    """The same two texts, from what `return_raw=True` keeps."""
    client = cls(model="m", api_key="the-key-of-the-test")
    assert client.parse_thoughts(raw) == {"thought": "2+2", "answer": "4"}
