"""Questions that were looked up together, in vain, are not looked up again one by one."""

from __future__ import annotations

from flexllm_batch.cache.misses import FRESH, Misses


def missing(*fingerprints: str, now: float) -> Misses:
    misses = Misses()
    misses.look(fingerprints)
    misses.note(fingerprints, now)
    return misses


def test_a_miss_is_good_for_one_call_and_a_moment() -> None:
    """The second call looks for itself, and so does a late one."""
    misses = missing("a", "b", now=100.0)
    assert misses.take("a", 100.0 + FRESH / 2)
    assert not misses.take("a", 100.0 + FRESH / 2)
    assert not misses.take("b", 100.0 + FRESH)
    assert not misses.take("c", 100.0)


def test_an_answer_ends_the_miss() -> None:
    """Whether it came after the look-up or while it went on."""
    misses = missing("a", now=100.0)
    misses.forget("a")
    misses.forget("never looked for")
    assert not misses.take("a", 100.0)
    misses.look(["a", "b"])
    misses.forget("a")
    misses.note(["a", "b"], 100.0)
    assert not misses.take("a", 100.0)
    assert misses.take("b", 100.0)


def test_a_call_during_the_look_up_does_not_count_on_it() -> None:
    """It looks for itself, and what it stores is not missed by the next."""
    misses = Misses()
    misses.look(["a"])
    assert not misses.take("a", 100.0)
    misses.note(["a"], 100.0)
    assert not misses.take("a", 100.0)


def test_two_look_ups_of_one_question() -> None:
    """An answer that comes between their ends is not missed after the second."""
    misses = Misses()
    misses.look(["a", "b"])
    misses.look(["a", "b"])
    misses.note(["a", "b"], 100.0)
    misses.forget("a")
    misses.note(["a", "b"], 100.1)
    assert not misses.take("a", 100.1)
    assert misses.take("b", 100.1)


def test_old_misses_are_thrown_out() -> None:
    """Those that nobody asks for do not pile up."""
    misses = Misses()
    for second in range(0, 40_000, 2):
        misses.look([f"{second}"])
        misses.note([f"{second}"], float(second))
    assert len(misses._since) <= 10_002
    assert misses.take("39998", 39_998.0)
