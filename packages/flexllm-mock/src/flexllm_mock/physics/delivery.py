"""Delivers a reply as the model of an engine lets its tokens come."""

from __future__ import annotations

import asyncio

from flexllm_mock.asgi import Receive, Reply, Send
from flexllm_mock.delivery import deliver
from flexllm_mock.faults.breaking import Connection
from flexllm_mock.physics.engine import Engine, Plan, Seat
from flexllm_mock.requestlog import Outcome
from flexllm_mock.waiting import stays


async def deliver_by_engine(
    engine: Engine, plan: Plan, reply: Reply, receive: Receive, send: Send, *, connection: Connection | None
) -> Outcome:
    """Wait for a place, hold it while the answer is sent, and tell how that ended."""
    if reply.delay and not await stays(receive, reply.delay):
        return "cancelled"
    seat = engine.seat()
    try:
        if not await _seated(seat, receive):
            return "cancelled"
        reply.delay, reply.due = plan.first, plan.due
        return await deliver(reply, receive, send, connection=connection)
    finally:
        seat.leave()


async def _seated(seat: Seat, receive: Receive) -> bool:
    """Wait for the turn; return False as soon as the client has left."""
    if seat.turn.done():
        return True
    leaving = asyncio.ensure_future(stays(receive, None))
    try:
        await asyncio.wait((seat.turn, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
    return not (leaving.done() and not leaving.cancelled())
