"""Give one package a new version, and raise what must be raised with it.

    hatch run bump flexllm-core minor
    hatch run bump flexllm-core minor --needed-by flexllm-batch

The version stands in the package's pyproject.toml; its CHANGELOG gets a heading. After a major bump the
siblings' ranges move to the new major. After any other, only the siblings named by `--needed-by`, which
use something that the new version brought, get it as their lower bound, and those need a bump of their own.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from pathlib import Path

PACKAGES = Path(__file__).parent.parent / "packages"
VERSION = re.compile(r'^version = "(\d+)\.(\d+)\.(\d+)"$', re.MULTILINE)


def next_version(version: tuple[int, int, int], part: str) -> tuple[int, int, int]:
    """The version after `version`.

    >>> next_version((1, 2, 3), "minor")
    (1, 3, 0)
    """
    major, minor, patch = version
    return {"major": (major + 1, 0, 0), "minor": (major, minor + 1, 0), "patch": (major, minor, patch + 1)}[part]


def with_range(text: str, package: str, lower: str, upper: int) -> str:
    """A pyproject.toml in which every dependency on `package` has the range `>=lower,<upper`.

    >>> with_range('"flexllm-core[x]>=1.0,<2"', "flexllm-core", "2.0", 3)
    '"flexllm-core[x]>=2.0,<3"'
    """
    pattern = re.compile(rf'"({re.escape(package)}(?:\[[\w,]+\])?)>=[\d.]+,<\d+"')
    return pattern.sub(lambda match: f'"{match[1]}>={lower},<{upper}"', text)


def bump(package: str, part: str, needed_by: list[str], today: datetime.date) -> list[str]:
    """Do it; says what was changed."""
    pyproject = PACKAGES / package / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    found = VERSION.search(text)
    if found is None:
        raise SystemExit(f'{pyproject}: no line `version = "X.Y.Z"`')
    old = (int(found[1]), int(found[2]), int(found[3]))
    new = next_version(old, part)
    version = ".".join(map(str, new))
    pyproject.write_text(VERSION.sub(f'version = "{version}"', text, count=1), encoding="utf-8")
    changes = [f"{package}: {'.'.join(map(str, old))} -> {version}"]
    changelog = PACKAGES / package / "CHANGELOG.md"
    history = changelog.read_text(encoding="utf-8")
    changelog.write_text(history.replace("\n## [", f"\n## [{version}] - {today}\n\n## [", 1), encoding="utf-8")
    for sibling in sorted(PACKAGES.iterdir()):
        if sibling.name == package or not (sibling / "pyproject.toml").is_file():
            continue
        if part == "major" or sibling.name in needed_by:
            file = sibling / "pyproject.toml"
            before = file.read_text(encoding="utf-8")
            after = with_range(before, package, f"{new[0]}.{new[1]}", new[0] + 1)
            if after != before:
                file.write_text(after, encoding="utf-8")
                changes.append(f"{sibling.name}: needs {package}>={new[0]}.{new[1]},<{new[0] + 1}; bump it too")
    return changes


def main() -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(description="Give one package a new version.")
    parser.add_argument("package", choices=sorted(path.name for path in PACKAGES.iterdir()))
    parser.add_argument("part", choices=["major", "minor", "patch"])
    parser.add_argument("--needed-by", action="append", default=[], metavar="PACKAGE", help="may be repeated")
    arguments = parser.parse_args()
    today = datetime.datetime.now(tz=datetime.UTC).date()
    for change in bump(arguments.package, arguments.part, arguments.needed_by, today):
        print(change)
    print("write the CHANGELOG entry, then run: hatch env prune", file=sys.stderr)


if __name__ == "__main__":
    main()
