"""The index of answers: each is claimed once, by a request with the same fingerprint."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict, deque
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_batch.outputs import answers as answers_module
from flexllm_batch.outputs.answers import NO_OFFSET, AnswerIndex


def key_of(name: object) -> str:
    return blake2b(repr(name).encode(), digest_size=16).hexdigest()


# A few keys, so that they repeat; some agree in their first 64 bits, and differ only behind them.
keys = st.sampled_from(
    [key_of(number) for number in range(5)]
    + ["ab" * 8 + low + "0" * 10 for low in ("000000", "000001", "ffffff")]
    + ["0" * 32, "f" * 32]
)


@given(st.lists(keys), st.lists(keys))
def test_claims_are_those_of_a_multiset(held: list[str], asked: list[str]) -> None:
    """Whatever the order: each claim of a key gets another line of that key, or nothing once there is none left."""
    index = AnswerIndex()
    lines: dict[str, deque[int]] = defaultdict(deque)
    for number, key in enumerate(held):
        index.add(key, number * 100)
        lines[key].append(number * 100)
    for key in asked:
        offset = index.claim(key)
        assert offset in lines[key] if lines[key] else offset == NO_OFFSET
        if offset != NO_OFFSET:
            lines[key].remove(offset)
    left = [offset for offsets in lines.values() for offset in offsets]
    assert sorted(index.unclaimed_offsets()) == sorted(left)
    assert index.unclaimed() == len(left)
    assert len(index) == len(held)


@given(st.lists(keys))
def test_the_same_rows_again_claim_every_line(held: list[str]) -> None:
    """In the order of the file, in the reverse order and sorted, every line is claimed."""
    for asked in (held, held[::-1], sorted(held)):
        index = AnswerIndex()
        for number, key in enumerate(held):
            index.add(key, number)
        assert sorted(index.claim(key) for key in asked) == list(range(len(held)))
        assert index.unclaimed() == 0


def test_large_offsets_are_kept() -> None:
    """An output file may be larger than 4 GiB."""
    index = AnswerIndex()
    index.add(key_of(1), (1 << 40) - 1)
    assert index.claim(key_of(1)) == (1 << 40) - 1


class CountingArray(array):  # type: ignore[type-arg]
    """An array that counts how often an item of it is read."""

    reads = 0

    def __getitem__(self, place: Any) -> Any:
        CountingArray.reads += 1
        return super().__getitem__(place)


@pytest.mark.parametrize("first", [[], ["missing"], ["last"]])
def test_many_equal_keys_cost_a_few_reads_each(monkeypatch: pytest.MonkeyPatch, first: list[str]) -> None:
    """100,000 equal rows are matched in linear time, in the order of the file and out of it."""
    monkeypatch.setattr(answers_module, "array", CountingArray)
    count = 100_000
    index = AnswerIndex()
    for number in range(count):
        index.add(key_of("same"), number)
    index.add(key_of("last"), count)
    asked = first + ["same"] * count + ["missing", "same"] * 1000
    CountingArray.reads = 0
    offsets = [index.claim(key_of(name)) for name in asked]
    assert Counter(offset != NO_OFFSET for offset in offsets)[True] == count + (first == ["last"])
    assert CountingArray.reads < 40 * len(asked)


def test_alternating_rows_out_of_order_cost_a_few_reads_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks of equal rows that the input mixes do not make every search walk through its block."""
    monkeypatch.setattr(answers_module, "array", CountingArray)
    count = 20_000
    index = AnswerIndex()
    for number in range(count):
        index.add(key_of("a" if number < count // 2 else "b"), number)
    CountingArray.reads = 0
    offsets = {index.claim(key_of(name)) for _ in range(count // 2) for name in ("b", "a")}
    assert offsets == set(range(count))
    assert CountingArray.reads < 60 * count
