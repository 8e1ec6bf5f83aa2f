"""A ChatModel and an endpoint that answer without a network, and helpers to write inputs and read outputs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from flexllm_batch.batch import Batch
from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.client import LLMClient
from flexllm_batch.inputs.json_source import JsonLines
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent, Usage

Answer = str | ChatCompletionResult | BaseException
RunBatch = Callable[..., Awaitable[Batch]]

KEY = "sk-very-secret-0123456789"
URL = "https://api.example.com/v1"


class FakeModel:
    """Answers each request with what `answer` makes of it, after `delay` seconds; an error is raised."""

    def __init__(self, answer: Callable[[ChatRequest], Answer] | None = None, delay: float = 0.0) -> None:
        self.answer = answer or (lambda request: f"answer to {request.fingerprint()}")
        self.delay = delay
        self.asked: list[ChatRequest] = []
        self.in_flight = self.peak = 0
        self.closed = False

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        self.asked.append(request)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(self.delay)
            answer = self.answer(request)
        finally:
            self.in_flight -= 1
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, ChatCompletionResult):
            return answer
        usage = Usage(prompt_tokens=10, completion_tokens=5, total_tokens=15)
        return ChatCompletionResult(answer, finish_reason="stop", usage=usage, model=request.model, endpoint="fake")

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        result = await self.complete(request)
        yield StreamEvent("content", result.content or "")
        yield StreamEvent("done", result=result)

    async def aclose(self) -> None:
        self.closed = True

    @property
    def prompts(self) -> list[Any]:
        """The content of the last message of each request."""
        return [request.messages[-1]["content"] for request in self.asked]


class Server:
    """An OpenAI-compatible endpoint inside the process; `reply` maps a prompt to a text or a whole response."""

    def __init__(self, reply: Callable[[str], Any] = lambda prompt: f"re: {prompt}") -> None:
        self.reply = reply
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[httpx.Headers] = []
        self.in_flight = self.peak = 0

    async def handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        self.headers.append(request.headers)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        await asyncio.sleep(0.001)
        self.in_flight -= 1
        reply = self.reply(body["messages"][-1]["content"])
        if isinstance(reply, httpx.Response):
            return reply
        return self.stream(reply) if body.get("stream") else httpx.Response(200, content=self.answer(reply))

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.bodies]

    def answer(self, text: str) -> bytes:
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return json.dumps({"id": "c1", "model": "gpt-4o-mini", "choices": [choice], "usage": usage}).encode()

    def stream(self, text: str) -> httpx.Response:
        chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in text.split(" ")]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=events.encode())

    def client(self, **settings: Any) -> LLMClient:
        settings = {"model": "gpt-4o-mini", "base_url": URL, "api_key": KEY, **settings}
        return LLMClient(transport=httpx.MockTransport(self.handle), **settings)


@pytest.fixture
def make_server() -> type[Server]:
    """The Server class: `make_server(reply)`, and its `client(**settings)`."""
    return Server


@pytest.fixture
def server() -> Server:
    """A server that repeats what it is asked."""
    return Server()


@pytest.fixture
def make_model() -> type[FakeModel]:
    """The FakeModel class: `make_model(answer, delay)`."""
    return FakeModel


@pytest.fixture
def write_rows() -> Callable[[Path, Iterable[Any]], Path]:
    """Write rows as JSON Lines; returns the path."""

    def write(path: Path, rows: Iterable[Any]) -> Path:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def read_lines() -> Callable[[Path], list[dict[str, Any]]]:
    """Read an output file, which must be strict JSON Lines with a newline at its end."""

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is not strict JSON")

    def read(path: Path) -> list[dict[str, Any]]:
        data = path.read_bytes()
        assert data == b"" or data.endswith(b"\n")
        return [json.loads(line, parse_constant=refuse) for line in data.split(b"\n")[:-1] if line.strip()]

    return read


@pytest.fixture
def run_batch() -> RunBatch:
    """Run a batch over a JSON Lines file: `await run_batch(model, input, output, **settings)`; the Batch."""

    async def run(chat_model: Any, source: Path, output: Path | None, /, **settings: Any) -> Batch:
        settings.setdefault("model", "m")
        settings.setdefault("window", 4)
        batch = Batch(chat_model, JsonLines(source), BatchSettings(output=output, **settings), inputs=[source])
        await batch.prepare()
        await batch.run()
        return batch

    return run
