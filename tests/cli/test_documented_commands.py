"""What the user's documents show works as it is written there: commands, options, formats, output, configuration."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import pytest
import yaml

from flexllm_mock import MockServer

KEY = "sk-or-v1-cef5a7" + "0123456789abcdef" * 3 + "8559"

CONFIGURATION = """\
default: "gpt-4"                # default model
models:
  - id: gpt-4
    name: gpt-4
    provider: openai
    base_url: https://api.openai.com/v1
    api_key: your-api-key
  - id: local-ollama
    name: local-ollama
    provider: openai
    base_url: http://localhost:11434/v1
    api_key: EMPTY
batch:                          # optional
  concurrency: 10               # global default, an endpoint's own value wins
  max_qps: 100                  # requests per second, global default
  timeout: 120                  # seconds
  cache: false
  return_usage: true            # token counts in the output
  track_cost: true              # live cost in the bar
  endpoints:                    # several endpoints: batch uses LLMClientPool by itself
    - base_url: http://fast-api.com/v1
      api_key: key1
      model: qwen
      concurrency_limit: 50     # optional
      max_qps: 500              # optional
    - base_url: http://slow-api.com/v1
      api_key: key2
      model: qwen
      concurrency_limit: 5
      max_qps: 50
  fallback: true                # on failure go to another endpoint
