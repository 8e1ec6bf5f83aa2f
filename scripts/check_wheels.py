"""Install the built wheels into fresh virtual environments and use them as a new user would.

    hatch build --all && python scripts/check_wheels.py

The first environment gets `flexllm[all]`, the second only flexllm-core and flexllm-providers. Our own
wheels come from `dist/`; whatever else they need comes from the package index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOT_IN_SLIM = ("flexllm_batch", "flexllm_cli", "flexllm_mock", "rich", "typer", "diskcache", "starlette", "uvicorn")

SLIM_PROGRAM = """
import asyncio, sys
from flexllm_providers import OpenAIClient

base_url = sys.argv[1]

async def main():
    async with OpenAIClient(model="m", base_url=base_url) as client:
        text = await client.chat_completions("Hello")
        assert text == client.chat_completions_sync("Hello"), "a sync call inside a running loop"
        pieces = [piece async for piece in client.chat_completions_stream("Hello")]
        assert "".join(pieces) == text and len(pieces) > 1, pieces

asyncio.run(main())
for name in sys.argv[2:]:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} is installed, and the slim packages do not need it")
print("slim: call, sync call inside a running loop and stream work")
"""


def environment(folder: Path, *requirements: str) -> Path:
    """A new virtual environment with `requirements`; the folder of its programs."""
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    command = [programs / "python", "-m", "pip", "install", "-q", "--find-links", ROOT / "dist", *requirements]
    subprocess.run(command, check=True)
    return programs


def check_all(programs: Path, work: Path) -> None:
    """The commands answer, and a small batch runs through the embedded mock."""
    for command in (["flexllm", "--help"], ["xllm", "version"], ["flexllm-mock", "--help"]):
        subprocess.run([programs / command[0], *command[1:]], check=True, stdout=subprocess.DEVNULL)
    source, output = ROOT / "examples" / "data" / "gsm8k-test.jsonl", work / "out.jsonl"
    subprocess.run([programs / "flexllm", "batch", source, "-o", output, "-m", "mock", "-n", "50"], check=True)
    lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [line["index"] for line in lines] == list(range(50)), "50 lines in input order"
    subprocess.run([programs / "flexllm", "ask", "Hello", "-m", "mock"], check=True)


def check_slim(programs: Path, mock_programs: Path, work: Path) -> None:
    """The slim packages work against a mock server of the other environment."""
    ready = work / "ready.json"
    server = subprocess.Popen(
        [mock_programs / "flexllm-mock", "--port", "0", "--quiet", "--ready-file", ready], stdout=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            if ready.exists():
                break
            time.sleep(0.1)
        url = json.loads(ready.read_text())["url"] + "/v1"
        subprocess.run([programs / "python", "-c", SLIM_PROGRAM, url, *NOT_IN_SLIM], check=True)
    finally:
        server.terminate()
        server.wait(10)


def main() -> None:
    """Build both environments and check them."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        everything = environment(work / "all", "flexllm[all]")
        check_all(everything, work)
        slim = environment(work / "slim", "flexllm-core", "flexllm-providers")
        check_slim(slim, everything, work)
    print("wheels: ok")


if __name__ == "__main__":
    main()
