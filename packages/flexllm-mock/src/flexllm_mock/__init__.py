"""A deterministic mock LLM server: use `MockServer` in tests, `flexllm-mock` on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flexllm_mock.app import MockApp
    from flexllm_mock.config import MockConfig
    from flexllm_mock.faults.rules import FaultMatch, FaultRule
    from flexllm_mock.fixtures.files import FixtureError
    from flexllm_mock.physics.distributions import Distribution
    from flexllm_mock.physics.engine import Engine
    from flexllm_mock.recording.recording import RecordingError
    from flexllm_mock.requestlog import LoggedRequest, MockStats
    from flexllm_mock.server import MockServer, MockServerError
    from flexllm_mock.verdict.verdict import RuleResult, Verdict

__all__ = [
    "Distribution",
    "Engine",
    "FaultMatch",
    "FaultRule",
    "FixtureError",
    "LoggedRequest",
    "MockApp",
    "MockConfig",
    "MockServer",
    "MockServerError",
    "MockStats",
    "RecordingError",
    "RuleResult",
    "Verdict",
]

_HOMES = {
    "Distribution": "physics.distributions",
    "Engine": "physics.engine",
    "FaultMatch": "faults.rules",
    "FaultRule": "faults.rules",
    "FixtureError": "fixtures.files",
    "LoggedRequest": "requestlog",
    "MockApp": "app",
    "MockConfig": "config",
    "MockServer": "server",
    "MockServerError": "server",
    "MockStats": "requestlog",
    "RecordingError": "recording.recording",
    "RuleResult": "verdict.verdict",
    "Verdict": "verdict.verdict",
}


def __getattr__(name: str) -> object:
    # Exports load on first use: the pytest plugin is imported in every test run of whoever has this package installed.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
