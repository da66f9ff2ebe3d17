"""The rules of the scheduler that can be switched off, to see what each is worth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """Which rules hold; all by default.

    Attributes:
        objectives: what is asked for counts; without it every call is one that somebody waits for by itself.
        groups: of calls that are waited for together only the last one matters; without it each is waited for by itself.
        deadlines: what is due goes by slack.
        ways: programs with the shorter way to go first.
        attained: of those for which nobody waits the programs first that have had least.
        ageing: whatever goes first does so for a bounded time only.
        fairness: tenants take turns by what they have had.
        prefixes: what engines hold of a prompt counts.
        harm: what a placement does to others counts.
        cap: steps of sensitive work become slower only so far.
        pace: what is computed of prompts on an engine makes outputs there slower.
        backlog: prompts wait in the core, where they can be re-ordered, and not in engines.
        patience: a generation waits for the engine that holds its prompt if that should be the faster way.
        insistence: what has waited for long takes room wherever there is some.
        reserve: places are kept for sensitive work.
        replicas: what many use is computed on an engine more as if each of them paid a part.
        priority: engines are told what is stricter than other work.
    """

    objectives: bool = True
    groups: bool = True
    deadlines: bool = True
    ways: bool = True
    attained: bool = True
    ageing: bool = True
    fairness: bool = True
    prefixes: bool = True
    harm: bool = True
    cap: bool = True
    pace: bool = True
    patience: bool = True
    insistence: bool = True
    reserve: bool = True
    backlog: bool = True
    replicas: bool = True
    priority: bool = True
