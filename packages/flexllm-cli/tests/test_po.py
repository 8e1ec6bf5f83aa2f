"""Catalogues in their text form."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_cli.po import read_po

TEXT = """\
# A comment
msgid ""
msgstr ""
"Language: zh_CN\\n"

#: somewhere.py:1
msgid "one \\"quoted\\""
msgstr "eins\\n"

msgid ""
"over "
"lines"
msgstr "a"
"b"

msgid "not translated"
msgstr ""
"""


def test_messages_and_their_translations_are_read():
    """Escapes, texts over several lines; the header and what has no translation are left out."""
    assert read_po(TEXT) == {'one "quoted"': "eins\n", "over lines": "ab"}


@pytest.mark.parametrize("text", ['msgid "open', 'msgstr "before"', "msgid_plural x", '"nowhere"', "msgid 1"])
def test_what_is_no_catalogue_is_refused_with_its_line(text):
    """Never a silently smaller catalogue."""
    with pytest.raises(ValueError, match="line 1 "):
        read_po(text)


@given(st.text())
def test_any_text_is_a_catalogue_or_refused(text):
    """Nothing else happens."""
    with contextlib.suppress(ValueError):
        assert all(isinstance(part, str) and part for pair in read_po(text).items() for part in pair)
