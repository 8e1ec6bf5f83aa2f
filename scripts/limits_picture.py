"""Draw docs/limits.svg: what a client learns of a server's hidden limit while the limit changes, from the simulation.

python scripts/limits_picture.py            write docs/limits.svg
python scripts/limits_picture.py --check    fail when the file is not what the simulation gives
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "limits.svg"
sys.path.insert(0, str(ROOT / "packages" / "flexllm-batch" / "tests" / "simulation"))

from simulated_limits import BucketLimit  # noqa: E402 - found by the path above
from simulated_server import SimulatedServer, keep_asking, lognormal  # noqa: E402

from flexllm_batch import Limited  # noqa: E402
from flexllm_providers.retry import Retrying  # noqa: E402

END, BIN = 540.0, 5.0
CHANGES = ((0.0, 20.0), (180.0, 10.0), (360.0, 20.0))
"""Times, and the requests per second that the server admits from then on."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 840, 380, 56, 16, 44, 48
MOST = 32.0
STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #333 }
    .grid { stroke: #ddd; stroke-width: 1 }
    .limit { stroke: #999; stroke-width: 2; stroke-dasharray: 6 4; fill: none }
    .answered { stroke: #1769aa; stroke-width: 2; fill: none }
    .refused { fill: #c62828 }
    @media (prefers-color-scheme: dark) { text { fill: #ccc } .grid { stroke: #444 } .answered { stroke: #64b5f6 }
      .refused { fill: #ef5350 } }
"""


def virtual_time_loop() -> Any:
    """The loop of the tests, whose clock jumps."""
    spec = importlib.util.spec_from_file_location("root_conftest", ROOT / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.VirtualTimeLoop


def simulate() -> SimulatedServer:
    """Nine minutes of a batch with 60 rows in flight, and a server that tells nobody its limit."""
    random.seed(1)
    limit = BucketLimit(CHANGES[0][1] * 60, burst=1 / 12)
    server = SimulatedServer(service=lognormal(1.0), limits=[limit], seed=1)
    model = Retrying(Limited(server, concurrency=60, adaptive=True))

    async def main() -> None:
        for time, per_second in CHANGES[1:]:
            asyncio.get_running_loop().call_at(time, setattr, limit, "per_minute", per_second * 60)
        await keep_asking(model, 60, END + 10)

    with asyncio.Runner(loop_factory=virtual_time_loop()) as runner:
        runner.run(main())
    return server


def x(time: float) -> float:
    """Where a time is."""
    return round(LEFT + (WIDTH - LEFT - RIGHT) * time / END, 1)


def y(rate: float) -> float:
    """Where requests per second are."""
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(rate, MOST) / MOST, 1)


def axes() -> list[str]:
    """The grid, its numbers, and what they are."""
    out = []
    for rate in range(0, int(MOST) + 1, 10):
        out.append(f'<line class="grid" x1="{LEFT}" y1="{y(rate)}" x2="{WIDTH - RIGHT}" y2="{y(rate)}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(rate) + 4}" text-anchor="end">{rate}</text>')
    out.extend(
        f'<text x="{x(minute * 60)}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{minute}</text>'
        for minute in range(int(END // 60) + 1)
    )
    out.append(f'<text x="{x(END / 2)}" y="{HEIGHT - 8}" text-anchor="middle">minutes</text>')
    out.append(f'<text x="12" y="{TOP - 16}">requests per second</text>')
    return out


def legend() -> list[str]:
    """Which line is what."""
    out = []
    for at, kind, text in (
        (220, "limit", "the server's hidden limit"),
        (440, "answered", "answered"),
        (560, "refused", "refused (429)"),
    ):
        mark = (
            f'<rect class="refused" x="{at}" y="{TOP - 27}" width="24" height="8"/>'
            if kind == "refused"
            else f'<line class="{kind}" x1="{at}" y1="{TOP - 21}" x2="{at + 24}" y2="{TOP - 21}"/>'
        )
        out += [mark, f'<text x="{at + 30}" y="{TOP - 16}">{text}</text>']
    return out


def picture(server: SimulatedServer) -> str:
    """The SVG."""
    bins = [index * BIN for index in range(int(END / BIN))]
    points = " ".join(f"{x(start + BIN / 2)},{y(server.answers(start, start + BIN) / BIN)}" for start in bins)
    steps = [point for time, rate in CHANGES for point in ((x(time), y(rate)),)]
    limit = f"M{steps[0][0]},{steps[0][1]}" + "".join(f" H{px} V{py}" for px, py in steps[1:]) + f" H{x(END)}"
    bars = []
    for start in bins:
        refused = server.statuses(start, start + BIN)[429] / BIN
        if refused:
            width, height = x(BIN) - x(0) - 1, round(y(0) - y(refused), 1)
            bars.append(
                f'<rect class="refused" x="{x(start)}" y="{y(refused)}" width="{width:.1f}" height="{height}"/>'
            )
    lines = [f'<path class="limit" d="{limit}"/>', f'<polyline class="answered" points="{points}"/>']
    body = "\n".join([*axes(), *legend(), *bars, *lines])
    title = "Answered and refused requests per second while a server's hidden limit is halved and doubled"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    return f"{head}\n<title>{title}</title>\n<style>{STYLE}</style>\n{body}\n</svg>\n"


def main() -> int:
    """Write or check the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    server = simulate()
    text = picture(server)
    for start, end, rate in ((60, 180, 20), (240, 360, 10), (420, 540, 20)):
        share = server.answers(start, end) / (end - start) / rate
        print(f"{start:3} to {end:3} s: {share:.1%} of the limit, {server.refused_share(start, end):.2%} refused")
    if check:
        return 0 if PICTURE.exists() and PICTURE.read_text(encoding="utf-8") == text else 1
    PICTURE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
