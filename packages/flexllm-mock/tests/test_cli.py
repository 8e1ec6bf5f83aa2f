"""The command, run as a process."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from importlib.metadata import version

import pytest

from flexllm_mock import serving
from flexllm_mock.cli import main

COMMAND = [sys.executable, "-W", "error", "-X", "dev", "-m", "flexllm_mock"]


@contextmanager
def running(*options, env=None):
    """A server process; yields it and the JSON of its first line."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ready_line_and_clean_end(client_for, tmp_path, chat_bytes, number):
    """It prints its address as JSON, writes the same to the ready file, and a signal ends it with 0, even when busy."""
    ready = tmp_path / "ready.json"
    with running("--ready-file", str(ready), "--delay", "300") as (process, line):
        assert line == json.loads(ready.read_text()) == {"url": line["url"], "port": line["port"], "pid": process.pid}
        assert os.listdir(tmp_path) == ["ready.json"]
        client = client_for(line["url"])
        with client.connect() as waiting, client.connect():
            waiting.sendall(chat_bytes())
            while client.get("/__mock__/stats").json["in_flight"] != 1:
                pass
            process.send_signal(number)
            assert process.wait(timeout=3) == 0
        assert "Traceback" not in process.stderr.read()
        with socket.create_server(("127.0.0.1", line["port"])):
            pass


def test_options_reach_the_server(client_for, tmp_path):
    """What is said on the command line is what the server does."""
    log = tmp_path / "log.jsonl"
    options = ["--model", "a", "--model", "b", "--strict-models", "--response-len", "3-4", "--seed", "5"]
    options += ["--error-rate", "1", "--error-status", "429", "--retry-after", "1.5", "--log-file", str(log), "--quiet"]
    with running(*options) as (process, line):
        client = client_for(line["url"])
        assert [model["id"] for model in client.get("/v1/models").json["data"]] == ["a", "b"]
        answer = client.chat(model="a")
        assert (answer.status, answer.headers["retry-after"]) == (429, "1.5")
        assert len(log.read_text().splitlines()) == 2
        process.terminate()
        assert process.wait(timeout=3) == 0
        assert process.stderr.read() == ""


def test_same_options_give_the_same_bytes_in_another_process(client_for, serve):
    """Answers do not depend on the process, such as through the hash seed of its strings."""
    here = serve(seed=5).chat("Hello", n=2, enable_thinking=True)
    with running("--seed", "5", env={"PYTHONHASHSEED": "123"}) as (_, line):
        assert client_for(line["url"]).chat("Hello", n=2, enable_thinking=True).body == here.body


def test_key_from_the_environment(client_for):
    """The key can come from the environment, where no list of processes shows it."""
    with running(env={"FLEXLLM_MOCK_API_KEY": "sk-env"}) as (_, line):
        client = client_for(line["url"])
        assert client.get("/v1/models").status == 401
        assert client.get("/v1/models", authorization="Bearer sk-env").status == 200


