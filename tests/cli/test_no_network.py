"""Nothing is sent that nobody asked for: commands that need no server open no connection, and none reports home."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import contextlib, io, json, sys
sys.modules["uvloop"] = None  # asyncio's own loop tells the audit hook what it connects to

connections = []

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        address = arguments[1] if event == "socket.connect" else tuple(arguments[:2])
        connections.append([event, repr(address)])
        raise ConnectionRefusedError("this process has no network")

sys.addaudithook(watch)
from flexllm_cli.app import main

found = {}
for line in json.loads(sys.argv[1]):
    connections.clear()
    sys.argv = ["flexllm", *line.split()]
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")), contextlib.redirect_stderr(io.StringIO()):
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    found[line] = [code, list(connections)]
print(json.dumps(found))
"""

QUIET = [
    "--help",
    "version",
    "init",
    "init --force",
    "list",
    "set-model local-ollama",
    "pricing gpt-4o",
    "pricing",
    "cache stats",
    "cache prune",
    "cache clear --yes",
    "batch in.jsonl -o out.jsonl -m gpt-4 --base-url http://127.0.0.1:9/v1 --dry-run",
    "ask --help",
    "chat --help",
    "test --help",
    "mock --help",
    "--show-completion bash",
]


def run(cli, folder, lines):
    (folder / "in.jsonl").write_text('{"q": "one"}\n')
    environment = {
        **cli.environment(),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
        "OPENAI_API_KEY": "sk-none",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_commands_that_need_no_server_open_no_connection(cli, tmp_path):
    """Each works without a network, and does not even look up a name."""
    found = run(cli, tmp_path, QUIET)
    assert list(found) == QUIET
    for line, (code, connections) in found.items():
        assert code == (10 if "--dry-run" in line else 0), line
        assert connections == [], line


def test_a_command_that_asks_connects_to_its_endpoint_alone(cli, tmp_path):
    """And what it connects to is seen: the test above would notice."""
    line = "ask Hello -m m --base-url http://127.0.0.1:9/v1 --retry-times 0"
    code, connections = run(cli, tmp_path, [line])[line]
    assert code == 6
    assert {where for _event, where in connections} == {"('127.0.0.1', 9)"}
