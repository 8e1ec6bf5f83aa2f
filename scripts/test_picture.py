"""Draw docs/test-all.svg: what `flexllm test --all` shows of servers that are well, slow, dead, and closed.

python scripts/test_picture.py
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from flexllm_mock import MockServer

PICTURE = Path(__file__).parent.parent / "docs" / "test-all.svg"
CONFIG = """
models:
  - {{id: qwen3-32b, base_url: '{fast}'}}
  - {{id: llama-70b, base_url: '{slow}'}}
  - {{id: gpt-4o, base_url: '{closed}', api_key: sk-wrong-key-0123456789}}
  - {{id: local, base_url: 'http://127.0.0.1:9/v1'}}
"""


def main() -> None:
    """Run the command against servers of this process, and draw what it wrote."""
    with (
        MockServer(ttft=0.05, token_time=0.004) as fast,
        MockServer(ttft=0.8, token_time=0.03) as slow,
        MockServer(api_key="sk-right-key-0123456789") as closed,
        tempfile.TemporaryDirectory() as folder,
    ):
        config = Path(folder) / "config.yaml"
        config.write_text(CONFIG.format(fast=fast.base_url, slow=slow.base_url, closed=closed.base_url))
        command = [sys.executable, "-m", "flexllm_cli", "test", "--all", "--config", str(config)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    text = Text("$ flexllm test --all\n" + shown)
    text.highlight_words(["FAILED"], "bold red")
    text.highlight_words([" ok "], "green")
    console = Console(record=True, width=110, file=io.StringIO())
    console.print(text)
    console.save_svg(str(PICTURE), title="flexllm test --all")


if __name__ == "__main__":
    main()
