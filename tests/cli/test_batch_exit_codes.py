"""Exit codes of `flexllm batch` for what can go wrong, each with one line that says so."""

from __future__ import annotations

import socket

ROWS = [{"q": f"question {number}"} for number in range(200)]


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_missing_input_is_3(cli, files, mock):
    """No such file."""
    done = cli("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url)
    assert done.returncode == 3
    assert str(files.input) in done.stderr


def test_unknown_model_is_3(cli, files):
    """Not in the configuration, and nothing says where it is."""
    files.write_input(ROWS)
    done = cli("batch", files.input, "-o", files.output, "-m", "nonesuch")
    assert done.returncode == 3
    assert "nonesuch" in done.stderr


def test_a_model_that_the_server_does_not_know_is_3(cli, files, start_mock):
    """The run stops instead of failing row by row."""
    mock = start_mock("--strict-models")
    files.write_input(ROWS)
    done = cli("batch", files.input, "-o", files.output, "-m", "nonesuch", "--base-url", mock.base_url, "-c", 10)
    assert done.returncode == 3
    assert mock.requests() <= 20


def test_wrong_key_is_4_after_one_window(cli, files, start_mock):
    """Not every row is tried with a key that does not work."""
    mock = start_mock("--api-key", "sk-right-right-right")
    files.write_input(ROWS)
    done = cli(
        "batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-c", 10,
        env={"FLEXLLM_API_KEY": "sk-wrong-wrong-wrong"},
    )  # fmt: skip
    assert done.returncode == 4
    assert mock.requests() <= 10
    assert "401" in done.stderr
    assert "sk-wrong" not in done.stderr + files.output.read_text()


def test_server_down_is_6_and_names_the_endpoint(cli, files):
    """After a few retries, not after a retry storm for every row."""
    files.write_input(ROWS)
    url = f"http://127.0.0.1:{closed_port()}/v1"
    done = cli("batch", files.input, "-o", files.output, "-m", "m", "--base-url", url, "--retry-times", 1, "-c", 10)
    assert done.returncode == 6
    assert url.removesuffix("/v1") in done.stderr


def test_all_rows_failing_is_1(cli, files, mock):
    """A pipeline can tell, and the reason is in the output and the summary."""
    mock.post("/__mock__/faults", [{"status": 400, "body": {"error": {"message": "no such option", "code": "bad"}}}])
    files.write_input(ROWS[:20])
    done = cli("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url)
    assert done.returncode == 1
    assert "no such option" in done.stderr
    assert mock.requests() == 20
    assert all("no such option" in line["error"]["message"] for line in files.lines())


def test_max_failures_stops_the_run(cli, files, mock):
    """After the limit no more rows are taken."""
    mock.post("/__mock__/faults", [{"status": 400}])
    files.write_input(ROWS)
    done = cli(
        "batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "--max-failures", 5, "-c", 4
    )
    assert done.returncode == 1
    assert mock.requests() <= 10


def test_usage_is_2(cli, files):
    """An unknown option, and no output."""
    assert cli("batch", files.input, "-o", files.output, "--no-such-option").returncode == 2
    assert cli("batch", files.input).returncode == 2


def test_dry_run_is_10_and_sends_nothing(cli, files, mock):
    """The plan is shown; no file is made."""
    files.write_input(ROWS)
    done = cli("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "--dry-run")
    assert done.returncode == 10
    assert "200" in done.stderr
    assert mock.requests() == 0
    assert not files.output.exists()


def test_an_unwritable_folder_is_8(cli, files, mock, tmp_path):
    """The folder of the output does not exist."""
    files.write_input(ROWS)
    done = cli("batch", files.input, "-o", tmp_path / "no" / "out.jsonl", "-m", "m", "--base-url", mock.base_url)
    assert done.returncode == 8
    assert mock.requests() == 0
