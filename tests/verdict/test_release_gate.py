"""The mock server's verdict on flexllm itself: under every kind of trouble it behaves as a good client does."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys

import httpx
import pytest

from flexllm_batch import LLMClient
from flexllm_mock import FaultMatch, FaultRule, MockServer

STRICT = {"shared_pause_ignored": 0, "retries_per_failure": 8}

TROUBLES = {
    "rate limit": [FaultRule(status=429, headers={"retry-after": "0.4"}, every=40, times=2)],
    "rate limit in milliseconds": [FaultRule(status=429, headers={"retry-after-ms": "300"}, every=50, times=1)],
    "storm": [FaultRule(status=429, headers={"retry-after": "0.3"}, times=6)],
    "overload without a word": [FaultRule(status=503, every=9, times=10)],
    "server errors": [FaultRule(status=500, every=7, times=12)],
    "connections closed": [FaultRule(disconnect="before", every=11, times=8)],
    "cut answers": [FaultRule(disconnect="mid_body", every=9, times=8)],
    "resets": [FaultRule.of(f"reset_{at}", every=17, times=3) for at in ("before", "mid_headers", "mid_body")],
    "wrong bodies": [  # once for a row: of these only one is retried
        FaultRule.of(kind, times=1, match=FaultMatch(contains=f"question {row}"))
        for row, kind in enumerate(("error_body", "malformed_json", "cut_stream", "empty_choices") * 5, 150)
    ],
    "odd but right": [FaultRule.of(kind, every=5, times=9) for kind in ("blank_lines", "missing_usage", "split_utf8")],
    "refusals": [FaultRule(status=400, match=FaultMatch(contains="question 1"))],
    "everything": [
        FaultRule(status=429, headers={"retry-after": "0.3"}, every=31, times=1),
        FaultRule(status=500, every=17, times=6),
        FaultRule(disconnect="before", every=19, times=5),
        FaultRule(disconnect="mid_body", every=23, times=5),
    ],
}


@pytest.mark.parametrize(
    ("provider", "trouble"),
    [*(("openai", trouble) for trouble in TROUBLES), ("claude", "everything"), ("gemini", "everything")],
)
async def test_batch_under_faults_gets_a_clean_verdict(provider, trouble):
    """No row is asked twice once answered, no told wait is cut short by anybody, no cut answer is taken for whole."""
    async with MockServer(faults=TROUBLES[trouble]) as server:
        base_url = server.base_url if provider == "openai" else server.url
        async with LLMClient(
            model="mock", provider=provider, base_url=base_url, api_key="sk-gate", concurrency_limit=16
        ) as client:
            result = await client.chat_batch([f"question {number}" for number in range(100, 220)], max_tokens=50)
        connections = 16 + server.stats().dropped  # those that were closed are opened again
        verdict = server.verdict(peak_concurrency=16, connections=connections, **STRICT)
    verdict.check()
    assert verdict["requests"].count >= 120
    failed = sum(item.error is not None for item in result)
    assert failed == (100 if trouble == "refusals" else 0)
    if trouble not in ("refusals", "odd but right"):
        assert verdict["requests"].count > 120


async def test_the_gate_can_fail():
    """A client that sends again at once, whatever it was told, does not pass."""
    storm = FaultRule(status=429, headers={"retry-after": "0.5"}, times=20)
    async with MockServer(faults=[storm]) as server, httpx.AsyncClient(base_url=server.base_url) as client:

        async def ask(content: str) -> None:
            body = {"model": "mock", "messages": [{"role": "user", "content": content}]}
            while (await client.post("/chat/completions", json=body)).status_code != 200:
                await asyncio.sleep(0.1)

        await asyncio.gather(*(ask(str(number)) for number in range(4)))
        assert [rule.rule for rule in server.verdict().failed] == ["retry_after_ignored"]
        with pytest.raises(AssertionError, match="before the time it had been told"):
            server.verdict().check()


def test_command_line_passes_the_gate(cli, files, wait_until, tmp_path):
    """`flexllm batch` against `flexllm-mock --verdict`: the server ends with 0."""
    ready = tmp_path / "ready.json"
    options = ["--port", "0", "--quiet", "--ready-file", ready, "--verdict"]
    options += ["--error-rate", "0.05", "--error-status", "429", "--retry-after", "0.2"]
    files.write_input([{"q": f"question {number}"} for number in range(30)])
    server = subprocess.Popen([sys.executable, "-m", "flexllm_mock", *options], stdout=subprocess.PIPE, text=True)
    try:
        wait_until(ready.exists, "the mock server")
        url = json.loads(ready.read_text())["url"] + "/v1"
        done = cli("batch", files.input, "-o", files.output, "--base-url", url, "-m", "mock", "-c", "8")
        assert done.returncode == 0, done.stderr
        server.send_signal(signal.SIGTERM)
        report, _ = server.communicate(timeout=10)
    finally:
        server.kill()
        server.wait(10)
    assert server.returncode == 0, report
    assert "retry_after_ignored: 0" in report
