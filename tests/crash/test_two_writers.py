"""Two processes on one output."""

from __future__ import annotations

import signal


def test_the_second_writer_is_refused_and_the_first_is_unharmed(start_mock, cli, files, wait_until):
    """The second stops with exit code 5 and the first's process id, before it sends anything."""
    mock = start_mock()
    mock.post("/__mock__/faults", [{"delay": 1.0}])
    files.write_input([{"q": f"question {number}"} for number in range(60)])
    command = ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-c", 2)
    first = cli.start(*command)
    wait_until(lambda: mock.requests() > 2, "the first run's requests")
    second = cli(*command)
    mock.end_faults()  # the first run was slow for as long as the second needed
    _, errors = first.communicate(timeout=60)
    assert second.returncode == 5
    assert str(first.pid) in second.stderr
    assert first.returncode == 0, errors
    assert [line["index"] for line in files.lines()] == list(range(60))
    assert mock.requests() == 60
    assert not files.output.with_name(files.output.name + ".lock").exists()


def test_the_lock_of_a_dead_process_does_not_block(start_mock, cli, files, wait_until):
    """After a kill the lock file is still there, and the next run takes it."""
    mock = start_mock("--delay", "0.1")
    files.write_input([{"q": f"question {number}"} for number in range(20)])
    command = ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-c", 5)
    first = cli.start(*command)
    wait_until(lambda: mock.requests() > 5, "requests")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert files.output.with_name(files.output.name + ".lock").exists()
    assert cli(*command).returncode == 0
    assert len(files.lines()) == 20
