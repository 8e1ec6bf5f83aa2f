"""What each command says when it fails: a line that tells what is wrong, what to do, an exit code, and no traceback."""

from __future__ import annotations

import json
import re
import socket

import pytest

from flexllm_cli.error_report import wants_json
from flexllm_mock import MockServer

KEY = "sk-right-right-right-right"
WRONG = "sk-wrong-wrong-wrong-wrong"
CHINESE = re.compile("[\u4e00-\u9fff]")
FIELDS = ["type", "message", "exit_code", "retryable", "suggestion"]

# In a command: {none} is a file that does not exist, {rows} an input, {out} an output that is not there,
# {dead} a base URL where nobody listens, {live} that of a server that wants another key, {config} a configuration.
TABLE = [
    (3, "missing file", "ask Hello --config {none}"),
    (3, "missing file", "ask Hello -m one --config {config} -f {none}"),
    (3, "missing file", "ask Hello -m one --config {config} --schema {none}"),
    (3, "missing file", "chat Hello --config {none}"),
    (3, "missing file", "chat Hello -m one --config {config} --load {none}"),
    (3, "missing file", "batch {none} -o {out} -m mock"),
    (3, "missing file", "batch {rows} -o {out} --config {none}"),
    (3, "missing file", "list --config {none}"),
    (3, "missing file", "set-model one --config {none}"),
    (3, "missing file", "models --config {none}"),
    (3, "missing file", "pricing --config {none}"),
    (3, "missing file", "test --config {none}"),
    (3, "missing file", "credits --config {none}"),
    (3, "missing file", "cache stats --config {none}"),
    (3, "missing file", "cache clear --config {none}"),
    (3, "missing file", "cache prune --config {none}"),
    (3, "missing file", "cache why 0 {none} -m one --config {config}"),
    (3, "missing file", "diff {none} {none}"),
    (3, "missing file", "report {none}"),
    (8, "missing file", "init --config {rows}/config.yaml"),
    (2, "bad value", "ask Hello -t 9"),
    (2, "bad value", "ask Hello --max-tokens many"),
    (2, "bad value", "ask Hello --thinking perhaps -m one --config {config}"),
    (2, "bad value", "ask Hello --base-url nonsense -m m"),
    (2, "bad value", "ask Hello --schema {broken} -m one --config {config}"),
    (2, "bad value", "chat Hello -t 9"),
    (2, "bad value", "chat Hello -m one --config {config} --load {rows}"),
    (2, "bad value", "batch {rows} -o {out} -c 0"),
    (2, "bad value", "batch {rows}"),
    (2, "bad value", "batch {rows} -o {out} --resume perhaps"),
    (2, "bad value", "batch {rows} -o {out} -m one --config {config} --max-failures many"),
    (2, "bad value", "list --nonesuch"),
    (2, "bad value", "set-model"),
    (3, "bad value", "set-model nonesuch --config {config}"),
    (2, "bad value", "models --format xml"),
    (2, "bad value", "pricing --format xml"),
    (3, "bad value", "pricing nothing-of-the-kind"),
    (2, "bad value", "test --base-url nonsense -m m"),
    (2, "bad value", "test more"),
    (2, "bad value", "credits -m one --vendor nonesuch --config {config}"),
    (2, "bad value", "test --nonesuch"),
    (2, "bad value", "init --nonesuch"),
    (2, "bad value", "init --provider nonesuch"),
    (2, "bad value", "init --config {config}"),
    (2, "bad value", "cache nonesuch"),
    (2, "bad value", "cache why first {rows}"),
    (2, "bad value", "diff {rows} {rows} --by luck"),
    (2, "bad value", "version more"),
    (2, "bad value", "nonesuch"),
    (2, "bad value", "--nonesuch"),
    (2, "bad value", "list --config {broken}"),
    (3, "no configuration", "ask Hello"),
    (3, "no configuration", "chat Hello"),
    (3, "no configuration", "pricing"),
    (3, "no configuration", "test"),
    (3, "no configuration", "test --all"),
    (3, "no configuration", "batch {rows} -o {out}"),
    (3, "no configuration", "set-model one"),
    (3, "no configuration", "models"),
    (3, "no configuration", "credits"),
    (3, "no configuration", "pricing nonesuch"),
    (3, "no configuration", "cache why 0 {answers}"),
    (6, "dead server", "ask Hello -m m --base-url {dead} --retry-times 0"),
    (6, "dead server", "chat Hello -m m --base-url {dead} --retry-times 0"),
    (6, "dead server", "test -m m --base-url {dead}"),
    (6, "dead server", "batch {rows} -o {out} -m m --base-url {dead} --retry-times 0"),
    (6, "dead server", "models --base-url {dead}"),
    (6, "dead server", "credits --vendor openrouter --base-url {dead} --api-key {wrong}"),
    (4, "wrong key", "ask Hello -m m --base-url {live} --api-key {wrong}"),
    (4, "wrong key", "chat Hello -m m --base-url {live} --api-key {wrong}"),
    (4, "wrong key", "test -m m --base-url {live} --api-key {wrong}"),
    (4, "wrong key", "batch {rows} -o {out} -m m --base-url {live} --api-key {wrong}"),
    (4, "wrong key", "models --base-url {live} --api-key {wrong}"),
    (4, "wrong key", "credits --vendor openrouter --base-url {live} --api-key {wrong}"),
]


@pytest.fixture(scope="module")
def live():
    """A server that takes one key alone."""
    with MockServer(api_key=KEY) as server:
        yield server


