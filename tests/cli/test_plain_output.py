"""What is shown where colours or characters are not wanted or not there, and what messages advise."""

from __future__ import annotations

import pytest


@pytest.fixture
def config(tmp_path):
    """Write a configuration; the options that name it."""

    def write(text: str) -> tuple[str, str]:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return "--config", str(path)

    return write


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_none_is_wanted(on_terminal, env):
    """Neither in errors nor in what stands beside an answer."""
    shown, code = on_terminal("ask", "Hello", env=env)
    assert code == 3
    assert shown.startswith("error: no model is configured\r\n")
    shown, code = on_terminal("ask", "Hello", "-m", "mock", "--usage", "--thinking", "on", env=env)
    assert code == 0
    assert "tokens in" in shown
    assert "\x1b" not in shown


def test_a_terminal_without_chinese_is_shown_escapes(on_terminal, config):
    """Of a name in the configuration; the command goes on."""
    where = config("models:\n  - {name: 通义, id: qwen, base_url: 'http://h/v1', api_key: k}\n")
    ascii_only = {"LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    shown, code = on_terminal("list", *where, env=ascii_only)
    assert code == 0
    assert "\\u901a\\u4e49" in shown


def test_models_are_listed_in_columns(in_process, config):
    """Name, model, wire, base URL and key stand below each other, and the wire is the one that is spoken."""
    where = config(
        "models:\n"
        "  - {name: 通义千问, id: qwen, base_url: 'http://h/v1', api_key: EMPTY}\n"
        "  - {id: claude-sonnet-4-5, base_url: 'https://api.anthropic.com', api_key: sk-0123456789abcdef0123456789abcdef}\n"
        "  - {id: broken, api_key: '${NO_SUCH_VARIABLE}'}\n"
    )
    code, out, _ = in_process("list", *where)
    assert code == 0
    assert out.splitlines()[:2] == [
        "* 通义千问           qwen               openai  http://h/v1                ***",
        "  claude-sonnet-4-5  claude-sonnet-4-5  claude  https://api.anthropic.com  sk-012...cdef",
    ]
    assert out.splitlines()[2].startswith("  broken             unusable: ")
    assert "NO_SUCH_VARIABLE is not set: give it a value" in out


def test_a_price_needs_no_key(in_process, config):
    """A model has its price also where the variable of its key is not set, and nobody warns of it."""
    where = config("models:\n  - {id: gpt-4o, base_url: 'https://api.openai.com/v1', api_key: '${NO_SUCH_VARIABLE}'}\n")
    for arguments in (("pricing", *where), ("pricing", "gpt-4o", *where)):
        code, out, err = in_process(*arguments)
        assert (code, err) == (0, "")
        assert "$2.50" in out


@pytest.mark.parametrize(
    ("name", "remedy"), [("gpt-5", "`flexllm set-model gpt-4`"), ("zzz", "`flexllm list` to see them all")]
)
def test_another_default_model_is_suggested(in_process, config, name, remedy):
    """The nearest name, or where the names are."""
    code, _, err = in_process("set-model", name, *config("models:\n  - {id: gpt-4, base_url: 'http://h/v1'}\n"))
    assert code == 3
    assert f"unknown model '{name}'" in err
    assert remedy in err


def test_a_file_that_is_there_is_replaced_on_request_alone(in_process, config):
    """The remedy is the command that does it."""
    code, _, err = in_process("init", *config("models: []\n"))
    assert code == 2
    assert "run `flexllm init --force` to replace it" in err
    assert in_process("init", "--force", *config("models: []\n"))[0] == 0


def test_the_help_option_is_in_chinese_in_any_width(in_process, monkeypatch):
    """Also where its text takes two lines."""
    monkeypatch.setenv("FLEXLLM_LANG", "zh_CN")
    monkeypatch.setenv("COLUMNS", "40")
    code, out, _ = in_process("--help")
    assert code == 0
    assert "Show this" not in out
