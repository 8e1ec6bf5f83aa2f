"""The lint of fixtures: what is wrong, and where."""

from __future__ import annotations

import json

import pytest

from flexllm_mock.cli import main
from flexllm_mock.fixtures.lint import lint


def problems(tmp_path, *rules):
    file = tmp_path / "f.jsonl"
    file.write_text("".join(json.dumps(rule) + "\n" for rule in rules))
    return [line.removeprefix(f"{file}:") for line in lint([file])[1]]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"anwser": "x"}, "1: anwser: unknown key 'anwser'; did you mean 'answer'?"),
        ({"match": {"modle": "x"}, "answer": "x"}, "1: match.modle: unknown key 'modle'; did you mean 'model'?"),
        ({"answer": {"txt": "x"}}, "1: answer.txt: unknown key 'txt'; did you mean 'text'?"),
        ({"match": {"user_regex": "(a"}, "answer": "x"}, "1: match.user_regex: bad regular expression '(a': "),
        ({"match": {"user": 3}, "answer": "x"}, "1: match.user: must be a text, not 3; put it in quotes"),
        ({"match": {"call": 0}, "answer": "x"}, "1: match.call: must be a number from 1 on"),
        ({"match": {"nth": "4-2"}, "answer": "x"}, "1: match.nth: must be a number from 1 on"),
        ({"match": {"vendor": "azure"}, "answer": "x"}, "1: match.vendor: must be openai, claude, gemini"),
        ({"match": {"messages": "x"}, "answer": "x"}, "1: match.messages: must be a list of messages"),
        ({"match": [], "answer": "x"}, "1: match: must be an object"),
        ({"sequence": []}, "1: sequence: must be a list of steps"),
        ({"sequence": [{"status": 9}]}, "1: sequence[0].status: status must be 200 to 599"),
        ({"sequence": [{"answer": "x"}], "answer": "y"}, "1: answer: 'answer' beside a sequence"),
        ({"status": 429, "error": {"code": "x"}}, "1: error: must have a message"),
        ({"error": "x"}, "1: error: needs a status of 400 or more beside it"),
        ({"answer": "x", "body": {}}, "1: answer: only one of answer, error, body and raw_body"),
        ({"answer": {"text": "x", "refusal": "y"}}, "1: answer.refusal: only one of text and refusal"),
        ({"answer": {"finish_reason": "a b"}}, "1: answer.finish_reason: must be a word"),
        ({"answer": {"tool_calls": [{"arguments": {}}]}}, "1: answer.tool_calls[0]: must have a name"),
        ({"answer": {"tool_calls": [{"name": "f", "arguments": 3}]}}, "1: answer.tool_calls[0].arguments: must be an"),
        ({"answer": {"usage": {"prompt_tokens": -1}}}, "1: answer.usage.prompt_tokens: must be an integer of 0"),
        ({"answer": "{{user}}"}, "1: answer: unknown placeholder {{user}}; `verbatim: true`"),
        ({"answer": "{{group.1}}"}, "1: answer: {{group.1}}: no pattern of the rule's match has the group '1'"),
        ({"per": "user", "answer": "x"}, "1: per: must be content or rule, not 'user'"),
        ({"times": 0, "answer": "x"}, "1: times: must be an integer of 1 or more"),
        (["answer"], "1: must be an object"),
    ],
)
def test_what_is_wrong_with_a_rule(tmp_path, rule, said):
    """The message names the place and what would be right."""
    [found] = problems(tmp_path, rule)
    assert found.startswith(said)


@pytest.mark.parametrize(
    ("first", "second", "hidden"),
    [
        ({}, {"user": "x"}, True),
        ({"model": "gpt-*"}, {"model": "gpt-4", "user": "x"}, True),
        ({"model": "gpt-4"}, {"model": "gpt-*"}, False),
        ({"user_contains": "a"}, {"user": "cat"}, True),
        ({"user_contains": "a"}, {"user_contains": "at"}, True),
        ({"user_contains": "at"}, {"user_contains": "a"}, False),
        ({"user_regex": "^c"}, {"user": "cat"}, True),
        ({"user_regex": "^c"}, {"user_contains": "cat"}, False),
        ({"user": "x"}, {"user": "x"}, True),
        ({"user": "x"}, {"user": "y"}, False),
        ({"call": 1}, {}, False),
        ({"nth": 1}, {"user": "x"}, False),
        ({"header": {"a": "*"}}, {"header": {"a": "1"}}, True),
        ({"header": {"a": "*"}}, {"user": "x"}, False),
        ({"tool": "f"}, {"tool": "f", "vendor": "claude"}, True),
        ({"system": "s"}, {"user": "x"}, False),
    ],
)
def test_rules_that_are_never_reached(tmp_path, first, second, hidden):
    """An earlier rule answers everything that they match."""
    found = problems(tmp_path, {"match": first, "answer": "1"}, {"match": second, "answer": "2"})
    assert len(found) == hidden
    assert not hidden or (found[0].startswith("2: never reached") and found[0].split(" rule at ")[1].split(" ")[0])


def test_a_rule_with_an_end_hides_nothing(tmp_path):
    """`times` leaves the rest for later rules."""
    assert problems(tmp_path, {"times": 2, "status": 429}, {"answer": "2"}) == []


def test_lines_in_json_and_yaml(tmp_path):
    """Of the key that is wrong."""
    (tmp_path / "a.json").write_text('[\n  {"answer": "x", "match": {"user": "1"}},\n  {\n    "anwser": "y"\n  }\n]\n')
    assert lint([tmp_path / "a.json"])[1][0].startswith(f"{tmp_path / 'a.json'}:4: anwser")
    pytest.importorskip("yaml")
    file = tmp_path / "b.yaml"
    file.write_text("- answer: x\n  match:\n    user: y\n    modle: z\n\n- answer: x\n  answer: y\n")
    assert lint([file])[1] == [f"{file}:7: the key 'answer' stands here twice"]
    file.write_text("fixtures:\n- answer: x\n  match:\n    user: y\n    modle: z\n")
    assert lint([file])[1][0].startswith(f"{file}:5: match.modle: unknown key")
    file.write_text("- answer: x\n  a: [\n")
    assert lint([file])[1][0].startswith(f"{file}:3: not YAML")
    file.write_text("answer: x\nmatch: {user: z}\n")
    assert lint([file]) == (1, [])
    file.write_text("")
    assert lint([file]) == (0, [])


def test_the_command(tmp_path, capsys):
    """0 and a line that says how many, or 1 and the problems."""
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text('{"answer": "x"}\n')
    bad.write_text('{"answr": "x"}\nnot json\n')
    assert main(["lint", str(good)]) == 0
    assert capsys.readouterr().out == "1 rule, nothing wrong\n"
    assert main(["lint", str(good), str(bad), str(tmp_path / "none.json")]) == 1
    assert "bad.jsonl:2: not JSON" in capsys.readouterr().out
