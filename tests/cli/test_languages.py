"""Help, errors and summaries in Simplified Chinese."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flexllm_cli.command_table import COMMANDS

ROOT = Path(__file__).parents[2]


def test_every_message_of_the_sources_is_translated():
    """None is missing or left over, and each has the values of its message."""
    script = ROOT / "scripts" / "translations.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"run scripts/translations.py and fill in the catalogue:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS if name != "mock"), ("cache", "why")])
def test_help_is_in_chinese(in_process, monkeypatch, command):
    """Headings, what a command does and every option; names and examples stay."""
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.delenv("FLEXLLM_LANG")
    code, out, _ = in_process(*command, "--help")
    assert code == 0
    assert out.startswith("用法: flexllm")
    assert "显示本信息并退出。" in out
    for english in (
        "Usage:",
        "Options:",
        "Arguments:",
        "Commands:",
        "Examples:",
        "[required]",
        "[default:",
        "this message",
    ):
        assert english not in out


def test_the_summary_of_a_run_is_in_chinese(in_process, files, mock, monkeypatch):
    """Counts, tokens and cost; the output file and JSON are the same in every language."""
    monkeypatch.setenv("FLEXLLM_LANG", "zh_CN")
    files.write_input([{"q": "one"}, {"q": "two"}])
    mock.post("/__mock__/faults", [{"status": 400, "match": {"contains": "two"}}])
    code, out, err = in_process(
        "batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "--format", "json"
    )
    assert code == 1
    assert "成功 1, 失败 1" in err
    assert "费用未知" in err
    assert '"ok": 1' in out
    assert {line["status"] for line in files.lines()} == {"success", "error"}


def test_a_plan_is_in_chinese(in_process, files, monkeypatch):
    """What `--dry-run` shows."""
    monkeypatch.setenv("FLEXLLM_LANG", "zh_CN")
    files.write_input([{"q": "one"}])
    code, _, err = in_process("batch", files.input, "-o", files.output, "-m", "mock", "--dry-run")
    assert code == 10
    assert "要问的行: 1" in err
    assert "未发送任何请求" in err


def test_a_terminal_is_spoken_to_in_chinese(on_terminal):
    """The red line and the remedy."""
    shown, code = on_terminal("ask", "Hello", env={"FLEXLLM_LANG": "", "LANG": "zh_CN.UTF-8"})
    assert code == 3
    assert shown.splitlines()[0] == "\x1b[31m错误: 没有配置模型\x1b[0m"
    assert shown.splitlines()[1].startswith("解决办法: 运行 `flexllm init`")


def test_answers_are_never_translated(in_process, mock, monkeypatch):
    """A model's text that looks like a message of ours stays what it is."""
    monkeypatch.setenv("FLEXLLM_LANG", "zh_CN")
    mock.post("/__mock__/faults", [{"answer": "x: no such input file"}])
    code, out, _ = in_process("ask", "Hello", "-m", "m", "--base-url", mock.base_url)
    assert (code, out) == (0, "x: no such input file\n")
