"""The manifest `<output>.run.json`: what was run on an output, with what, when, and how it ended.

It is a record for people and tools, never an input: a run neither needs nor trusts it, and a manifest
that cannot be written is a warning.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.contracts.contract import Contract
from flexllm_batch.cost.pricing import pricer_for
from flexllm_batch.outputs.path import MANIFEST
from flexllm_batch.outputs.replacement import replacing
from flexllm_batch.stats import RunStats
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.redact import redact

_FORMAT = "flexllm_manifest"
_VERSION = 1
_MAX_RUNS = 50
_MAX_BYTES = 16 << 20
_PACKAGES = ("flexllm", "flexllm-cli", "flexllm-batch", "flexllm-providers", "flexllm-core")
_PROBLEMS = (OSError, ValueError, TypeError, RecursionError)


@dataclass(slots=True)
class RunManifest:
    """The manifest of one output; `begin` adds a run to it, `end` completes that run.

    Args:
        output: The output file.
        settings: Those of the run.
        endpoints: Where its rows go; their keys are taken out of everything.
        inputs: Its input files; none for standard input and rows given in Python.
    """

    output: Path
    settings: BatchSettings
    endpoints: Sequence[EndpointConfig]
    inputs: Sequence[Path] = ()
    _run: dict[str, Any] = field(default_factory=dict)
    _earlier: list[Any] = field(default_factory=list)
    _broken: bool = False

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.output.with_name(self.output.name + MANIFEST)

    def begin(self) -> str | None:
        """Write that the run has begun; what went wrong, if anything did."""
        try:
            self._earlier = _earlier_runs(self.path)
            self._run = self._facts()
            self._write()
        except _PROBLEMS as error:
            self._broken = True
            return f"the manifest cannot be written: {error}"
        return None

    def end(self, stats: RunStats, outcome: str) -> str | None:
        """Write how the run ended; what went wrong, if anything did.

        Args:
            stats: Its counts.
            outcome: `complete`, `incomplete`, or why it ended.
        """
        if self._broken:
            return None
        try:
            self._run |= {"ended": _now(), "outcome": redact(outcome, self._secrets()), **_counts(stats)}
            self._write()
        except _PROBLEMS as error:
            return f"the manifest cannot be written: {error}"
        return None

    def _facts(self) -> dict[str, Any]:
        settings = self.settings
        facts = {
            "started": _now(),
            "ended": None,
            "outcome": "running",
            "inputs": [_file_facts(path) for path in self.inputs],
            "output": str(self.output),
            "output_format": settings.output_format,
            "model": settings.model,
            "params": dict(settings.params),
            "system": settings.shape.system,
            "limit": settings.limit,
            "contract": _contract_facts(settings.contract),
            "endpoints": [_endpoint_facts(endpoint) for endpoint in self.endpoints],
            "prices": self._prices() if settings.track_cost else {},
            "versions": _versions(),
        }
        # One pass over the text finds a key wherever a user may have put it.
        clean: dict[str, Any] = json.loads(redact(json.dumps(facts, default=str), self._secrets()))
        return clean

    def _secrets(self) -> list[str]:
        return [endpoint.api_key.get_secret_value() for endpoint in self.endpoints if endpoint.api_key is not None]

    def _prices(self) -> dict[str, Any]:
        found = {}
        for endpoint in self.endpoints:
            model = self.settings.model or endpoint.model
            if model is not None:
                found[f"{model} @ {endpoint.label}"] = _price(endpoint, model)
        return found

    def _write(self) -> None:
        runs = [*self._earlier, self._run]
        if len(runs) > _MAX_RUNS:
            runs = [runs[0], *runs[1 - _MAX_RUNS :]]
        text = json.dumps({_FORMAT: _VERSION, "runs": runs}, indent=1, ensure_ascii=True)
        with replacing(self.path) as file:
            file.write(text.encode() + b"\n")


def _earlier_runs(path: Path) -> list[Any]:
    """The runs that the manifest holds already; one that is still `running` died.

    Raises:
        ValueError: The file is not a manifest, and must not be replaced.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{path} is too large to be a manifest")
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise ValueError(f"{path} is there and is no manifest: {error}") from None
    if not isinstance(found, dict) or _FORMAT not in found or not isinstance(found.get("runs"), list):
        raise ValueError(f"{path} is there and is no manifest")
    for run in found["runs"]:
        if isinstance(run, dict) and run.get("outcome") == "running":
            run["outcome"] = "interrupted"
    runs: list[Any] = found["runs"]
    return runs


def _file_facts(path: Path) -> dict[str, Any]:
    if not path.is_file():  # a pipe can be read only once, and not by us
        return {"path": str(path), "bytes": None, "sha256": None}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"path": str(path.resolve()), "bytes": os.fstat(file.fileno()).st_size, "sha256": digest}


def _contract_facts(contract: Contract | None) -> dict[str, Any] | None:
    if contract is None:
        return None
    return {
        "schema": contract.schema.response_format["json_schema"]["schema"] if contract.schema else None,
        "no_truncated": contract.no_truncated,
        "max_corrections": contract.max_corrections,
        "grow_max_tokens": contract.grow_max_tokens,
    }


def _endpoint_facts(endpoint: EndpointConfig) -> dict[str, Any]:
    return {
        "name": endpoint.label,
        "provider": endpoint.provider,
        "base_url": endpoint.base_url,
        "model": endpoint.model,
        "concurrency_limit": endpoint.concurrency_limit,
        "max_qps": endpoint.max_qps,
        "timeout": endpoint.timeout,
        "retry_times": endpoint.retry_times,
    }


def _price(endpoint: EndpointConfig, model: str) -> dict[str, Any] | None:
    """US dollars per million tokens, and where they come from; None when the price is unknown."""
    rates = pricer_for(endpoint).rates(model)
    if rates is None:
        return None
    kinds = {kind: float(rate) for kind, rate in rates.per_million().items()}
    longer = [{"above": start, **{kind: float(rate) for kind, rate in tier.per_million().items()}}
              for start, tier in rates.tiers]  # fmt: skip
    found = {**kinds, "source": rates.source, "provider": rates.provider, "as_of": rates.as_of, "tiers": longer}
    return {name: value for name, value in found.items() if value not in (None, [])}


def _counts(stats: RunStats) -> dict[str, Any]:
    names = ("total", "ok", "failed", "resumed", "skipped", "left", "truncated", "retries", "corrections", "cached",
             "prompt_tokens", "completion_tokens")  # fmt: skip
    return {
        **{name: getattr(stats, name) for name in names},
        "seconds": round(stats.seconds, 3),
        "cost_usd": float(stats.cost) if stats.unknown_cost == 0 else None,
        "known_cost_usd": float(stats.cost) if stats.unknown_cost is not None else None,
        "rows_of_unknown_cost": stats.unknown_cost,
        "errors": dict(stats.errors),
    }


def _versions() -> Mapping[str, str]:
    return {"python": platform.python_version(), **dict(_package_versions(_PACKAGES))}


def _package_versions(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)


def _now() -> str:
    return datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
