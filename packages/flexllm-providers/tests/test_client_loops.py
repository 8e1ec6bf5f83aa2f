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
    """Connections belong to the loop that made them; transports of closed loops are forgotten."""
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
    assert [len(transport.closed_in) for transport in made] == [1, 0, 0]
    assert model._transports == {}


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
