"""A generator on a thread of its own: how it ends, and that it ends."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from pointe_blender.job import Job


def test_runs_to_the_end_and_keeps_the_latest_update() -> None:
    job = Job(lambda: iter(range(5)))
    assert job.poll() is None
    job.start()
    assert job.join(10)
    assert (job.state, job.poll(), job.error) == ("done", 4, None)


def test_computes_on_another_thread() -> None:
    job = Job(lambda: iter([threading.current_thread()]))
    job.start()
    job.join(10)
    assert job.poll() not in (None, threading.current_thread())


def test_cancel_stops_at_the_next_update_and_closes_the_generator_on_its_thread() -> None:
    reached, go, closed_on = threading.Event(), threading.Event(), []

    def count() -> Iterator[int]:
        try:
            for i in itertools.count():
                yield i
                if i == 2:
                    reached.set()
                    go.wait(10)
        finally:
            closed_on.append(threading.current_thread())

    job = Job(count)
    job.start()
    assert reached.wait(10)
    job.cancel()
    assert job.state == "running" and job.cancelling
    go.set()
    assert job.join(10)
    assert (job.state, job.poll(), job.error) == ("cancelled", 2, None)
    assert closed_on and closed_on[0] is not threading.current_thread()


def test_an_error_is_kept_whole() -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    job = Job(fails)
    job.start()
    job.join(10)
    assert (job.state, job.poll()) == ("failed", 1)
    with pytest.raises(ValueError, match="broken"):
        raise job.error
    assert job.error.__traceback__ is not None


def test_an_error_before_the_first_update_is_kept_too() -> None:
    def fails() -> Iterator[int]:
        raise ValueError("broken")

    job = Job(fails)
    job.start()
    job.join(10)
    assert (job.state, str(job.error)) == ("failed", "broken")


def test_a_cancelled_job_counts_as_nothing_else() -> None:
    def fails() -> Iterator[int]:
        raise ValueError("broken by the cancel")
        yield

    for make in (fails, lambda: iter(range(3))):
        job = Job(make)
        job.start()
        job.join(10)
        job.cancel()
        assert (job.state, job.error) == ("cancelled", None)


def test_join_gives_up_in_time() -> None:
    go = threading.Event()
    job = Job(lambda: iter([go.wait(10)]))
    job.start()
    assert not job.join(0.01)
    go.set()
    assert job.join(10)
