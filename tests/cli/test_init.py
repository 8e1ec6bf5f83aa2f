"""`flexllm init`: asked at a terminal, told by options, or an example to edit."""

from __future__ import annotations

import stat

import pexpect
import pytest
import yaml

KEY = "sk-secret-0123456789abcdefgh"


@pytest.fixture
def path(cli):
    """The file that is written."""
    return cli.home / ".flexllm" / "config.yaml"


def entry(path) -> dict:
    return yaml.safe_load(path.read_text())["models"][0]


def test_a_person_is_asked(spawn, path, mock, cli):
    """Provider, URL, model, a key that is not shown, and a name; what is written works, and is private."""
    terminal = spawn("init")
    terminal.expect("1  OpenAI")
    terminal.expect("Provider")
    terminal.sendline("99")
    terminal.expect("a number from 1 to 10")
    terminal.sendline("8")
    terminal.expect("Base URL.*8000")
    terminal.sendline(mock.base_url)
    terminal.expect("Model")
    terminal.sendline("echo")
    terminal.expect("API key, hidden")
    terminal.waitnoecho()
    terminal.sendline(KEY)
    terminal.expect("What do you call it")
    before = terminal.before
    terminal.sendline("本地: #1")
    terminal.expect("wrote ")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert KEY not in before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert entry(path) == {
        "id": "echo", "name": "本地: #1", "provider": "openai", "base_url": mock.base_url, "api_key": KEY,
    }  # fmt: skip
    assert cli("ask", "Hello").stdout == "Hello\n"


def test_enter_takes_the_vendors_own(spawn, path):
    """Its URL, a model, and the variable that its users keep their key in."""
    terminal = spawn("init")
    for question in ("Provider", "Base URL", "Model", "API key, hidden", "What do you call it"):
        terminal.expect(question)
        if question.startswith("API"):
            terminal.waitnoecho()
        terminal.sendline("")
    terminal.expect(pexpect.EOF)
    assert entry(path)["api_key"] == "${OPENAI_API_KEY}"
    assert entry(path)["base_url"] == "https://api.openai.com/v1"


def test_a_base_url_that_is_none_is_asked_for_again(spawn, path):
    """At once, not when all is answered."""
    terminal = spawn("init")
    terminal.expect("Provider")
    terminal.sendline("10")
    for url in ("host/v1", "http://host/v1"):
        terminal.expect("Base URL: ")
        terminal.sendline(url)
        if url == "host/v1":
            terminal.expect("a URL that starts with http:// or https://, please")
    terminal.expect("Model: ")
    terminal.sendline("m")
    terminal.expect("API key")
    terminal.waitnoecho()
    terminal.sendline("")
    terminal.expect("call it")
    terminal.sendline("")
    terminal.expect(pexpect.EOF)
    assert entry(path)["base_url"] == "http://host/v1"


def test_ctrl_c_writes_nothing(spawn, path):
    """Whatever was answered before."""
    terminal = spawn("init")
    terminal.expect("Provider")
    terminal.sendline("2")
    terminal.expect("Base URL")
    terminal.sendintr()
    terminal.expect("\r\n[^\r\n]*error: aborted; nothing was done")  # on a line of its own
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus in (1, 130)
    assert not path.exists()


def test_options_answer_without_a_person(cli, path):
    """What is not said is the vendor's own; nothing of a value is YAML."""
    assert cli("init", "--provider", "deepseek").returncode == 0
    assert entry(path)["base_url"] == "https://api.deepseek.com/v1"
    assert entry(path)["api_key"] == "${DEEPSEEK_API_KEY}"
    nasty = 'a"b: [c] # d'
    done = cli("init", "--force", "--base-url", "http://h:1/v1", "-m", nasty, "--api-key", "k\\n")
    assert done.returncode == 0, done.stderr
    assert entry(path)["id"] == nasty
    assert entry(path)["api_key"] == "k\\n"
    listed = cli("list")
    assert listed.returncode == 0
    assert "warning" not in listed.stderr


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--provider", "opnai"), "did you mean"),
        (("--provider", "vllm"), "--model"),
        (("--provider", "other", "-m", "m"), "--base-url"),
        (("--base-url", "ftp://h/v1", "-m", "m"), "http://"),
    ],
)
def test_what_cannot_be_used_is_not_written(in_process, tmp_path, options, word):
    """Exit code 2, and no file."""
    code, _, err = in_process("init", *options)
    assert code == 2
    assert word in err
    assert not (tmp_path / ".flexllm" / "config.yaml").exists()


def test_a_file_that_is_there_is_kept(spawn, path):
    """Nobody is asked in vain."""
    path.parent.mkdir()
    path.write_text("default: mine\n")
    terminal = spawn("init")
    terminal.expect("--force")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 2
    assert path.read_text() == "default: mine\n"
