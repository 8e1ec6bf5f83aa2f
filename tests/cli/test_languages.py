"""Help, errors and summaries in Simplified Chinese."""

from __future__ import annotations

import re
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


def test_every_table_is_in_chinese(in_process, files, mock, monkeypatch, tmp_path):
    """Headings and words in cells; JSON is the same in every language."""
    monkeypatch.setenv("FLEXLLM_LANG", "zh_CN")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"models:\n  - {{id: gpt-4o, base_url: '{mock.base_url}'}}\n  - {{id: none, base_url: '${{NO_SUCH}}'}}\n"
    )
    config.chmod(0o600)
    where = ("--config", config)
    files.write_input([{"q": "one"}, {"q": "two"}])
    run = ("batch", files.input, "-o", files.output, "-m", "gpt-4o", *where)
    assert in_process(*run, "--track-cost")[0] == 0
    other = tmp_path / "other.jsonl"
    mock.post("/__mock__/faults", [{"answer": "else", "match": {"contains": "two"}}])
    assert in_process("batch", files.input, "-o", other, "-m", "gpt-4o", *where)[0] == 0

    shown = {
        name: in_process(*arguments)[1]
        for name, arguments in {
            "list": ("list", *where),
            "pricing": ("pricing", *where),
            "price": ("pricing", "gpt-4o", *where),
            "test": ("test", *where),
            "all": ("test", "--all", *where),
            "cache": ("cache", "stats", "--dir", tmp_path / "cache"),
            "report": ("report", files.output),
            "diff": ("diff", files.output, other),
        }.items()
    }
    assert "无 API Key" in shown["list"]
    assert "不可用" in shown["list"]
    assert shown["pricing"].splitlines()[0].split() == ["模型", "输入", "输出", "缓存", "来源"]
    assert "美元 / 百万 token:\n  输入 " in shown["price"]
    assert shown["test"].splitlines()[0].startswith("配置        成功    http://")
    assert shown["all"].splitlines()[0].split()[:3] == ["模型", "配置", "DNS"]
    assert "none: 配置: " in shown["all"]
    assert shown["cache"].splitlines()[1].split() == ["回答数", "0（已过期", "0）"]
    assert "回答数  输入 token" in shown["report"]
    assert "平均 " in shown["report"]
    assert "两边都有 2 行（按请求对齐）: 回答相同 1, 有变化 1, 仅 B 失败 0" in shown["diff"]
    assert "第 1 行, 有变化:" in shown["diff"]
    for arguments in (("list", *where), ("test", *where), ("diff", files.output, other), ("report", files.output)):
        assert not re.search("[\u4e00-\u9fff]", in_process(*arguments, "--format", "json")[1])


def test_columns_stand_below_each_other_in_chinese(in_process, files, monkeypatch):
    """A Chinese character is two columns wide."""
    monkeypatch.setenv("FLEXLLM_LANG", "zh_CN")
    head, *rows = in_process("pricing", "gpt-4o")[1].split("其他来源:\n")[1].splitlines()
    columns = head.encode("gb18030").index("来源".encode("gb18030"))
    assert rows
    assert all(row.encode("gb18030")[columns - 2 : columns] == b"  " for row in rows)


def test_a_balance_that_nobody_tells_is_said_so_in_chinese(in_process, monkeypatch):
    """Why, and where to look."""
    monkeypatch.setenv("FLEXLLM_LANG", "zh_CN")
    code, _, err = in_process("credits", "--base-url", "http://127.0.0.1:1/v1", "--api-key", "k")
    assert code == 1
    assert "127.0.0.1 是你自己的服务器，没有余额" in err
    assert "参见其日志" in err


def test_the_bar_is_in_chinese(on_terminal, files, mock):
    """Rate, requests in flight, time left, and the first error of a kind."""
    files.write_input([{"q": f"{number}"} for number in range(8)])
    mock.post("/__mock__/faults", [{"status": 400, "match": {"contains": "1"}}, {"delay": 0.2}])
    shown, code = on_terminal(
        "batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-c", "1",
        env={"FLEXLLM_LANG": "zh_CN"}, columns=160,
    )  # fmt: skip
    assert code == 1
    for text in (" 行/秒", "进行中 1", "剩余 ", " 个 token", "费用未知", "首次出现 BadRequestError", "失败 1"):
        assert text in shown
    for english in ("rows/s", "in flight", "ETA", "failed"):
        assert english not in shown


def test_the_page_is_in_chinese(in_process, files, mock, monkeypatch, tmp_path):
    """What it says, and what its script says; rows are what they are."""
    monkeypatch.setenv("FLEXLLM_LANG", "zh_CN")
    files.write_input([{"q": "all outcomes"}])
    in_process("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url)
    path = tmp_path / "page.html"
    assert in_process("report", files.output, "--html", path)[2] == f"页面: {path}\n"
    page = path.read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in page
    for text in ("<h2>费用与 token</h2>", "<span>缓存命中</span>", "共 1 行: 成功 1, 失败 0", '"no rows": "\\u6ca1'):
        assert text in page
    shown = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert set(re.findall(r"[A-Za-z]{2,}", shown)) <= {
        "out", "jsonl", "flexllm", "token", "JavaScript", "ms", "p", "http", "localhost"
    }  # fmt: skip
    assert "all outcomes" in page.split('id="data">')[1]


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
