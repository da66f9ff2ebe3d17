"""Timers: what is due, in order, and nothing that was dropped."""

from __future__ import annotations

from parrot.core.timers import IDLE, Timers


def test_what_is_due_comes_in_order_and_once() -> None:
    timers = Timers()
    for name, when in (("b", 2.0), ("a", 1.0), ("c", 3.0)):
        timers.set(("lease", name), when)
    assert [name for _, name in timers.due(2.0)] == ["a", "b"]
    assert list(timers.due(2.0)) == []
    assert timers.next() == 3.0


def test_a_timer_that_is_set_again_moves() -> None:
    timers = Timers()
    timers.set(("lease", "a"), 1.0)
    timers.set(("lease", "a"), 5.0)
    assert list(timers.due(4.0)) == []
    timers.set(("lease", "a"), 4.5)
    assert list(timers.due(4.6)) == [("lease", "a")]


def test_timers_that_were_dropped_do_not_pile_up() -> None:
    timers = Timers()
    timers.set(("lease", "a"), 5.0)
    for number in range(10 * IDLE):
        timers.set(("deadline", f"c{number}"), 1e9 + number)
        timers.drop(("deadline", f"c{number}"))
    assert len(timers._heap) < 2 * IDLE
    assert list(timers) == list(timers.due(2e9)) == [("lease", "a")]
