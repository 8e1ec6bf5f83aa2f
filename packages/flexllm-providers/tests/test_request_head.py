"""URLs and headers on their way into a request."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexllm_core.errors import ConfigError
from flexllm_providers.http import HttpRequest
from flexllm_providers.transport.request_head import Origin, request_prefix, split_url


@pytest.mark.parametrize(
    ("url", "origin", "authority", "path"),
    [
        ("http://Example.COM", Origin("http", "example.com", 80), "example.com", "/"),
        ("https://h/v1?a=b", Origin("https", "h", 443), "h", "/v1?a=b"),
        ("https://h:443/", Origin("https", "h", 443), "h", "/"),
        ("http://h:443/", Origin("http", "h", 443), "h:443", "/"),
        ("http://h?q", Origin("http", "h", 80), "h", "/?q"),
        ("http://h/a%20b/ä?ö#f", Origin("http", "h", 80), "h", "/a%20b/%C3%A4?%C3%B6"),
        ("http://[::1]:8000/x", Origin("http", "::1", 8000), "[::1]:8000", "/x"),
        ("http://[fe80::1%25eth0]/", Origin("http", "fe80::1%eth0", 80), "[fe80::1]", "/"),
        ("http://bücher.example/", Origin("http", "xn--bcher-kva.example", 80), "xn--bcher-kva.example", "/"),
    ],
)
def test_urls(url: str, origin: Origin, authority: str, path: str) -> None:
    """A URL gives origin, host header and request target."""
    target = split_url(url)
    assert (target.origin, target.authority, target.path) == (origin, authority, path)


@pytest.mark.parametrize(
    "url",
    ["", "h/v1", "ftp://h/", "http://", "http:///v1", "http://h:x/", "http://h:99999/", "http://[::1/",
     "http://u:sentinel@h/", "http://sentinel@h/", "http://h/\n?sentinel", "http://h/ sentinel", "http://\u2100sentinel/"],
)  # fmt: skip
def test_unusable_urls(url: str) -> None:
    """What is no http URL, or holds credentials, is refused without being shown."""
    with pytest.raises(ConfigError) as caught:
        split_url(url)
    assert "sentinel" not in str(caught.value)


def test_a_host_header_of_the_callers() -> None:
    """A virtual host may be asked for by name."""
    request = HttpRequest("GET", "http://10.0.0.1/", {"Host": "llm.example"})
    prefix = request_prefix(request, split_url(request.url))
    assert prefix == b"GET / HTTP/1.1\r\nhost: llm.example\r\naccept-encoding: identity\r\n"


text = st.text(st.characters(max_codepoint=0x2FF), max_size=12)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(headers=st.dictionaries(text, text, max_size=4), method=st.sampled_from(["GET", "POST", "G T", "A\r\nB", ""]))
def test_no_header_adds_a_line(headers: dict[str, str], method: str) -> None:
    """A head is refused, or has one line per header and each as it was given."""
    request = HttpRequest(method, "http://h/", headers)
    try:
        prefix = request_prefix(request, split_url(request.url))
    except ConfigError:
        return
    lines = prefix.decode("latin-1").split("\r\n")
    sent = {name.lower(): value for name, value in headers.items()}
    dropped = {"accept-encoding", "connection", "content-length", "expect", "transfer-encoding", "upgrade"}
    expected = [f"{name}: {value}" for name, value in ({"host": "h"} | sent).items() if name not in dropped]
    assert lines == [f"{method} / HTTP/1.1", *expected, "accept-encoding: identity", ""]
    assert not any(character in line for line in lines for character in "\r\n\0")
