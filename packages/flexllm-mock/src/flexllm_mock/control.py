"""The dashboard and the endpoints under `/__mock__/`, with which other processes read and steer the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flexllm_mock.dashboard import DASHBOARD_PATH, dashboard
from flexllm_mock.faults.rules import FaultRule
from flexllm_mock.requestlog import LoggedRequest
from flexllm_mock.verdict.verdict import judge, limit_from_text

if TYPE_CHECKING:
    from flexllm_mock.app import MockApp

_MOST_LISTED = 1_000
_SHOWN_BODY = 2_000


def control_app(mock: MockApp) -> Starlette:
    """Return the application that serves `/` and `/__mock__/requests`, `stats`, `verdict`, `reset`, `faults`."""

    async def page(_: Request) -> Response:
        content, headers = dashboard()
        return Response(content, headers=headers, media_type="text/html")

    async def requests(request: Request) -> Response:
        limit = _count(request.query_params.get("limit", str(_MOST_LISTED)))
        listed = [_listed(logged) for logged in mock.log.recent(limit, hide_keys=True)]
        return _json({"requests": listed, "stats": asdict(mock.log.stats())})

    async def verdict(request: Request) -> Response:
        try:
            limits = dict(limit_from_text(f"{name}={value}") for name, value in request.query_params.multi_items())
            return _json(judge(mock.log.facts(), limits).as_dict())
        except ValueError as error:
            raise HTTPException(400, str(error)) from error

    async def stats(_: Request) -> Response:
        return _json(asdict(mock.log.stats()))

    async def reset(_: Request) -> Response:
        mock.reset()
        return _json({"status": "ok"})

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            return _json({"status": "ok", "removed": mock.faults.clear()})
        try:
            rules = rules_from_json(await request.json())
        except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
            raise HTTPException(400, f"Not a list of fault rules: {error}") from error
        for rule in rules:
            mock.faults.add(rule)
        return _json({"status": "ok", "added": len(rules)})

    return Starlette(
        routes=[
            Route(DASHBOARD_PATH, page, methods=["GET"]),
            Route("/__mock__/requests", requests, methods=["GET"]),
            Route("/__mock__/stats", stats, methods=["GET"]),
            Route("/__mock__/verdict", verdict, methods=["GET"]),
            Route("/__mock__/reset", reset, methods=["POST"]),
            Route("/__mock__/faults", faults, methods=["POST", "DELETE"]),
        ],
        exception_handlers={HTTPException: _problem},
    )


def rules_from_json(value: object) -> list[FaultRule]:
    """Build rules from parsed JSON: a list of objects, or one object. Raises ValueError that names the rule."""
    listed = value if isinstance(value, list) else [value]
    rules: list[FaultRule] = []
    for at, each in enumerate(listed):
        try:
            rules.append(FaultRule.from_json(each))
        except ValueError as error:
            raise ValueError(f"rule {at}: {error}") from None
    return rules


def _listed(logged: LoggedRequest) -> dict[str, Any]:
    """Return a request whose keys are masked as JSON values, with the beginning of its body as text."""
    shown = asdict(logged)
    shown["body"] = None if logged.body is None else logged.body.decode("utf-8", "replace")[:_SHOWN_BODY]
    return shown


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise HTTPException(400, f"limit must be a whole number of 0 or more, not {text!r}")
    return int(text)


def _json(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    # Escaped to ASCII, unlike starlette's own JSONResponse: names that clients send can hold lone surrogates.
    return Response(json.dumps(value), status_code=status, headers=headers, media_type="application/json")


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    shape: dict[str, Any] = {"message": error.detail, "type": "invalid_request_error", "param": None, "code": None}
    return _json({"error": shape}, status=error.status_code, headers=error.headers)
