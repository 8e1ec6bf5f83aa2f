"""Questions that were looked up together, in vain, are not looked up again one by one."""

from __future__ import annotations

from flexllm_batch.cache.misses import FRESH, Misses


def test_a_miss_is_good_for_one_call_and_a_moment() -> None:
    """The second call looks for itself, and so does a late one."""
    misses = Misses()
    misses.note(["a", "b"], 100.0)
    assert misses.take("a", 100.0 + FRESH / 2)
    assert not misses.take("a", 100.0 + FRESH / 2)
    assert not misses.take("b", 100.0 + FRESH)
    assert not misses.take("c", 100.0)


def test_an_answer_ends_the_miss() -> None:
    """Also one that came while the look-up went on, which no call may take for a miss before its end."""
    misses = Misses()
    misses.note(["a"], 100.0)
    misses.forget("a")
    misses.forget("never noted")
    assert not misses.take("a", 100.0)
    with misses.looking(["a", "b"]) as first, misses.looking(["a", "b"]) as second:
        assert not misses.take("b", 100.0)
        misses.forget("a")
    assert first == second == {"b"}
    misses.forget("b")
    assert first == {"b"}


def test_old_misses_are_thrown_out() -> None:
    """Those that nobody asks for do not pile up."""
    misses = Misses()
    for second in range(0, 40_000, 2):
        misses.note([f"{second}"], float(second))
    assert len(misses._since) <= 10_002
    assert misses.take("39998", 39_998.0)