def test_taken_port_is_one_line_and_exit_1(capsys):
    """A taken port is said on one line of stderr, with exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["--port", str(port)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"flexllm-mock: port {port} on 127.0.0.1 is taken: another server listens there\n"


def test_files_that_cannot_be_written(capsys, tmp_path):
    """A log or ready file in a folder that does not exist ends the command with 1 and a line that names it."""
    missing = str(tmp_path / "no" / "file")
    assert main(["--port", "0", "--log-file", missing]) == 1
    assert missing in capsys.readouterr().err
    assert main(["--port", "0", "--ready-file", missing]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"flexllm-mock: cannot write the ready file {missing}: No such file or directory\n"


@pytest.mark.parametrize(
    "options",
    [["--error-rate", "2"], ["--response-len", "x"], ["--response-len", "9-3"], ["--port", "99999"], ["--nothing"]],
)
def test_wrong_options_exit_with_2(capsys, options):
    """A wrong option is usage, with exit code 2 and a message."""
    with pytest.raises(SystemExit) as left:
        main(options)
    assert left.value.code == 2
    assert "flexllm-mock: error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "hint"),
    [("vredict", "did you mean verdict?"), ("serve", "there are fixtures, lint, record, replay, verdict")],
)
def test_unknown_commands_are_named(capsys, command, hint):
    """A command that does not exist is said to be one, with what was meant."""
    with pytest.raises(SystemExit) as left:
        main([command, "http://127.0.0.1:1"])
    assert left.value.code == 2
    assert f"there is no command '{command}'; {hint}" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["replay"]])
def test_version(capsys, command):
    """The version is told on stdout."""
    with pytest.raises(SystemExit) as left:
        main([*command, "--version"])
    assert not left.value.code
    assert capsys.readouterr().out == f"flexllm-mock {version('flexllm-mock')}\n"


@pytest.mark.parametrize("command", [[], ["record", "--upstream", "http://127.0.0.1:1", "--out", "out.jsonl"]])
def test_old_ready_file_is_forgotten(capsys, tmp_path, command):
    """A server that cannot start leaves no ready file of an earlier one behind, for which somebody might wait."""
    ready = tmp_path / "ready.json"
    ready.write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main([*command, "--port", port, "--ready-file", str(ready)]) == 1
    assert "is taken" in capsys.readouterr().err
    assert not ready.exists()


def test_reader_of_the_verdict_may_leave(client):
    """Output that nobody reads to its end is no error."""
    command = [*COMMAND, "verdict", client.server.url, "--json"]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")


def test_signal_before_the_start_ends_it_too():
    """A signal that comes while the server is still loading ends it with 0."""
    code = (
        "import os, signal, sys, flexllm_mock.cli as cli\n"
        "cli._run = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(cli.main([]))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=20).returncode == 0


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--verdict"], 3),
        (["--fail-on", "duplicates=1"], 0),
        (["--fail-on", "duplicates=1", "--fail-on", "requests=1"], 3),
        (["--verdict", "--fail-on", "key_in_url"], 0),
        ([], 0),
    ],
)
def test_verdict_decides_the_exit_code(client_for, options, code):
    """At the end the verdict is printed, and a rule that failed makes the exit code 3; without the options it is 0."""
    with running("--quiet", *options) as (process, line):
        for _ in range(2):
            client_for(line["url"]).chat("a")
        process.terminate()
        report = process.stdout.read()
        assert process.wait(timeout=3) == code
        assert process.stderr.read() == ""
    assert ("duplicates: 1 requests" in report) == bool(options)
    assert ("FAIL" in report) == (code == 3)


def test_verdict_of_a_running_server(client, capsys):
    """`flexllm-mock verdict URL` prints the report or JSON, takes the clients' base URL too, and exits with 3 or 0."""
    client.chat("a")
    assert main(["verdict", client.server.url]) == 0
    client.chat("a")
    assert main(["verdict", client.server.base_url]) == 3
    report = capsys.readouterr().out
    assert report.count("FAIL") == 1
    assert str(client.server.verdict()) in report
    assert main(["verdict", client.server.url, "--fail-on", "requests", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["rules"][0]["limit"] == 0
    assert main(["verdict", client.server.url, "--fail-on", "requests=2"]) == 0


def test_verdict_of_a_server_with_a_key(serve, capsys, monkeypatch):
    """The key comes from the environment; without it the message says where to put it."""
    url = serve(api_key="sk-a").server.url
    with pytest.raises(SystemExit) as left:
        main(["verdict", url])
    assert left.value.code == 1
    assert capsys.readouterr().err == (
        f"flexllm-mock verdict: {url}: answered 401 instead of a verdict; put its key into FLEXLLM_MOCK_API_KEY\n"
    )
    monkeypatch.setenv("FLEXLLM_MOCK_API_KEY", "sk-a")
    assert main(["verdict", url]) == 0


def test_verdict_of_no_server(capsys):
    """An address where nobody or somebody else answers is one line and exit code 1; what is no URL, exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
    for arguments, code, problem in (
        ([url], 1, "Connection refused"),
        (["127.0.0.1:80"], 2, "is no URL such as"),
        ([url, "--fail-on", "duplicate"], 2, "did you mean duplicates?"),
        ([url, "--fail-on", "duplicates=x"], 2, "must be a whole number"),
    ):
        with pytest.raises(SystemExit) as left:
            main(["verdict", *arguments])
        assert left.value.code == code
        captured = capsys.readouterr()
        assert problem in captured.err
        assert captured.out == ""


def test_verdict_of_another_kind_of_server(capsys, monkeypatch):
    """An answer that is no verdict is said to be none."""
    for answer in ([], {"rules": [{}]}, {"rules": 5}):
        monkeypatch.setattr("flexllm_mock.verdict.command._fetch", lambda url, key, answer=answer: answer)
        with pytest.raises(SystemExit) as left:
            main(["verdict", "http://127.0.0.1:1"])
        assert left.value.code == 1
        assert "no verdict" in capsys.readouterr().err


@pytest.mark.parametrize(("quiet", "shown"), [(False, ["read again", "broken"]), (True, ["broken"])])
def test_server_reports_in_the_commands_way(capsys, quiet, shown):
    """What is logged while the server runs looks like its other messages; of it, `--quiet` leaves the errors."""
    logger = logging.getLogger("flexllm_mock")
    with serving._logging(quiet=quiet):
        logger.warning("read again")
        logger.error("broken")
    assert capsys.readouterr().err.splitlines() == [f"flexllm-mock: {message}" for message in shown]
    assert logger.propagate
    assert not logger.handlers
