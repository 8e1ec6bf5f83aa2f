"""The app without any server: errors become one line and a code."""

from __future__ import annotations

import io
import sys

import pytest

from flexllm_cli import app


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the program in this process; its exit code, stdout and stderr."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def call(*args: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        monkeypatch.setattr(sys, "argv", ["flexllm", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            app.main()
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return call


def test_help_lists_the_commands(run):
    """With `-h` too."""
    for flag in ("--help", "-h"):
        code, out, _ = run(flag)
        assert code == 0
        for name in ("ask", "batch", "init", "list", "mock", "version"):
            assert name in out


def test_the_mock_without_its_package_says_which_extra(run, monkeypatch, tmp_path):
    """Exit code 7, for the embedded mock and for the command."""
    monkeypatch.setitem(sys.modules, "flexllm_mock", None)
    monkeypatch.setitem(sys.modules, "flexllm_mock.cli", None)
    for command in (("ask", "Hello", "-m", "mock"), ("mock",)):
        code, _, err = run(*command)
        assert code == 7
        assert "flexllm-cli[mock]" in err


def test_parquet_without_its_library_says_which_extra(run, monkeypatch, tmp_path):
    """Exit code 7."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = tmp_path / "rows.parquet"
    file.write_bytes(b"PAR1")
    code, _, err = run("batch", file, "-o", tmp_path / "o.jsonl", "-m", "m", "--base-url", "http://127.0.0.1:1/v1")
    assert code == 7
    assert "flexllm-batch[parquet]" in err


def test_a_fault_of_ours_is_told_as_such(run, monkeypatch):
    """One line, no traceback, and how to see more."""

    def broken(**_) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(app, "app", broken)
    code, _, err = run("list")
    assert code == 1
    assert "internal fault: ZeroDivisionError: oops" in err
    assert "FLEXLLM_TRACEBACK" in err
    assert len(err.splitlines()) == 1


def test_list_without_models_points_to_init(run):
    """On stderr; stdout stays empty."""
    code, out, err = run("list")
    assert (code, out) == (0, "")
    assert "flexllm init" in err


def test_a_pool_of_which_no_endpoint_is_there_ends_with_each_ones_error(run, tmp_path):
    """Exit code 6, after it was tried a few times."""
    config, rows = tmp_path / "c.yaml", tmp_path / "in.jsonl"
    endpoints = "".join(f"    - {{base_url: 'http://127.0.0.1:{port}/v1', model: m}}\n" for port in (1, 2))
    config.write_text(f"batch:\n  retry_times: 0\n  endpoints:\n{endpoints}")
    rows.write_text('{"q": "one"}\n')
    code, _, err = run("batch", rows, "-o", tmp_path / "o.jsonl", "--config", config)
    assert code == 6
    assert "connection refused" in err


def test_options_of_a_pool_need_several_endpoints(run, tmp_path):
    """Said before anything is sent, with where to put them."""
    rows = tmp_path / "in.jsonl"
    rows.write_text('{"q": "one"}\n')
    where = ("--base-url", "http://127.0.0.1:1/v1", "-m", "m")
    code, _, err = run("batch", rows, "-o", tmp_path / "o.jsonl", *where, "--load-balance", "random")
    assert code == 2
    assert "--load-balance needs several endpoints" in err
    code, _, err = run("batch", rows, "-o", tmp_path / "o.jsonl", *where, "--hedge-after", "soon")
    assert code == 2
    assert "expected seconds above 0, or p95" in err
