"""Batches at work: the timetable, and rows that are answered while it goes on."""

from __future__ import annotations

import asyncio

import pytest

from flexllm_mock import MockConfig
from flexllm_mock.jobs import Job, Timetable


def job_of(total, run=lambda index: index, *, valid=True, **options):
    job = Job(MockConfig(**options), total, run, valid=valid)
    job.fresh = False
    return job


@pytest.mark.parametrize(
    ("elapsed", "state", "due"),
    [
        (0, "validating", 0),
        (9.9, "validating", 0),
        (10, "in_progress", 0),
        (50, "in_progress", 4),
        (89.9, "in_progress", 7),
        (90, "finalizing", 8),
        (100, "completed", 8),
    ],
)
def test_timetable(elapsed, state, due):
    """A batch is validated for a tenth of its time and finalized for another; between them the rows are done evenly."""
    table = Timetable(100, 1000)
    assert (table.state(elapsed), table.due(elapsed, 8)) == (state, due)


@pytest.mark.parametrize(
    ("elapsed", "state"), [(29, "in_progress"), (30, "cancelling"), (39, "cancelling"), (40, "cancelled")]
)
def test_timetable_of_a_cancelled_batch(elapsed, state):
    """Cancelling takes a tenth of the batch's time."""
    assert Timetable(100, 1000).state(elapsed, cancelled_at=30) == state


def test_timetable_of_other_ends():
    """What cannot be read fails after validation; what outlasts the window expires; no time at all is done at once."""
    assert Timetable(100, 1000).state(10, valid=False) == "failed"
    assert [Timetable(100, 50).state(elapsed) for elapsed in (49, 50)] == ["in_progress", "expired"]
    assert Timetable(100, 5).state(5) == "expired"
    assert Timetable(0, 50).state(0) == "completed"


def test_job_goes_by_the_clock(run_virtual):
    """States and rows done follow the loop's clock, and the rows' answers are in order."""

    async def watch():
        job, seen = job_of(10, batch_seconds=100), []
        for _ in range(11):
            seen.append((job.state, job.done))
            await asyncio.sleep(10)
        return seen, job.results

    (seen, results), _ = run_virtual(watch())
    assert seen[0] == ("validating", 0)
    assert seen[5] == ("in_progress", 5)
    assert seen[9:] == [("finalizing", 10), ("completed", 10)]
    assert results == list(range(10))


def test_cancelled_job_keeps_what_was_done(run_virtual):
    """The rows done when the client cancels stay done, no others come, and it cannot be cancelled twice."""

    async def cancel():
        job = job_of(10, batch_seconds=100)
        await asyncio.sleep(50)
        assert job.cancel()
        assert not job.cancel()
        shown = [(job.state, job.done)]
        await asyncio.sleep(10)
        shown.append((job.state, job.done))
        return shown, job.ended_at

    (shown, ended_at), _ = run_virtual(cancel())
    assert shown == [("cancelling", 5), ("cancelled", 5)]
    assert ended_at == 60


def test_expired_job_keeps_what_was_done(run_virtual):
    """The rows done when the window closes stay done."""

    async def expire():
        job = job_of(10, batch_seconds=100, batch_window=50)
        await asyncio.sleep(200)
        return job.state, job.done, job.ended_at, job.cancel()

    assert run_virtual(expire())[0] == ("expired", 5, 50, False)


async def test_long_job_works_in_slices():
    """A long job has answered a slice at once, lets others run between slices, and ends when all rows have answers."""
    ran = []
    job = job_of(1000, ran.append)
    assert job.state == "in_progress"
    assert 0 < len(ran) < 1000
    turns = 0

    async def others():
        nonlocal turns
        while job.working:
            turns += 1
            await asyncio.sleep(0)

    await asyncio.gather(job.work(), others())
    assert turns > 1
    assert ran == list(range(1000))
    assert (job.state, job.done) == ("completed", 1000)


async def test_closed_job_stops():
    """A job that was closed answers no more rows."""
    job = job_of(1000)
    job.close()
    await job.work()
    assert (job.results, job.working) == ([], False)


async def test_new_job_is_shown_as_new():
    """Until its creation has been answered, a batch shows as one that has just begun."""
    job = Job(MockConfig(), 3, lambda index: index)
    assert (job.state, job.done) == ("validating", 0)
    job.fresh = False
    assert (job.state, job.done) == ("completed", 3)