"""


@pytest.fixture(scope="module")
def server():
    """A mock server for the whole module."""
    with MockServer() as server:
        yield server


@pytest.fixture
def documented(in_process, server, tmp_path, monkeypatch):
    """Run a line of the documents in a folder with what they name; exit code, stdout, stderr."""
    server.reset()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input.jsonl").write_text("".join(f'{{"q": "question {n}", "id": "{n:03}"}}\n' for n in range(8)))
    (tmp_path / "data.jsonl").write_text('{"text": "one", "sys_prompt": "Be brief"}\n{"text": "two"}\n')
    folder = tmp_path / ".flexllm"
    folder.mkdir(mode=0o700)
    config = folder / "config.yaml"
    names = ("gpt-4", "grok-4", "local-ollama")
    models = [{"id": name, "base_url": server.base_url, "api_key": KEY} for name in names]
    config.write_text(yaml.safe_dump({"default": "gpt-4", "models": models}))
    config.chmod(0o600)

    def run(line, text=""):
        words = shlex.split(line)
        if "|" in words:  # echo "a text" | flexllm ...
            pipe = words.index("|")
            text, words = " ".join(words[1:pipe]) + "\n", words[pipe + 1 :]
        assert words.pop(0) in ("flexllm", "xllm")
        return in_process(*words, text=text)

    return run


def answers(tmp_path, name="output.jsonl"):
    return [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]


def last_body(server):
    return json.loads(server.requests[-1].body)


LINES = [
    'flexllm ask "What is Python?"',
    'flexllm ask "Explain this code" -s "You are a code expert"',
    'echo "a long text" | flexllm ask "Summarise"',
    "flexllm chat",
    'flexllm chat "Hello" -m gpt-4',
    "flexllm test",
    "flexllm pricing gpt-4o",
    "flexllm list",
    "flexllm set-model gpt-4",
    "flexllm models",
    "flexllm batch input.jsonl -o output.jsonl",
    "flexllm batch input.jsonl -o output.jsonl -n 5",
    "flexllm batch input.jsonl -o output.jsonl -m gpt-4 -c 20",
    "flexllm batch data.jsonl -o out.jsonl -uf text -sf sys_prompt",
    'flexllm batch input.jsonl -o output.jsonl -s "You are helpful"',
    'flexllm batch input.jsonl -o output.jsonl --system "You are helpful"',
    "flexllm batch input.jsonl -o output.jsonl --save-input false",
    "flexllm version",
    "xllm version",
    "flexllm --install-completion --help",
    "flexllm mock --help",
]


@pytest.mark.parametrize("line", LINES)
def test_each_line_works_as_written(documented, line):
    """Exit code 0, and neither a warning nor an error."""
    code, out, err = documented(line, text="Hello\n" if "chat" in line else "")
    assert code == 0, err
    assert out + err
    assert "warning" not in err
    assert "error" not in err


def test_chat_answers_each_line_that_is_piped(documented, server):
    """The whole conversation goes with the second message."""
    code, out, err = documented("flexllm chat", text="Hello\nAnd then?\n")
    assert code == 0, err
    assert len(out.splitlines()) >= 2
    roles = [message["role"] for message in last_body(server)["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_a_price_is_shown(documented):
    """Of a known model, per kind of token."""
    out = documented("flexllm pricing gpt-4o")[1]
    assert "input" in out
    assert "output" in out
    assert "2.5" in out


def test_both_names_are_commands():
    """`flexllm` and `xllm` are installed beside each other."""
    folder = os.path.dirname(sys.executable)
    assert all(os.access(os.path.join(folder, name), os.X_OK) for name in ("flexllm", "xllm"))


def test_ask_sends_the_system_prompt_and_the_piped_text(documented, server):
    """`-s` is a system message; what is piped stands behind the question."""
    documented('flexllm ask "Explain this code" -s "You are a code expert"')
    assert last_body(server)["messages"] == [
        {"role": "system", "content": "You are a code expert"},
        {"role": "user", "content": "Explain this code"},
    ]
    documented('echo "a long text" | flexllm ask "Summarise"')
    assert last_body(server)["messages"] == [{"role": "user", "content": "Summarise\n\na long text"}]


def test_a_quick_trial_asks_only_the_first_rows(documented, server, tmp_path):
    """`-n 5`; the whole command then asks the others, and the resumed rows are not asked again."""
    documented("flexllm batch input.jsonl -o output.jsonl -n 5")
    assert [line["index"] for line in answers(tmp_path)] == [0, 1, 2, 3, 4]
    documented("flexllm batch input.jsonl -o output.jsonl")
    assert [line["index"] for line in answers(tmp_path)] == list(range(8))
    assert len(server.requests) == 8


def test_an_output_line_is_as_documented(documented, tmp_path):
    """index, output, status, input (the messages after conversion) and metadata (the other fields), in this order."""
    documented("flexllm batch input.jsonl -o output.jsonl")
    line = answers(tmp_path)[1]
    assert list(line)[:5] == ["index", "output", "status", "input", "metadata"]
    assert isinstance(line.pop("output"), str)
    known = {key: line[key] for key in ("index", "status", "input", "metadata")}
    assert known == {
        "index": 1,
        "status": "success",
        "input": [{"role": "user", "content": "question 1"}],
        "metadata": {"id": "001"},
    }


@pytest.mark.parametrize(("value", "kept"), [("true", 2), ("last", 1), ("false", None)])
def test_save_input_keeps_what_it_says(documented, tmp_path, value, kept):
    """All messages, the last one, or no `input`."""
    documented(f'flexllm batch input.jsonl -o output.jsonl -s "You are helpful" --save-input {value}')
    saved = answers(tmp_path)[0].get("input")
    assert (None if saved is None else len(saved)) == kept


OPTIONS = [
    "-o", "--output", "-n 1", "--limit 1", "-m gpt-4", "--model gpt-4", "-c 2", "--concurrency 2", "-s x", "--system x",
    "-uf q", "--user-field q", "-sf id", "--system-field id", "--save-input true", "--save-input last",
    "--save-input false", "--track-cost", "--cache", "--no-cache", "-t 0.5", "--temperature 0.5", "--max-tokens 9",
]  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_of_batch_is_taken(documented, option):
    """In its long and its short form."""
    output = f"{option} output.jsonl" if option in ("-o", "--output") else f"-o output.jsonl {option}"
    code, _, err = documented(f"flexllm batch input.jsonl {output}")
    assert code == 0, err


SYSTEM = {"role": "system", "content": "Be brief"}
USER = {"role": "user", "content": "Hello"}
FORMATS = {
    "openai_chat": ({"messages": [SYSTEM, USER], "id": 1}, [SYSTEM, USER]),
    "openai_chat before alpaca": ({"messages": [USER], "instruction": "no"}, [USER]),
    "alpaca": ({"instruction": "Hello", "id": 1}, [USER]),
    "alpaca with input": (
        {"instruction": "Add", "input": "1 and 2", "system": "Be brief"},
        [SYSTEM, {"role": "user", "content": "Add\n\n1 and 2"}],
    ),
    **{f"simple: {name}": ({name: "Hello", "id": 1}, [USER]) for name in ("q", "question", "prompt", "input", "user")},
    "simple with system": ({"q": "Hello", "system": "Be brief"}, [SYSTEM, USER]),
}


@pytest.mark.parametrize(("row", "messages"), FORMATS.values(), ids=FORMATS)
def test_each_input_format_is_recognised(documented, tmp_path, row, messages):
    """And fields that belong to none are metadata."""
    (tmp_path / "input.jsonl").write_text(json.dumps(row) + "\n")
    documented("flexllm batch input.jsonl -o output.jsonl")
    line = answers(tmp_path)[0]
    assert line["input"] == messages
    if "id" in row:
        assert line["metadata"] == {"id": 1}


def test_custom_fields_skip_the_detection(documented, tmp_path):
    """`-uf` and `-sf`, even where the row has a format's fields too."""
    row = {"q": "no", "text": "Hello", "sys_prompt": "Be brief"}
    (tmp_path / "data.jsonl").write_text(json.dumps(row) + "\n")
    documented("flexllm batch data.jsonl -o out.jsonl -uf text -sf sys_prompt")
    line = answers(tmp_path, "out.jsonl")[0]
    assert (line["input"], line["metadata"]) == ([SYSTEM, USER], {"q": "no"})


