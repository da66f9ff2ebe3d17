"""What no policy can beat: the time of a program on engines without number, of which every call has one for itself.

Each call begins once its inputs are there and its app can have asked for it; its whole prompt but the last token lies in the cache; a
step has nothing in it but this call; messages take no time. That is true of no real run, so that all take longer: by how much is
partly what policies are judged by, and partly what engines that are shared must cost.
"""

from __future__ import annotations

from collections.abc import Iterable

from bench.simulator.profile import Profile


class Bound:
    """Of one program.

    Args:
        profile: of the engines.

    Attributes:
        waited: seconds from its arrival to its end at the very least, without its own pauses.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._now = 0.0  # seconds since it arrived, before which its script cannot be where it is
        self._paused = 0.0
        self._ready: dict[str, float] = {}  # before when a variable cannot be there

    @property
    def waited(self) -> float:
        return self._now - self._paused

    def call(self, output: str, inputs: Iterable[str], context: int, tokens: int) -> None:
        """A call is submitted.

        Args:
            output: the variable that it makes.
            inputs: variables that it needs; those that no call makes are there.
            context: tokens of its prompt.
            tokens: that it generates.
        """
        begins = max((self._ready.get(name, 0.0) for name in inputs), default=0.0)
        self._ready[output] = max(self._now, begins) + self._profile.decode(1, max(0, context - 1), tokens)

    def read(self, variables: Iterable[str]) -> None:
        """The script waits for variables."""
        self._now = max([self._now, *(self._ready.get(name, 0.0) for name in variables)])

    def pause(self, seconds: float) -> None:
        """The script does something else."""
        self._now += seconds
        self._paused += seconds
