"""Draw docs/images/batch-bar.svg and docs/images/test-all.svg: real runs on a terminal, against the mock server.

python scripts/screenshots.py
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from flexllm_mock import MockServer

IMAGES = Path(__file__).parent.parent / "docs" / "images"
COLUMNS = 110
KEY = "sk-demo-right-right-right"
_FRAME = re.compile(r"\r?\x1b\[2K|\r(?!\n)")  # what the bar clears its line with before it is drawn again
_WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # a picture fetches nothing


def on_terminal(folder: Path, *arguments: str) -> str:
    """Everything that a command writes to a terminal."""
    leader, follower = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(
        [sys.executable, "-m", "flexllm_cli", *arguments],
        stdin=follower, stdout=follower, stderr=follower, cwd=folder, env=environment,
    )  # fmt: skip
    os.close(follower)
    shown = bytearray()
    while True:
        try:
            data = os.read(leader, 65536)
        except OSError:  # the program has closed its terminal
            break
        if not data:
            break
        shown += data
    process.wait()
    os.close(leader)
    return shown.decode().replace("\r\n", "\n")


def draw(name: str, command: str, shown: str) -> None:
    """Write a picture of a command and what it showed."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(f"$ {command}\n{shown.strip()}"), soft_wrap=True)
    svg = _WEB_FONT.sub("", console.export_svg(title="flexllm", unique_id=name))
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / f"{name}.svg").write_text(svg, encoding="utf-8")


def batch_bar(folder: Path) -> None:
    """The live bar in the middle of a run."""
    rows = "".join(f'{{"q": "question {number}"}}\n' for number in range(1200))
    (folder / "questions.jsonl").write_text(rows)
    arguments = ["batch", "questions.jsonl", "-o", "answers.jsonl", "-c", "50"]
    with MockServer(delay=0.1, seed=1) as server:
        price = "price: {input: 2.5, output: 10}"
        configure(folder, f"  - {{id: gpt-4o, base_url: '{server.base_url}', {price}}}\n")
        frames = [frame for frame in _FRAME.split(on_terminal(folder, *arguments)) if "/1200" in frame]
    draw("batch-bar", "flexllm " + " ".join(arguments), frames[len(frames) * 2 // 3].splitlines()[0])


def test_all(folder: Path) -> None:
    """`flexllm test --all` with one model that works, and three that do not."""
    with MockServer(delay=0.08, token_rate=120, api_key=KEY, models=("qwen3-32b",), strict_models=True) as server:
        entry = f"base_url: '{server.base_url}'"
        configure(
            folder,
            f"  - {{id: qwen3-32b, name: qwen, {entry}, api_key: {KEY}}}\n"
            f"  - {{id: qwen3-32b, name: old-key, {entry}, api_key: sk-demo-old-old-old-old}}\n"
            f"  - {{id: qwen3-23b, name: misspelt, {entry}, api_key: {KEY}}}\n"
            "  - {id: llama3.3, name: ollama, base_url: 'http://localhost:9/v1', api_key: EMPTY}\n",
        )
        draw("test-all", "flexllm test --all", on_terminal(folder, "test", "--all"))


def configure(folder: Path, models: str) -> None:
    """Write the configuration of a home folder."""
    path = folder / ".flexllm" / "config.yaml"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(f"models:\n{models}")
    path.chmod(0o600)


def main() -> None:
    """Draw both."""
    for picture in (batch_bar, test_all):
        with tempfile.TemporaryDirectory() as folder:
            picture(Path(folder))


if __name__ == "__main__":
    main()
