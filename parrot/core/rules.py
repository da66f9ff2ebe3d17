"""The rules of the scheduler that can be switched off, to see what each is worth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """Which rules hold; all by default.

    Attributes:
        objectives: what is asked for counts; without it every call is one that somebody waits for by itself.
        ways: programs with the shorter way to go first.
        fairness: tenants take turns by what they have had.
        prefixes: what engines hold of a prompt counts.
        harm: what a placement does to others counts.
        backlog: prompts wait in the core, where they can be re-ordered, and not in engines.
        patience: a generation waits for the engine that holds its prompt if that should be the faster way.
        reserve: places are kept for sensitive work.
        replicas: what many use is computed on an engine more as if each of them paid a part.
    """

    objectives: bool = True
    ways: bool = True
    fairness: bool = True
    prefixes: bool = True
    harm: bool = True
    patience: bool = True
    reserve: bool = True
    backlog: bool = True
    replicas: bool = True
