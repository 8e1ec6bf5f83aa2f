"""Messages at the rim: what is accepted, what is kept, and what an error says."""

from __future__ import annotations

from collections import UserList
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import InputError
from flexllm_core.messages import ROLES, normalize_messages


def test_a_text_is_one_user_message() -> None:
    """The shortest way to ask."""
    assert normalize_messages("hi") == [{"role": "user", "content": "hi"}]


def test_one_message_is_a_list_of_one() -> None:
    """A message alone need not be put into a list."""
    assert normalize_messages({"role": "user", "content": "hi"}) == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("role", sorted(ROLES))
def test_every_known_role_is_accepted(role: str) -> None:
    """All of OpenAI's roles, the legacy one included."""
    assert normalize_messages([{"role": role, "content": "x"}])[0]["role"] == role


def test_unknown_keys_are_kept_at_every_level() -> None:
    """Opaque blocks of the providers come back unchanged."""
    message = {
        "role": "assistant",
        "content": [{"type": "thinking", "signature": "abc", "extra": {"a": [1]}}],
        "reasoning_details": [{"type": "x", "data": "y"}],
        "tool_calls": [
            {
                "id": "1",
                "type": "function",
                "function": {"name": "f", "arguments": "{}", "more": 1},
                "extra_content": {"google": {"thought_signature": "s"}},
            }
        ],
    }
    assert normalize_messages([message]) == [message]
    assert normalize_messages([message])[0] is message


def test_messages_are_not_copied_and_the_list_is() -> None:
    """Big images are not duplicated, and the caller's list may change afterwards."""
    messages = [{"role": "user", "content": "a"}]
    out = normalize_messages(messages)
    assert out[0] is messages[0]
    assert out is not messages


@pytest.mark.parametrize("kind", [list, tuple, UserList])
def test_any_sequence_of_messages_is_accepted(kind: Any) -> None:
    """Tuples and list-likes are as good as lists."""
    assert normalize_messages(kind([{"role": "user", "content": "a"}])) == [{"role": "user", "content": "a"}]


def test_mappings_that_are_no_dicts_become_dicts() -> None:
    """What JSON cannot write is turned into what it can."""
    out = normalize_messages([MappingProxyType({"role": "user", "content": "a"})])
    assert type(out[0]) is dict
    assert out == [{"role": "user", "content": "a"}]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "messages is empty"),
        (5, "not int"),
        (None, "not NoneType"),
        (b"hi", "not bytes"),
        ({"a", "b"}, "not set"),
        ([5], "messages[0]"),
        (["hi"], "messages[0]"),
        ([{"role": "user", "content": "a"}, None], "messages[1]"),
        ([{}], "messages[0].role"),
        ([{"role": "robot", "content": "a"}], "messages[0].role"),
        ([{"role": [], "content": "a"}], "messages[0].role"),
        ([{"role": {}, "content": "a"}], "messages[0].role"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": b"a"}], "messages[0].content"),
        ([{"role": "user", "content": [5]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"text": "a"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": iter([])}], "messages[0].content"),
        ([{"role": "assistant", "tool_calls": 1}], "messages[0].tool_calls"),
        ([{"role": "assistant", "tool_calls": [{"function": {}}]}], "messages[0].tool_calls[0].function.name"),
        ([{"role": "tool", "content": None, "tool_call_id": 1}], "messages[0].tool_call_id"),
    ],
)
def test_an_unusable_message_is_an_input_error_that_names_the_place(value: Any, said: str) -> None:
    """The error has the path into the messages, and does not repeat their content."""
    with pytest.raises(InputError) as caught:
        normalize_messages(value)
    assert said in str(caught.value)
    assert "list[ContentPart]" not in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(sorted(ROLES)),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["role", "content", "tool_calls", "type", "function", "name", "id", "x"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_gives_messages_or_an_input_error(value: Any) -> None:
    """Rows may come from strangers: no other exception is possible."""
    try:
        out = normalize_messages(value)
    except InputError:
        return
    assert out
    assert all(message["role"] in ROLES for message in out)
