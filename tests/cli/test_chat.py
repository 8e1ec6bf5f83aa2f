"""A chat, at a terminal and piped."""

from __future__ import annotations

import json
import stat

import pexpect
import pytest

HOSTILE = "\x1b[2J\x1b]0;title\x07\x1b]52;c;YmFk\x07[bold]text[/bold]\x9b31m\r"
READY, TAKEN = r"\x1b\[\?2004h", r"\x1b\[\?2004l"
"""The editor begins and ends a prompt: it turns bracketed paste on and off."""


@pytest.fixture
def chat(spawn, mock):
    """A chat with a model that says what it is told, waiting for its first message."""

    def start(*args: object, base_url: str = mock.base_url) -> pexpect.spawn:
        terminal = spawn("chat", "-m", "echo", "--base-url", base_url, *args)
        terminal.expect(READY)
        return terminal

    return start


def sent(mock) -> list[dict]:
    return [json.loads(line) for line in mock.log.read_text().splitlines()]


def leave(terminal) -> None:
    terminal.send("\x04")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_a_talk_at_a_terminal(chat, mock, cli):
    """Each message is sent with all before it; the session's cost is shown; what was typed is kept, privately."""
    terminal = chat()
    for text in ("first question", "second question"):
        terminal.sendline(text)
        terminal.expect("session cost unknown")
        terminal.expect(READY)
    terminal.sendline("/usage")
    terminal.expect("for 2 answers")
    leave(terminal)
    assert mock.requests() == 2
    history = cli.home / ".flexllm" / "chat_history"
    assert "first question" in history.read_text()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.parent.stat().st_mode) == 0o700


def test_a_chat_in_chinese(spawn, cli, mock):
    """Greeting, help, errors with their remedy, and what the answers and the session cost."""
    folder = cli.home / ".flexllm"
    folder.mkdir(mode=0o700)
    (folder / "config.yaml").write_text(
        f"models: [{{id: m, base_url: '{mock.base_url}', price: {{input: 1000, output: 0}}}}]\n"
    )
    terminal = spawn("chat", env={"FLEXLLM_LANG": "zh_CN"})
    for text, shown in (
        ("", "m · /help 显示命令"),
        ("hi", "输出 [0-9]+ · .*首 token .* · 本次会话 \\$0.00[1-9]"),
        ("/help", "重问上一个问题"),
        ("/usage", "1 个回答共 \\$0.00"),
        ("/hepl", "错误: 没有命令 /hepl"),
        ("/model nosuch", "错误: 未知模型 'nosuch'.*\r\n解决办法: 运行 `flexllm init`"),
        ("/load /nosuch", "错误: /nosuch: 没有此文件"),
    ):
        if text:
            terminal.sendline(text)
        terminal.expect(shown)
        terminal.expect(READY)
    terminal.sendeof()
    terminal.expect(pexpect.EOF)


def test_ctrl_c_stops_the_answer_and_not_the_program(chat, start_mock, tmp_path):
    """What has come is kept, and the next message is answered."""
    slow = start_mock("--token-rate", "5")
    terminal = chat(base_url=slow.base_url)
    terminal.sendline("one two three four five six seven eight nine ten eleven twelve")
    terminal.expect(TAKEN)
    terminal.expect("one two")
    terminal.sendintr()
    terminal.expect("stopped; what has come is kept")
    terminal.expect(READY)
    terminal.sendintr()  # at the prompt it leaves nothing either
    terminal.expect("Ctrl-D or /exit leaves")
    terminal.expect(READY)
    file = tmp_path / "talk.json"
    terminal.sendline(f"/save {file}")
    terminal.expect("saved 2 messages")
    terminal.expect(READY)
    terminal.sendline("again")
    terminal.expect("session")
    terminal.expect(READY)
    terminal.sendline("/usage")
    terminal.expect("for 1 answers")
    terminal.expect("1 stopped answers")
    leave(terminal)
    question, answer = (message["content"] for message in json.loads(file.read_text())["messages"])
    assert answer.startswith("one two")
    assert len(answer) < len(question)


def test_chinese_and_wide_characters_can_be_typed_and_corrected(chat, tmp_path):
    """Backspace takes one character, whatever its width."""
    terminal = chat()
    terminal.sendline("你好世界错\x7f")
    terminal.expect(TAKEN)
    terminal.expect("你好世界\r\n")
    terminal.expect("session")
    file = tmp_path / "talk.json"
    terminal.sendline(f"/save {file}")
    terminal.expect("saved 2 messages")
    leave(terminal)
    assert [message["content"] for message in json.loads(file.read_text())["messages"]] == ["你好世界", "你好世界"]


def test_pasted_lines_are_one_message(chat, mock, tmp_path):
    """A bracketed paste, a block in quotes, and a line that goes on: one request each."""
    terminal = chat()
    terminal.send("\x1b[200~def f():\n    return 1\n\n# end\x1b[201~\r")
    terminal.expect("session")
    terminal.expect(READY)
    terminal.sendline('"""')
    terminal.expect(READY)
    terminal.sendline("in a block")
    terminal.expect(READY)
    terminal.sendline('of two lines"""')
    terminal.expect("session")
    terminal.expect(READY)
    terminal.sendline("one\\")
    terminal.expect(READY)
    terminal.sendline("more")
    terminal.expect("session")
    terminal.expect(READY)
    file = tmp_path / "talk.json"
    terminal.sendline(f"/save {file}")
    terminal.expect("saved 6 messages")
    leave(terminal)
    questions = [message["content"] for message in json.loads(file.read_text())["messages"][::2]]
    assert questions == ["def f():\n    return 1\n\n# end", "in a block\nof two lines", "one\nmore"]
    assert mock.requests() == 3


