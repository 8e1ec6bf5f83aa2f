"""Words, tokens, draws and JSON strings."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_mock import jsontext
from flexllm_mock.faults.dice import Dice, fraction
from flexllm_mock.identity import chat_digest, content_digest
from flexllm_mock.tokens import content_tokens, split_tokens
from flexllm_mock.words import phrase, sentence_tokens

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(text=ANY_TEXT)
def test_tokens_add_up_to_the_text(text):
    """Splitting loses nothing, and no token is empty."""
    tokens = split_tokens(text)
    assert "".join(tokens) == text
    assert all(tokens)


def test_ideographs_are_tokens_of_their_own():
    """Text without spaces is split too."""
    assert split_tokens("\u4f60\u597d, w\u00f6rld") == ["\u4f60", "\u597d", ",", " w\u00f6rld"]
    assert len(split_tokens("x" * 80)) == 10


@given(key=st.binary(max_size=40), count=st.integers(1, 200))
def test_sentences_have_one_word_per_token(key, count):
    """Text has as many words as tokens, begins with a capital and ends with a full stop."""
    tokens = sentence_tokens(key, count)
    text = "".join(tokens)
    assert len(tokens) == len(text.split()) == count
    assert text[0].isupper()
    assert text.endswith(".")
    assert "  " not in text


def test_phrases_are_words():
    """A phrase has the number of words asked for."""
    assert [len(phrase(b"k", count).split()) for count in (1, 2, 5)] == [1, 2, 5]


def test_draws_are_fixed():
    """Draws never change between versions: recorded runs depend on them."""
    dice = Dice(b"key")
    assert [dice.below(1000) for _ in range(4)] == [288, 496, 53, 193]
    assert [round(fraction(7, ordinal), 6) for ordinal in range(3)] == [0.800807, 0.402581, 0.99332]
    assert "".join(sentence_tokens(b"key", 8)) == "The ladder repairs each corner below each hidden."


def test_draws_stay_in_range():
    """Draws respect their bounds and reach both ends."""
    dice = Dice(b"k")
    assert {dice.between(3, 5) for _ in range(100)} == {3, 4, 5}
    assert {dice.pick("ab") for _ in range(50)} == {"a", "b"}
    shares = [fraction(0, ordinal) for ordinal in range(2000)]
    assert all(0 <= share < 1 for share in shares)
    assert 0.45 < sum(shares) / len(shares) < 0.55


@given(text=ANY_TEXT)
def test_json_strings_are_utf8_and_read_back(text):
    """Any text can be written as UTF-8, and reads back as itself."""
    written = jsontext.string(text).encode()
    assert json.loads(written) == json.loads(json.dumps(text))


def test_text_is_escaped_only_when_it_must_be():
    """Ordinary text stays readable; a lone surrogate is escaped."""
    assert jsontext.string("\u4f60") == '"\u4f60"'
    assert jsontext.string("\ud83d") == '"\\ud83d"'


def test_canonical_json_ignores_layout():
    """Equal values have equal canonical text."""
    assert (
        jsontext.canonical({"b": [1, {"d": None, "c": "\u00e9"}], "a": 1})
        == b'{"a":1,"b":[1,{"c":"\\u00e9","d":null}]}'
    )


@pytest.mark.parametrize(
    ("content", "tokens"),
    [("", 0), ("12345", 2), (None, 0), ([{"type": "text", "text": "1234"}, {"type": "image_url"}], 86)],
)
def test_prompt_tokens_are_estimated(content, tokens):
    """Four characters make a token, and an image 85."""
    assert content_tokens(content) == tokens


@given(
    messages=st.lists(
        st.dictionaries(st.sampled_from(["role", "content", "name"]), ANY_TEXT | st.none() | st.lists(ANY_TEXT))
    )
    | st.none(),
    model=ANY_TEXT | st.none(),
)
def test_digest_of_a_chat(messages, model):
    """The short way to a chat's digest leads to the same digest, whatever the messages hold."""
    assert chat_digest(messages, model) == content_digest({"messages": messages, "model": model})


@given(texts=st.lists(ANY_TEXT))
def test_plain_texts_need_no_escapes(texts):
    """Texts are plain exactly if each is the inside of its own JSON string, in ASCII."""
    expected = all(json.dumps(text) == f'"{text}"' for text in texts)
    assert jsontext.are_plain(texts) == expected
