"""Reasoning in tags: whole texts and texts in pieces give the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_providers.think_tags import ThinkTagSplitter, split_think_tags


@pytest.mark.parametrize(
    ("content", "reasoning", "answer"),
    [
        ("<think>hm</think>Hi", "hm", "Hi"),
        ("\n<think>\nhm\n</think>\n\nHi\n", "hm", "Hi\n"),
        ("hm</think>Hi", "hm", "Hi"),
        ("<think></think>Hi", "", "Hi"),
        ("<think>cut off", "cut off", ""),
        ("Hi", None, "Hi"),
        ("", None, ""),
        ("a < b and <thin> air", None, "a < b and <thin> air"),
        ("<think>a</think>the tag </think> ends it", "a", "the tag </think> ends it"),
    ],
)
def test_reasoning_and_answer(content: str, reasoning: str | None, answer: str) -> None:
    """With both tags, the closing one alone, cut, or without any."""
    assert split_think_tags(content) == (reasoning, answer)


PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", "<", "th", "ink>", "/", " ", "\n", "a", "b c", "</"]), max_size=20
)


@given(PIECES, st.lists(st.integers(1, 9), min_size=1, max_size=10))
def test_any_split_gives_the_same(pieces: list[str], sizes: list[int]) -> None:
    """A stream shows the same reasoning and the same answer as the whole text."""
    content = "".join(pieces)
    splitter = ThinkTagSplitter()
    out: list[tuple[bool, str]] = []
    at = number = 0
    while at < len(content):
        size = sizes[number % len(sizes)]
        out += splitter.feed(content[at : at + size])
        at, number = at + size, number + 1
    out += splitter.close()
    reasoning, answer = split_think_tags(content)
    assert "".join(text for is_reasoning, text in out if is_reasoning) == (reasoning or "")
    assert "".join(text for is_reasoning, text in out if not is_reasoning) == answer
    assert all(text for _, text in out)


def test_pieces_come_as_soon_as_they_are_certain() -> None:
    """A live display does not wait for the end."""
    splitter = ThinkTagSplitter()
    assert splitter.feed("<think> one two ") == [(True, "one two")]
    assert splitter.feed("three <") == [(True, " three")]
    assert splitter.feed("four</thi") == [(True, " <four")]
    assert splitter.feed("nk>Hel") == [(False, "Hel")]
    assert splitter.feed("lo") == [(False, "lo")]
    assert splitter.close() == []
