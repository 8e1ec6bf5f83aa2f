"""Several endpoints from the command line, against real servers."""

from __future__ import annotations

import collections
import json
import subprocess
import sys
import threading
import time

import pytest
import yaml

from flexllm_mock import FaultMatch, FaultRule, MockServer


@pytest.fixture(scope="module")
def servers():
    """Two mock servers for the whole module."""
    with MockServer() as one, MockServer() as two:
        yield one, two


@pytest.fixture
def run_with(in_process, servers, tmp_path):
    """Run `batch` over some rows with a configuration; exit code, stderr, and the requests of each server."""
    rows = tmp_path / "in.jsonl"
    rows.write_text("".join(f'{{"q": "question {n}"}}\n' for n in range(60)))

    def run(config, *arguments):
        for server in servers:
            server.reset()
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        code, out, err = in_process("batch", rows, "-o", tmp_path / "out.jsonl", "--config", path, *arguments)
        return code, out + err, [len(server.requests) for server in servers]

    return run


def entry(server, **more):
    return {"base_url": server.base_url, "model": "qwen", **more}


def test_batch_endpoints_share_the_rows(run_with, servers, tmp_path):
    """Both are asked; each line says who answered; the manifest has both."""
    code, err, asked = run_with({"batch": {"endpoints": [entry(server) for server in servers]}})
    assert code == 0, err
    assert sum(asked) == 60
    assert min(asked) >= 10
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {line["endpoint"] for line in lines} == {server.base_url for server in servers}
    manifest = json.loads((tmp_path / "out.jsonl.run.json").read_text())
    assert [one["base_url"] for one in manifest["runs"][0]["endpoints"]] == [server.base_url for server in servers]


def test_a_named_model_wins_over_batch_endpoints(run_with, servers):
    """`-m` > `batch.endpoints` > the default model."""
    one, two = servers
    config = {
        "default": "single",
        "models": [{"id": "single", "base_url": one.base_url}],
        "batch": {"endpoints": [entry(two), entry(two, api_key="another")]},
    }
    assert run_with(config, "-m", "single")[2] == [60, 0]
    assert run_with(config, "--overwrite")[2] == [0, 60]


def test_a_model_with_several_endpoints_is_a_pool(run_with, servers):
    """Named, and as the default."""
    model = {"id": "qwen", "endpoints": [{"base_url": server.base_url} for server in servers]}
    for arguments in ((), ("-m", "qwen", "--overwrite")):
        code, err, asked = run_with({"models": [model]}, *arguments)
        assert code == 0, err
        assert sum(asked) == 60
        assert min(asked) >= 10


def test_options_of_the_pool(run_with, servers):
    """`--load-balance fallback` asks the first alone while it has room, whatever the file says."""
    config = {"batch": {"load_balance": "random", "endpoints": [entry(server) for server in servers]}}
    code, err, asked = run_with(config, "--load-balance", "fallback", "-c", "1", "--hedge-after", "30")
    assert code == 0, err
    assert asked == [60, 0]


def test_a_member_that_is_not_there_costs_no_row(run_with, servers):
    """And with `fallback: false` rows are retried until they meet one that is."""
    gone = {"base_url": "http://127.0.0.1:9/v1", "model": "qwen"}
    code, err, asked = run_with({"batch": {"endpoints": [gone, entry(servers[0])]}})
    assert (code, asked) == (0, [60, 0]), err
    code, err, _ = run_with({"batch": {"fallback": False, "endpoints": [gone, entry(servers[0])]}}, "--overwrite")
    assert code == 0, err


def test_a_dry_run_shows_every_endpoint(run_with, servers):
    """With its limits."""
    config = {"batch": {"endpoints": [entry(servers[0], concurrency_limit=5), entry(servers[1], max_qps=7)]}}
    code, err, asked = run_with(config, "--dry-run")
    assert (code, asked) == (10, [0, 0])
    assert f"endpoint: {servers[0].base_url}, model qwen, 5 in flight" in err
    assert "7.0" in err


