from __future__ import annotations

import pytest

from parrot.engine.contexts import ContextTable, context_name
from parrot.errors import EngineError


def fill(table: ContextTable, *segments: list[int]) -> list[str]:
    """Fill a chain, one segment on the other; gives the names, the first below."""
    names: list[str] = []
    for tokens in segments:
        parent = names[-1] if names else None
        name = context_name(parent, tokens)
        table.fill(name, parent, tokens)
        names.append(name)
    return names


def test_equal_chains_have_equal_names() -> None:
    assert fill(ContextTable(), [1, 2], [3]) == fill(ContextTable(), [1, 2], [3])


def test_a_name_depends_on_the_whole_chain() -> None:
    names = {context_name(parent, [3]) for parent in (None, context_name(None, [1]), context_name(None, [2]))}
    assert len(names) == 3
    assert context_name(None, [1, 2]) != context_name(context_name(None, [1]), [2])


def test_a_context_holds_its_own_tokens_after_those_of_its_parents() -> None:
    table = ContextTable()
    assert table.tokens(fill(table, [1, 2], [3], [4, 5])[-1]) == [1, 2, 3, 4, 5]


def test_the_tokens_that_are_given_out_are_a_copy() -> None:
    table = ContextTable()
    (name,) = fill(table, [1, 2])
    table.tokens(name).append(3)
    assert table.tokens(name) == [1, 2]


def test_a_shared_prefix_is_counted_once() -> None:
    table = ContextTable()
    fill(table, [1, 2], [3])
    fill(table, [1, 2], [4, 5])
    assert (len(table), table.size) == (3, 5)


def test_a_context_lives_until_its_last_user_releases_it() -> None:
    table = ContextTable()
    (name,) = fill(table, [1])
    fill(table, [1])
    table.release(name)
    assert table.tokens(name) == [1]
    table.release(name)
    assert len(table) == 0


def test_a_child_keeps_its_released_parent_alive() -> None:
    table = ContextTable()
    low, high = fill(table, [1], [2])
    table.release(low)
    table.check()
    assert table.tokens(high) == [1, 2]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_nothing_is_left_when_all_is_released_in_any_order(order: tuple[int, ...]) -> None:
    table = ContextTable()
    names = fill(table, [1], [2], [3])
    for i in order:
        table.release(names[i])
        table.check()
    assert (len(table), table.size) == (0, 0)


def test_a_context_on_a_parent_that_is_not_there_is_refused() -> None:
    table = ContextTable()
    with pytest.raises(EngineError, match="is not filled"):
        table.fill("child", "parent", [1])
    table.check()


def test_a_name_stands_for_one_thing() -> None:
    table = ContextTable()
    table.fill("name", None, [1])
    with pytest.raises(EngineError, match="other tokens"):
        table.fill("name", None, [2])


def test_releasing_too_often_is_refused() -> None:
    table = ContextTable()
    low, high = fill(table, [1], [2])
    table.release(low)
    with pytest.raises(EngineError, match="more often"):
        table.release(low)
    table.release(high)
    with pytest.raises(EngineError, match="is not filled"):
        table.release(high)