def test_the_window_may_change_its_size(chat, mock):
    """The editor follows, and the message is whole."""
    terminal = chat()
    terminal.send("a long message " * 8)
    terminal.setwinsize(30, 40)
    terminal.send("with an end\r")
    terminal.expect("session")
    leave(terminal)
    assert mock.requests() == 1


def test_hostile_answers_are_shown_harmless(chat, mock):
    """No escape sequence of the model reaches the terminal, and markup is text."""
    mock.post("/__mock__/faults", [{"answer": HOSTILE}])
    terminal = chat()
    terminal.sendline("Hello")
    terminal.expect("session")
    shown = terminal.before
    leave(terminal)
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown
    assert "\x9b" not in shown
    assert "[bold]text[/bold]" in shown
    assert "\\x1b[2J\\x1b]0;title" in shown


def test_an_error_does_not_end_the_chat(chat, mock):
    """It is one line, and /retry asks again."""
    terminal = chat()
    mock.post("/__mock__/faults", [{"status": 400, "body": {"error": {"message": "bad luck"}}, "times": 1}])
    terminal.sendline("Hello")
    terminal.expect("error: .*bad luck")
    terminal.expect(READY)
    terminal.sendline("/retry")
    terminal.expect("session")
    leave(terminal)
    assert mock.requests() == 2


def test_thinking_is_dimmed(spawn, mock):
    """On stderr, before the answer; `ask` shows it too where it is asked for."""
    common = ("-m", "m", "--base-url", mock.base_url, "--thinking", "high")
    for command in ("chat", "ask"):
        terminal = spawn(command, "Hello", *common)
        terminal.expect(r"\x1b\[2m\w+")
        terminal.expect(r"\x1b\[0m\r\n\w+")
        if command == "chat":
            terminal.expect(READY)
            terminal.send("\x04")
        terminal.expect(pexpect.EOF)


def test_tab_completes_a_command(chat):
    """`/us` and Tab."""
    terminal = chat()
    terminal.send("/us\t")
    terminal.expect("/usage")
    terminal.send("\r")
    terminal.expect("for 0 answers")
    leave(terminal)


def test_piped_lines_are_messages(cli, mock):
    """The answers are on stdout, exactly as they came; a message of several lines works; commands too."""
    text = 'one\n"""\ntwo\nlines\n"""\nthree\\\nfour\n/usage\n'
    done = cli("chat", "-m", "echo", "--base-url", mock.base_url, text=text)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "one\ntwo\nlines\nthree\nfour\n"
    assert "for 3 answers" in done.stderr
    assert "\x1b" not in done.stderr
    mock.post("/__mock__/faults", [{"answer": HOSTILE}])
    assert cli("chat", "Hello", "-m", "m", "--base-url", mock.base_url, text="").stdout == HOSTILE.replace("\r", "\n")


def test_the_first_error_ends_a_piped_chat(cli, mock):
    """With its exit code, and nothing is asked after it."""
    mock.post("/__mock__/faults", [{"status": 401, "body": {"error": {"message": "no"}}}])
    done = cli("chat", "-m", "echo", "--base-url", mock.base_url, text="one\ntwo\n")
    assert done.returncode == 4
    assert mock.requests() == 1
    assert len(done.stderr.splitlines()) == 1


def test_a_chat_is_saved_and_gone_on_with(cli, mock, tmp_path):
    """With its system prompt; a file that is no chat is neither overwritten nor loaded."""
    file, other = tmp_path / "talk.json", tmp_path / "notes.txt"
    other.write_text("mine")
    common = ("-m", "echo", "--base-url", mock.base_url)
    done = cli("chat", "one", "-s", "Be brief", *common, text=f"/save {file}\n")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert cli("chat", "two", "--load", file, *common, text=f"/save {file}\n").returncode == 0
    messages = json.loads(file.read_text())["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert cli("chat", "x", *common, text=f"/save {other}\n").returncode == 2
    assert cli("chat", "--load", other, *common, text="").returncode == 2
    assert other.read_text() == "mine"


def test_commands_of_a_chat(cli, mock):
    """Another model, another system prompt, a conversation forgotten, and a name that is none."""
    common = ("-m", "echo", "--base-url", mock.base_url)
    done = cli("chat", "one", *common, text="/system Be brief\n/model other\ntwo\n/clear\nthree\n/system -\n/help\n")
    assert done.returncode == 0, done.stderr
    assert "the model is" in done.stderr
    assert "no system prompt" in done.stderr
    assert "/retry" in done.stderr
    assert [request["model"] for request in sent(mock)] == ["echo", "other", "other"]
    wrong = cli("chat", *common, text="/sav\n")
    assert wrong.returncode == 2
    assert "/save" in wrong.stderr
    path = cli("chat", *common, text="/etc/hosts is what?\n")
    assert path.stdout == "/etc/hosts is what?\n"
