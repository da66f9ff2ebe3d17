"""Which engine holds the beginning of which prompt, or is about to; from reports, placements, and nothing else."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mypy_extensions import mypyc_attr

from parrot.core.beginnings import Beginnings
from parrot.wire.to_core import EngineHolds

KNOWN = 500_000  # beginnings, some 100 MB; those that nothing waits for are forgotten first
SETTLING = 2.0  # seconds that an engine has to report what it holds of a prompt that it has done


@dataclass(slots=True)
class _Node:
    """One beginning that engines hold or are about to.

    Attributes:
        holders: engines that have said that they hold it, as bits.
        coming: engines that were given a prompt that begins so, as bits.
        tokens: that an engine has counted; 0 before.
        users: generations that engines have and that begin so.
    """

    holders: int = 0
    coming: int = 0
    tokens: int = 0
    users: int = 0


@mypyc_attr(allow_interpreted_subclasses=True)
class PrefixIndex:
    """The index of one cell.

    Reports carry sequence numbers, so a lost one shows; until the whole is told, what was known stands. A new engine holds nothing.

    Args:
        most: beginnings to know.

    Attributes:
        bits: that stand for the engines, by id.
    """

    def __init__(self, most: int = KNOWN) -> None:
        self._most = most
        self._full = most  # how many make it necessary to look for room
        self._nodes: dict[int, _Node] = {}
        self._needed: dict[int, int] = {}  # generations that are not placed yet, whether they can run or not, by beginning
        self.bits: dict[str, int] = {}
        self._engines: list[str] = []  # by bit; empty names are free
        self._turn = 0  # whose turn it is to be the first
        self._sequence: dict[str, int] = {}
        self._held: dict[str, set[int]] = {}
        self._coming: dict[str, dict[int, int]] = {}  # by engine and name, how many prompts
        self._settling: dict[str, deque[tuple[float, Beginnings]]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def need(self, names: Iterable[int]) -> None:
        """A generation will be placed that has these beginnings."""
        needed = self._needed
        for name in names:
            needed[name] = needed.get(name, 0) + 1

    def need_no_more(self, names: Iterable[int]) -> None:
        """A generation that was waiting is placed, or has ended."""
        needed = self._needed
        for name in names:
            left = needed[name] = needed[name] - 1
            if not left:
                del needed[name]

    def comes(self, engine: str, beginnings: Beginnings) -> None:
        """An engine was given a prompt: it will hold its beginnings."""
        bit, coming = self.bits[engine], self._coming[engine]
        for name in beginnings.names:
            node = self._node(name)
            del self._nodes[name]
            self._nodes[name] = node  # behind the others: it is forgotten last
            node.coming |= bit
            node.users += 1
            coming[name] = coming.get(name, 0) + 1

    def came(self, engine: str, beginnings: Beginnings, now: float) -> None:
        """An engine is done with a prompt: until it has had time to say so, it is taken to hold it; then what it says counts."""
        settling = self._settling.get(engine)
        if settling is not None:  # else it is gone
            for name in beginnings.names:
                self._nodes[name].users -= 1
            settling.append((now + SETTLING, beginnings))
            self.settle(engine, now)

    def settle(self, engine: str, now: float) -> None:
        """What an engine has had time to say counts from now on, as it has said it; to be called whenever something is heard of it."""
        settling, coming, bit = self._settling[engine], self._coming[engine], self.bits[engine]
        while settling and settling[0][0] <= now:
            for name in settling.popleft()[1].names:
                left = coming[name] = coming[name] - 1
                if not left:
                    del coming[name]
                    node = self._nodes[name]
                    node.coming &= ~bit
                    self._forget_if_idle(name, node)

    def add(self, engine: str) -> None:
        """An engine is there, and holds nothing that is known."""
        bit = 1 << (self._engines.index("") if "" in self._engines else len(self._engines))
        if bit.bit_length() > len(self._engines):
            self._engines.append("")
        self._engines[bit.bit_length() - 1] = engine
        self.bits[engine], self._sequence[engine], self._held[engine] = bit, 0, set()
        self._coming[engine], self._settling[engine] = {}, deque()

    def remove(self, engine: str) -> None:
        """An engine is gone, and what it held."""
        self._clear(engine)
        bit = self.bits.pop(engine)
        done = Counter(name for _, beginnings in self._settling.pop(engine) for name in beginnings.names)
        for name, prompts in self._coming.pop(engine).items():
            node = self._nodes[name]
            node.coming &= ~bit
            node.users -= prompts - done[name]
            self._forget_if_idle(name, node)
        self._engines[bit.bit_length() - 1] = ""
        del self._sequence[engine], self._held[engine]

    def report(self, report: EngineHolds, now: float) -> bool:
        """What an engine says that it holds, at a moment in seconds since the epoch.

        Returns:
            False if a report before this one is missing, so that the whole must be asked for; what this one says is taken in all the same.
        """
        engine = report.engine
        if engine not in self.bits:
            return True  # it is not counted on: nobody asks what it holds
        self.settle(engine, now)
        expected = self._sequence[engine] + 1
        if report.sequence < expected:
            return True  # it has been said before
        self._sequence[engine] = report.sequence
        if report.whole:
            self._clear(engine)
        bit, held = self.bits[engine], self._held[engine]
        for name in report.removed:
            node = self._nodes.get(name)
            if node is not None:
                node.holders &= ~bit
                held.discard(name)
                self._forget_if_idle(name, node)
        for name, tokens in report.stored:
            node = self._node(name)
            node.holders |= bit
            node.tokens = tokens
            held.add(name)
        return report.whole or report.sequence == expected

    def cached(self, beginnings: Beginnings, vacant: int = -1) -> Iterator[tuple[str, int]]:
        """The engines that hold some of a prompt or are about to, with the tokens of it, the most first.

        Of those that hold as much as each other, those that have room are given and not the others, if there are any; they take turns to be
        the first, so that a few of many are not always the same.

        Args:
            beginnings: of the prompt.
            vacant: bits of the engines that have room.
        """
        nodes, seen = self._nodes, 0
        self._turn = (self._turn + 1) % (len(self._engines) or 1)
        low = (1 << self._turn) - 1
        names, tokens = beginnings.names, beginnings.tokens
        for place in range(len(names) - 1, -1, -1):
            node = nodes.get(names[place])
            if node is None:
                continue
            new = (node.holders | node.coming) & ~seen
            if not new:
                continue
            seen |= new
            new = new & vacant or new
            many = node.tokens or tokens[place]
            while new:
                left = new & ~low or new
                lowest = left & -left
                new ^= lowest
                yield self._engines[lowest.bit_length() - 1], many

    def held(self, engine: str, beginnings: Beginnings) -> int:
        """Tokens of a prompt that one engine holds or is about to."""
        bit, names = self.bits[engine], beginnings.names
        for place in range(len(names) - 1, -1, -1):
            node = self._nodes.get(names[place])
            if node is not None and (node.holders | node.coming) & bit:
                return node.tokens or beginnings.tokens[place]
        return 0

    def shared(self, beginnings: Beginnings) -> tuple[int, float]:
        """The longest beginning of a prompt that any engine holds or is about to.

        Returns:
            Its tokens; and if one engine more would hold it, how many generations with it that engine could be expected to have at once.
        """
        names = beginnings.names
        for place in range(len(names) - 1, -1, -1):
            node = self._nodes.get(names[place])
            if node is not None and (there := node.holders | node.coming):
                return node.tokens or beginnings.tokens[place], 1.0 + node.users / (1 + there.bit_count())
        return 0, 1.0

    def counted(self, beginnings: Beginnings) -> tuple[int, int] | None:
        """The longest beginning of which an engine has counted the tokens: what it has, and what it was estimated to have."""
        names = beginnings.names
        for place in range(len(names) - 1, -1, -1):
            node = self._nodes.get(names[place])
            if node is not None and node.tokens:
                return node.tokens, beginnings.tokens[place]
        return None

    def check(self) -> Iterator[str]:
        """What does not add up in these books, in sentences."""
        for engine, bit in self.bits.items():
            held = {name for name, node in self._nodes.items() if node.holders & bit}
            if held != self._held[engine]:
                yield f"The prefix index counts {len(held)} beginnings on {engine} and lists {len(self._held[engine])}."
            coming = {name for name, node in self._nodes.items() if node.coming & bit}
            if coming != set(self._coming[engine]):
                yield f"The prefix index counts {len(coming)} beginnings on their way to {engine} and lists {len(self._coming[engine])}."

    def _node(self, name: int) -> _Node:
        node = self._nodes.get(name)
        if node is None:
            if len(self._nodes) >= self._full:
                self._make_room()
            node = self._nodes[name] = _Node()
        return node

    def _make_room(self) -> None:
        """Forget what was used longest ago of what is held somewhere and needed by nothing that waits, until a tenth is free."""
        tenth = max(1, self._most // 10)
        idle = [name for name, node in self._nodes.items() if name not in self._needed and not node.coming]
        for name in idle[: len(self._nodes) - self._most + tenth]:
            node = self._nodes.pop(name)
            holders = node.holders
            while holders:
                lowest = holders & -holders
                self._held[self._engines[lowest.bit_length() - 1]].discard(name)
                holders ^= lowest
        self._full = max(self._most, len(self._nodes) + tenth)  # what is needed stays, and is not looked through with each new one

    def _forget_if_idle(self, name: int, node: _Node) -> None:
        if not (node.holders or node.coming):
            del self._nodes[name]

    def _clear(self, engine: str) -> None:
        bit = self.bits[engine]
        for name in self._held[engine]:
            node = self._nodes[name]
            node.holders &= ~bit
            self._forget_if_idle(name, node)
        self._held[engine] = set()
