"""Puts a reply on the wire: waits, paces, stops when the client leaves, or hangs up as a fault asks."""

from __future__ import annotations

import asyncio
from typing import Protocol

from flexllm_mock.asgi import Headers, Receive, Reply, Send
from flexllm_mock.requestlog import Outcome

_DROP_SECONDS = 2.0


class Connection(Protocol):
    """The client's connection, as far as a reply needs it."""

    def close(self) -> None:
        """Close it once what was written has gone out."""
        ...

    def abort(self) -> None:
        """Close it at once."""
        ...


async def deliver(
    reply: Reply, receive: Receive, send: Send, *, token_rate: float = 0.0, connection: Connection | None = None
) -> Outcome:
    """Send a reply and tell how that ended. `token_rate` is in tokens per second, 0 for no pacing."""
    wait = reply.delay
    if token_rate and reply.tokens:
        wait += reply.tokens / token_rate
    if wait and not await stays(receive, wait):
        return "cancelled"
    if reply.disconnect is not None:
        return await _hang_up(reply, receive, send, connection)
    if reply.steps is not None:
        if token_rate and len(reply.steps) > 1:
            return await _paced(reply, receive, send, token_rate)
        await send({"type": "http.response.start", "status": reply.status, "headers": _head(reply)})
        await send({"type": "http.response.body", "body": "".join(reply.steps).encode()})
        return "answered"
    headers = _head(reply)
    headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
    return "answered"


async def stays(receive: Receive, seconds: float) -> bool:
    """Wait; return False as soon as the client has left."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return True
    return False


def _head(reply: Reply) -> Headers:
    headers = [(b"content-type", reply.content_type)]
    if reply.request_id:
        headers.append((reply.id_header, reply.request_id))
    if not reply.headers:
        return headers
    own = {name for name, _ in reply.headers}
    return [*(header for header in headers if header[0] not in own), *reply.headers]


async def _paced(reply: Reply, receive: Receive, send: Send, token_rate: float) -> Outcome:
    """Send each step when it is due; steps that are late go out together."""
    steps = [step.encode() for step in reply.steps or ()]
    loop = asyncio.get_running_loop()
    start = loop.time()
    await send({"type": "http.response.start", "status": reply.status, "headers": _head(reply)})
    sent = 0
    while sent < len(steps):
        due = min(len(steps), max(sent + 1, int((loop.time() - start) * token_rate) + 1))
        await send({"type": "http.response.body", "body": b"".join(steps[sent:due]), "more_body": due < len(steps)})
        sent = due
        if sent < len(steps) and not await stays(receive, max(0.0, start + sent / token_rate - loop.time())):
            return "cancelled"
    return "answered"


async def _hang_up(reply: Reply, receive: Receive, send: Send, connection: Connection | None) -> Outcome:
    """Send as much as the fault allows, close the connection, and wait until it is closed."""
    if connection is None:
        raise RuntimeError("this ASGI server does not let the mock close a connection: use `MockServer`")
    if reply.disconnect != "before":
        body = reply.body if reply.steps is None else "".join(reply.steps).encode()
        headers = _head(reply)
        if reply.steps is None:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        part = body[: len(body) // 2] if reply.disconnect == "mid_body" else b""
        if part:
            await send({"type": "http.response.body", "body": part, "more_body": True})
    connection.close()
    # The server calls an unfinished response an error unless it knows that the connection is gone.
    if await stays(receive, _DROP_SECONDS):
        connection.abort()
        await stays(receive, _DROP_SECONDS)
    return "dropped"
