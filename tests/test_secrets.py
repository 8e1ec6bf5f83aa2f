"""A search for the key in everything that is written, logged or shown, however the run goes."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback

import pytest

from flexllm import FlexLLMError, LLMClient
from flexllm_mock import FaultRule, MockServer

KEY = "sk-sentinel-5up3r-s3cr3t-0123456789"
PATHS = {"openai": "/v1", "claude": "", "gemini": "/v1beta", "vertex": "/v1/projects/p/locations/l"}
ECHO = {"error": {"message": f"wrong key {KEY}", "type": "t", "code": KEY, "status": KEY}, "type": "error"}
FAULTS = [
    None,
    FaultRule(status=401, body=ECHO),
    FaultRule(status=400, body=ECHO),
    FaultRule(status=429, body=ECHO, headers={"x-request-id": KEY, "request-id": KEY, "x-should-retry": "false"}),
    FaultRule(status=200, body=ECHO),
    FaultRule(status=200, raw_body=f"not JSON {KEY}"),
    FaultRule(status=302, headers={"location": f"http://127.0.0.1:1/?key={KEY}"}),
    FaultRule(disconnect="before"),
    FaultRule(disconnect="mid_body"),
]


@pytest.mark.parametrize("provider", PATHS)
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_key_is_nowhere(provider, fault, tmp_path, caplog, capsys):
    """Logs of every level, reprs, errors with their notes, tracebacks and pickles, outputs, and the URLs asked."""
    caplog.set_level(logging.DEBUG)
    written: list[str] = []

    async def run(server: MockServer) -> None:
        client = LLMClient(
            provider=provider,
            model="claude-sonnet-4-5" if provider == "claude" else "gemini-2.5-flash",
            base_url=server.url + PATHS[provider],
            api_key=KEY,
            retry_times=1,
        )
        async with client:
            written.extend(
                map(repr, (client, vars(client), client.endpoint, client.chat_model, vars(client.chat_model)))
            )
            try:
                written.append(repr(await client.chat("Hello")))
                written.extend([repr(event) async for event in client.chat_stream("Hello")])
            except FlexLLMError as error:
                written.extend((str(error), repr(error), repr(vars(error))))
                written.append("".join(traceback.format_exception(error)))
                written.append(pickle.dumps(error).decode("latin-1"))
            batch = await client.chat_batch(["one", "two"], output_jsonl=tmp_path / "out.jsonl")
            written.extend((repr(batch), batch.summary))

    with MockServer(faults=[fault] if fault else []) as server:
        asyncio.run(run(server))
        written.extend(request.path for request in server.requests)
    captured = capsys.readouterr()
    written += [caplog.text, captured.out, captured.err]
    written += [file.read_text(errors="replace") for file in tmp_path.iterdir()]
    text = "\n".join(written)
    assert "out.jsonl" in [file.name for file in tmp_path.iterdir()]
    assert KEY not in text
    assert KEY[3:] not in text
