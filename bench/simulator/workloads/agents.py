"""Agents that call tools: many turns, each with all that was said before, and pauses while a tool runs."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from bench.simulator.app import App, Given, Pause, Read, Var
from bench.simulator.workload import Kind, Workload, lognormal
from parrot.criteria import LATENCY

TASK = lognormal(200, 0.6, 30, 1_000)  # tokens
AGENTS = {  # tokens of instructions, turns, tokens that the agent says in a turn
    "researcher": (2_000, lognormal(6, 0.6, 2, 20), lognormal(60, 0.6, 15, 300)),
    "engineer": (3_000, lognormal(12, 0.6, 2, 30), lognormal(120, 0.6, 20, 500)),
    "clerk": (1_200, lognormal(3, 0.4, 1, 8), lognormal(40, 0.5, 10, 150)),
}
RESULT = lognormal(350, 0.9, 20, 2_000)  # tokens that a tool gives back
ANSWER = lognormal(250, 0.5, 50, 700)  # tokens at the end
TOOL = lognormal(2_000, 1.0, 100, 30_000)  # milliseconds


def agent(name: str, app: App) -> Generator[Read | Pause, None, None]:
    """One task; somebody waits for its end."""
    chance = app.chance
    instructions, turns, says = AGENTS[name]
    talk: list[str | Var | Given] = [app.contents.write(f"You are a {name}.", instructions), Given(app.write("task", TASK(chance)))]
    for turn in range(turns(chance)):
        said = app.call(f"{name}_acts", talk, tokens=says(chance))
        yield app.read(said, LATENCY)
        yield Pause(TOOL(chance) / 1000)
        talk += [said, Given(app.write(f"result {turn}", RESULT(chance)))]
    yield app.read(app.call(f"{name}_answers", talk, tokens=ANSWER(chance)), LATENCY)


AGENT_SESSIONS = Workload(
    "agents",
    "sessions of three kinds of agents with tools, of many turns and growing contexts",
    (
        Kind("researcher", partial(agent, "researcher"), share=3, tenant="one"),
        Kind("engineer", partial(agent, "engineer"), share=2, tenant="one"),
        Kind("clerk", partial(agent, "clerk"), share=3, tenant="two"),
    ),
    size=7,
)
