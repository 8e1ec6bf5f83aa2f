"""Fixtures of the mock's tests: a client on the standard library, both HTTP protocols, a loop with virtual time."""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import json
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

import flexllm_mock.httpserver
from flexllm_mock import MockServer

TIMEOUT = 20.0


@dataclass
class Answer:
    """One HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> Any:
        return self.json["choices"][0]["message"]

    @property
    def text(self) -> str:
        return self.message["content"]

    @property
    def error(self) -> Any:
        assert set(self.json) == {"error"}
        assert set(self.json["error"]) == {"message", "type", "param", "code"}
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """The JSON of each server-sent event but the last, which must be [DONE]."""
        parts = self.body.decode().split("\n\n")
        assert parts.pop() == ""
        assert parts.pop() == "data: [DONE]"
        assert all(part.startswith("data: ") for part in parts)
        return [json.loads(part.removeprefix("data: ")) for part in parts]

    @property
    def deltas(self) -> list[Any]:
        return [event["choices"][0]["delta"] for event in self.events if event["choices"]]

    def joined(self, name: str) -> str:
        """The concatenation of one field of the deltas."""
        return "".join(delta.get(name) or "" for delta in self.deltas)

    @property
    def claude_events(self) -> list[Any]:
        """The JSON of each of Claude's events, whose names must be their types."""
        parts = self.body.decode().split("\n\n")
        assert parts.pop() == ""
        found = []
        for part in parts:
            name, data = part.split("\n")
            found.append(json.loads(data.removeprefix("data: ")))
            assert name == f"event: {found[-1]['type']}"
        return found

    @property
    def claude_error(self) -> Any:
        assert set(self.json) == {"type", "error", "request_id"}
        assert self.json["type"] == "error"
        assert self.json["request_id"] == self.headers["request-id"]
        return self.json["error"]

    @property
    def gemini_chunks(self) -> list[Any]:
        """The JSON of each chunk of one of Gemini's event streams."""
        parts = self.body.decode().split("\r\n\r\n")
        assert parts.pop() == ""
        return [json.loads(part.removeprefix("data: ")) for part in parts]

    @property
    def gemini_error(self) -> Any:
        assert set(self.json) == {"error"}
        assert self.json["error"]["code"] == self.status
        return self.json["error"]


class Client:
    """A client for one server, with a connection per request."""

    def __init__(self, url: str) -> None:
        self.address = (urlsplit(url).hostname, urlsplit(url).port)

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        if isinstance(body, dict | list):
            body = json.dumps(body).encode()
        with closing(http.client.HTTPConnection(*self.address, timeout=TIMEOUT)) as connection:
            headers = headers or {}
            connection.request(method, path, body, headers, encode_chunked="transfer-encoding" in headers)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.request("POST", path, body, headers)

    def chat(self, content: Any = "Hello there", **options: Any) -> Answer:
        """Ask with one user message, or with the messages given."""
        body = {"model": "mock", "messages": [{"role": "user", "content": content}], **options}
        return self.post("/v1/chat/completions", body)

    def messages(self, content: Any = "Hello there", **options: Any) -> Answer:
        """Ask Claude with one user message, or with the messages given."""
        body = {"model": "mock", "max_tokens": 4096, "messages": [{"role": "user", "content": content}], **options}
        return self.post("/v1/messages", body, **{"anthropic-version": "2023-06-01"})

    def generate(
        self, text: str = "Hello there", *, model: str = "gemini-3-mock", verb: str = "", **body: Any
    ) -> Answer:
        """Ask Gemini with one user text, or with the contents given."""
        body = {"contents": [{"role": "user", "parts": [{"text": text}]}], **body}
        return self.post(f"/v1beta/models/{model}:{verb or 'generateContent'}", body)

    def raw(self, request: bytes) -> bytes:
        """Send bytes and return everything that comes until the server closes the connection."""
        with socket.create_connection(self.address, timeout=TIMEOUT) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=TIMEOUT)


