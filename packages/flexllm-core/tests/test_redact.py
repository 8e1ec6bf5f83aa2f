"""Secrets are taken out of texts, and texts without secrets stay as they are."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flexllm_core.redact import MASK, mask_key, redact

KEY = 'tok/en+with"odd\\chars=='


@pytest.mark.parametrize(
    "key",
    [
        "sk-abcdefghijklmnop",
        "sk-proj-AbC_123-xyzXYZ0987654321",
        "sk-ant-api03-abcdefghijkl_mnop",
        "sk-or-v1-cef5a70123456789",
        "xai-abcdefghijklmnop",
        "gsk_abcdefghijklmnop",
        "hf_abcdefghijklmnop",
        "r8_abcdefghijklmnop",
        "AIzaSyA1234567890abcdefghijk",
    ],
)
@pytest.mark.parametrize("around", ["{}", "bad key: {}.", '{{"key":"{}"}}', "({})", "key={}", "\n{}\n"])
def test_what_looks_like_a_key_is_masked(key: str, around: str) -> None:
    """Keys of the vendors are known by their shape, wherever they stand."""
    text = redact(around.format(key))
    assert key not in text
    assert text == around.format(MASK)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("http://user:pa55@host/x", "http://***@host/x"),
        ("http://user:p@ss@host/x", "http://***@host/x"),
        ("https://token123@host:80/", "https://***@host:80/"),
        ("https://h/v1?key=abcdef&x=1", "https://h/v1?key=***&x=1"),
        ("https://h/v1?x=1&key=abcdef", "https://h/v1?x=1&key=***"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("authorization: bearer ya29.A0AfH6_x", "authorization: bearer ***"),
    ],
)
def test_credentials_of_urls_and_headers_are_masked(text: str, clean: str) -> None:
    """User and password, `key=` and bearer tokens go; host and the rest stay."""
    assert redact(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the model's maximum context length is 4096 tokens",
        "task-management-something-long and a risk-based-approach-here",
        "see https://example.com/a@b and mail me@example.com",
        "https://example.com/docs?contact=me@example.com",
        '{"url":"http://host","mail":"a@b.c"}',
        "bearer of news, key=value, sk-short",
        "monkey=5&turkey=6",
    ],
)
def test_a_text_without_keys_is_unchanged(text: str) -> None:
    """An error message is not made unreadable."""
    assert redact(text, ("", "EMPTY", "x")) == text


@pytest.mark.parametrize("spelled", [KEY, json.dumps(KEY)[1:-1], quote(KEY, safe="")], ids=["plain", "json", "url"])
def test_a_known_secret_is_masked_in_every_spelling(spelled: str) -> None:
    """As it is, as JSON escapes it, and as a URL escapes it."""
    assert redact(f"<{spelled}>", [KEY]) == f"<{MASK}>"
    assert redact(json.dumps(KEY).replace("/", "\\/"), [KEY]) == f'"{MASK}"'


def test_the_credentials_of_an_authorization_header_are_a_secret_alone() -> None:
    """A server that echoes them leaves the scheme out."""
    assert redact("you sent qwertyuiop!", ["Bearer qwertyuiop!"]) == "you sent ***"
    assert redact("you sent dXNlcjpwYXNz", ["Basic dXNlcjpwYXNz"]) == "you sent ***"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6), st.text(), st.text())
@example("0000000", "0", "")
def test_no_known_secret_is_left_in_any_text(secret: str, before: str, after: str) -> None:
    """Whatever the secret and the text around it."""
    text = redact(before + secret + after, [secret])
    assert secret not in text or secret in MASK * 3


@given(st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=6), st.text("abc123", min_size=6))
def test_a_secret_that_begins_like_another_leaves_nothing_of_it(short: str, rest: str) -> None:
    """Two keys with one beginning: the longer is masked whole."""
    text = redact(f"<{short + rest}>", [short, short + rest])
    assert text == f"<{MASK}>"


def test_a_filler_is_no_secret() -> None:
    """`EMPTY` stands for no key, and in ordinary texts too."""
    assert redact("EMPTY response", ["EMPTY"]) == "EMPTY response"


@pytest.mark.parametrize(
    ("key", "shown"),
    [("sk-or-v1-abcdefghijklmnop", "sk-or-...mnop"), ("short-key", "***"), ("", "***"), ("a" * 19, "***")],
)
def test_a_key_as_a_person_may_see_it(key: str, shown: str) -> None:
    """Enough to recognise one's own, not enough to use it."""
    assert mask_key(key) == shown
