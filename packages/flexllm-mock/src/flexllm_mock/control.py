"""The control endpoints under `/__mock__/`, with which a test in another process reads and steers the server."""

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

from flexllm_mock.faults import FaultRule

if TYPE_CHECKING:
    from flexllm_mock.app import MockApp


def control_app(mock: MockApp) -> Starlette:
    """Return the application that serves `/__mock__/requests`, `stats`, `reset` and `faults` of a mock."""

    async def requests(_: Request) -> Response:
        listed = [asdict(logged) for logged in mock.log.recent()]
        for shown in listed:
            del shown["body"]  # may be private, large and no text at all; `MockServer.requests` has it
        return _json({"requests": listed, "stats": asdict(mock.log.stats())})

    async def stats(_: Request) -> Response:
        return _json(asdict(mock.log.stats()))

    async def reset(_: Request) -> Response:
        mock.reset()
        return _json({"status": "ok"})

    async def faults(request: Request) -> Response:
        try:
            rules = rules_from_json(await request.json())
        except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
            raise HTTPException(400, f"Not a list of fault rules: {error}") from error
        for rule in rules:
            mock.faults.add(rule)
        return _json({"status": "ok", "added": len(rules)})

    return Starlette(
        routes=[
            Route("/__mock__/requests", requests, methods=["GET"]),
            Route("/__mock__/stats", stats, methods=["GET"]),
            Route("/__mock__/reset", reset, methods=["POST"]),
            Route("/__mock__/faults", faults, methods=["POST"]),
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


def _json(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    # Escaped to ASCII, unlike starlette's own JSONResponse: names that clients send can hold lone surrogates.
    return Response(json.dumps(value), status_code=status, headers=headers, media_type="application/json")


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    shape: dict[str, Any] = {"message": error.detail, "type": "invalid_request_error", "param": None, "code": None}
    return _json({"error": shape}, status=error.status_code, headers=error.headers)
