"""Columns of text that stand below each other, also where characters are two columns wide."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def width_of(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # most tables need none of it

    return cell_len(text)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """A text with spaces behind it, or before it, up to a width."""
    spaces = " " * (width - width_of(text))
    return spaces + text if right else text + spaces


def aligned(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """A line for each row, its cells as wide as the widest of their column.

    Args:
        rows: The cells; each row has as many.
        right: Columns, counted from 0, whose cells end below each other, such as numbers.
    """
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            padded(cell, width, right=place in right)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
