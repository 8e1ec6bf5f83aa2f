"""The kinds of faults that have a name, each as the fields of a fault rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

Alteration = Literal[
    "error_body",
    "cut_stream",
    "error_event",
    "malformed_json",
    "missing_usage",
    "empty_choices",
    "broken_arguments",
    "split_utf8",
    "crlf",
    "keep_alive",
    "blank_lines",
    "gzip",
    "oversized",
]
"""What can be wrong with the content of an answer."""

_WIDE_TEXT = "Gr\u00fc\u00dfe \u2014 \u4f60\u597d, \U0001f642!"

KINDS: Mapping[str, Mapping[str, Any]] = {
    "bad_request": {"status": 400},
    "unauthorized": {"status": 401},
    "payment_required": {"status": 402},
    "insufficient_quota": {"status": 429, "code": "insufficient_quota"},
    "rate_limit": {"status": 429, "retry_after": 1.0},
    "rate_limit_ms": {"status": 429, "headers": {"retry-after-ms": "500"}},
    "rate_limit_bare": {"status": 429},
    "server_error": {"status": 500},
    "bad_gateway": {"status": 502, "raw_body": "<html><body><h1>502 Bad Gateway</h1></body></html>\n"},
    "unavailable": {"status": 503},
    "overloaded": {"status": 529},
    "connection_refused": {"refuse": 1.0, "disconnect": "before", "reset": True},
    "disconnect": {"disconnect": "before"},
    "disconnect_mid_body": {"disconnect": "mid_body"},
    "reset_before": {"disconnect": "before", "reset": True},
    "reset_mid_headers": {"disconnect": "mid_headers", "reset": True},
    "reset_after_headers": {"disconnect": "after_headers", "reset": True},
    "reset_mid_body": {"disconnect": "mid_body", "reset": True},
    "stall_before": {"stall": "before"},
    "stall_mid_headers": {"stall": "mid_headers"},
    "stall_after_headers": {"stall": "after_headers"},
    "stall_mid_body": {"stall": "mid_body"},
    **{name: {"alter": name} for name in get_args(Alteration)},
    "split_utf8": {"alter": "split_utf8", "answer": _WIDE_TEXT},
}
"""Fields of a fault rule by the name of the kind."""
