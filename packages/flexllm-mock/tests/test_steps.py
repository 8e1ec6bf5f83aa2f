"""Streams whose steps are alike: written as a whole or one by one, the same bytes."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_mock import MockApp, MockConfig
from flexllm_mock.steps import EvenSteps, whole

TEXTS = [
    "Plain words and no more.",
    'She said "no".',
    "back\\slash",
    "two\nlines",
    "caf\u00e9 \u4f60\u597d",
    "x \ud83d y",
    "a",
]
CLAUDE = [(b"anthropic-version", b"2023-06-01")]


@given(tokens=st.lists(st.text(max_size=3), min_size=1), parts=st.tuples(*[st.text(max_size=3)] * 4))
def test_steps_add_up(tokens, parts):
    """There is a step per token, and together they are the whole."""
    before, after, opening, closing = parts
    steps = EvenSteps(before, tokens, after, opening, closing)
    assert len(list(steps)) == len(steps) == len(tokens)
    assert "".join(steps) == whole(steps) == whole(list(steps))
    assert next(iter(steps)).startswith(opening + before + tokens[0])


async def bodies(path, body, headers, **options):
    """Ask an application and return the parts in which it sends its answer."""
    coming = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    sent = []

    async def receive():
        return coming.pop() if coming else await asyncio.Event().wait()

    async def send(message):
        sent.append(message.get("body"))

    app = MockApp(MockConfig(**options))
    await app({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)
    return sent[1:]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    ("path", "headers", "extra"),
    [
        ("/v1/chat/completions", [], {}),
        ("/v1/chat/completions", [], {"stream_options": {"include_usage": True}, "n": 2}),
        ("/v1/messages", CLAUDE, {"max_tokens": 99}),
    ],
)
def test_paced_streams_have_the_same_bytes(run_virtual, text, path, headers, extra):
    """A stream that is sent token by token is the one that is sent at once, and holds the text."""
    body = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": text}], **extra}
    [at_once], _ = run_virtual(bodies(path, body, headers))
    paced, _ = run_virtual(bodies(path, body, headers, token_rate=10))
    assert b"".join(paced) == at_once
    events = [json.loads(line[6:]) for line in at_once.decode().splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for event in events for choice in event.get("choices", ()) if choice["index"] == 0]
    deltas += [event["delta"] for event in events if event.get("type") == "content_block_delta"]
    assert "".join([delta.get("content") or delta.get("text") or "" for delta in deltas]) == text
