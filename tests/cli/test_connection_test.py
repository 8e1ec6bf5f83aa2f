"""`flexllm test`: each step, each kind of failure with its remedy, and all models side by side."""

from __future__ import annotations

import json

import pytest


def test_a_server_that_is_well(cli, start_mock):
    """Every step is told, down to the speed; one short question is asked."""
    mock = start_mock("--model", "m", "--ttft", "0.05", "--token-time", "0.002")
    done = cli("test", "-m", "m", "--base-url", mock.base_url)
    assert done.returncode == 0, done.stdout
    words = [line.split()[:2] for line in done.stdout.splitlines()]
    assert dict(words) == {
        **dict.fromkeys(("config", "DNS", "connection", "key", "model", "speed"), "ok"),
        "TLS": "-",
    }
    assert "tokens/s" in done.stdout
    assert mock.requests() == 1


def test_a_dead_server(cli):
    """The connection fails, not the name; the remedy is about the server."""
    done = cli("test", "-m", "m", "--base-url", "http://127.0.0.1:9/v1")
    assert done.returncode == 6
    assert "connection  FAILED" in done.stdout
    assert "connection refused" in done.stdout
    assert "remedy: start the server" in done.stdout
    report = json.loads(done.stderr)
    assert (report["type"], report["exit_code"]) == ("LLMConnectionError", 6)


def test_a_name_that_is_none(cli):
    """DNS fails."""
    done = cli("test", "-m", "m", "--base-url", "http://no-such-host.invalid/v1")
    assert done.returncode == 6
    assert "DNS         FAILED" in done.stdout
    assert "remedy: check the host's name" in done.stdout


def test_tls_where_the_server_speaks_none(cli, mock):
    """TLS fails, and the remedy names http."""
    done = cli("test", "-m", "m", "--base-url", mock.base_url.replace("http:", "https:"))
    assert done.returncode == 6
    assert "TLS         FAILED" in done.stdout
    assert "http://" in done.stdout.splitlines()[-1]


def test_a_wrong_key(cli, start_mock):
    """The key fails; it is not shown."""
    mock = start_mock("--api-key", "sk-right-key-0123456789abc")
    done = cli("test", "-m", "m", "--base-url", mock.base_url, "--api-key", "sk-wrong-key-0123456789abc")
    assert done.returncode == 4
    assert "key         FAILED" in done.stdout
    assert "remedy: check the key" in done.stdout
    assert "wrong-key-0123" not in done.stdout + done.stderr


def test_a_model_that_the_server_has_not(cli, start_mock):
    """The remedy names those that are called alike."""
    mock = start_mock("--model", "qwen-7b", "--model", "llama", "--strict-models")
    done = cli("test", "-m", "qwen-8b", "--base-url", mock.base_url)
    assert done.returncode == 3
    assert "model       FAILED" in done.stdout
    assert "the server has qwen-7b" in done.stdout


def test_no_configuration(cli):
    """The remedy is to run init."""
    done = cli("test")
    assert done.returncode == 3
    assert "flexllm init" in done.stderr


@pytest.fixture
def configured(cli, mock):
    """A good entry, a dead one, and one that cannot be used."""
    path = cli.home / "config.yaml"
    path.write_text(
        f"models:\n  - {{id: good, base_url: '{mock.base_url}'}}\n"
        "  - {id: dead, base_url: 'http://127.0.0.1:9/v1'}\n"
        "  - {id: broken, base_url: 'http://127.0.0.1:9/v1', api_key: '${NOT_SET}'}\n"
    )
    return path


def test_all_models_side_by_side(cli, configured):
    """A line for each, and what to do about each that fails."""
    done = cli("test", "--all", "--config", configured)
    assert done.returncode != 0
    table, *rest = done.stdout.split("\n\n")
    lines = {line.split()[0]: line for line in table.splitlines()}
    assert list(lines) == ["model", "good", "dead", "broken"]
    assert "FAILED" not in lines["good"]
    assert "FAILED" in lines["dead"]
    assert "FAILED" in lines["broken"]
    assert [text.split(":")[0] for text in rest] == ["dead", "broken"]
    assert all("remedy: " in text for text in rest)


def test_the_result_as_json(cli, configured):
    """For programs."""
    done = cli("test", "--all", "--config", configured, "--format", "json")
    good, dead, broken = json.loads(done.stdout)
    assert (good["ok"], dead["ok"], broken["ok"]) == (True, False, False)
    assert [step["name"] for step in good["steps"]][-1] == "speed"
    assert good["time_to_first_token"] >= 0
    assert dead["steps"][-1]["state"] == "failed"
    assert dead["steps"][-1]["remedy"]


def test_every_endpoint_of_a_model_is_tested(cli, start_mock):
    """A pool is only as well as its members: each has its line, with its address."""
    first, second = start_mock(), start_mock()
    urls = [first.base_url, "http://127.0.0.1:9/v1", second.base_url]
    path = cli.home / "config.yaml"
    endpoints = "".join(f"      - base_url: {url}\n" for url in urls)
    path.write_text(
        f"models:\n  - id: m\n    name: many\n    endpoints:\n{endpoints}  - {{id: one, base_url: '{urls[0]}'}}\n"
    )
    done = cli("test", "-m", "many", "--config", path)
    table, *rest = done.stdout.split("\n\n")
    hosts = [url.split("/")[2] for url in urls]
    assert [line.split()[:3] for line in table.splitlines()[1:]] == [["m", "@", host] for host in hosts]
    assert ["FAILED" in line for line in table.splitlines()[1:]] == [False, True, False]
    assert [text.split(": ")[0] for text in rest] == ["m @ 127.0.0.1:9"]
    assert done.returncode == 6
    every = cli("test", "--all", "--config", path, "--format", "json")
    assert [(check["model"], check["address"]) for check in json.loads(every.stdout)] == [
        *(("many", host) for host in hosts),
        ("one", hosts[0]),
    ]
