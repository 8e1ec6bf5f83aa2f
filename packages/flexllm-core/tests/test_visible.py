"""What may reach a terminal."""

from __future__ import annotations

from flexllm_core.visible import visible


def test_control_characters_become_visible():
    """C0 without newline and tab, DEL, C1 and direction marks."""
    assert visible("a\x00\x07\x1b[31m\x7f\x9b\u202eb") == "a\\x00\\x07\\x1b[31m\\x7f\\x9b\\u202eb"
    assert visible("carriage\rreturn") == "carriage\\rreturn"


def test_ordinary_text_is_unchanged():
    """Newlines, tabs, every script, emoji."""
    text = "line\n\ttab · 你好 · שלום · 🙂"
    assert visible(text) == text
