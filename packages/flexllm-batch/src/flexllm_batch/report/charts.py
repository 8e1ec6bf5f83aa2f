"""Charts of a report as SVG elements, for a page whose style sheet has their classes. All text is escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from flexllm_batch.histogram import Histogram
from flexllm_core.visible import visible

_WIDTH, _HEIGHT, _AXIS = 720, 180, 22
_SHORTEST = 1e-4  # seconds; what took less stands in the first bar


def shown(text: str) -> str:
    r"""Text with control characters, marks of direction and lone surrogates as visible escapes.

    >>> shown("a\x1bb\ud83dc")
    'a\\x1bb\\ud83dc'
    """
    return visible(text).encode("utf-8", "backslashreplace").decode("utf-8")


def escaped(text: object) -> str:
    """Text for HTML, with what cannot be seen made visible."""
    return html.escape(shown(str(text)))


def share_bar(parts: Sequence[tuple[str, str, int]]) -> str:
    """A bar of parts, each of a class of the style sheet, with a name and a count, as wide as their shares."""
    total = sum(count for _, _, count in parts)
    if not total:
        return ""
    pieces, left = [], 0.0
    for css, name, count in parts:
        width = _WIDTH * count / total
        if count:
            title = f"<title>{escaped(name)}: {count:,} ({count / total:.1%})</title>"
            pieces.append(
                f'<rect class="{escaped(css)}" x="{left:.2f}" y="0" width="{width:.2f}" height="22">{title}</rect>'
            )
        left += width
    label = ", ".join(f"{count} {name}" for _, name, count in parts)
    return _svg("".join(pieces), 22, label)


def latency_chart(histogram: Histogram, count: int = 48, *, label: str = "latency") -> str:
    """How many answers took how long, over a logarithmic axis of seconds."""
    bars = latency_bins(histogram, count)
    if not bars:
        return ""
    most = max(number for _, _, number in bars)
    width = _WIDTH / len(bars)
    pieces = []
    for place, (low, high, number) in enumerate(bars):
        if number:
            height = max(1.0, _HEIGHT * number / most)
            title = f"<title>{seconds_text(low)} - {seconds_text(high)}: {number:,}</title>"
            left, top = place * width + 0.5, _HEIGHT - height
            size = f'x="{left:.2f}" y="{top:.2f}" width="{max(width - 1, 0.5):.2f}" height="{height:.2f}"'
            pieces.append(f'<rect class="bar" {size}>{title}</rect>')
    for share in range(5):
        low, high = bars[0][0], bars[-1][1]
        value = low * (high / low) ** (share / 4)
        anchor = ("start", "middle", "middle", "middle", "end")[share]
        x, y = share * _WIDTH // 4, _HEIGHT + 16
        pieces.append(f'<text class="tick" x="{x}" y="{y}" text-anchor="{anchor}">{seconds_text(value)}</text>')
    return _svg("".join(pieces), _HEIGHT + _AXIS, label)


def latency_bins(histogram: Histogram, count: int) -> list[tuple[float, float, int]]:
    """The histogram in `count` bins that are equally wide on a logarithmic axis: from, to, and how many."""
    ranges = list(histogram.ranges())
    if not ranges:
        return []
    low = max(_SHORTEST, ranges[0][0])
    high = max(ranges[-1][1], low * 1.5)
    span = math.log(high / low)
    bins = [0] * count
    for start, end, number in ranges:
        middle = max(low, (start + end) / 2)
        bins[min(count - 1, int(math.log(middle / low) / span * count))] += number
    edges = [low * math.exp(span * place / count) for place in range(count + 1)]
    return [(edges[place], edges[place + 1], number) for place, number in enumerate(bins)]


def seconds_text(seconds: float) -> str:
    """A duration with two digits that count.

    >>> seconds_text(0.00042), seconds_text(0.35), seconds_text(4.23), seconds_text(95)
    ('0.4 ms', '350 ms', '4.2 s', '95 s')
    """
    if seconds < 0.01:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _svg(content: str, height: int, label: str) -> str:
    # One unit is one pixel at full width; on narrow screens it shrinks.
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escaped(label)}">{content}</svg>'
