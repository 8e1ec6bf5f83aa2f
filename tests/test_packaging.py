"""The packages fit each other: ranges, scripts, licences, changelogs."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tomllib
from collections import Counter
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = sorted(path.parent for path in (ROOT / "packages").glob("*/pyproject.toml"))
SIBLING = re.compile(r"^(flexllm(?:-\w+)?)(?:\[[\w,]+\])?>=([\d.]+),<(\d+)$")


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(folder: Path) -> list[str]:
    facts = project(folder)
    extras = facts.get("optional-dependencies", {}).values()
    return [*facts["dependencies"], *(item for extra in extras for item in extra)]


def version_tuple(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def test_there_are_six_packages():
    """The six that the README names."""
    assert [path.name for path in PACKAGES] == [
        "flexllm", "flexllm-batch", "flexllm-cli", "flexllm-core", "flexllm-mock", "flexllm-providers",
    ]  # fmt: skip


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda path: path.name)
def test_ranges_admit_the_present_siblings(folder):
    """Every sibling is declared by a compatible range which its present version is in."""
    versions = {path.name: version_tuple(project(path)["version"]) for path in PACKAGES}
    for requirement in requirements(folder):
        if requirement.startswith("flexllm"):
            match = SIBLING.match(requirement)
            assert match, f"{requirement} is not a compatible range"
            assert version_tuple(match[2]) <= versions[match[1]] < (int(match[3]),)


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda path: path.name)
def test_each_package_is_complete(folder):
    """README, licence, type marker, and a changelog with its present version."""
    for name in ("README.md", "LICENSE", "CHANGELOG.md"):
        assert (folder / name).stat().st_size > 100
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert list((folder / "src").glob("*/py.typed"))
    assert f"## [{project(folder)['version']}]" in (folder / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_command_is_declared_twice():
    """Two packages that install one command would overwrite each other's."""
    commands = Counter(name for path in PACKAGES for name in project(path).get("scripts", {}))
    assert commands == {"flexllm": 1, "xllm": 1, "flexllm-mock": 1}


def test_no_package_uses_the_private_names_of_another():
    """Neither private modules nor private names are imported across packages."""
    pattern = re.compile(r"^\s*from (flexllm_\w+)(\.[\w.]+)? import (.+)$", re.MULTILINE)
    for folder in PACKAGES:
        for file in (folder / "src").rglob("*.py"):
            own = file.relative_to(folder / "src").parts[0]
            for package, module, names in pattern.findall(file.read_text(encoding="utf-8")):
                if package != own:
                    assert "._" not in (module or ""), f"{file} imports {package}{module}"
                    assert not re.search(r"(^|[ ,(])_\w", names), f"{file} imports {names} from {package}{module}"


@pytest.fixture
def bump_script(tmp_path, monkeypatch) -> ModuleType:
    """The bump script, working on a copy of the packages' project files."""
    spec = importlib.util.spec_from_file_location("bump", ROOT / "scripts" / "bump.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for folder in PACKAGES:
        (tmp_path / folder.name).mkdir()
        for name in ("pyproject.toml", "CHANGELOG.md"):
            shutil.copy(folder / name, tmp_path / folder.name)
    monkeypatch.setattr(module, "PACKAGES", tmp_path)
    return module


def test_a_minor_bump_raises_only_who_needs_it(bump_script, tmp_path):
    """The package gets its version and a heading; the sibling that needs it a new lower bound."""
    bump_script.bump("flexllm-core", "minor", ["flexllm-batch"], date(2026, 1, 2))
    assert project(tmp_path / "flexllm-core")["version"] == "1.1.0"
    assert "## [1.1.0] - 2026-01-02" in (tmp_path / "flexllm-core" / "CHANGELOG.md").read_text()
    assert "flexllm-core>=1.1,<2" in requirements(tmp_path / "flexllm-batch")
    assert "flexllm-core>=1.0,<2" in requirements(tmp_path / "flexllm-cli")


def test_a_major_bump_moves_every_range(bump_script, tmp_path):
    """Extras included."""
    bump_script.bump("flexllm-providers", "major", [], date(2026, 1, 2))
    found = [item for path in tmp_path.iterdir() for item in requirements(path) if "flexllm-providers" in item]
    assert found
    assert all(item.endswith(">=2.0,<3") for item in found)
