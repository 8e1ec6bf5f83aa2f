"""The workflow for GitHub Actions in the mock's README does what it says."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

README = Path(__file__).parents[2] / "packages" / "flexllm-mock" / "README.md"

ASK = """
import json, os, urllib.request
base_url = os.environ["OPENAI_BASE_URL"]
body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
for _ in range(int(os.environ["TIMES"])):
    urllib.request.urlopen(base_url + "/chat/completions", json.dumps(body).encode()).close()
"""


@pytest.fixture
def step(tmp_path):
    """Runs one step of a workflow as the runner does, and returns its exit code and what it printed."""
    (tmp_path / "flexllm-mock").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flexllm_mock "$@"\n')
    (tmp_path / "ask.py").write_text(ASK)
    (tmp_path / "npm").write_text(f'#!/bin/sh\nexec "{sys.executable}" ask.py\n')
    for name in ("flexllm-mock", "npm"):
        (tmp_path / name).chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])

    def run(described, **more):
        def here(text):
            return str(text).replace("8000", port)

        variables = {name: here(value) for name, value in described.get("env", {}).items()}
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        printed = tmp_path / "printed"
        with printed.open("w") as out:  # a pipe would stay open as long as the server does
            done = subprocess.run(
                ["bash", "-e", "-c", here(described["run"])],
                env={**os.environ, **variables, **more, "PATH": path},
                cwd=tmp_path,
                stdout=out,
                stderr=out,
                timeout=60,
            )
        return done.returncode, printed.read_text()

    yield run
    if (tmp_path / "ready.json").exists():
        os.kill(json.loads((tmp_path / "ready.json").read_text())["pid"], signal.SIGTERM)


@pytest.mark.parametrize(("times", "code"), [("1", 0), ("2", 3)])
def test_workflow_runs(step, times, code):
    """Its steps start the server, run the tests against it, and judge the client: 3 when it has asked twice."""
    [text] = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    steps = [each for each in yaml.safe_load(text)["jobs"]["test"]["steps"] if "run" in each]
    install, start, test, judge = steps
    assert install["run"] == 'pip install "flexllm-mock[fast]"'
    assert step(start)[0] == 0
    assert step(test, TIMES=times)[0] == 0
    found, report = step(judge)
    assert found == code, report
    assert f"requests: {times} requests" in report
