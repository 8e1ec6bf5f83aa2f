"""The yardstick: N connections of asyncio.Protocol and httptools that do nothing but ask and read, in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import httptools
from pydantic_core import from_json, to_json

from workers.job import API_KEY, MODEL, Job, run, user_message


class Connection(asyncio.Protocol):
    """One connection: sends a request, reads its response, sends the next, until the prompts are used up."""

    def __init__(self, prompts: Iterator[str], head: bytes) -> None:
        self._prompts = prompts
        self._head = head
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self.answered = 0
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: send the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not instances of it
        self._send_next()

    def _send_next(self) -> None:
        text = next(self._prompts, None)
        if text is None:
            self._transport.close()
            return
        body = to_json({"model": MODEL, "messages": user_message(text)})
        self._transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))

    def data_received(self, data: bytes) -> None:
        """Bytes of a response."""
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """Part of a response's body, from the parser."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """A whole response, from the parser."""
        answer = from_json(b"".join(self._body))
        self._body.clear()
        self.answered += bool(answer["choices"][0]["message"]["content"])
        self._send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed: by us when the prompts are used up, or by the server, whose answer is missing then."""
        self.closed.set_result(None)


async def main(job: Job) -> int:
    """Answer all prompts; how many have an answer."""
    url = urlsplit(job.base_url)
    head = (
        f"POST {url.path}/chat/completions HTTP/1.1\r\nhost: {url.netloc}\r\nauthorization: Bearer {API_KEY}\r\n"
        "content-type: application/json\r\ncontent-length: "
    ).encode()
    loop, prompts = asyncio.get_running_loop(), job.prompts()
    connect = partial(loop.create_connection, partial(Connection, prompts, head), url.hostname or "", url.port or 80)
    made = await asyncio.gather(*(connect() for _ in range(min(job.concurrency, job.rows))))
    connections = [connection for _, connection in made]
    await asyncio.gather(*(connection.closed for connection in connections))
    return sum(connection.answered for connection in connections)


if __name__ == "__main__":
    run(main)
