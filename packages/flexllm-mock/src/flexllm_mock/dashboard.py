"""The dashboard at `/`: one page without anything from elsewhere, and the headers that hold it to that."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files

DASHBOARD_PATH = "/"

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


@cache
def dashboard() -> tuple[bytes, dict[str, str]]:
    """Return the page and its headers.

    The content security policy admits the page's own script and style by their hashes, requests to this server, and
    nothing else: should a text that a client sent ever get into the page as markup, it could do nothing there.
    """
    page = files("flexllm_mock").joinpath("dashboard.html").read_text(encoding="utf-8")
    sources = {kind: _source(text) for kind, text in _INLINE.findall(page)}
    policy = (
        f"default-src 'none'; script-src {sources['script']}; style-src {sources['style']}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return page.encode(), {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }


def _source(text: str) -> str:
    digest = b64encode(sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