def test_the_global_system_prompt_wins_over_the_rows(documented, tmp_path):
    """`-s` before the record's own."""
    (tmp_path / "input.jsonl").write_text('{"q": "Hello", "system": "of the row"}\n')
    documented('flexllm batch input.jsonl -o output.jsonl -s "Be brief"')
    assert answers(tmp_path)[0]["input"] == [SYSTEM, USER]


def test_rows_piped_from_a_converter_are_answered(cli, mock, tmp_path):
    """A real pipe, with lines as `dt transform qa.jsonl --preset=openai_chat` prints them."""
    rows = [
        '{"messages":[{"role":"user","content":"What is 2+2?"},{"role":"assistant","content":"4"}]}',
        '{"messages":[{"role":"user","content":"Capital of France?"},{"role":"assistant","content":"Paris"}]}',
    ]
    (tmp_path / "converted.jsonl").write_text("\n".join(rows) + "\n")
    environment = {**cli.environment(), "FLEXLLM_BASE_URL": mock.base_url, "FLEXLLM_MODEL": "m"}
    command = f"cat converted.jsonl | {shlex.quote(sys.executable)} -m flexllm batch -o output.jsonl"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line["input"] for line in answers(tmp_path)] == [json.loads(row)["messages"] for row in rows]


CREDITS = {
    "en": """\
OpenRouter account balance
Model entry: grok-4
API Key: sk-or-v1-cef5a7...8559
----------------------------------------
  Remaining: $96.63
  Limit: $150.00
  Used: $53.37
  Today: $3.3637
  This month: $53.36
""",
    "zh_CN": """\
OpenRouter 账户余额
模型配置: grok-4
API Key: sk-or-v1-cef5a7...8559
----------------------------------------
  剩余额度: $96.63
  总额度上限: $150.00
  已使用: $53.37
  今日消费: $3.3637
  本月消费: $53.36
""",
}


