"""The vendors' batches as the clock goes on, in virtual time: what is done, what is left, what is said of both."""

from __future__ import annotations

import asyncio
import json

import pytest

from flexllm_mock import MockApp, MockConfig
from flexllm_mock.asgi import ApiRequest

ROWS = 10
CLAUDE = [(b"anthropic-version", b"2023-06-01"), (b"host", b"mock")]
FORM = [(b"content-type", b"multipart/form-data; boundary=b")]
SLOW = {"batch_seconds": 100}
LATE = {"batch_seconds": 100, "batch_window": 50}


def ask(app, method, path, body=b"", headers=CLAUDE):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    reply = app._decide(app._find(path), ApiRequest(method, path, headers, body=body))
    assert reply.status == 200, reply.body
    return reply.body


def begin_openai(app):
    bodies = [{"model": "m", "messages": [{"role": "user", "content": f"{number}"}]} for number in range(ROWS)]
    url = "/v1/chat/completions"
    rows = [{"custom_id": f"r{n}", "method": "POST", "url": url, "body": body} for n, body in enumerate(bodies)]
    content = "\n".join([json.dumps(row) for row in rows])
    head = "--b\r\nContent-Disposition: form-data; name="
    form = f'{head}"purpose"\r\n\r\nbatch\r\n{head}"file"; filename="f"\r\n\r\n{content}\r\n--b--'
    file = json.loads(ask(app, "POST", "/v1/files", form.encode(), FORM))
    wanted = {"input_file_id": file["id"], "endpoint": url, "completion_window": "24h"}
    batch = json.loads(ask(app, "POST", "/v1/batches", wanted, []))
    return f"/v1/batches/{batch['id']}"


def look(app, path, headers=()):
    return json.loads(ask(app, "GET", path, headers=list(headers)))


def lines_of(app, file_id):
    return [json.loads(line) for line in ask(app, "GET", f"/v1/files/{file_id}/content", headers=[]).splitlines()]


async def openai_end(options, cancel_at):
    """Let one of OpenAI's batches end, and return its description and the lines of its files."""
    app = MockApp(MockConfig(**options))
    path = begin_openai(app)
    await asyncio.sleep(cancel_at or 50)
    middle = look(app, path)
    if cancel_at:
        middle = json.loads(ask(app, "POST", f"{path}/cancel", headers=[]))
    await asyncio.sleep(100)
    end = look(app, path)
    return middle, end, lines_of(app, end["output_file_id"]), lines_of(app, end["error_file_id"])


@pytest.mark.parametrize(
    ("options", "cancel_at", "state", "code"),
    [(SLOW, 50, "cancelled", "batch_cancelled"), (LATE, None, "expired", "batch_expired")],
)
def test_openai_delivers_what_was_done(run_virtual, options, cancel_at, state, code):
    """A batch that ends early has the finished rows in its output file and the others in its error file."""
    (middle, end, output, left), _ = run_virtual(openai_end(options, cancel_at))
    assert middle["status"] == ("cancelling" if cancel_at else "expired")
    assert (end["status"], end["request_counts"]) == (state, {"total": ROWS, "completed": 5, "failed": 0})
    assert [line["custom_id"] for line in output] == [f"r{number}" for number in range(5)]
    assert [line["custom_id"] for line in left] == [f"r{number}" for number in range(5, ROWS)]
    assert {line["error"]["code"] for line in left} == {code}
    assert {line["response"] for line in left} == {None}
    assert end[f"{state}_at"] - end["created_at"] == (60 if cancel_at else 50)
    assert end["completed_at"] is None


def test_openai_counts_go_up(run_virtual):
    """While it is worked on, a batch tells how many rows are done, and in which state it is."""

    async def watch():
        app = MockApp(MockConfig(**SLOW))
        path, seen = begin_openai(app), []
        for _ in range(11):
            shown = look(app, path)
            seen.append((shown["status"], shown["request_counts"]["completed"], shown["output_file_id"] is not None))
            await asyncio.sleep(10)
        return seen

    seen, _ = run_virtual(watch())
    assert seen[0] == ("validating", 0, False)
    assert [count for _, count, _ in seen] == sorted([count for _, count, _ in seen])
    assert seen[5] == ("in_progress", 5, False)
    assert seen[9:] == [("finalizing", 10, False), ("completed", 10, True)]


