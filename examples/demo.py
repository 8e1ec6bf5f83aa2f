"""The main job on real input: 1,319 questions answered through the embedded mock server.

Run it with `hatch run demo`. The mock makes its answers up; with `-m NAME` of your own configuration the
same command asks a real model.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
QUESTIONS = ROOT / "examples" / "data" / "gsm8k-test.jsonl"
ANSWERS = ROOT / "out" / "demo.jsonl"


def main() -> int:
    """Run `flexllm batch` and show the first answer."""
    ANSWERS.parent.mkdir(exist_ok=True)
    command = ["flexllm", "batch", str(QUESTIONS), "-o", str(ANSWERS), "-m", "mock", "--overwrite", *sys.argv[1:]]
    print("$", " ".join(command), flush=True)
    code = subprocess.run([sys.executable, "-m", "flexllm_cli", *command[1:]]).returncode
    if code == 0:
        lines = [json.loads(line) for line in ANSWERS.read_text(encoding="utf-8").splitlines()]
        in_order = [line["index"] for line in lines] == list(range(len(lines)))
        print(f"{len(lines)} lines{', in input order' if in_order else ''}; the first answer:")
        print(lines[0]["output"])
    return code


if __name__ == "__main__":
    sys.exit(main())