@pytest.fixture
def words(tmp_path, live):
    """The arguments of a command of the table."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    rows, config, broken = tmp_path / "rows.jsonl", tmp_path / "config.yaml", tmp_path / "broken.yaml"
    rows.write_text('{"q": "one"}\n')
    config.write_text(f"models:\n  - {{id: one, base_url: 'http://127.0.0.1:{port}/v1'}}\n")
    broken.write_text("models: [\n")
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"index":0,"output":"a","status":"success","key":"' + "0" * 32 + '"}\n')
    places = {
        "answers": answers,
        "none": tmp_path / "none", "rows": rows, "out": tmp_path / "out.jsonl", "config": config, "broken": broken,
        "dead": f"http://127.0.0.1:{port}/v1", "live": live.base_url, "wrong": WRONG,
    }  # fmt: skip
    return lambda command: command.format(**places).split()


@pytest.mark.parametrize(("code", "_what", "command"), TABLE, ids=[f"{row[1]}: {row[2]}" for row in TABLE])
def test_each_failure_is_one_object_for_programs(in_process, words, code, _what, command):
    """The last line of standard error has type, message, exit code, retryable and suggestion, and no key."""
    found, out, err = in_process(*words(command))
    assert found == code, err
    assert out == "" or command.startswith("test ")  # whose result tells which step failed
    assert "Traceback" not in err
    assert WRONG not in err
    report = json.loads(err.splitlines()[-1])
    assert list(report) == FIELDS
    assert report["exit_code"] == code
    assert report["type"] != "InternalError"
    assert report["message"].strip()
    assert report["suggestion"].strip()
    assert "\n" not in report["message"]


@pytest.mark.parametrize(("code", "_what", "command"), TABLE, ids=[f"{row[1]}: {row[2]}" for row in TABLE])
def test_each_failure_is_told_in_chinese(in_process, words, monkeypatch, code, _what, command):
    """Message and suggestion, where the environment asks for it; the names of fields and types stay."""
    monkeypatch.setenv("FLEXLLM_LANG", "zh_CN")
    found, _, err = in_process(*words(command))
    report = json.loads(err.splitlines()[-1])
    assert (found, list(report)) == (code, FIELDS)
    servers_own_words = report["type"] in ("AuthenticationError", "NotFoundError")
    assert CHINESE.search(report["suggestion"]), report
    assert CHINESE.search(report["message"]) or servers_own_words, report


def test_the_table_has_every_command():
    """A command that is added is added here."""
    from flexllm_cli.command_table import COMMANDS

    without_failures_of_their_own = {"mock"}  # tests/mock has those of the mock's own parser
    assert {row[2].split()[0] for row in TABLE} >= set(COMMANDS) - without_failures_of_their_own


def test_a_dead_server_may_come_back_and_a_wrong_key_does_not(in_process, words):
    """`retryable` tells a script which is which."""
    dead = in_process(*words("ask Hello -m m --base-url {dead} --retry-times 0"))[2]
    wrong = in_process(*words("ask Hello -m m --base-url {live} --api-key {wrong}"))[2]
    assert json.loads(dead)["retryable"] is True
    assert json.loads(wrong)["retryable"] is False


def test_a_terminal_gets_a_red_line_and_the_remedy(on_terminal, words):
    """What went wrong in one red line; in the next what to do."""
    shown, code = on_terminal(*words("ask Hello -m m --base-url {dead} --retry-times 0"))
    assert code == 6
    error, remedy = shown.splitlines()
    assert error.startswith("\x1b[31merror: could not connect to http://127.0.0.1:")
    assert error.endswith("\x1b[0m")
    assert remedy.startswith("remedy: check the base URL")
    shown, code = on_terminal("ask", "Hello")
    assert code == 3
    assert "remedy: run `flexllm init`, or give --model" in shown
    assert shown.count("flexllm init") == 1


def test_a_terminal_gets_json_where_it_is_asked_for(on_terminal, words):
    """With `--format json`, even where the command line cannot be read to its end."""
    shown, code = on_terminal(*words("models --format json --base-url {dead}"))
    assert (code, json.loads(shown)["type"]) == (6, "LLMConnectionError")
    shown, code = on_terminal("batch", "--format", "json", "--nonesuch")
    assert (code, json.loads(shown)["type"]) == (2, "UsageError")
    assert not wants_json(["ask", "--", "--format", "json"])


def test_a_run_that_fails_ends_in_one_object(in_process, words, files, mock):
    """After the summary, which stays plain text; rows that failed are an error of their own."""
    files.write_input([{"q": "one"}, {"q": "two"}])
    mock.post("/__mock__/faults", [{"status": 400, "match": {"contains": "two"}}])
    code, _out, err = in_process("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url)
    *summary, last = err.splitlines()
    assert code == 1
    assert any(line.startswith("1 ok, 1 failed") for line in summary)
    assert json.loads(last) == {
        "type": "RowsFailed",
        "message": "1 of 2 rows failed",
        "exit_code": 1,
        "retryable": True,
        "suggestion": "the same command asks the rows that failed again",
    }


def test_hostile_texts_in_the_object_stay_harmless(in_process, mock):
    """What a terminal would obey is escaped, and the object is still JSON."""
    hostile = "\x1b]52;c;YmFk\x07\x9b31m\u202eend"
    mock.post("/__mock__/faults", [{"status": 400, "body": {"error": {"message": hostile}}}])
    code, _, err = in_process("ask", "Hello", "-m", "m", "--base-url", mock.base_url)
    assert code == 1
    assert not set(err) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert json.loads(err)["message"]
