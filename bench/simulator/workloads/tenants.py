"""Two tenants who do the same; one sends ten times the load of the other, and both send more than their half."""

from __future__ import annotations

from bench.simulator.workload import Kind, Workload
from bench.simulator.workloads.map_reduce import map_reduce

TENANTS = Workload(
    "tenants",
    "map-reduce summaries of two tenants, one of whom sends ten times the load of the other",
    (Kind("loud", map_reduce, share=10, tenant="loud"), Kind("quiet", map_reduce, share=1, tenant="quiet")),
    overload=8.0,
    size=20,
)
