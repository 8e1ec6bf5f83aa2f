"""ProviderClient on several event loops: threads, notebooks, and forked children."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from flexllm_core import sync
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.requests import ChatRequest
from flexllm_providers.client import ProviderClient

REQUEST = ChatRequest([{"role": "user", "content": "hi"}], "m")


def client(transport: Any) -> ProviderClient:
    """A client of an endpoint that is only a transport."""
    return ProviderClient(EndpointConfig(base_url="http://h/v1"), transport=transport)


async def test_each_loop_has_a_transport_of_its_own(
    answers: Any, monkeypatch: pytest.MonkeyPatch, fake_transport: Any
) -> None:
    """Connections belong to the loop that made them; they are closed when it ends, and forgotten then."""
    made: list[Any] = []

    def create(*_: object, **__: object) -> Any:
        made.append(fake_transport(answers.chat()))
        return made[-1]

    monkeypatch.setattr("flexllm_providers.client.create_transport", create)
    model = client(None)

    def in_a_loop_of_its_own() -> None:
        asyncio.run(model.complete(REQUEST))

    for _ in range(2):
        await model.complete(REQUEST)
        await asyncio.to_thread(in_a_loop_of_its_own)
    assert [len(transport.requests) for transport in made] == [2, 1, 1]
    assert len(model._transports) == 2  # this loop's, and the last thread's until the next one is made
    await model.aclose()
    assert [len(transport.closed_in) for transport in made] == [1, 1, 1]
    assert all(set(transport.closed_in) <= set(transport.loops) for transport in made)
    assert len(model._transports) == 0


def test_aclose_does_not_wait_for_a_loop_that_waits_for_it(fake_transport: Any, answers: Any) -> None:
    """As a notebook's does: it used the client, and now calls the sync `close()`, which blocks its loop."""
    transport = fake_transport(answers.chat())
    model = client(transport)

    async def notebook() -> None:
        await model.complete(REQUEST)
        sync.run(model.aclose)  # blocks this very loop
        while not transport.closed_in:
            await asyncio.sleep(0.001)

    thread = threading.Thread(target=asyncio.run, args=(notebook(),), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert transport.closed_in == transport.loops


FORK = """
import json, os, sys
from flexllm_core import sync
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.requests import ChatRequest
from flexllm_providers.client import ProviderClient
from flexllm_providers.http import HttpResponse

class Transport:
    async def send(self, request, timeouts):
        body = {"choices": [{"message": {"content": str(os.getpid())}}]}
        return HttpResponse(200, {}, json.dumps(body).encode())
    async def aclose(self):
        pass

client = ProviderClient(EndpointConfig(base_url="http://h/v1"), transport=Transport())
ask = lambda: client.complete(ChatRequest([], "m"))
assert sync.run(ask).content == str(os.getpid())
child = os.fork()
if not child:
    ok = sync.run(ask).content == str(os.getpid())
    sync.run(client.aclose)
    os._exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
assert sync.run(ask).content == str(os.getpid())
sync.run(client.aclose)
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_use_and_close_its_copy() -> None:
    """Without waiting for a loop whose thread stayed in the parent."""
    run = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr, run.returncode) == ("done\n", "", 0)


LEFT_OPEN = r"""
import asyncio, gc, os, sys, threading
from flexllm_core import sync
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.requests import ChatRequest
from flexllm_providers.client import ProviderClient

BODY = b'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
JSON = b'{"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}'
open_connections = set()

async def serve(reader, writer):
    open_connections.add(writer)
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
            asked = await reader.readexactly(length)
            kind, body = (b"text/event-stream", BODY) if b'"stream"' in asked else (b"application/json", JSON)
            length = len(body) + (5 if b"half" in asked else 0)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (kind, length, body))
    except (asyncio.IncompleteReadError, ConnectionResetError):
        pass
    finally:
        open_connections.discard(writer)
        writer.close()

loop, ready, ports = asyncio.new_event_loop(), threading.Event(), []

def run_server():
    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
    loop.create_task(main())
    loop.run_forever()

threading.Thread(target=run_server, daemon=True).start()
ready.wait()

def make():
    return ProviderClient(EndpointConfig(base_url=f"http://127.0.0.1:{ports[0]}/v1", model="m"))

def request(text="hi"):
    return ChatRequest([{"role": "user", "content": text}])

async def dropped():
    await make().complete(request())

async def closed_in_the_sync_way():
    client = make()
    await client.complete(request())
    sync.run(client.aclose)

async def stream_left():
    async for _ in make().stream(request("half")):
        break

async def raises():
    client = make()
    await client.complete(request())
    raise KeyError

async def cancelled():
    client = make()
    task = asyncio.ensure_future(client.complete(request("half")))
    await asyncio.sleep(0.01)

kept = make()

async def kept_by_somebody():
    await kept.complete(request())

for number in range(5):
    for case in (dropped, closed_in_the_sync_way, stream_left, raises, cancelled, kept_by_somebody):
        try:
            asyncio.run(case())
        except KeyError:
            pass
        gc.collect()
    sync.run(dropped)
    gc.collect()
for _ in range(500):
    if not open_connections:
        break
    threading.Event().wait(0.01)
print("open:", len(open_connections))
"""


def test_no_socket_stays_open_that_nobody_closed() -> None:
    """A client that is dropped, or whose loop ends, in the middle of a stream too; without a warning or a lost task."""
    options = [sys.executable, "-X", "dev", "-W", "error", "-c", LEFT_OPEN]
    run = subprocess.run(options, capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.returncode) == ("open: 0\n", 0), run.stderr
    assert [line for line in run.stderr.splitlines() if not line.startswith("Executing ")] == []
