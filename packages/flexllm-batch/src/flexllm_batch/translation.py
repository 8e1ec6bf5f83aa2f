"""Texts for people in a language of the caller's choice: this package has English ones, and asks for no other."""

from __future__ import annotations

from collections.abc import Callable

Translate = Callable[[str], str]
"""Gives a text, or a template with `{names}` where values stand, in another language; unchanged where it has none."""


def untranslated(text: str) -> str:
    """The text as it is."""
    return text
