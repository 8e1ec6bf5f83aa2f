"""The providers' own batches as wholes: the JSON that makes one, and how far one is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_providers.batch_codecs import find_batch_codec
from flexllm_providers.batch_status import BatchStatus
from flexllm_providers.claude import batch_jobs as claude_jobs
from flexllm_providers.gemini import batch_jobs as gemini_jobs
from flexllm_providers.openai import batch_jobs as openai_jobs

EXAMPLES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "batches.json").read_bytes())
OPENAI, CLAUDE, GEMINI = (EXAMPLES[provider] for provider in ("openai", "claude", "gemini"))


def status(provider: str, data: Any) -> BatchStatus:
    """How far a batch is."""
    return find_batch_codec(provider).decode_status(data)


def test_a_batch_is_made_as_documented() -> None:
    """Of a file at OpenAI, of items at Claude, of either at Gemini."""
    assert openai_jobs.create_body("file-7a", {"run": "rivers"}) == {
        "input_file_id": "file-7a",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"run": "rivers"},
    }
    assert "metadata" not in openai_jobs.create_body("file-7a")
    assert claude_jobs.create_body(iter(CLAUDE["create"]["requests"])) == CLAUDE["create"]
    items = GEMINI["create"]["batch"]["inputConfig"]["requests"]["requests"]
    assert gemini_jobs.create_body(iter(items), "mountains") == GEMINI["create"]
    assert gemini_jobs.create_body_of_file("files/f1", "hills") == {
        "batch": {"displayName": "hills", "inputConfig": {"fileName": "files/f1"}}
    }


def test_the_documented_batches() -> None:
    """Where their outcomes are; Claude's URL is not followed, because the key would go along."""
    files = ("file-8b", "file-8c")
    assert status("openai", OPENAI["batch"]) == BatchStatus("batch_9z", "done", 5, 3, 2, files)
    assert status("claude", CLAUDE["batch"]) == BatchStatus("msgbatch_5k", "done", 13, 7, 6)
    found = status("gemini", GEMINI["operation"])
    assert (found.id, found.state, found.total, found.succeeded, found.failed) == ("batches/q8", "done", 2, 1, 1)
    assert [item["metadata"]["key"] for item in found.inlined] == ["row-2", "row-9"]
    assert found.has_ended
    assert "Elbrus" not in repr(found)


@pytest.mark.parametrize(
    ("provider", "data", "state"),
    [
        *(("openai", {"status": word}, "running") for word in ("validating", "in_progress", "finalizing", "new", None)),
        ("openai", {"status": "cancelling"}, "canceling"),
        ("openai", {"status": "cancelled"}, "canceled"),
        ("openai", {"status": "expired"}, "expired"),
        ("openai", {"status": "failed"}, "failed"),
        ("claude", {"processing_status": "in_progress"}, "running"),
        ("claude", {"processing_status": "canceling"}, "canceling"),
        ("gemini", {"metadata": {"state": "BATCH_STATE_PENDING"}}, "running"),
        ("gemini", {"metadata": {"state": "BATCH_STATE_RUNNING"}}, "running"),
        ("gemini", {"metadata": {"state": "JOB_STATE_EXPIRED"}}, "expired"),
        ("gemini", {"metadata": {"state": "BATCH_STATE_CANCELLED"}, "done": True}, "canceled"),
        ("gemini", {"done": True}, "done"),
        ("gemini", {"done": True, "error": {"code": 13, "message": "broke"}}, "failed"),
    ],
)
def test_each_state(provider: str, data: Any, state: str) -> None:
    """In one vocabulary; only ends are ends."""
    found = status(provider, data)
    assert found.state == state
    assert found.has_ended == (state in ("done", "failed", "expired", "canceled"))


def test_why_a_batch_failed_is_said() -> None:
    """With the line of the file where there is one, and cut."""
    errors = {"data": [{"line": 3, "message": "no model", "code": "x"}, {"message": "y" * 9999}, {"code": "z"}, 5]}
    found = status("openai", {"status": "failed", "errors": errors})
    assert found.problems == ("line 3: no model", "y" * 500)
    assert status("gemini", {"done": True, "error": {"message": "broke"}}).problems == ("broke",)


def test_counts_that_are_not_told_yet_are_unknown() -> None:
    """Claude's are 0 until the end; 0 is not what they are."""
    counts = {"processing": 9, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    found = status("claude", {"processing_status": "in_progress", "request_counts": counts})
    assert (found.total, found.succeeded, found.failed) == (9, None, None)
    assert status("claude", {}) == BatchStatus("", "running")


def test_a_file_of_geminis_responses_is_named() -> None:
    """In the metadata, or in the response of the operation."""
    for data in (
        {"metadata": {"output": {"responsesFile": "files/r"}}},
        {"done": True, "response": {"responsesFile": "files/r"}},
    ):
        assert status("gemini", data).files == ("files/r",)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "status", "request_counts", "total", "errors", "data", "metadata", "state", "output", "message"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(
    provider=st.sampled_from(["openai", "claude", "gemini"]),
    data=st.dictionaries(
        st.sampled_from(
            ["id", "status", "errors", "request_counts", "processing_status", "metadata", "error", "done", "name"]
        ),
        JSON,
    ),
)
def test_any_object_has_a_status(provider: str, data: Any) -> None:
    """What is missing or of a wrong type is unknown, and a batch that says nothing of an end runs on."""
    found = status(provider, data)
    assert all(number is None or number >= 0 for number in (found.total, found.succeeded, found.failed))
