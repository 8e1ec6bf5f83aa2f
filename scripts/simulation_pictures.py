"""What the pictures of simulations have in common: the simulated servers, virtual time, and lines in an SVG."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT / "packages" / "flexllm-batch" / "tests" / "simulation"))  # `simulated_server` and others

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 840, 380, 56, 16, 44, 48
BASE_STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #333 }
    .grid { stroke: #ddd; stroke-width: 1 }
"""
DARK_BASE_STYLE = "text { fill: #ccc } .grid { stroke: #444 }"


def run_in_virtual_time(main: Callable[[], Awaitable[None]]) -> None:
    """Run a simulation on the loop of the tests, whose clock jumps."""
    spec = importlib.util.spec_from_file_location("root_conftest", ROOT / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    async def run() -> None:
        await main()

    with asyncio.Runner(loop_factory=module.VirtualTimeLoop) as runner:
        runner.run(run())


@dataclass(frozen=True)
class Series:
    """What is drawn: a class of the style, its mark in the legend (`line` or `bar`), where that is, and its name."""

    kind: str
    mark: str
    at: int
    name: str


@dataclass(frozen=True)
class Chart:
    """Rates over minutes.

    Attributes:
        end: Seconds.
        most: The highest rate.
        step: Between the rates that are written at the side.
        title: What a reader who cannot see it is told.
        series: What is drawn.
        style: Of the series.
        dark_style: Of the series in a dark window.
    """

    end: float
    most: float
    step: int
    title: str
    series: tuple[Series, ...]
    style: str
    dark_style: str

    def x(self, time: float) -> float:
        """Where a time is."""
        return round(LEFT + (WIDTH - LEFT - RIGHT) * time / self.end, 1)

    def y(self, rate: float) -> float:
        """Where requests per second are."""
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(rate, self.most) / self.most, 1)

    def line(self, kind: str, points: Iterable[tuple[float, float]]) -> str:
        """A line through times and rates."""
        places = " ".join(f"{self.x(time)},{self.y(rate)}" for time, rate in points)
        return f'<polyline class="{kind}" points="{places}"/>'

    def bar(self, kind: str, start: float, seconds: float, rate: float) -> str:
        """A bar from the bottom, a little narrower than its time."""
        width, height = self.x(seconds) - self.x(0) - 1, round(self.y(0) - self.y(rate), 1)
        return f'<rect class="{kind}" x="{self.x(start)}" y="{self.y(rate)}" width="{width:.1f}" height="{height}"/>'

    def svg(self, shapes: Iterable[str]) -> str:
        """The picture."""
        body = "\n".join([*self._axes(), *self._legend(), *shapes])
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        dark = f"    @media (prefers-color-scheme: dark) {{ {DARK_BASE_STYLE} {self.dark_style} }}\n"
        return f"{head}\n<title>{self.title}</title>\n<style>{BASE_STYLE}{self.style}{dark}</style>\n{body}\n</svg>\n"

    def _axes(self) -> list[str]:
        """The grid, its numbers, and what they are."""
        out = []
        for rate in range(0, int(self.most) + 1, self.step):
            out.append(f'<line class="grid" x1="{LEFT}" y1="{self.y(rate)}" x2="{WIDTH - RIGHT}" y2="{self.y(rate)}"/>')
            out.append(f'<text x="{LEFT - 8}" y="{self.y(rate) + 4}" text-anchor="end">{rate}</text>')
        out.extend(
            f'<text x="{self.x(minute * 60)}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{minute}</text>'
            for minute in range(int(self.end // 60) + 1)
        )
        out.append(f'<text x="{self.x(self.end / 2)}" y="{HEIGHT - 8}" text-anchor="middle">minutes</text>')
        out.append(f'<text x="12" y="{TOP - 16}">requests per second</text>')
        return out

    def _legend(self) -> list[str]:
        """Which mark is what."""
        out = []
        for one in self.series:
            out.append(
                f'<rect class="{one.kind}" x="{one.at}" y="{TOP - 27}" width="24" height="8"/>'
                if one.mark == "bar"
                else f'<line class="{one.kind}" x1="{one.at}" y1="{TOP - 21}" x2="{one.at + 24}" y2="{TOP - 21}"/>'
            )
            out.append(f'<text x="{one.at + 30}" y="{TOP - 16}">{one.name}</text>')
        return out


def write_or_check(description: str | None, path: Path, draw: Callable[[], str]) -> int:
    """Write a picture, or with `--check` say by the exit code whether the file is what is drawn."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = draw()
    if check:
        return 0 if path.exists() and path.read_text(encoding="utf-8") == text else 1
    path.write_text(text, encoding="utf-8")
    return 0
