"""Hostile YAML: every bomb is a ConfigError of one line, soon and in little memory."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import ConfigError
from flexllm_core.yaml_reader import MAX_DEPTH, MAX_NODES, parse_yaml


def laughs(item: str, kinds: str) -> str:
    """Nine levels, each of which names the level before it ten times."""
    lines = [f"a: &a {item}"]
    for number in range(1, 9):
        name, before = "abcdefghi"[number], "abcdefghi"[number - 1]
        lines.append(f"{name}: &{name} {kinds.format(','.join([f'*{before}'] * 10))}")
    return "\n".join(lines)


BOMBS = {
    "billion laughs in lists": laughs("[x]", "[{}]"),
    "billion laughs in merges": laughs("{k: v}", "{{<<: [{}]}}"),
    "an alias in itself": "a: &a [*a]",
    "a mapping in itself": "&a {x: *a}",
    "deep lists": "[" * 900_000,
    "deep mappings": "{a: " * 200_000,
    "deep dashes": "- " * 300_000,
    "many values": "[" + "1," * 400_000 + "]",
    "many keys": "".join(f"k{number}: 1\n" for number in range(60_000)),
    "a number to base 60": "a: 1" + ":1" * 300_000,
    "a fraction to base 60": "a: 1" + ":1" * 300_000 + ".5",
    "a long number": "a: " + "9" * 5000,
    "a long number in hexadecimal": "a: 0x" + "f" * 5000,
    "an impossible date": "a: 2001-99-99",
    "an impossible offset": "a: 2001-01-01T00:00:00+99:99",
    "code": "a: !!python/object/apply:os.system ['true']",
    "an unknown tag": "a: !secret x",
    "a broken merge": "<<: 1",
    "a list as a key": "? [a]\n: 1",
    "two documents": "a: 1\n---\nb: 2",
    "a tab": "\ta: 1",
    "zero bytes": "\0" * 1000,
    "an open bracket": "a: [1, 2",
}


@pytest.mark.parametrize("name", BOMBS)
def test_every_bomb_is_a_config_error_of_one_line(name: str) -> None:
    """Never a traceback of another kind, and never a page of text."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml(BOMBS[name], "f.yaml")
    message = str(caught.value)
    assert message.startswith("f.yaml")
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux holds a process to its address space")
def test_all_bombs_together_fit_into_little_memory() -> None:
    """A process that may have 300 MB in all, code included, refuses every one of them."""
    code = (
        "import resource, runpy, sys\n"
        "module = runpy.run_path(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (300_000_000, 300_000_000))\n"
        "for name, text in module['BOMBS'].items():\n"
        "    try:\n"
        "        module['parse_yaml'](text, 'f')\n"
        "    except module['ConfigError']:\n"
        "        print(name)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, __file__], capture_output=True, text=True, timeout=120)
    assert (run.stdout.splitlines(), run.stderr) == (list(BOMBS), "")


@pytest.mark.parametrize(
    ("text", "place"),
    [("a: 1\nb: [", ", line 2"), ("a: 1\n b: 2", ", line 2, column 3"), ("x: *nobody", ", line 1, column 4")],
)
def test_a_syntax_error_says_where(text: str, place: str) -> None:
    """File, line and column."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "f.yaml")
    assert str(caught.value).startswith(f"f.yaml{place}")


def test_an_error_does_not_show_a_key() -> None:
    """YAML reads a key that begins with `*` as an alias, and its error repeats it."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml("api_key: *sk-abcdefghijklmnopqrstuvwx", "f")
    assert "abcdefghijklmnop" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# only a comment", None),
        ("\ufeffa: 1\r\nb: on\r\n", {"a": 1, "b": True}),
        ("d: &d {x: 1}\ne: {<<: *d, y: 2}", {"d": {"x": 1}, "e": {"x": 1, "y": 2}}),
    ],
)
def test_ordinary_files_are_read(text: str, value: Any) -> None:
    """A byte order mark, Windows line ends, anchors and merges are fine."""
    assert parse_yaml(text, "f") == value


def test_what_is_just_within_the_limits_is_read() -> None:
    """The limits are far from what people write, and exact."""
    assert parse_yaml("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1), "f") is not None
    assert len(parse_yaml("[" + "1," * (MAX_NODES - 1) + "]", "f")) == MAX_NODES - 1
    with pytest.raises(ConfigError, match=f"more than {MAX_NODES}"):
        parse_yaml("[" + "1," * MAX_NODES + "]", "f")


@given(st.text(st.sampled_from("ab:-?[]{},&*!|>'\"%@`#\n 1.~<=\t0x"), max_size=40))
def test_any_text_is_a_value_or_a_config_error(text: str) -> None:
    """PyYAML's other exceptions do not come through."""
    said = "f"
    try:
        parse_yaml(text, "f")
    except ConfigError as error:
        said = str(error)
    assert said.startswith("f")
