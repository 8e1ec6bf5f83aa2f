"""Puts a reply on the wire: waits, paces, and stops when the client leaves."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence

from flexllm_mock.asgi import Headers, Receive, Reply, Send
from flexllm_mock.faults.breaking import Connection, deliver_broken
from flexllm_mock.requestlog import Outcome
from flexllm_mock.waiting import stays


async def deliver(
    reply: Reply, receive: Receive, send: Send, *, token_rate: float = 0.0, connection: Connection | None = None
) -> Outcome:
    """Send a reply and tell how that ended. `token_rate` is in tokens per second, 0 for no pacing."""
    due = reply.due
    if token_rate and due is None:
        due = even_times(reply.length, token_rate)
    wait = reply.delay
    if due and (reply.steps is None or reply.breakage is not None):
        wait += due[-1]
    if wait and not await stays(receive, wait):
        return "cancelled"
    if reply.breakage is not None:
        return await deliver_broken(reply, reply.breakage, head(reply), receive, send, connection)
    if reply.steps is None:
        headers = head(reply)
        headers.append((b"content-length", b"%d" % len(reply.body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
        return "answered"
    if due and len(reply.steps) > 1:
        return await _paced(reply, receive, send, due)
    await send({"type": "http.response.start", "status": reply.status, "headers": head(reply)})
    await send({"type": "http.response.body", "body": reply.content()})
    return "answered"


def even_times(tokens: int, token_rate: float) -> Sequence[float]:
    """Return when each token is due, and as the last item when all are: seconds at a rate in tokens per second."""
    return [index / token_rate for index in range(tokens + 1)]


def head(reply: Reply) -> Headers:
    """Return the headers of a reply, without those that tell its length."""
    headers = [(b"content-type", reply.content_type)]
    if reply.request_id:
        headers.append((reply.id_header, reply.request_id))
    if not reply.headers:
        return headers
    own = {name for name, _ in reply.headers}
    return [*(header for header in headers if header[0] not in own), *reply.headers]


async def _paced(reply: Reply, receive: Receive, send: Send, due: Sequence[float]) -> Outcome:
    """Send each step when it is due; steps that are late go out together."""
    steps = [step.encode() for step in reply.steps or ()]
    loop = asyncio.get_running_loop()
    start = loop.time()
    await send({"type": "http.response.start", "status": reply.status, "headers": head(reply)})
    sent = 0
    while sent < len(steps):
        until = min(len(steps), max(sent + 1, bisect_right(due, loop.time() - start)))
        await send({"type": "http.response.body", "body": b"".join(steps[sent:until]), "more_body": until < len(steps)})
        sent = until
        if sent < len(steps) and not await stays(receive, max(0.0, start + due[sent] - loop.time())):
            return "cancelled"
    return "answered"
