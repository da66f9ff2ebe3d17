from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from parrot.broker.entries import ArgumentEntry, CallEntry, DecisionEntry, Program, SessionEntry, VariableEntry
from parrot.cli.live import table
from parrot.cli.tree import tree
from parrot.cli.words import age, duration

SESSION = SessionEntry(
    id="s-1", name="my [program]", tenant="default", labels={"run": "7"}, state="closed", opened="", closed="", calls=2, done=1, failed=1
)
VARIABLE = VariableEntry(
    id="v-1",
    name="summary",
    state="ready",
    call="c-1",
    output="summary",
    function="summarize",
    engine="cpu-0-x",
    attempt=1,
    ready="",
    placed="",
    started="",
    ended="",
    first_token=0.2,
    seconds=1.5,
    tokens_in=320,
    tokens_cached=64,
    tokens_out=45,
    finish_reason="stop",
    criterion="",
    why="",
    error_code="",
    error="",
    value="A short summary.",
)
GIVEN = replace(VARIABLE, id="v-0", name="so_far", call="", output="", engine="", seconds=None, tokens_out=0, value="none yet")
FAILED = replace(
    VARIABLE, id="v-2", call="c-2", state="failed", value=None, seconds=None, tokens_out=0, error_code="engine", error="The engine died."
)
CALLS = [
    CallEntry(
        id="c-1",
        session="s-1",
        function="summarize",
        state="done",
        submitted="",
        ended="",
        model="",
        arguments={"text": ArgumentEntry(text="Long text. " * 40), "so_far": ArgumentEntry(variable="v-0")},
        outputs={"summary": "v-1"},
        needs={"summary": ["text", "so_far"]},
        decision=DecisionEntry(objective="latency"),
        error="",
    ),
    CallEntry(
        id="c-2",
        session="s-1",
        function="combine",
        state="failed",
        submitted="",
        ended="",
        model="",
        arguments={"one": ArgumentEntry(variable="v-1"), "two": ArgumentEntry(hash="abc123")},
        outputs={"summary": "v-2"},
        needs={"summary": ["one", "two"]},
        decision=DecisionEntry(),
        error="",
    ),
]
PROGRAM = Program(SESSION, CALLS, [GIVEN, VARIABLE, FAILED])


def rendered(what: object, width: int = 120) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def test_a_tree_says_what_a_call_made_and_at_what_cost():
    text = rendered(tree(PROGRAM, 120))
    assert "summarize#1 done" in text
    assert "summary → ready · cpu-0-x · 1.50 s · 320 tokens in, 64 cached, 45 out" in text
    assert "“A short summary.”" in text


def test_a_tree_says_what_a_call_was_optimised_for_where_that_is_known():
    text = rendered(tree(PROGRAM, 120))
    assert "summarize#1 done · latency\n" in text
    assert "combine#2 failed\n" in text


def test_a_tree_says_how_far_its_program_has_to_go_and_what_it_can_lose():
    decisions = [DecisionEntry(way=3.0, slack=9.0), DecisionEntry(way=12.5, slack=-1.5), DecisionEntry(way=99.0, slack=-99.0)]
    states = ["queued", "placed", "done"]
    calls = [replace(CALLS[0], state=state, decision=decision) for state, decision in zip(states, decisions, strict=True)]
    first, both, ended = (rendered(tree(Program(SESSION, some, []), 200)) for some in (calls[:1], calls, calls[2:]))
    assert "3.00 s to go by its longest way · 9.00 s to spare" in first
    assert "12.50 s to go by its longest way · 1.50 s late" in both
    assert "to go" not in ended


def test_a_tree_says_where_inputs_come_from():
    text = rendered(tree(PROGRAM, 120))
    assert "so_far ← so_far, given by the app" in text
    assert "one ← summarize#1.summary" in text
    assert "two ← a long text, kept once under abc123" in text
    assert "(440 characters)" in text


def test_a_failure_shows_its_reason():
    assert "The engine died." in rendered(tree(PROGRAM, 120))


def test_a_cancelled_variable_is_no_failure():
    cancelled = replace(FAILED, state="cancelled", error="Nobody wanted it any more.")
    text = rendered(tree(Program(SESSION, CALLS, [GIVEN, VARIABLE, cancelled]), 120))
    assert "summary → cancelled" in text
    assert "Nobody wanted it any more." in text


def test_names_are_shown_as_they_are_even_if_they_look_like_markup():
    assert "my [program]" in rendered(tree(PROGRAM, 120))


def test_a_variable_that_is_gone_is_said_to_be_gone():
    text = rendered(tree(Program(SESSION, CALLS[:1], []), 120))
    assert "v-1 (no longer there)" in text


def test_a_session_without_anything_is_one_line():
    empty = replace(SESSION, name="", calls=0, done=0, failed=0, labels={})
    assert rendered(tree(Program(empty, [], []), 120)).strip() == "s-1 · closed · 0/0 calls done · s-1"


def test_the_live_table_counts_the_seconds_of_what_is_in_work():
    running = replace(VARIABLE, state="generating", seconds=None, started="2026-01-01T00:00:00.000Z")
    text = rendered(table([Program(SESSION, CALLS, [running])], datetime(2026, 1, 1, 0, 0, 4, tzinfo=UTC)))
    assert "generating" in text
    assert "4.0" in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 ms"),
        (0.0124, "12 ms"),
        (0.9996, "1.00 s"),
        (1.377, "1.38 s"),
        (99, "99.00 s"),
        (250, "4.2 min"),
        (10_800, "3.0 h"),
        (-0.003, "-3 ms"),
    ],
)
def test_a_duration_has_three_digits_or_so(seconds, said):
    assert duration(seconds) == said


def test_an_age_is_told_in_its_largest_unit():
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert age("2026-01-01T23:59:48.000Z", now) == "12 s"
    assert age("2026-01-01T23:00:00.000Z", now) == "1 h"
    assert age("2025-12-31T00:00:00.000Z", now) == "2 d"
    assert age("", now) == ""
