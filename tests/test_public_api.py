"""The public names of each package are deliberate: sorted, importable, and the same for type checkers."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

FACADES = ("flexllm", "flexllm_batch", "flexllm_core", "flexllm_providers")


@pytest.mark.parametrize("name", FACADES)
def test_all_is_sorted_and_importable(name):
    """Each name of `__all__` is there, and nothing is listed twice."""
    package = importlib.import_module(name)
    assert list(package.__all__) == sorted(set(package.__all__), key=package.__all__.index)
    assert sorted(package.__all__) == sorted(dir(package))
    for public in package.__all__:
        assert getattr(package, public) is not None


@pytest.mark.parametrize("name", FACADES)
def test_type_checkers_see_the_same_names(name):
    """The imports under TYPE_CHECKING are the names of `__all__`, from the same modules as at run time."""
    package = importlib.import_module(name)
    tree = ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (alias.name, node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    homes = {(public, home) for home, names in package._HOMES.items() for public in names}
    assert seen == homes
    assert {public for public, _ in seen} == set(package.__all__)


def test_an_unknown_name_is_an_attribute_error():
    """As in any module."""
    with pytest.raises(AttributeError, match="no_such_name"):
        importlib.import_module("flexllm").no_such_name  # noqa: B018 - the access is what is tested


@pytest.mark.parametrize(
    "program",
    [
        "import flexllm",
        "from flexllm import LLMClient",
        "import flexllm_cli.app",
        "from flexllm_core.config import load_config; load_config(env={})",  # there is no file
    ],
)
def test_imports_are_light(program, tmp_path):
    """No provider SDK, price table, tokenizer, data frame, server or HTTP library is loaded unasked."""
    heavy = [
        "genai_prices",
        "httpx",
        "pandas",
        "numpy",
        "openai",
        "tiktoken",
        "diskcache",
        "starlette",
        "uvicorn",
        "yaml",
    ]
    check = f"{program}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    environ = os.environ | {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.strip() == "[]"
