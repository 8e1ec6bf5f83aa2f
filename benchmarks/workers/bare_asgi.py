"""A bare ASGI callable under uvicorn that answers every request with fixed bytes: what the server itself costs."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

_ANSWER = (
    b'{"id":"chatcmpl-bench","object":"chat.completion","created":1,"model":"mock","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"' + b"All good things take their time. " * 5 + b'"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":30,"total_tokens":39}}'
)
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_ANSWER))]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Read the request and answer."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})


if __name__ == "__main__":
    uvicorn.run(
        application, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False, lifespan="off"
    )
