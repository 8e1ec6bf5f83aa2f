"""Question and answer pairs."""

from __future__ import annotations

import json

import pytest

from flexllm_mock.fixtures.files import FixtureError
from flexllm_mock.fixtures.qa import QuestionBook, read_pairs


def test_exact_first_then_the_longest_question_in_the_text(serve):
    """What no question is in, the mock answers by itself."""
    client = serve(qa={"What is it?": "A mock.", "What": "short", "is it? And": "longest here"})
    assert client.chat("What is it?").text == "A mock."
    assert client.chat(" What is it?\n").text == "A mock."
    assert client.chat("Tell me: What is it? Now.").text == "A mock."
    assert client.chat("What else").text == "short"
    assert client.chat("nothing").text not in ("A mock.", "short", "longest here")


def test_every_wire_answers_from_the_book(serve):
    """Claude and Gemini too."""
    client = serve(qa={"Why?": "Because."})
    assert client.messages("Why?").json["content"][0]["text"] == "Because."
    assert client.generate("Why?").json["candidates"][0]["content"]["parts"][0]["text"] == "Because."


def test_fixtures_come_first(serve):
    """The book answers what no rule does."""
    client = serve(qa={"Why?": "Because."}, fixtures=[{"match": {"user": "Why?", "call": 1}, "status": 429}])
    assert [client.chat("Why?").status, client.chat("Why?").text] == [429, "Because."]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("f.jsonl", '{"question": "Q1", "answer": "A1"}\n\n["Q2", "A2"]\n'),
        ("f.json", '[{"q": "Q1", "a": "A1", "id": 7}, {"prompt": "Q2", "completion": "A2"}]'),
        ("g.json", '{"Q1": "A1", "Q2": "A2"}'),
        ("f.csv", "id,Question,Answer\n1,Q1,A1\n2,Q2,A2\n"),
        ("g.csv", "Q1,A1\r\nQ2,A2\r\n"),
        ("f.tsv", "Q1\tA1\nQ2\tA2\n"),
        ("h.csv", "\ufeffquestion,answer\nQ1,A1\n\nQ2,A2\n"),
    ],
)
def test_formats(tmp_path, name, text):
    """JSON Lines, JSON and CSV, with names or without."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_pairs(tmp_path / name) == [("Q1", "A1"), ("Q2", "A2")]


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("f.jsonl", '["a", "b"]\n{"question": "only"}\n', "line 2: expected a question and an answer"),
        ("f.jsonl", "{", "not JSON"),
        ("f.json", "3", "a list of pairs"),
        ("f.csv", "a,b,c\n", "line 1: expected"),
        ("f.csv", 'a,"b\n', "not CSV"),
        ("f.json", '{"q": 3}', "'q': expected"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, name, text, place):
    """With its line or item."""
    (tmp_path / name).write_text(text)
    with pytest.raises(FixtureError, match=place):
        read_pairs(tmp_path / name)


def test_a_missing_file_is_an_error(serve, tmp_path):
    """When the server starts."""
    with pytest.raises(FixtureError, match="No such file"):
        serve(qa=tmp_path / "none.jsonl")


def test_the_longest_question_is_found_among_many():
    """The index finds what comparing with every question does."""
    questions = [f"{'ab' * (at % 7)}{at % 13}" for at in range(200)]
    book = QuestionBook((question, f"A {question}") for question in questions)
    for text in ("xxabab3", "ababababab12 abab7", "1", "zz", json.dumps(questions)):
        held = [question for question in questions if question in text]
        longest = max(map(len, held), default=0)
        answer = book.answer(text)
        assert (answer is None) == (not held)
        assert answer is None or len(answer) == 2 + longest