@pytest.fixture
def ask_with(in_process, servers, tmp_path):
    """Run `ask` or `chat` with a configuration; exit code, stdout, stderr, and the requests of each server."""

    def run(config, command, *arguments, text=""):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        code, out, err = in_process(command, *arguments, "--config", path, text=text)
        return code, out, err, [len(server.requests) for server in servers]

    for server in servers:
        server.reset()
    return run


GONE = {"base_url": "http://127.0.0.1:9/v1"}
ECHO = {"id": "echo", "name": "both"}


@pytest.mark.parametrize("arguments", [["-m", "both"], ["-m", "echo"], [], ["--format", "json"], ["-m", "both", "-x"]])
def test_a_question_goes_to_an_endpoint_that_is_there(ask_with, servers, arguments):
    """Streamed or whole, with the model named or not: the first of two is dead, and nobody notices."""
    model = {**ECHO, "endpoints": [GONE, {"base_url": servers[1].base_url}]}
    code, out, err, asked = ask_with({"default": "both", "models": [model]}, "ask", "hello there", *arguments)
    assert (code, asked) == (0, [0, 1]), err
    assert "hello there" in out
    assert "error" not in err


def test_the_endpoints_of_batches_answer_questions_where_nothing_else_is_configured(ask_with, servers):
    """A default model goes before them."""
    batch = {"endpoints": [{"model": "echo", **GONE}, {"model": "echo", "base_url": servers[1].base_url}]}
    code, out, err, asked = ask_with({"batch": batch}, "ask", "hello")
    assert (code, out, asked) == (0, "hello\n", [0, 1]), err
    default = {"id": "echo", "base_url": servers[0].base_url}
    assert ask_with({"models": [default], "batch": batch}, "ask", "hello")[3] == [1, 1]


def test_a_chat_of_several_endpoints_loses_no_turn_to_one_that_only_fails(ask_with, servers):
    """It costs its trials: three faults in a row, and it is left alone."""
    servers[0].add_fault(FaultRule(status=500))
    model = {**ECHO, "endpoints": [{"base_url": server.base_url} for server in servers]}
    turns = [f"turn {number}" for number in range(6)]
    code, out, err, asked = ask_with({"models": [model]}, "chat", "-m", "both", text="\n".join(turns))
    assert (code, out.split("\n")[:6]) == (0, turns), err
    assert asked == [3, 6]


def test_a_stream_that_breaks_after_its_first_event_is_asked_nowhere_else(ask_with, servers):
    """What came of it has been shown; one that breaks before is asked elsewhere."""
    model = {**ECHO, "endpoints": [{"base_url": server.base_url} for server in servers]}
    for stage, answered, requests in (("after_headers", True, [1, 1]), ("mid_body", False, [1, 0])):
        for server in servers:
            server.reset()
        servers[0].add_fault(FaultRule(disconnect=stage))
        code, _, err, asked = ask_with({"models": [model]}, "ask", "one two three four five six seven eight")
        assert (code == 0, asked) == (answered, requests), (stage, err)


def test_a_base_url_of_the_command_line_is_the_only_endpoint(ask_with, servers):
    """The entry's endpoints have no part in it."""
    model = {**ECHO, "endpoints": [{"base_url": server.base_url} for server in servers]}
    arguments = ("ask", "hello", "-m", "both", "--base-url", servers[1].base_url)
    assert ask_with({"models": [model]}, *arguments)[3] == [0, 1]


def test_the_least_that_is_learnt_is_set_by_option_entry_or_batch_section(run_with, servers, monkeypatch):
    """In this order, as other limits; and it is what the gate of each endpoint keeps."""
    from flexllm_batch.limits import limited

    floors, real = [], limited.GateLimits

    def note(*args, **limits):
        if limits["adaptive"]:  # else nothing is learnt
            floors.append(limits["floor"])
        return real(*args, **limits)

    monkeypatch.setattr(limited, "GateLimits", note)
    endpoints = [entry(servers[0], min_concurrency=3), entry(servers[1])]
    config = {"batch": {"min_concurrency": 5, "endpoints": endpoints}}
    assert run_with(config)[0] == 0
    assert run_with(config, "--min-concurrency", "7", "--overwrite")[0] == 0
    single = {"models": [{"id": "qwen", "base_url": servers[0].base_url}], "batch": {"min_concurrency": 5}}
    assert run_with(single, "-c", "4", "--overwrite")[0] == 0
    assert floors == [3, 5, 7, 7, 4]


