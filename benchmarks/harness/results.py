"""The results file: every single sample, the machine and the versions, for later comparison."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.child import Usage
from harness.goals import Goal
from harness.nginx import nginx_version
from harness.peers import installed_version
from harness.rounds import Case


def write_results(
    folder: Path, cases: Sequence[Case], big_run: Case | None, startups: Mapping[str, float], goals: Sequence[Goal]
) -> Path:
    """Write everything into a new file in `folder`; its path."""
    now = datetime.datetime.now(tz=datetime.UTC)
    everything = [*cases, big_run] if big_run else list(cases)
    data = {
        "time": now.isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "versions": {"nginx": nginx_version(), **_versions(everything)},
        "cases": [_case(case) for case in cases],
        "big_run": _case(big_run) if big_run else None,
        "startup_seconds": dict(startups),
        "goals": [{"ratio": goal.text, "measured": goal.ratio, "verdict": goal.verdict} for goal in goals],
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{now:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return path


def _versions(cases: Sequence[Case]) -> dict[str, str]:
    found: dict[str, str] = {}
    for case in cases:
        name = case.contender.name
        if name not in found:
            package = case.contender.package
            found[name] = f"{package} {installed_version(case.python, package)}"
    return found


def _case(case: Case) -> dict[str, Any]:
    return {
        "contender": case.contender.name,
        "loop": case.loop,
        "concurrency": case.concurrency,
        "rows": case.rows,
        "failure": case.failure,
        "load": case.loads,
        "runs": [_usage(usage) for usage in case.runs],
        "startups": [_usage(usage) for usage in case.startups],
    }


def _usage(usage: Usage) -> dict[str, float]:
    return {
        "seconds": round(usage.seconds, 4),
        "cpu_seconds": round(usage.cpu_seconds, 4),
        "peak_mib": round(usage.peak_mib, 1),
    }
