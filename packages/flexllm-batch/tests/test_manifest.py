"""The manifest beside an output: what was run, and never a reason for a run to fail."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from flexllm_batch.batch import Batch
from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.inputs.json_source import JsonLines
from flexllm_batch.outputs.manifest import RunManifest
from flexllm_batch.progress import NoProgress
from flexllm_core.endpoint import EndpointConfig, Price
from flexllm_core.errors import AuthenticationError, BadRequestError

KEY = "sk-very-secret-0123456789"
ENDPOINT = EndpointConfig(
    model="m", base_url="http://host/v1", api_key=SecretStr(KEY), headers={"x-extra": KEY},
    price=Price(input=1, output=2),
)  # fmt: skip


class Listener(NoProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def run(tmp_path: Path, make_model: Any, write_rows: Any) -> Callable[..., Any]:
    """Run rows with a manifest; gives what the user was told."""

    async def run(prompts: str = "abc", model: Any = None, **settings: Any) -> list[str]:
        source = write_rows(tmp_path / "in.jsonl", [{"q": prompt} for prompt in prompts])
        output, listener = tmp_path / "out.jsonl", Listener()
        setting = BatchSettings(**{"model": "m", "output": output, "track_cost": True, **settings})
        manifest = RunManifest(output, setting, [ENDPOINT], [source])
        model = model or make_model()
        batch = Batch(model, JsonLines(source), setting, progress=listener, inputs=[source], manifest=manifest)
        await batch.prepare()
        await batch.run()
        return listener.notes

    return run


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """The runs that the manifest holds."""

    def read() -> list[dict[str, Any]]:
        text = (tmp_path / "out.jsonl.run.json").read_text()
        assert KEY not in text
        runs: list[dict[str, Any]] = json.loads(text)["runs"]
        return runs

    return read


async def test_a_run_is_described(run: Any, manifest: Any, tmp_path: Path) -> None:
    """Input with its hash, model, params, endpoint, prices, versions, times, outcome and counts."""
    assert await run(params={"temperature": 0.5, "extra_body": {"token": KEY}}) == []
    (found,) = manifest()
    data = (tmp_path / "in.jsonl").read_bytes()
    source = {"path": str(tmp_path / "in.jsonl"), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert found["inputs"] == [source]
    assert (found["model"], found["params"]["temperature"]) == ("m", 0.5)
    assert found["endpoints"][0]["base_url"] == "http://host/v1"
    kinds = {"input": 1.0, "output": 2.0, "cached": 1.0, "cache_write": 1.0}
    assert found["prices"] == {"m @ http://host/v1": {**kinds, "source": "config"}}
    assert {"python", "flexllm-batch"} <= set(found["versions"])
    assert found["started"] <= found["ended"]
    assert (found["outcome"], found["total"], found["ok"], found["left"]) == ("complete", 3, 3, 0)


async def test_each_run_is_added(run: Any, manifest: Any) -> None:
    """What each of them did can be read later; a run of which only the beginning is there died."""
    await run("abc")
    await run("abcd")
    first, second = manifest()
    assert (first["total"], second["total"], second["resumed"], second["ok"]) == (3, 4, 3, 1)


async def test_a_run_that_died_is_interrupted(run: Any, manifest: Any, tmp_path: Path) -> None:
    """It could not write its end itself."""
    await run("a")
    path = tmp_path / "out.jsonl.run.json"
    path.write_text(path.read_text().replace('"complete"', '"running"'))
    await run("ab")
    assert [found["outcome"] for found in manifest()] == ["interrupted", "complete"]


async def test_the_first_and_the_last_runs_are_kept(run: Any, manifest: Any, tmp_path: Path) -> None:
    """A manifest does not grow for ever."""
    await run("a")
    path = tmp_path / "out.jsonl.run.json"
    runs = manifest() + [{"number": number} for number in range(200)]
    path.write_text(json.dumps({"flexllm_manifest": 1, "runs": runs}))
    await run("ab")
    found = manifest()
    assert len(found) == 50
    assert found[0] == runs[0]
    assert found[1] == {"number": 152}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(AuthenticationError(f"key {KEY} refused", status_code=401), "stopped: "), (BadRequestError("no"), "complete")],
)
async def test_how_a_run_ended(run: Any, manifest: Any, make_model: Any, error: Exception, outcome: str) -> None:
    """Stopped with the reason, or complete with its failures counted."""
    await run(model=make_model(lambda _: error))
    (found,) = manifest()
    assert found["outcome"].startswith(outcome)
    assert found["failed"] >= 1
    assert sum(found["errors"].values()) == found["failed"]


async def test_a_run_that_failed_says_so(
    run: Any, manifest: Any, make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is in its outcome."""
    from flexllm_batch.outputs.journal import Journal
    from flexllm_core.errors import JournalError

    def full(self: Journal, line: bytes) -> int:
        raise JournalError("no space")

    monkeypatch.setattr(Journal, "append", full)
    with pytest.raises(JournalError):
        await run()
    (found,) = manifest()
    assert found["outcome"] == "failed: JournalError: no space"


@pytest.mark.parametrize("content", [b"", b"not json", b"[]", b'{"runs": 3}', b'{"a": 1}', b"\xff\xfe", b"[" * 100_000])
async def test_a_file_that_is_no_manifest_is_left_alone(
    run: Any, tmp_path: Path, read_lines: Any, content: bytes
) -> None:
    """The run warns and goes on without one."""
    path = tmp_path / "out.jsonl.run.json"
    path.write_bytes(content)
    (note,) = await run()
    assert note.startswith("warning: the manifest cannot be written")
    assert path.read_bytes() == content
    assert len(read_lines(tmp_path / "out.jsonl")) == 3


async def test_a_manifest_that_cannot_be_written_is_a_warning(run: Any, tmp_path: Path, read_lines: Any) -> None:
    """Such as where a folder has its name."""
    (tmp_path / "out.jsonl.run.json").mkdir()
    (note,) = await run()
    assert "manifest" in note
    assert len(read_lines(tmp_path / "out.jsonl")) == 3


async def test_an_unknown_cost_is_null(run: Any, manifest: Any) -> None:
    """Never a number that leaves something out."""
    await run()
    (found,) = manifest()
    assert (found["cost_usd"], found["rows_of_unknown_cost"]) == (None, 3)


async def test_the_python_api_writes_one_on_request(server: Any, tmp_path: Path, manifest: Any) -> None:
    """`manifest=True` with an output; not unasked, and not without one."""
    output = tmp_path / "out.jsonl"
    async with server.client() as client:
        await client.chat_batch(["a"], output_jsonl=output)
        assert not (tmp_path / "out.jsonl.run.json").exists()
        await client.chat_batch(["a", "b"], output_jsonl=output, manifest=True)
        with pytest.raises(ValueError, match="output_jsonl"):
            await client.chat_batch(["a"], manifest=True)
    (found,) = manifest()
    assert (found["inputs"], found["total"], found["resumed"]) == ([], 2, 1)