def pool_over(urls, **options):
    from flexllm_batch import LLMClientPool

    return LLMClientPool([{"base_url": url, "model": "m"} for url in urls], **options)


@pytest.mark.parametrize("concurrency", [2, 4])
def test_two_servers_that_only_fail_do_not_keep_a_batch_for_ever(concurrency):
    """D1: every row has its error, and the output all of them."""
    with (
        MockServer(error_rate=1.0) as one,
        MockServer(error_rate=1.0) as two,
        pool_over([one.base_url, two.base_url], concurrency_limit=concurrency, retry_times=0) as pool,
    ):
        batch = pool.chat_batch_sync([f"row {n}" for n in range(60)])
    assert batch.stats.ok == 0
    assert all(item.error is not None for item in batch)


def test_a_dead_endpoint_beside_a_flaky_one_loses_no_row_over_sockets():
    """D4: 10 % of 503, and nobody at the other address: 200 of 200, and the dead one gets its trials."""
    with (
        MockServer(error_rate=0.1, error_status=503) as flaky,
        pool_over([flaky.base_url, "http://127.0.0.1:9/v1"], concurrency_limit=4) as pool,
    ):
        batch = pool.chat_batch_sync([f"row {n}" for n in range(200)])
        dead = pool.stats[1]
    assert batch.stats.ok == 200
    assert dead.requests <= 3


def test_a_poison_prompt_disables_no_endpoint_over_sockets():
    """D5: with a threshold of one, a 400 is sent once and both endpoints stay in order."""
    poison = FaultRule(status=400, match=FaultMatch(contains="poison"))
    with MockServer(faults=[poison]) as one, MockServer(faults=[poison]) as two:
        with pool_over([one.base_url, two.base_url], failure_threshold=1) as pool:
            batch = pool.chat_batch_sync(["poison", "fine", "poison too"])
            states = [stats.state for stats in pool.stats]
        sent = len(one.requests) + len(two.requests)
    assert [item.error is None for item in batch] == [False, True, False]
    assert states == ["closed", "closed"]
    assert sent == 3


def start_mock(port=0):
    """A mock server as a process of its own, and its port."""
    command = [sys.executable, "-m", "flexllm_mock", "--port", str(port), "--delay", "0.01", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    return process, int(url.rstrip("/").removesuffix("/v1").rpartition(":")[2])


def test_a_server_that_is_killed_and_comes_back_costs_no_row_and_is_used_again(tmp_path):
    """Real processes: all rows ok, none twice in the output; smaller here than it was tried at."""
    from flexllm_batch import LLMClientPool

    rows = 3000
    mocks = [start_mock() for _ in range(3)]
    restarted = []

    def kill_and_restart(pool):
        while sum(stats.ok for stats in pool.stats) < rows // 6:
            time.sleep(0.01)
        victim, port = mocks[0]
        victim.kill()
        victim.wait()
        while pool.stats[0].state != "open":
            time.sleep(0.01)
        restarted.append((start_mock(port), pool.stats[0].ok))

    try:
        endpoints = [{"base_url": f"http://127.0.0.1:{port}/v1", "model": "m"} for _, port in mocks]
        output = tmp_path / "out.jsonl"
        with LLMClientPool(endpoints, concurrency_limit=8, recovery_time=0.3) as pool:
            killer = threading.Thread(target=kill_and_restart, args=[pool])
            killer.start()
            batch = pool.chat_batch_sync([f"row {n}" for n in range(rows)], output_jsonl=output)
            killer.join()
            stats = pool.stats
    finally:
        for process, _ in [*mocks, *(mock for mock, _ in restarted)]:
            process.kill()
            process.wait()
            process.stdout.close()
    assert batch.stats.ok == rows
    indexes = collections.Counter(json.loads(line)["index"] for line in output.read_text().splitlines())
    assert indexes == collections.Counter(range(rows))
    assert stats[0].ok > restarted[0][1]
    assert stats[0].state == "closed"
    assert stats[0].failed >= 3
