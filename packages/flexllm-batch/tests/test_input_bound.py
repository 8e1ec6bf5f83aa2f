"""The bound of a request's input: above what any tokenizer makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_batch.cost.input_bound import FILE_TOKENS, IMAGE_TOKENS, MESSAGE_TOKENS, TEMPLATE_TOKENS, input_bound
from flexllm_batch.cost.output_estimate import FIRST_TOKENS, OutputEstimate
from flexllm_core.requests import ChatRequest


def bound_of(content: Any, **params: Any) -> tuple[int, bool]:
    bound = input_bound(ChatRequest([{"role": "user", "content": content}], "m", params))
    return bound.tokens - TEMPLATE_TOKENS - MESSAGE_TOKENS, bound.any_kind


@given(st.text())
def test_a_text_has_at_most_a_token_for_each_byte(text: str) -> None:
    """Of its UTF-8; lone surrogates are bytes too."""
    assert bound_of(text) == (len(text.encode("utf-8", "surrogatepass")), False)


@given(st.lists(st.text(), min_size=1))
def test_parts_are_not_less_than_their_texts(texts: list[str]) -> None:
    """However a text is cut into parts."""
    parts = [{"type": "text", "text": text} for text in texts if text.isprintable()]
    whole = sum(len(part["text"].encode("utf-8", "surrogatepass")) for part in parts)
    assert bound_of(parts)[0] >= whole


def test_everything_that_is_sent_counts() -> None:
    """Tool calls, names, reasoning, tools with room for their prompt, schemas, and what extra_body adds."""
    plain = input_bound(ChatRequest([{"role": "assistant", "content": None}], "m")).tokens
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "x" * 1000}}]
    request = ChatRequest([{"role": "assistant", "content": None, "tool_calls": calls}], "m")
    assert input_bound(request).tokens >= plain + 1000
    tool = {"type": "function", "function": {"name": "f", "description": "d" * 1000}}
    assert bound_of("", tools=[tool])[0] >= 3000
    assert bound_of("", response_format={"type": "json_schema", "json_schema": {"x": "y" * 500}})[0] >= 500
    assert bound_of("", extra_body={"documents": ["z" * 500]})[0] >= 500


@pytest.mark.parametrize(
    ("part", "least", "any_kind"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, IMAGE_TOKENS, True),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10**6}}, IMAGE_TOKENS, True),
        ({"type": "file", "file": {"file_id": "f"}}, FILE_TOKENS, True),
        ({"type": "input_audio", "input_audio": {"data": "A" * 300_000, "format": "wav"}}, 300_000, True),
        ({"type": "tool_result", "content": [{"type": "image", "source": {}}]}, IMAGE_TOKENS, True),
        ({"type": "text", "text": "abc", "cache_control": {"type": "ephemeral", "ttl": "1h"}}, 3, True),
        ("not a part", 10, False),
    ],
)
def test_media_count_by_amounts_of_their_own(part: Any, least: int, any_kind: bool) -> None:
    """A picture is not its bytes; what may be dearer than text is said."""
    tokens, kind = bound_of([part])
    assert least <= tokens < least + 1000
    assert kind is any_kind


def test_what_cannot_be_sent_is_no_error_here() -> None:
    """The endpoint's own check names it."""
    assert bound_of([{"type": "text", "text": object()}])[0] >= 0
    assert bound_of([{"type": "file", "file": object()}])[0] >= FILE_TOKENS


def test_unlimited_answers_are_estimated_by_those_before_them() -> None:
    """First a fixed number or twice the longest, then the 99th percentile with a margin."""
    estimate = OutputEstimate()
    assert estimate.tokens == FIRST_TOKENS
    estimate.add(10_000)
    assert estimate.tokens == 20_000
    for _ in range(2000):
        estimate.add(300)
    assert 450 <= estimate.tokens <= 540
    for _ in range(100):
        estimate.add(2000)
    assert 3000 <= estimate.tokens <= 3600
    estimate.add(0)
