"""The example of docs/mock-fixtures.md does what the page says."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from flexllm_mock import MockServer

PAGE = Path(__file__).parents[2] / "docs" / "mock-fixtures.md"


def ask(server, text, **more):
    """Status and answer of one chat request."""
    body = {"model": more.pop("model", "m"), "messages": [{"role": "user", "content": text}], **more.pop("body", {})}
    request = urllib.request.Request(f"{server.base_url}/chat/completions", json.dumps(body).encode(), more)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response)["choices"][0]["message"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


@pytest.fixture
def server(tmp_path):
    """A server with the example's rules."""
    [example] = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "answers.yaml").write_text(example, encoding="utf-8")
    with MockServer(fixtures=tmp_path) as running:
        yield running


def test_the_example(server):
    """Each of its rules answers what it is for."""
    assert ask(server, "What is the capital of France?")[1]["content"] == "Paris."
    tools = {"tools": [{"type": "function", "function": {"name": "get_weather"}}]}
    [call] = ask(server, "the weather in Rome", body=tools)[1]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Rome"}
    slow = [ask(server, "Slow down", model="gpt-9") for _ in range(3)]
    assert [status for status, _ in slow] == [429, 429, 200]
    assert slow[2][1]["content"] == "Better."
    assert ask(server, "Hi", **{"x-tenant": "test-1"})[1]["content"] == "m heard: Hi"


def test_the_commands_of_the_page_are_understood():
    """All of their options exist."""
    from importlib import import_module

    from flexllm_mock.cli import SUBCOMMANDS, build_parser

    commands = re.findall(r"^\$ flexllm-mock ([^#\n]*)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) == 8
    for name, *options in map(str.split, commands):
        if name in SUBCOMMANDS:
            import_module(SUBCOMMANDS[name]).build_parser().parse_args(options)
        else:
            build_parser().parse_args([name, *options])


def test_every_field_is_on_the_page():
    """The tables name all matchers and all that an answer has."""
    from dataclasses import fields

    from flexllm_mock.fixtures.rules import FixtureMatch
    from flexllm_mock.scripted import ScriptedAnswer, ScriptedUsage

    text = PAGE.read_text(encoding="utf-8")
    named = [each.name for kind in (FixtureMatch, ScriptedAnswer, ScriptedUsage) for each in fields(kind)]
    assert [name for name in named if f"`{name}`" not in text] == []
