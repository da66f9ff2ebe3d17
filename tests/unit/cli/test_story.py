"""The story of a call in words."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from parrot.broker.entries import CallRecord, DecisionEntry
from parrot.cli.story import lines
from parrot.cli.timeline import timelines

from .records import NOW, at, call, ready, record, variable

DECISION = DecisionEntry("group", "b", 1.24, 3.5, 1024, 960, "e-1", "e-2", "holds most of its prompt, and is free [now]")


def story(of: CallRecord, width: int = 160) -> list[str]:
    return [Text.from_markup(line).plain for line in lines(of, timelines(of, NOW), width)]


def test_what_was_decided_is_told_with_its_reason():
    told = story(record(call(decision=DECISION), ready(why=DECISION.why)))
    assert told[:8] == [
        "retell done · a · session s-1 · 2026-01-01 (UTC)",
        "  objective group: all of its group as early as possible, since the last one counts",
        "  group     its group makes the inputs of b",
        "  way       3.50 s from its start to the end of what it is for, by the longest way",
        "  slack     1.24 s to spare when that was decided",
        "  prefix    1,024 tokens of its prompt expected in the cache there, 960 found",
        "  engine    e-1; the next best was e-2",
        "  why       holds most of its prompt, and is free [now]",
    ]


def test_the_steps_have_bars_that_lie_where_the_time_went():
    told = story(record(call(), ready()))
    assert told[2] == "x ready · 4.00 s, 52% of it for the rest of its text"
    assert told[3:] == [
        "  12:00:00.000 submitted",
        "  12:00:01.000 ready         +1.00 s ██████                   for its inputs",
        "  12:00:01.500 placed        +500 ms       ███                for an engine",
        "  12:00:01.502 started         +2 ms          ▏               for its turn there · on e-1",
        "  12:00:01.900 first token   +398 ms          ██              to its first token · 1,320 tokens in, 64 of them cached",
        "  12:00:04.000 done          +2.10 s            █████████████ for the rest of its text · 22 tokens out, 100 ms each",
    ]


def test_what_was_never_written_leaves_no_gap():
    told = story(record(call(), ready(ready="", first_token=None, why="")))
    assert told[0] == "retell done · a · session s-1 · 2026-01-01 (UTC)"
    assert told[1] == ""
    assert not any(word in line for line in told for word in ("objective", "slack", "None"))


def test_a_call_of_which_nothing_but_its_state_is_known_is_told_all_the_same():
    of = record(call("done", function="f", session="", submitted=""), variable(state="ready"))
    assert story(of) == ["f done · a", "", "x ready"]


def test_slack_that_was_gone_is_told_as_lateness():
    late = DecisionEntry("deadline", slack=-0.5)
    assert "  slack     500 ms late when that was decided" in story(record(call(decision=late), ready()))


def test_a_prefix_that_was_only_expected_or_only_found_is_told_so():
    expected, found = DecisionEntry(prefix_expected=8), DecisionEntry(prefix_found=1000)
    assert "  prefix    8 tokens of its prompt expected in the cache there" in story(record(call(decision=expected), ready()))
    assert "  prefix    1,000 tokens of its prompt found in the cache there" in story(record(call(decision=found), ready()))


def test_an_objective_of_a_newer_servecore_is_told_as_it_is():
    assert "  objective leisure" in story(record(call(decision=DecisionEntry("leisure")), ready()))


def test_a_call_that_waits_again_does_not_tell_of_its_last_engine():
    told = "\n".join(story(record(call("queued", DECISION), variable(ready=at(1), attempt=1, why="waits for an engine with room"))))
    assert "group: all of its group" in told
    assert "e-1" not in told
    assert "x pending · 10.00 s so far" in told
    assert "- waits for an engine with room" in told


def test_each_output_tells_its_own_placement_where_the_call_tells_that_of_another():
    of = call(decision=DECISION, outputs={"x": "a.x", "y": "a.y"}, needs={"x": [], "y": ["x"]})
    told = story(record(of, ready(engine="e-0", why="the only one"), ready("a.y", why=DECISION.why)))
    assert told.count("  e-0: the only one") == 1
    assert sum(DECISION.why in line for line in told) == 1


def test_outputs_share_one_scale():
    of = call(outputs={"x": "a.x", "y": "a.y"}, needs={"x": [], "y": ["x"]})
    later = ready("a.y", ready=at(4), placed=at(4), started=at(4), first_token=1.0, ended=at(8))
    told = story(record(of, ready(), later))
    bars = [line[37:61] for line in told if line.startswith("  12:") and " done " in line]
    assert bars == ["      ██████            ", "               █████████"]


def test_an_output_that_is_gone_is_said_to_be_gone():
    assert "x a.x is no longer there" in story(record(call()))


def test_a_failure_tells_its_reason_and_a_refusal_too():
    failed = variable(state="failed", ended=at(4), error="Too [long].")
    assert story(record(call("failed"), failed))[-1].endswith("Too [long].")
    assert story(record(call("failed", error="No room."), failed))[1] == "  No room."


def test_clocks_that_differ_are_told():
    told = story(record(call(), ready(started=at(1))))
    assert any("started" in line and "-500 ms" in line and "the clocks of two machines differ" in line for line in told)


def test_a_story_fits_a_narrow_screen_with_shorter_bars():
    console = Console(width=80)
    of = record(call(), ready())
    for line in lines(of, timelines(of, NOW), 80):
        assert console.measure(Text.from_markup(line)).maximum <= 100
