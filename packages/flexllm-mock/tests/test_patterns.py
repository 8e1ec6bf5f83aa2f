"""Texts for regular expressions."""

from __future__ import annotations

import re

import pytest

from flexllm_mock.faults.dice import Dice
from flexllm_mock.patterns import Pattern, PatternError


@pytest.mark.parametrize(
    "source",
    [
        "",
        "abc",
        r"^[A-Z]{3}-\d{4}$",
        r"^\d+(\.\d{1,2})?$",
        r"(red|green|blue|)",
        r"^[^a-z]+$",
        r"[]a]+",
        r"[a\-z]",
        r"[a-]",
        r"[\w.]+@[\w.]+\.com",
        r"^(?:a|b)*c$",
        r"(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])",
        r"\x41\u0042\.\n\t",
        r"a{2,}b{,3}c{0}",
        r"x{y}",
        r"\S\D\W",
        r"^\s?.*?$",
        r"\bword\b",
        r"[\b]",
        r"[\d\x30-\x39]",
        r"^((a|b){2}|c)+$",
        r"\/\-\$",
    ],
)
def test_texts_match(source):
    """Every text that is written for a pattern matches it."""
    pattern = Pattern(source)
    for number in range(30):
        text = pattern.sample(Dice(number.to_bytes(2, "big")), growth=number % 3)
        assert re.search(source, text), text


def test_javascript_group_names():
    """JSON schema's patterns are JavaScript's, which writes named groups without the P."""
    assert Pattern("(?<n>a)b").sample(Dice(b"k")) == "ab"


@pytest.mark.parametrize(
    "source",
    [
        "(",
        ")",
        "a)",
        "[",
        "[a",
        "[z-a]",
        "[a-\\d]",
        "*a",
        "a|+",
        "a{3,2}",
        "a{99999}",
        "(?=a)",
        "(?<!a)",
        "(?<n",
        "\\",
        r"\1",
        r"\p{L}",
        r"\xZZ",
        "[^ -~]",
    ],
)
def test_unsupported_patterns_say_so(source):
    """A pattern that is wrong or not supported raises an error that shows it."""
    with pytest.raises(PatternError, match="pattern"):
        Pattern(source)
