"""The commands `record` and `replay`, run as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from flexllm_mock.cli import main

COMMAND = [sys.executable, "-W", "error", "-X", "dev", "-m", "flexllm_mock"]


@contextmanager
def running(name, *options):
    """A process; yields it and the URL of its first line."""
    command = [*COMMAND, name, "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)["url"]
    finally:
        process.kill()
        process.communicate()


def test_record_then_replay(serve, client_for, tmp_path):
    """What the recorder has written when SIGTERM ends it, the replay answers."""
    out = str(tmp_path / "r.jsonl")
    with running("record", "--upstream", serve().server.base_url, "--out", out) as (process, url):
        recorded = client_for(url).chat("one", stream=True)
        process.terminate()
        assert process.wait(timeout=3) == 0
        assert f"1 answers recorded in {out}" in process.stderr.read()
    with running("replay", out, "--speed", "0", "--fallback", "mock", "--seed", "3") as (process, url):
        assert client_for(url).chat("one", stream=True).body == recorded.body
        assert client_for(url).chat("two").status == 200
        process.terminate()
        assert process.wait(timeout=3) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["record", "--upstream", "ftp://x", "--out", "r"], "the upstream must be a URL such as"),
        (["record", "--upstream", "https://user:sk-secret@x", "--out", "r"], "must have no user"),
        (["record", "--upstream", "https://x:99999", "--out", "r"], "Port out of range"),
        (["record", "--upstream", "https://x", "--out", "r", "--port", "70000"], "--port must be 0 to 65535"),
        (["replay", "r", "--speed", "-1"], "replay_speed must be 1 for as recorded"),
        (["replay", "r", "--fallback", "other"], "invalid choice"),
    ],
)
def test_wrong_options_exit_with_2(arguments, said, capsys):
    """And say what is wrong, without a password."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert "sk-secret" not in error


def test_files_that_cannot_be_used(tmp_path, capsys):
    """Exit with 1 and one line."""
    assert main(["replay", os.fspath(tmp_path / "none"), "--port", "0"]) == 1
    assert "none: No such file" in capsys.readouterr().err
    (tmp_path / "other").write_text("{}\n\n")
    assert main(["replay", os.fspath(tmp_path / "other"), "--port", "0"]) == 1
    assert "other:1: not a line of a recording: 'format' is missing" in capsys.readouterr().err
    assert main(["record", "--upstream", "http://x", "--out", os.fspath(tmp_path), "--port", "0"]) == 1
    assert "cannot write" in capsys.readouterr().err
    assert main(["--fixtures", os.fspath(tmp_path / "none.json"), "--port", "0"]) == 1
    assert "none.json: No such file" in capsys.readouterr().err