def chat_bytes(**options: Any) -> bytes:
    """A chat request as it goes over the wire."""
    body = json.dumps({"model": "mock", "messages": [{"role": "user", "content": "Hello"}], **options}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: mock\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.fixture(name="chat_bytes")
def chat_bytes_fixture() -> Callable[..., bytes]:
    return chat_bytes


@pytest.fixture
def client_for() -> type[Client]:
    """Makes a client for a URL."""
    return Client


@pytest.fixture
def serve(flexllm_mock_server_factory: Callable[..., MockServer]) -> Callable[..., Client]:
    """Starts a server with the given options and returns a client for it, with the server as its `server`."""

    def start(**options: Any) -> Client:
        server = flexllm_mock_server_factory(**options)
        client = Client(server.url)
        client.server = server
        return client

    return start


@pytest.fixture
def client(serve: Callable[..., Client]) -> Client:
    """A client for a fresh server with default options."""
    return serve()


@pytest.fixture(params=["httptools", "h11"])
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs the test on uvicorn's two HTTP protocols, httptools (with uvloop) and h11 (with asyncio's loop)."""
    if request.param == "h11":
        monkeypatch.setattr(flexllm_mock.httpserver, "_installed", lambda module: False)
    elif importlib.util.find_spec("httptools") is None:
        pytest.skip("httptools is not installed")
    return request.param


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer whenever nothing else is to be done."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0]._when)
        super()._run_once()


@pytest.fixture
def run_virtual() -> Iterator[Callable[[Coroutine[Any, Any, Any]], tuple[Any, float]]]:
    """Runs a coroutine in virtual time and returns its result and the seconds that passed for it."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:

        def run(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, float]:
            before = runner.get_loop().time()
            result = runner.run(coroutine)
            return result, runner.get_loop().time() - before

        yield run


def violations(schema: Any, value: Any, root: Any, where: str = "$") -> list[str]:
    """Say how a value breaks a JSON schema; an independent reading of what the sampler writes."""
    if schema is True or schema == {}:
        return []
    found: list[str] = []
    if "$ref" in schema:
        target = root
        for step in schema["$ref"].split("/")[1:]:
            target = target[step.replace("~1", "/").replace("~0", "~")]
        found += violations(target, value, root, where)
    for part in schema.get("allOf", []):
        found += violations(part, value, root, where)
    for name in ("anyOf", "oneOf"):
        if name in schema and not any(not violations(part, value, root, where) for part in schema[name]):
            found.append(f"{where}: no branch of {name} fits")
    if "const" in schema and value != schema["const"]:
        found.append(f"{where}: const")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: enum")
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_is_kind(kind, value) for kind in kinds):
            return [*found, f"{where}: {value!r} is not {kinds}"]
    if isinstance(value, dict):
        found += _object_violations(schema, value, root, where)
    if isinstance(value, list):
        found += _array_violations(schema, value, root, where)
    if isinstance(value, str) and not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9):
        found.append(f"{where}: length of {value!r}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum", -(10**30)), schema.get("maximum", 10**30)
        if not low <= value <= high:
            found.append(f"{where}: range")
        if not schema.get("exclusiveMinimum", -(10**30)) < value < schema.get("exclusiveMaximum", 10**30):
            found.append(f"{where}: exclusive range")
        if "multipleOf" in schema and abs(value / schema["multipleOf"] - round(value / schema["multipleOf"])) > 1e-9:
            found.append(f"{where}: multipleOf")
    return found


def _is_kind(kind: str, value: Any) -> bool:
    match kind:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return isinstance(value, kinds[kind])


def _object_violations(schema: Any, value: Any, root: Any, where: str) -> list[str]:
    found = [f"{where}: {name} is missing" for name in schema.get("required", []) if name not in value]
    properties = schema.get("properties", {})
    extra = schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in properties:
            found += violations(properties[name], item, root, f"{where}.{name}")
        elif extra is False:
            found.append(f"{where}: {name} is not allowed")
        else:
            found += violations(extra, item, root, f"{where}.{name}")
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", 10**9):
        found.append(f"{where}: number of properties")
    return found


def _array_violations(schema: Any, value: Any, root: Any, where: str) -> list[str]:
    prefix = schema.get("prefixItems", [])
    found: list[str] = []
    for at, item in enumerate(value):
        part = prefix[at] if at < len(prefix) else schema.get("items", True)
        found += [f"{where}: too many"] if part is False else violations(part, item, root, f"{where}[{at}]")
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9):
        found.append(f"{where}: number of items")
    if schema.get("uniqueItems") and any(item in value[:at] for at, item in enumerate(value)):
        found.append(f"{where}: not unique")
    return found


@pytest.fixture
def broken_by() -> Callable[[Any, Any], list[str]]:
    """Says how a value breaks a JSON schema: an empty list when it does not."""
    return lambda schema, value: violations(schema, value, schema)
