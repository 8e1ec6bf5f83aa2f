"""Replays a recording: the recorded answer to a recorded request, and the nearest difference for any other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flexllm_mock.asgi import ApiError, ApiRequest, Receive, Reply, Send
from flexllm_mock.faults.breaking import Connection
from flexllm_mock.masking import masked_text, secrets_of
from flexllm_mock.recording.recording import (
    Exchange,
    RecordedRequest,
    RecordedResponse,
    read_recording,
    recorded_request,
)
from flexllm_mock.requestlog import Outcome
from flexllm_mock.waiting import stays

_MAX_COMPARED = 500
_MAX_DIFFERENCES = 1000
_SHOWN = 60
_CLOSE_SECONDS = 2.0
_MISSING = object()


class Replay:
    """A recording to answer from. Raises RecordingError.

    A request that was recorded several times gets the answers in their order, the last one again and again.
    """

    def __init__(self, file: Path) -> None:
        self._exchanges: dict[str, list[Exchange]] = {}
        for exchange in read_recording(file):
            self._exchanges.setdefault(exchange.request.digest, []).append(exchange)
        self.reset()

    def reset(self) -> None:
        """Begin anew with the first answer to each request."""
        self._used: dict[str, int] = {}

    def reply(self, request: ApiRequest) -> Reply:
        """Return the recorded answer. Raises ApiError 404 that says how the nearest recorded request differs."""
        asked = recorded_request(request, secrets_of(request.headers, request.query))
        exchanges = self._exchanges.get(asked.digest)
        if exchanges is None:
            try:
                nearest = self._nearest(asked)
            except RecursionError:
                nearest = "Its body nests too deeply to be compared."
            raise ApiError(404, f"Not in the recording. {nearest}", code="not_recorded")
        used = self._used.get(asked.digest, 0)
        self._used[asked.digest] = used + 1
        response = exchanges[min(used, len(exchanges) - 1)].response
        headers = tuple((name.encode(), value.encode("latin-1")) for name, value in response.headers)
        return Reply(response.status, b"", body=response.body, headers=headers, recorded=response, cut=response.cut)

    def _nearest(self, asked: RecordedRequest) -> str:
        """Say how the recorded request that is most like it differs."""
        recorded = [exchanges[0].request for exchanges in self._exchanges.values()]
        same = [each for each in recorded if (each.method, each.target) == (asked.method, asked.target)]
        if not same:
            targets = sorted({f"{each.method} {each.target}" for each in recorded})
            more = f" and {len(targets) - 5} more" if len(targets) > 5 else ""
            return f"No {asked.method} {asked.target} is in it, but {', '.join(targets[:5])}{more}."
        found = [list(_limited(differences(each.body, asked.body))) for each in same[:_MAX_COMPARED]]
        nearest = min(found, key=_distance)
        place, before, now = nearest[0]
        more = f", and at {len(nearest) - 1} more places" if len(nearest) > 1 else ""
        return (
            f"The nearest recorded request differs at {place}: {_shown(before)} was recorded, {_shown(now)} sent{more}."
        )


Difference = tuple[str, Any, Any]
"""Where two bodies differ, what was recorded there, and what was sent."""


def differences(recorded: Any, sent: Any, place: str = "") -> Iterator[Difference]:
    """Yield the places at which two JSON values differ; what one does not have is shown as missing."""
    if isinstance(recorded, dict) and isinstance(sent, dict):
        for name in [*recorded, *(name for name in sent if name not in recorded)]:
            inner = f"{place}.{name}" if place else str(name)
            yield from differences(recorded.get(name, _MISSING), sent.get(name, _MISSING), inner)
    elif isinstance(recorded, list) and isinstance(sent, list):
        for at in range(max(len(recorded), len(sent))):
            before, now = (each[at] if at < len(each) else _MISSING for each in (recorded, sent))
            yield from differences(before, now, f"{place}[{at}]")
    elif recorded is _MISSING or sent is _MISSING or type(recorded) is not type(sent) or recorded != sent:
        yield place or "the body", recorded, sent


def _limited(found: Iterator[Difference]) -> Iterator[Difference]:
    for _, difference in zip(range(_MAX_DIFFERENCES), found, strict=False):
        yield difference


def _distance(found: list[Difference]) -> tuple[int, int]:
    """Order by the number of places, then by how much of the first text is the same."""
    _, before, now = found[0]
    if not isinstance(before, str) or not isinstance(now, str):
        return len(found), 0
    same = next((at for at, (one, other) in enumerate(zip(before, now, strict=False)) if one != other), 0)
    return len(found), -same


def _shown(value: Any) -> str:
    if value is _MISSING:
        return "nothing"
    text = masked_text(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def is_as_recorded(reply: Reply) -> bool:
    """Tell whether a replayed answer is still what was recorded, or a fault has changed something about it."""
    recorded = reply.recorded
    return (
        recorded is not None
        and reply.breakage is None
        and not reply.delay
        and (reply.status, reply.body) == (recorded.status, recorded.body)
    )


async def play(
    response: RecordedResponse, speed: float, receive: Receive, send: Send, connection: Connection | None
) -> Outcome:
    """Send a recorded answer, byte for byte, at the recorded times divided by `speed`; 0 for all at once."""
    loop = asyncio.get_running_loop()
    begun = loop.time()

    async def due(seconds: float) -> bool:
        wait = begun + seconds / speed - loop.time() if speed else 0.0
        return wait <= 0 or await stays(receive, wait)

    if not await due(response.after):
        return "cancelled"
    headers = [(name.encode(), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    chunks = response.chunks if speed else ((0.0, response.body),)
    for at, data in chunks:
        if not await due(at):
            return "cancelled"
        await send({"type": "http.response.body", "body": data, "more_body": True})
    if response.cut and connection is not None:
        connection.close()
        await stays(receive, _CLOSE_SECONDS)
        return "dropped"
    await send({"type": "http.response.body", "body": b""})
    return "answered"