@pytest.mark.parametrize("language", CREDITS)
def test_credits_are_shown_as_documented(documented, server, tmp_path, monkeypatch, language):
    """Label, amount and currency lines of OpenRouter, the masked key and the model's entry."""
    monkeypatch.setenv("FLEXLLM_LANG", language)
    config = tmp_path / ".flexllm" / "config.yaml"
    entry = {"id": "grok-4", "base_url": f"{server.url}/api/v1", "api_key": KEY, "dialect": {"kind": "openrouter"}}
    config.write_text(yaml.safe_dump({"models": [entry]}))
    for line in ("flexllm credits", "flexllm credits -m grok-4"):
        code, out, err = documented(line)
        assert (code, out) == (0, CREDITS[language]), err


def test_credits_of_a_server_whose_entry_does_not_say_what_it_is(documented, server, tmp_path):
    """Are asked for with --vendor; without, it is a server of one's own."""
    config = tmp_path / ".flexllm" / "config.yaml"
    config.write_text(config.read_text().replace(server.base_url, f"{server.url}/api/v1"))
    assert documented("flexllm credits -m grok-4 --vendor openrouter")[:2] == (0, CREDITS["en"])
    code, _, err = documented("flexllm credits -m grok-4")
    assert code != 0
    assert "server of your own" in err


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("https://api.anthropic.com", "admin key"),
        ("https://api.x.ai/v1", "management key"),
        ("https://api.together.xyz/v1", "no public API"),
        ("https://api.groq.com/openai/v1", "no public API"),
        ("https://api.mistral.ai/v1", "no public API"),
    ],
)
def test_vendors_without_a_balance_are_said_to_be(documented, tmp_path, host, words):
    """Which cannot be asked, and why; nothing is sent."""
    (tmp_path / ".flexllm" / "config.yaml").write_text(f"models: [{{id: m, base_url: '{host}', api_key: EMPTY}}]\n")
    code, _, err = documented("flexllm credits")
    assert code != 0
    assert words in err


def test_the_configuration_example_is_valid_as_a_whole(documented, tmp_path):
    """No warning; the default is marked and keys are masked."""
    (tmp_path / ".flexllm" / "config.yaml").write_text(CONFIGURATION)
    code, out, err = documented("flexllm list")
    assert (code, err) == (0, "")
    assert out.startswith("* gpt-4")
    assert "your-api-key" not in out
    assert "  local-ollama" in out


def test_the_endpoints_of_the_example_share_the_work(documented, tmp_path):
    """`batch.endpoints` as it is documented, with the addresses of two servers: batch uses both of them."""
    with MockServer() as fast, MockServer() as slow:
        text = CONFIGURATION.replace("http://fast-api.com/v1", fast.base_url)
        text = text.replace("http://slow-api.com/v1", slow.base_url)
        (tmp_path / ".flexllm" / "config.yaml").write_text(text)
        rows = "".join(f'{{"q": "question {n}"}}\n' for n in range(60))
        (tmp_path / "input.jsonl").write_text(rows)
        code, _, err = documented("flexllm batch input.jsonl -o output.jsonl")
        assert code == 0, err
        assert "60 ok, 0 failed" in err
        assert len(fast.requests) + len(slow.requests) == 60
        assert fast.requests
        assert slow.requests
    assert {line["model"] for line in answers(tmp_path)} == {"qwen"}
    assert all(line["usage"]["total_tokens"] > 0 for line in answers(tmp_path))


@pytest.mark.parametrize("prefix", ["FLEXLLM", "OPENAI"])
def test_the_environment_stands_in_for_a_file(documented, server, tmp_path, monkeypatch, prefix):
    """Base URL, key and model, by either prefix."""
    (tmp_path / ".flexllm" / "config.yaml").unlink()
    for name, value in {"BASE_URL": server.base_url, "API_KEY": KEY, "MODEL": "from-environment"}.items():
        monkeypatch.setenv(f"{prefix}_{name}", value)
    assert documented("flexllm ask Hello")[0] == 0
    assert last_body(server)["model"] == "from-environment"


def test_init_creates_the_configuration(documented, tmp_path):
    """At the documented place, and it is valid."""
    path = tmp_path / ".flexllm" / "config.yaml"
    path.unlink()
    assert documented("flexllm init")[0] == 0
    assert path.exists()
    assert "warning" not in documented("flexllm list")[2]
