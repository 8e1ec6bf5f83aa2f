"""Responses that were stored: read, streamed once more, deleted, and their input listed."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

from flexllm_mock.asgi import EVENT_STREAM_TYPE, ApiError, ApiRequest, Reply, query_fields
from flexllm_mock.config import MockConfig
from flexllm_mock.openai.errors import OpenAIErrors
from flexllm_mock.openai.lists import page
from flexllm_mock.openai.parameters import invalid
from flexllm_mock.responses.items import Item, input_item
from flexllm_mock.scripted import Prescribed
from flexllm_mock.storage import Storage

RESPONSES_PATH = re.compile(r".*/responses(?:/(?P<id>[^/]+)(?:/(?P<verb>input_items|cancel))?)?")

STREAMED_FOR = 300.0
"""Seconds for which the stream of a response can be asked for once more."""

_MAX_DIGITS = 9
_CALLS = (("GET", None), ("DELETE", None), ("GET", "input_items"), ("POST", "cancel"))


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response that was not asked to be forgotten, as JSON, which takes the least memory.

    `items` are those of the whole conversation up to its input, the last `own_items` of which are its input. `digest`
    identifies what was asked, and `created` is when, in seconds on the server's clock. `stream` is what was streamed,
    None when nothing was. Only what was made in the background can be streamed once more.
    """

    document: str
    items: str
    own_items: int
    digest: bytes | None
    created: float
    stream: str | None = None

    @property
    def shown(self) -> dict[str, Any]:
        """The response as it is shown."""
        value: dict[str, Any] = json.loads(self.document)
        return value

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.document) + len(self.items) + len(self.stream or "")

    @property
    def conversation(self) -> list[Item]:
        """The items that a response that goes on from this one begins with."""
        return [*json.loads(self.items), *self.shown["output"]]

    @property
    def input(self) -> list[Item]:
        """The items of its own input."""
        found: list[Item] = json.loads(self.items)[-self.own_items :]
        return found


class StoredResponsesEndpoint(OpenAIErrors):
    """`{prefix}/responses/{id}`, `.../{id}/input_items` and `.../{id}/cancel`."""

    methods = frozenset(("DELETE", "GET", "POST"))
    generates = False

    def __init__(self, config: MockConfig, storage: Storage) -> None:
        super().__init__(config.seed)
        self._storage = storage

    def read(self, request: ApiRequest) -> None:
        """There is no body."""

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Describe, stream or delete a response, list its input, or say that it cannot be cancelled any more."""
        match = RESPONSES_PATH.fullmatch(request.path)
        assert match is not None
        name, call = match["id"], (request.method, match["verb"])
        if call not in _CALLS:
            raise ApiError(405, f"Method {request.method} is not allowed on {request.path}.")
        stored = self._storage.get(StoredResponse, name)
        if stored is None:
            raise ApiError(404, f"Response with id '{name}' not found.")
        if call == ("GET", None):
            return self._again(request, stored)
        found = stored.shown
        if call == ("DELETE", None):
            self._storage.remove(StoredResponse, name)
            found = {"id": name, "object": "response", "deleted": True}
        elif call == ("GET", "input_items"):
            prefix = name.removeprefix("resp_")
            items = [input_item(item, f"msg_{prefix}i{at:03x}") for at, item in enumerate(stored.input)]
            found = page(request, items)
        elif call == ("POST", "cancel") and not found["background"]:
            raise ApiError(400, "Cannot cancel a synchronous response.")
        return Reply(200, self._request_id(request), body=json.dumps(found, separators=(",", ":")).encode())

    def _again(self, request: ApiRequest, stored: StoredResponse) -> Reply:
        """Give a response once more, as a document or as the events after the one that the client has seen last."""
        query = dict(query_fields(request.query))
        reply = Reply(200, self._request_id(request), fetches=stored.digest)
        if _flag(query.get("stream"), "stream"):
            reply.steps = [_stream(stored, _seen(query.get("starting_after")))]
            reply.content_type = EVENT_STREAM_TYPE
        else:
            reply.body = json.dumps(stored.shown, separators=(",", ":")).encode()
        return reply


def _stream(stored: StoredResponse, seen: int) -> str:
    """Return the events of a response that come after the one with the number `seen`."""
    for name, given in (("background", stored.shown["background"]), ("stream", stored.stream is not None)):
        if not given:
            text = f"This response cannot be streamed because it was not created with {name}=true."
            raise ApiError(400, text, param="stream", code="invalid_request_error")
    if asyncio.get_running_loop().time() - stored.created > STREAMED_FOR:
        text = "This response can no longer be streamed because it is more than 5 minutes old."
        raise ApiError(400, text, param="stream", code="invalid_request_error")
    return "".join([f"{event}\n\n" for event in (stored.stream or "").split("\n\n")[seen + 1 : -1]])


def _flag(value: str | None, name: str) -> bool:
    if value not in (None, "true", "false"):
        raise invalid(name, "true or false", value)
    return value == "true"


def _seen(value: str | None) -> int:
    """Return the number of the last event that a client has seen, -1 when it has seen none."""
    if value is None:
        return -1
    if not value.isdecimal() or len(value) > _MAX_DIGITS:
        raise invalid("starting_after", "the number of an event", value)
    return int(value)
