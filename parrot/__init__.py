"""Parrot serves LLM applications, not single prompts: write them as semantic functions over Semantic Variables.

`import parrot as P` and `from parrot import P` give the same names.
"""

import parrot as P  # this module under its customary name, for sources that say `from parrot import P`
from parrot.app.annotations import Input, Output
from parrot.app.asynchronous import AsyncSession
from parrot.app.conversation import Turn, assistant, system, user
from parrot.app.function import SemanticFunction, semantic_function
from parrot.app.listing import sessions
from parrot.app.streaming import Part
from parrot.app.synchronous import Session
from parrot.app.variable import Variable
from parrot.criteria import LATENCY, THROUGHPUT, TPOT, TTFT, Criterion, Deadline
from parrot.errors import (
    BadSampling,
    BrokerUnavailable,
    CallError,
    Cancelled,
    ConfigurationError,
    ContextTooLong,
    DeadlineExceeded,
    DefinitionError,
    EngineError,
    EngineLost,
    GetTimeout,
    LimitExceeded,
    NoEngine,
    Overloaded,
    ParrotError,
    PoisonCall,
    SessionError,
    UpstreamFailed,
    VariableError,
)
from parrot.sampling import SamplingConfig

__all__ = [
    "LATENCY",
    "THROUGHPUT",
    "TPOT",
    "TTFT",
    "AsyncSession",
    "BadSampling",
    "BrokerUnavailable",
    "CallError",
    "Cancelled",
    "ConfigurationError",
    "ContextTooLong",
    "Criterion",
    "Deadline",
    "DeadlineExceeded",
    "DefinitionError",
    "EngineError",
    "EngineLost",
    "GetTimeout",
    "Input",
    "LimitExceeded",
    "NoEngine",
    "Output",
    "Overloaded",
    "P",
    "ParrotError",
    "Part",
    "PoisonCall",
    "SamplingConfig",
    "SemanticFunction",
    "Session",
    "SessionError",
    "Turn",
    "UpstreamFailed",
    "Variable",
    "VariableError",
    "assistant",
    "semantic_function",
    "sessions",
    "system",
    "user",
]
