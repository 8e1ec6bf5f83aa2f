"""Waits while the client stays."""

from __future__ import annotations

import asyncio

from flexllm_mock.asgi import Receive


async def stays(receive: Receive, seconds: float | None) -> bool:
    """Wait, with None for ever; return False as soon as the client has left."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return True
    return False
