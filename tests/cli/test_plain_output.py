"""What is shown where colours or characters are not wanted or not there, and what messages advise."""

from __future__ import annotations

import json
import subprocess
import sys

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
        "  - {id: claude-sonnet-4-5, base_url: 'https://api.anthropic.com', api_key: sk-0123456789abcdef0123456789}\n"
        "  - {id: broken, api_key: '${NO_SUCH_VARIABLE}'}\n"
    )
    code, out, _ = in_process("list", *where)
    assert code == 0
    assert out.splitlines()[:2] == [
        "* 通义千问           qwen               openai  http://h/v1                ***",
        "  claude-sonnet-4-5  claude-sonnet-4-5  claude  https://api.anthropic.com  sk-012...6789",
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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "default: a\ndefault: b\nmodels: [{id: a, base_url: 'http://h/v1'}]\n",
            "line 2, column 1: not valid YAML: the key",
        ),
        (
            "default: b\nmodels: [{id: a, base_url: 'http://h/v1'}]\n",
            "run `flexllm set-model NAME` to choose one of them",
        ),
    ],
)
def test_a_configuration_that_contradicts_itself(in_process, config, text, found):
    """Of a key that stands twice none is chosen silently; a default that is not there can be corrected by a command."""
    code, _, err = in_process("ask", "Hello", *config(text))
    assert code in (2, 3)
    assert found in err


def test_the_second_entry_of_a_name_is_warned_of(in_process, config):
    """It is never asked for; its place and that of the first one are named."""
    where = config("models:\n  - {id: a, base_url: 'http://one/v1'}\n  - {id: a, base_url: 'http://two/v1'}\n")
    assert "models[1]: models[0] is called 'a' too; only that is used" in in_process("list", *where)[2]


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_standard_streams_that_are_closed(cli, files, closed):
    """Commands work as with /dev/null there: no file or socket takes the number of one."""
    files.write_input([{"q": "one"}, {"q": "two"}])
    script = (
        f'exec {closed}; for command in "list" "ask Hello -m mock"; do "$0" -m flexllm_cli $command || exit 1; done; '
    )
    script += f'"$0" -m flexllm_cli batch {files.input} -o {files.output} -m mock'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable], env=cli.environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "internal fault" not in done.stderr
    assert [line["status"] for line in files.lines()] == ["success", "success"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "suggestion"),
    [
        (("batch", "{input}", "-o", "{input}", "-m", "mock"), 5, "choose another output"),
        (("batch", "{input}", "-o", "{folder}", "-m", "mock"), 5, "choose another output"),
        (("report", "{output}", "--html", "{output}"), 2, "choose another file"),
        (
            ("credits", "--vendor", "zzz", "-m", "m", "--base-url", "http://127.0.0.1:1/v1"),
            2,
            "give one of openrouter, ",
        ),
        (("init", "--provider", "zzz"), 2, "give one of openai, claude, "),
    ],
)
def test_a_remedy_is_one_that_works(in_process, files, tmp_path, arguments, exit_code, suggestion):
    """An input is not to be overwritten, and names that there are are named."""
    files.write_input([{"q": "one"}])
    files.output.write_text('{"index": 0, "output": "a", "status": "success"}\n')
    places = {"input": files.input, "output": files.output, "folder": tmp_path}
    code, _, err = in_process(*(argument.format(**places) for argument in arguments))
    report = json.loads(err)
    assert (code, report["exit_code"]) == (exit_code, exit_code)
    assert report["suggestion"].startswith(suggestion)


def test_a_page_in_no_folder(in_process, files, tmp_path):
    """Is an error about the folder, not about a file that nobody named."""
    files.output.write_text('{"index": 0, "output": "a", "status": "success"}\n')
    code, _, err = in_process("report", files.output, "--html", tmp_path / "none" / "page.html")
    assert code == 3
    assert json.loads(err)["message"] == f"{tmp_path / 'none'}: No such file or directory"


def test_values_are_refused_in_the_words_of_this_program_alone(in_process):
    """No trace of how they are checked."""
    code, _, err = in_process("ask", "Hello", "--format", "xml")
    assert code == 2
    assert "'xml' is not one of 'text', 'json'" in err
    assert "Value error" not in err


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
