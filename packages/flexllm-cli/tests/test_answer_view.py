"""What is made of an answer's text."""

from __future__ import annotations

import pytest

from flexllm_cli.answer_view import code_block


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Here:\n```python\nprint(1)\n```\nDone.", "print(1)\n"),
        ("```\none\n```\n```\ntwo\n```", "one\n"),
        ("````md\n```\ninner\n```\n````", "```\ninner\n```\n"),
        ("~~~\na\n~~~", "a\n"),
        ("```\ncut off", "cut off"),
        ("```\n```", ""),
        ("no code, `inline` and ```inline``` alone", None),
        ("```inline``` at the beginning", None),
        ("", None),
    ],
)
def test_the_first_code_block(text, code):
    """As Markdown has it: a fence is closed by one that is as long, or by the end of the text."""
    assert code_block(text) == code


def test_many_fences_take_no_time():
    """A hostile answer of fences of all lengths is read once."""
    text = "".join("`" * length + "\n" for length in range(3000, 3, -1)) * 2
    assert code_block(text) is not None
