"""The workloads: one file for each kind of application."""

from __future__ import annotations

from bench.simulator.workloads.agents import AGENT_SESSIONS
from bench.simulator.workloads.assistants import ASSISTANTS
from bench.simulator.workloads.chain import CHAIN, CHAIN_BACKGROUND, CHAINS
from bench.simulator.workloads.copilot import COPILOT
from bench.simulator.workloads.due import DUE
from bench.simulator.workloads.map_reduce import MAP_REDUCE
from bench.simulator.workloads.mix import MIX
from bench.simulator.workloads.opened import OPENED
from bench.simulator.workloads.programming import PROGRAMMING
from bench.simulator.workloads.tenants import TENANTS

ALL = (CHAIN, CHAIN_BACKGROUND, CHAINS, MAP_REDUCE, COPILOT, ASSISTANTS, PROGRAMMING, MIX, DUE, OPENED, AGENT_SESSIONS, TENANTS)
WORKLOADS = {workload.name: workload for workload in ALL}
