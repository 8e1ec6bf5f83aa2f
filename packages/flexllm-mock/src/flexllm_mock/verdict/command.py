"""`flexllm-mock verdict URL`: prints the verdict of a running server."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from flexllm_mock.config import API_KEY_VARIABLE
from flexllm_mock.serving import show
from flexllm_mock.verdict.options import add_fail_on, exit_code
from flexllm_mock.verdict.verdict import only, verdict_from_json

_SECONDS = 30.0


def main(arguments: Sequence[str]) -> int:
    """Print the verdict of a running server and return the exit code.

    0 when no rule has failed, 3 when one has, 1 when the server cannot be asked (one line on stderr says why).
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        url = _verdict_url(options.url, options.fail_on)
    except ValueError as error:
        parser.error(str(error))
    try:
        found = _fetch(url, os.environ.get(API_KEY_VARIABLE))
        verdict = verdict_from_json(found)
    except (OSError, ValueError, http.client.HTTPException) as error:
        parser.exit(1, f"{parser.prog}: {options.url}: {_reason(error)}\n")
    show(json.dumps(found) if options.json else str(verdict))
    return exit_code(verdict)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        prog="flexllm-mock verdict",
        description="Print the verdict of a running mock server on its client. Exits with 3 when a rule has failed.",
        epilog=f"A server with a key gets it from {API_KEY_VARIABLE}.",
    )
    parser.add_argument("url", metavar="URL", help="where the server listens, such as http://127.0.0.1:8000")
    add_fail_on(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _verdict_url(url: str, fail_on: Sequence[tuple[str, int | None]] | None) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no URL such as http://127.0.0.1:8000")
    limits = only(dict(fail_on)) if fail_on else {}
    query = urlencode({name: "none" if limit is None else limit for name, limit in limits.items()})
    # The URL may be the one that the clients got, with /v1 at its end.
    return f"{parts.scheme}://{parts.netloc}/__mock__/verdict?{query}"


def _fetch(url: str, key: str | None) -> Any:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 the scheme was checked
    # A mock server is asked directly: a proxy of the environment may not reach this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_SECONDS) as response:
        return json.load(response)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        with error:
            hint = f"; put its key into {API_KEY_VARIABLE}" if error.code == 401 else ""
            return f"answered {error.code} instead of a verdict{hint}"
    if isinstance(error, urllib.error.URLError):
        return str(getattr(error.reason, "strerror", None) or error.reason)
    return f"answered something that is no verdict: {error}" if isinstance(error, ValueError) else str(error)
