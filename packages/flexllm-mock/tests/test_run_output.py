"""Fixtures of a finished run's output."""

from __future__ import annotations

import json

import pytest

from flexllm_mock.cli import main
from flexllm_mock.fixtures.files import FixtureError
from flexllm_mock.fixtures.lint import lint
from flexllm_mock.fixtures.run_output import fixtures_from_output


def row(index, text="hi", output="answer", **more):
    messages = [{"role": "user", "content": text}]
    return {"index": index, "output": output, "status": "success", "input": messages, "metadata": {}, **more}


def lines(*rows):
    return [json.dumps(each) for each in rows]


def test_what_a_row_becomes():
    """Text, thinking, calls, usage, model and reason, kept as they are."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    given = row(0, output="{{model}}", reasoning="Hm.", tool_calls=[call], finish_reason="tool_calls", model="m",
                usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, latency=1.0)  # fmt: skip
    [rule] = fixtures_from_output(lines(given), "out").rules
    assert rule["match"] == {"messages": given["input"]}
    assert rule["answer"] == {
        "text": "{{model}}",
        "verbatim": True,
        "thinking": "Hm.",
        "tool_calls": [call],
        "finish_reason": "tool_calls",
        "model": "m",
        "usage": {"reasoning_tokens": 0, "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }


def test_failures():
    """A status comes back; what had none is a closed connection; what was never asked has no rule."""

    def failed(index, text, **error):
        return {**row(index, text, None), "status": "error", "error": error}

    rows = [
        failed(0, "a", type="BadRequestError", status=400, message="No."),
        failed(1, "b", type="TimeoutError", status=None, message="slow"),
        failed(2, "c", type="InputError", message="bad row"),
    ]  # fmt: skip
    converted = fixtures_from_output(lines(*rows), "out")
    steps = [{name: value for name, value in rule.items() if name != "match"} for rule in converted.rules]
    assert steps == [{"status": 400, "error": {"message": "No."}}, {"disconnect": "before"}]
    assert (converted.rows, converted.skipped) == (3, 1)


def test_rows_that_ask_the_same():
    """Equal answers are one rule, different ones a sequence in the order of the rows."""
    rules = fixtures_from_output(lines(row(0), row(1), row(2, "x", "1"), row(3, "x", "2")), "out").rules
    assert rules[0]["answer"]["text"] == "answer"
    assert [step["answer"]["text"] for step in rules[1]["sequence"]] == ["1", "2"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nope", "out:2: not JSON"),
        ("[]", "out:2: not a line of flexllm's output"),
        ('{"q": "x"}', "out:2: not a line of flexllm's output"),
        ('{"output": "x", "status": "success"}', "out:2: the row has no input to match: run with --save-input true"),
    ],
)
def test_what_is_no_output_is_refused(line, said):
    """With its line."""
    with pytest.raises(FixtureError, match=said):
        fixtures_from_output([*lines(row(0)), line], "out")


def test_the_command(tmp_path, capsys, serve):
    """Writes fixtures that the lint accepts and the mock answers from."""
    output, fixtures = tmp_path / "out.jsonl", tmp_path / "f.jsonl"
    output.write_text("\n".join(lines(row(0, "é\u2028", "A {{x}}"), row(1, "two", "B"))) + "\n")
    assert main(["fixtures", "from-output", str(output), "-o", str(fixtures)]) == 0
    assert "2 rules from 2 rows" in capsys.readouterr().err
    assert lint([fixtures]) == (2, [])
    client = serve(fixtures=fixtures)
    assert [client.chat(text).text for text in ("é\u2028", "two")] == ["A {{x}}", "B"]
    assert main(["fixtures", "from-output", str(output), "--match", "user"]) == 0
    assert json.loads(capsys.readouterr().out.split("\n")[1])["match"] == {"user": "two"}
    assert main(["fixtures", "from-output", str(tmp_path / "none")]) == 1
    assert "none: No such file" in capsys.readouterr().err
