from __future__ import annotations

from parrot.engine.waiting import Waiting
from tests.unit.engine.test_runner import job


def waiting(*priorities: int) -> Waiting:
    """Jobs v0, v1 … with these priorities."""
    made = Waiting()
    for place, priority in enumerate(priorities):
        made.push(job(f"v{place}", priority=priority))
    return made


def order(jobs: Waiting) -> list[str]:
    return [job.variable for job in jobs.pop(len(jobs))]


def test_the_lower_priority_number_goes_first_then_the_earlier() -> None:
    assert order(waiting(1, 0, 1, 0)) == ["v1", "v3", "v0", "v2"]


def test_no_more_are_taken_than_there_are() -> None:
    jobs = waiting(1, 1, 1)
    assert len(jobs.pop(2)) == 2
    assert len(jobs.pop(2)) == 1
    assert jobs.pop(0) == jobs.pop(5) == []


def test_a_job_with_another_priority_goes_to_its_new_place_and_keeps_its_rank_there() -> None:
    jobs = waiting(1, 1, 1, 1)
    jobs.reorder("v2", 1, 0)
    jobs.reorder("v0", 1, 2)
    assert order(jobs) == ["v2", "v1", "v3", "v0"]
    jobs = waiting(2, 1, 1)
    jobs.reorder("v0", 1, 1)
    assert order(jobs) == ["v0", "v1", "v2"], "it came first"


def test_a_job_takes_its_new_priority_along() -> None:
    jobs = waiting(5)
    jobs.reorder("v0", 1, 3)
    assert jobs.pop(1)[0].priority == 3


def test_another_attempt_is_another_job() -> None:
    jobs = waiting(1, 1)
    jobs.reorder("v1", 2, 0)
    assert jobs.remove("v1", 2) is None
    assert order(jobs) == ["v0", "v1"]


def test_a_job_can_be_taken_out() -> None:
    jobs = waiting(3, 2, 1)
    taken = jobs.remove("v1", 1)
    assert taken is not None
    assert taken.variable == "v1"
    assert order(jobs) == ["v2", "v0"]
