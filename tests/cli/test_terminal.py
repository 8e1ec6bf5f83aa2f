"""On a real pseudo-terminal: the live bar, and model output that is not to be trusted."""

from __future__ import annotations

import re

HOSTILE = "\x1b[2J\x1b]0;title\x07\x1b]52;c;YmFk\x07[bold]not markup[/bold] \u202eright to left\x9b31m"


def test_batch_draws_a_bar(on_terminal, files, start_mock):
    """Done of total, rate, tokens and the summary."""
    mock = start_mock("--delay", "0.05")
    files.write_input([{"q": f"question {number}"} for number in range(60)])
    shown, code = on_terminal("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-c", 4)
    assert code == 0
    assert re.search(r"\b\d+/60\b", shown)
    assert "60/60" in shown
    assert "rows/s" in shown
    assert "tokens" in shown
    assert "60 ok, 0 failed" in shown


def test_hostile_answers_are_shown_harmless(on_terminal, mock):
    """No escape sequence of a model reaches the terminal, and markup is text."""
    mock.post("/__mock__/faults", [{"answer": HOSTILE}])
    shown, code = on_terminal("ask", "Hello", "-m", "m", "--base-url", mock.base_url)
    assert code == 0
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown
    assert "\x9b" not in shown
    assert "\u202e" not in shown
    assert "[bold]not markup[/bold]" in shown
    assert "\\x1b[2J" in shown


def test_hostile_errors_are_shown_harmless(on_terminal, mock):
    """A server's error text is no more to be trusted than its answers."""
    mock.post("/__mock__/faults", [{"status": 400, "body": {"error": {"message": HOSTILE}}}])
    shown, code = on_terminal("ask", "Hello", "-m", "m", "--base-url", mock.base_url)
    assert code == 1
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown


def test_piped_answers_are_exact(cli, mock):
    """What is piped is what the model wrote."""
    mock.post("/__mock__/faults", [{"answer": HOSTILE}])
    done = cli("ask", "Hello", "-m", "m", "--base-url", mock.base_url)
    assert done.stdout == HOSTILE + "\n"


def test_plain_lines_where_there_is_no_terminal(cli, files, mock):
    """No colour, no bar."""
    files.write_input([{"q": "one"}])
    done = cli("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url)
    assert "\x1b" not in done.stderr
    assert done.stdout == ""
