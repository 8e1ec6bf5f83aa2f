"""The dashboard: what is served, and what a browser makes of it."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import shutil
import subprocess

import pytest

HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def test_page_holds_everything_and_its_policy_admits_only_that(client):
    """One document without an address of elsewhere; script and style are admitted by their hashes, nothing else is."""
    page = client.get("/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    text = page.body.decode()
    assert not re.search(r"(?:https?:)?//[\w.]+\.\w+|@import|url\(", text)
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for kind in ("script", "style"):
        [inline] = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\son\w+=|style=", text)


def test_page_is_no_request_of_the_client(client):
    """Looking does not change what is seen, and other methods are not taken for looking."""
    client.get("/")
    assert client.server.stats().requests == 0
    assert client.request("HEAD", "/").status == 200
    assert client.post("/", {}).status == 404
    assert client.server.stats().requests == 1


def test_page_needs_no_key_but_what_it_shows_does(serve):
    """The page itself holds nothing; it asks for the key."""
    client = serve(api_key="sk-page")
    assert client.get("/").status == 200
    for path in ("requests", "stats", "verdict"):
        assert client.get(f"/__mock__/{path}").status == 401
        assert client.get(f"/__mock__/{path}", authorization="Bearer sk-page").status == 200


@pytest.fixture
def dom(tmp_path):
    """Loads a page in headless Chromium and returns the document after some polls."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")

    def load(url):
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
        options += [
            f"--user-data-dir={tmp_path}",
            "--virtual-time-budget=3000",
            "--enable-logging=stderr",
            "--dump-dom",
        ]
        done = subprocess.run([CHROMIUM, *options, url], capture_output=True, text=True, timeout=60)
        assert not re.search(r"CONSOLE.*(Content Security|Uncaught|Refused)", done.stderr), done.stderr
        return done.stdout

    return load


def cells(page, body):
    """The texts of a table's cells, row by row."""
    [inside] = re.findall(rf'<tbody id="{body}">(.*?)</tbody>', page, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", inside, re.DOTALL)
    return [[html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)] for row in rows]


def test_browser_shows_requests_and_verdict(client, dom):
    """Live numbers, the rules with what broke them, and the requests; what a client sent is text and nothing more."""
    client.chat("a")
    client.chat("a")
    client.chat(HOSTILE, model=HOSTILE)
    client.post("/v1/chat/completions?key=sk-secret-1", {})
    page = dom(client.server.url + "/")
    assert "<title>flexllm-mock</title>" in page
    assert "live at 127.0.0.1" in page
    assert re.search(r"<b>4</b><span>requests</span>", page)
    assert re.search(r'<span id="passed" class="bad">failed</span>', page)
    rules = {row[1]: row for row in cells(page, "rules")}
    assert rules["duplicates"][:4] == ["\u2717", "duplicates", "1", "0"]
    assert ["", "", "", "", "request 2: its content had been answered already"] in cells(page, "rules")
    requests = cells(page, "requests")
    assert [row[0] for row in requests] == ["4", "3", "2", "1"]
    assert requests[0][2] == "POST /v1/chat/completions?key=***"
    assert requests[1][3] == HOSTILE
    assert "<img" not in page
    assert page.count("<script") == 1
    assert "sk-secret" not in page


def test_browser_asks_for_the_key(serve, dom):
    """A server with a key shows nothing but the question for it."""
    client = serve(api_key="sk-page")
    page = dom(client.server.url + "/")
    assert "this server needs its API key" in page
    assert re.search(r'<form id="login">', page)
