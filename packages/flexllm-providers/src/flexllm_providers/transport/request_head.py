"""The first bytes of a request: the URL taken apart, the headers checked and written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from flexllm_core.errors import ConfigError
from flexllm_providers.http import HttpRequest, origin_of

DEFAULT_PORTS = {"http": 80, "https": 443}

MANAGED = frozenset({"accept-encoding", "connection", "content-length", "expect", "transfer-encoding", "upgrade"})
"""Headers that describe the connection: the transport writes them, a caller's are dropped."""

_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_FORBIDDEN_IN_URL = re.compile(r"[\x00-\x20\x7f]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_LINE = re.compile(_TOKEN.pattern + r": [\t\x20-\x7e\x80-\xff]*\r\n")
_HEADER_BLOCK = re.compile(f"(?:{_HEADER_LINE.pattern})*")


class Origin(NamedTuple):
    """What connections are kept for: scheme, host (ASCII, without brackets) and port."""

    scheme: str
    host: str
    port: int


class Target(NamedTuple):
    """A URL, taken apart."""

    origin: Origin
    label: str
    """The origin as messages show it."""
    authority: str
    """The value of the `host` header."""
    path: str
    """Path and query as the request line has them."""


@lru_cache(maxsize=256)
def split_url(url: str) -> Target:
    """Take a URL apart.

    Raises:
        ConfigError: Not an http or https URL, or it holds credentials, spaces or control
            characters. The message does not show the URL.
    """
    if _FORBIDDEN_IN_URL.search(url):
        raise ConfigError("a URL holds a space or a control character")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("ascii" if parts.netloc.isascii() else "idna").decode("ascii")
    except ValueError:
        raise ConfigError("a URL cannot be read: its host or port is malformed") from None
    if parts.scheme not in DEFAULT_PORTS or not host:
        raise ConfigError("a URL must start with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise ConfigError(f"the URL of {origin_of(url)} holds credentials: give them as a key or a header")
    default_port = DEFAULT_PORTS[parts.scheme]
    port = default_port if port is None else port
    host = host.replace("%25", "%")  # a zone: http://[fe80::1%25eth0]/
    name = f"[{host.partition('%')[0]}]" if ":" in host else host
    path = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_PRINTABLE)
    return Target(
        Origin(parts.scheme, host, port), origin_of(url), name if port == default_port else f"{name}:{port}", path
    )


def header_block(headers: Mapping[str, str]) -> str:
    """Headers as the lines of a request.

    Raises:
        ConfigError: A name or value could end its line or is not Latin-1. The message names the
            header and never shows its value.
    """
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    block = "".join(lines)
    # One look at the whole block: each line is well-formed, and there are as many lines as headers.
    if _HEADER_BLOCK.fullmatch(block) and block.count("\r\n") == len(lines):
        return block
    wrong = next((name for name, value in headers.items() if not _HEADER_LINE.fullmatch(f"{name}: {value}\r\n")), "")
    which = f"the header {wrong!r} has" if _TOKEN.fullmatch(wrong) else "the name of a header is empty or has"
    raise ConfigError(f"{which} a character that HTTP does not allow there")


def sent_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The caller's headers in lower case, without those that the transport manages."""
    lowered = {name.lower(): value for name, value in headers.items()}
    if not MANAGED.isdisjoint(lowered):
        for name in MANAGED:
            lowered.pop(name, None)
    return lowered


def request_prefix(request: HttpRequest, target: Target) -> bytes:
    """A request up to its content-length.

    Raises:
        ConfigError: The method or a header is unusable.
    """
    if not _TOKEN.fullmatch(request.method):
        raise ConfigError("an HTTP method holds a space or a control character")
    headers = {"host": target.authority} | sent_headers(request.headers)
    text = f"{request.method} {target.path} HTTP/1.1\r\n{header_block(headers)}accept-encoding: identity\r\n"
    return text.encode("latin-1")