@pytest.mark.parametrize(("options", "left"), [(SLOW, "canceled"), (LATE, "expired")])
def test_claude_delivers_what_was_done(run_virtual, options, left):
    """A batch that ends early has results for all requests; before its end it counts none as done."""
    params = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
    requests = [{"custom_id": f"r{number}", "params": params} for number in range(ROWS)]

    async def end():
        app = MockApp(MockConfig(**options))
        path = "/v1/messages/batches"
        path += "/" + json.loads(ask(app, "POST", path, {"requests": requests}))["id"]
        await asyncio.sleep(49)
        middle = look(app, path, CLAUDE)
        if left == "canceled":
            assert json.loads(ask(app, "POST", f"{path}/cancel"))["processing_status"] == "canceling"
        await asyncio.sleep(100)
        return middle, look(app, path, CLAUDE), ask(app, "GET", f"{path}/results")

    (middle, ended, results), _ = run_virtual(end())
    assert (middle["processing_status"], middle["request_counts"]["processing"]) == ("in_progress", ROWS)
    assert middle["request_counts"]["succeeded"] == 0
    done = ended["request_counts"]["succeeded"]
    assert (ended["processing_status"], ended["request_counts"][left]) == ("ended", ROWS - done)
    kinds = [json.loads(line)["result"]["type"] for line in results.splitlines()]
    assert kinds == ["succeeded"] * done + [left] * (ROWS - done)
    assert 0 < done < ROWS


def test_gemini_has_no_output_when_it_ends_early(run_virtual):
    """A cancelled batch is done with an error and without output, and tells how many requests were pending."""
    request = {"request": {"contents": [{"parts": [{"text": "Hi"}]}]}}
    wanted = {"batch": {"inputConfig": {"requests": {"requests": [request] * ROWS}}}}

    async def end():
        app = MockApp(MockConfig(**SLOW))
        begun = json.loads(ask(app, "POST", "/v1beta/models/m:batchGenerateContent", wanted, []))
        path = f"/v1beta/{begun['name']}"
        await asyncio.sleep(50)
        middle = look(app, path)
        ask(app, "POST", f"{path}:cancel", headers=[])
        await asyncio.sleep(10)
        return middle, look(app, path)

    (middle, ended), _ = run_virtual(end())
    assert (middle["metadata"]["state"], "done" in middle) == ("BATCH_STATE_RUNNING", False)
    assert (ended["metadata"]["state"], ended["done"], ended["error"]["code"]) == ("BATCH_STATE_CANCELLED", True, 1)
    assert "output" not in ended["metadata"]
    assert "response" not in ended
    stats = ended["metadata"]["batchStats"]
    assert (stats["pendingRequestCount"], stats["successfulRequestCount"]) == ("5", "5")


def decide(app, method, path, body, headers=()):
    return app._decide(app._find(path), ApiRequest(method, path, list(headers), body=json.dumps(body).encode()))


def test_uploads_expire(run_virtual):
    """An upload that is pending for an hour takes no more parts; one that was cancelled before stays cancelled."""
    new = {"bytes": 1, "filename": "f", "mime_type": "text/plain", "purpose": "batch"}
    part = b'--b\r\nContent-Disposition: form-data; name="data"; filename="p"\r\n\r\nx\r\n--b--'

    async def outlast():
        app = MockApp(MockConfig())
        names = [json.loads(ask(app, "POST", "/v1/uploads", new, []))["id"] for _ in range(2)]
        await asyncio.sleep(3599)
        ask(app, "POST", f"/v1/uploads/{names[0]}/parts", part, FORM)
        ask(app, "POST", f"/v1/uploads/{names[1]}/cancel", b"", [])
        await asyncio.sleep(1)
        return [decide(app, "POST", f"/v1/uploads/{name}/cancel", {}) for name in names]

    replies, _ = run_virtual(outlast())
    assert [reply.status for reply in replies] == [400, 400]
    messages = [json.loads(reply.body)["error"]["message"] for reply in replies]
    assert "is expired" in messages[0]
    assert "is cancelled" in messages[1]


def test_streams_can_be_resumed_for_five_minutes(run_virtual):
    """Later the response can still be read, but not streamed."""
    asked = {"model": "m", "input": "Hi", "background": True, "stream": True}

    async def resume():
        app = MockApp(MockConfig())
        reply = decide(app, "POST", "/v1/responses", asked)
        path = f"/v1/responses/{json.loads(reply.content().splitlines()[1][6:])['response']['id']}"
        found = []
        for pause in (300, 1):
            await asyncio.sleep(pause)
            again = ApiRequest("GET", path, [], b"stream=true")
            found.append(app._decide(app._find(path), again))
        return found, look(app, path)

    ([early, late], document), _ = run_virtual(resume())
    assert early.content().startswith(b"event: response.created")
    assert late.status == 400
    assert "more than 5 minutes old" in json.loads(late.body)["error"]["message"]
    assert document["status"] == "completed"
