"""The package as others see it: names, imports, pytest fixtures."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flexllm_mock as package
from flexllm_mock.cli import SUBCOMMANDS, build_parser
from flexllm_mock.verdict.verdict import RULES


def loaded_by(statement):
    """The modules that a statement loads in a new interpreter."""
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_public_names_exist():
    """Every public name can be imported, and dir() shows it."""
    assert sorted(package.__all__) == package.__all__
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
        assert name in dir(package)
    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing


@pytest.mark.parametrize(
    "statement",
    ["import flexllm_mock", "import flexllm_mock.pytest_plugin", "from flexllm_mock import MockServer, FaultRule"],
)
def test_import_loads_no_server(statement):
    """Importing the package, its plugin or MockServer loads neither uvicorn nor starlette."""
    assert not {"uvicorn", "starlette", "uvloop", "httptools", "h11", "asyncio.runners"} & (
        loaded_by(statement) - ({"asyncio.runners"} if "MockServer" in statement or "plugin" in statement else set())
    )


def test_help_loads_no_server():
    """`--help` is quick."""
    statement = "from flexllm_mock.cli import SUBCOMMANDS, build_parser; build_parser().format_help()"
    assert not {"uvicorn", "starlette"} & loaded_by(statement)


def test_fixture_gives_a_fresh_server(flexllm_mock, client_for):
    """The fixture `flexllm_mock` is a running server without history."""
    assert flexllm_mock.stats().requests == 0
    assert client_for(flexllm_mock.url).chat().status == 200
    assert flexllm_mock.requests[0].model == "mock"


def test_fixture_gives_each_test_its_own(flexllm_mock):
    """What another test did is not seen."""
    assert flexllm_mock.stats().requests == 0


def test_factory_starts_servers_as_told(flexllm_mock_server_factory, client_for):
    """The factory starts any number of servers with any options."""
    fast = flexllm_mock_server_factory(models=("a",))
    broken = flexllm_mock_server_factory(faults=[package.FaultRule(status=500)])
    assert client_for(fast.url).get("/v1/models").json["data"][0]["id"] == "a"
    assert client_for(broken.url).chat().status == 500


def test_plugin_works_in_another_project(tmp_path):
    """A project that installs the package has the fixtures, and its servers end with its tests, even failed ones."""
    (tmp_path / "test_it.py").write_text(
        "import json, threading, urllib.request\n"
        "def test_one(flexllm_mock):\n"
        "    with urllib.request.urlopen(flexllm_mock.base_url + '/models') as answer:\n"
        "        assert json.load(answer)['data'][0]['id'] == 'mock'\n"
        "def test_two(flexllm_mock_server_factory):\n"
        "    flexllm_mock_server_factory(delay=1)\n"
        "    assert False\n"
        "def test_three():\n"
        "    assert [t.name for t in threading.enumerate() if 'mock' in t.name] == []\n"
    )
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert "1 failed, 2 passed" in done.stdout


def test_plugin_loads_nothing_in_a_run_without_it(tmp_path):
    """A test run that does not use the fixtures does not load the server."""
    (tmp_path / "test_it.py").write_text(
        "import json, sys\ndef test_one():\n    print('LOADED', json.dumps(sorted(sys.modules)))\n"
    )
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", "-p", "no:anyio", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    [line] = [line for line in done.stdout.splitlines() if "LOADED" in line]
    modules = json.loads(line.partition("LOADED")[2])
    assert "flexllm_mock.pytest_plugin" in modules
    assert not {"uvicorn", "starlette", "flexllm_mock.server", "flexllm_mock.app"} & set(modules)


def test_readme_examples_run(tmp_path):
    """The Python of the README is a test file that passes."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "test_readme.py").write_text("\n".join(blocks))
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert re.search(r"\b8 passed", done.stdout), done.stdout


def test_readme_faults_are_rules():
    """The fault rules of the README are accepted, and its table names every field."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    [block] = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)
    assert len([package.FaultRule.from_json(rule) for rule in json.loads(block)]) == 5
    for field in dataclasses.fields(package.FaultRule):
        assert f"`{field.name}`" in readme


def test_readme_commands_are_understood():
    """The options of the README's commands exist."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    commands = re.findall(r"^\$ (?:\w+=\S+ )?flexllm-mock([^#\n]*)", readme, re.MULTILINE)
    assert len(commands) >= 10
    for command in map(str.split, commands):
        if command and command[0] in SUBCOMMANDS:
            importlib.import_module(SUBCOMMANDS[command[0]]).build_parser().parse_args(command[1:])
        else:
            build_parser().parse_args(command)


def test_readme_names_every_rule_and_its_limit():
    """The table of the verdict's rules is that of the code."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for rule in RULES:
        limit = "" if rule.limit is None else f" {rule.limit}"
        assert re.search(rf"^\| `{rule.name}` \| .* \|{limit} \|$", readme, re.MULTILINE), rule.name


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_readme_node_example_runs(tmp_path):
    """The example for Node passes with Node's own test runner, and fails when the verdict does."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    [code] = re.findall(r"```javascript\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "flexllm-mock").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flexllm_mock "$@"\n')
    (tmp_path / "flexllm-mock").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    for text, code_at_end in ((code, 0), (code.replace("resolve, 1000", "resolve, 100"), 1)):
        (tmp_path / "client.test.mjs").write_text(text)
        command = ["node", "--test", "client.test.mjs"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment)
        assert done.returncode == code_at_end, done.stdout
        assert ("the verdict on the client is bad" in done.stdout) == bool(code_at_end)
