"""Target: what is worked out once for an endpoint, and what never shows its key."""

from __future__ import annotations

from typing import Any

import pytest

from flexllm_core.endpoint import EndpointConfig, endpoint_from
from flexllm_core.errors import BODY_EXCERPT, ConfigError
from flexllm_providers.target import Target, target_from

KEY = "s3cret/key+000000"
DEFAULT = "https://api.openai.com/v1"


def target(**data: Any) -> Target:
    """The target of an endpoint."""
    return target_from(endpoint_from(data), DEFAULT)


@pytest.mark.parametrize(
    ("data", "label", "base_url"),
    [
        ({"name": "fast", "base_url": "http://h/v1/"}, "fast", "http://h/v1"),
        ({"model": "m", "base_url": "http://h/v1"}, "http://h/v1", "http://h/v1"),
        ({"model": "m"}, DEFAULT, DEFAULT),
    ],
)
def test_label_and_base_url(data: dict[str, Any], label: str, base_url: str) -> None:
    """The user's name, else the URL; the wire's default where there is no URL."""
    made = target(**data)
    assert (made.label, made.base_url, made.model) == (label, base_url, data.get("model"))


def test_the_headers_of_every_request() -> None:
    """The user's own headers win, whatever their case."""
    headers = target(api_key=KEY, headers={"X-Team": "a", "User-Agent": "mine"}).bearer_headers
    assert headers == {
        "content-type": "application/json",
        "authorization": f"Bearer {KEY}",
        "user-agent": "mine",
        "x-team": "a",
    }
    assert target().bearer_headers["authorization"] == "Bearer EMPTY"
    assert target(headers={"AUTHORIZATION": "Basic x"}).bearer_headers["authorization"] == "Basic x"


@pytest.mark.parametrize("key", ["schlüssel-123", "键", "a\nb", "a\0b", "\ud83d"])
def test_a_key_that_cannot_stand_in_a_header_is_refused(key: str) -> None:
    """Before anything is sent, and without showing it; however it came into the endpoint."""
    from pydantic import SecretStr

    endpoint = EndpointConfig(name="e").model_copy(update={"api_key": SecretStr(key)})
    with pytest.raises(ConfigError, match="e: api_key") as caught:
        target_from(endpoint, DEFAULT)
    assert key not in str(caught.value)


def test_a_wrong_dialect_is_a_config_error() -> None:
    """Found when the client is made."""
    with pytest.raises(ConfigError, match=r"dialect\.kind"):
        target(dialect={"kind": "nobody"})


def test_secrets_are_in_no_repr() -> None:
    """Neither before nor after the headers were worked out."""
    made = target(api_key=KEY, headers={"x-key": KEY})
    assert KEY not in repr(made)
    assert made.bearer_headers
    assert KEY not in repr(made)


def test_redact_knows_key_headers_and_more() -> None:
    """Also as JSON and URLs spell them."""
    made = target(api_key=KEY, headers={"x-auth": "Bearer other-secret"})
    text = made.redact(
        f"{KEY} {KEY.replace('/', chr(92) + '/')} s3cret%2Fkey%2B000000 other-secret third-one", ["third-one"]
    )
    assert text == "*** *** *** *** ***"


@pytest.mark.parametrize("filler", ["a", "é", "界", "🎉", " "])
def test_no_part_of_a_key_is_left_where_an_excerpt_is_cut(filler: str) -> None:
    """Wherever the cut falls in a body that echoes the key."""
    made = target(api_key=KEY)
    limit = 4 * BODY_EXCERPT
    for before in range(limit - 2 * len(KEY), limit + 2, 1):
        pad = filler * (before // len(filler.encode()))
        text = made.excerpt((pad + KEY + "z" * limit).encode())
        assert "s3c" not in text


def test_an_excerpt_is_text_whatever_the_bytes() -> None:
    """And short bodies are kept whole."""
    made = target(api_key=KEY)
    assert made.excerpt(b"") == ""
    assert made.excerpt(f" wrong key {KEY}\n".encode()) == "wrong key ***"
    assert made.excerpt(b"\xff\xfe") == "\ufffd\ufffd"
    assert len(made.excerpt(b"a" * 10**6)) <= 4 * BODY_EXCERPT
