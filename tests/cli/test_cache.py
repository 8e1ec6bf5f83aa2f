"""The response cache from outside: real commands, real processes, one folder."""

from __future__ import annotations

import json
import signal
import sqlite3


def batch(cli, files, mock, *options, output=None):
    return cli("batch", files.input, "-o", output or files.output, "-m", "m", "--base-url", mock.base_url, *options)


def test_identical_rows_are_one_request(cli, files, mock):
    """1,000 identical rows, 100 in flight: one request with the cache, 1,000 without (D7)."""
    files.write_input([{"q": "the same"}] * 1000)
    done = batch(cli, files, mock, "--cache", "-c", 100)
    assert done.returncode == 0, done.stderr
    assert mock.requests() == 1
    lines = files.lines()
    assert len(lines) == 1000
    assert len({line["output"] for line in lines}) == 1
    assert sum(line.get("cached", False) for line in lines) == 999
    assert "999 cached" in done.stderr
    batch(cli, files, mock, "-c", 100, output=files.output.with_name("again.jsonl"))
    assert mock.requests() == 1001


def test_two_processes_at_once_ask_at_most_twice(cli, files, start_mock):
    """Two runs over one cache: each may ask once before it sees what the other has stored."""
    mock = start_mock("--delay", "0.2")
    files.write_input([{"q": "the same"}] * 500)
    common = ("batch", files.input, "-m", "m", "--base-url", mock.base_url, "--cache", "-c", 100)
    runs = [cli.start(*common, "-o", files.output.with_name(f"{name}.jsonl")) for name in "ab"]
    for run in runs:
        _, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
    assert mock.requests() <= 2


def test_a_run_that_is_repeated_asks_nothing(cli, files, mock):
    """Another output, the same questions: everything comes from the cache; --no-cache and --cache-ttl are obeyed."""
    files.write_input([{"q": f"question {number}"} for number in range(50)])
    assert batch(cli, files, mock, "--cache").returncode == 0
    for name, options, requests in (
        ("b", ("--cache",), 50),
        ("c", ("--cache", "--cache-ttl", "3600"), 50),
        ("d", ("--no-cache",), 100),
        ("e", ("--cache", "-t", "0.5"), 150),
    ):
        assert batch(cli, files, mock, *options, output=files.output.with_name(f"{name}.jsonl")).returncode == 0
        assert mock.requests() == requests, name


def test_the_configuration_turns_the_cache_on(cli, files, mock, tmp_path):
    """`batch.cache`, `cache_ttl` and `cache_dir` of the file are obeyed."""
    config = tmp_path / "config.yaml"
    config.write_text(f"batch:\n  cache: true\n  cache_ttl: 60\n  cache_dir: {tmp_path / 'kept'}\n")
    files.write_input([{"q": "same"}] * 10)
    assert batch(cli, files, mock, "--config", config).returncode == 0
    assert mock.requests() == 1
    assert (tmp_path / "kept" / "cache.db").exists()
    assert not (cli.home / ".flexllm").exists()


def test_what_was_answered_is_kept_when_the_run_is_stopped(cli, files, start_mock, wait_until):
    """SIGTERM flushes the cache: no row that has a line is asked again by another run."""
    mock = start_mock("--delay", "0.05")
    files.write_input([{"q": f"question {number}"} for number in range(500)])
    process = cli.start(
        "batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "--cache", "-c", 10
    )
    wait_until(lambda: mock.requests() >= 60, "requests")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    answered = len(files.lines())
    assert 0 < answered == mock.requests()
    assert batch(cli, files, mock, "--cache", "-c", 10, output=files.output.with_name("b.jsonl")).returncode == 0
    assert mock.requests() == 500


def test_stats_prune_and_clear(cli, files, mock):
    """The command counts, deletes what has expired, and everything only when it is told to."""
    assert "0 (0 expired)" in cli("cache", "stats").stdout
    files.write_input([{"q": f"question {number}"} for number in range(20)])
    assert batch(cli, files, mock, "--cache", "--cache-ttl", "60").returncode == 0
    with sqlite3.connect(cli.home / ".flexllm" / "cache" / "cache.db") as connection:
        connection.execute("UPDATE Cache SET expire_time = 1000")
    connection.close()
    stats = json.loads(cli("cache", "stats", "--format", "json").stdout)
    assert (stats["entries"], stats["expired"], stats["dir"]) == (20, 20, str(cli.home / ".flexllm" / "cache"))
    assert "20 answers were deleted" in cli("cache", "prune").stderr
    assert batch(cli, files, mock, "--cache", "--overwrite").returncode == 0
    assert cli("cache", "clear", text="n\n").returncode == 1
    assert json.loads(cli("cache", "stats", "--format", "json").stdout)["entries"] == 20
    assert "20 answers were deleted" in cli("cache", "clear", "--yes").stderr
    assert json.loads(cli("cache", "stats", "--format", "json").stdout)["entries"] == 0


def test_why_says_why(cli, files, start_mock):
    """A hit, an answer that is too old, one that was never stored, and a row that is not there."""
    mock = start_mock()
    mock.post("/__mock__/faults", [{"match": {"contains": "bad"}, "status": 400}])
    files.write_input([{"q": "good"}, {"q": "bad"}, {"q": "short", "params": {"max_tokens": 1}}])
    assert batch(cli, files, mock, "--cache").returncode == 1

    def why(row, *options):
        done = cli("cache", "why", row, files.output, "-m", "m", "--base-url", mock.base_url, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "hit: its answer was stored" in why(0)
    assert "counts for 0.0001 s" in why(0, "--cache-ttl", "0.0001")
    assert "errors are never stored" in why(1)
    assert "finish_reason is length" in why(2)
    assert cli("cache", "clear", "--yes").returncode == 0
    assert "is not there" in why(0)
    missing = cli("cache", "why", 7, files.output, "-m", "m", "--base-url", mock.base_url)
    assert (missing.returncode, "there is no row 7" in missing.stderr) == (2, True)


def test_why_knows_every_endpoint_of_a_batch(cli, files, start_mock, tmp_path):
    """An answer of any of them counts, also if the first of them did not give it."""
    first, second = start_mock(), start_mock()
    files.write_input([{"q": "x"}])
    assert batch(cli, files, second, "--cache").returncode == 0
    config = tmp_path / "pool.yaml"
    urls = "\n".join(f"      - base_url: {mock.base_url}" for mock in (first, second))
    config.write_text(f"models:\n  - id: m\n    name: m\n    api_key: k\n    endpoints:\n{urls}\n")
    done = cli("cache", "why", 0, files.output, "-m", "m", "--config", config)
    assert "hit: its answer was stored" in done.stdout
    alone = cli("cache", "why", 0, files.output, "-m", "m", "--base-url", first.base_url)
    assert "is not there" in alone.stdout


def test_a_cache_that_cannot_be_used_is_a_clear_error(cli, tmp_path):
    """A folder in the place of the database is named; no traceback."""
    (tmp_path / "kept" / "cache.db").mkdir(parents=True)
    done = cli("cache", "stats", "--dir", tmp_path / "kept")
    assert done.returncode != 0
    assert str(tmp_path / "kept") in done.stderr
