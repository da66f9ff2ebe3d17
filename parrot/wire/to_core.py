"""What ServeCore receives: tasks from apps, events from engines."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from parrot.criteria import Criterion
from parrot.sampling import SamplingConfig
from parrot.template import MAX_OUTPUTS, MAX_SEGMENTS, Segment
from parrot.wire.codec import MAX_TEXT_BYTES, Door, Message

Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.\-]+$")]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Label = Annotated[str, Field(max_length=4096)]  # what is only shown or compared: a model, a host, a path
Reason = Annotated[str, AfterValidator(lambda text: text[:4096])]  # goes to every descendant: shortened, never refused
Moment = Annotated[float, Field(ge=0, le=253_402_300_799)]  # seconds since the epoch, up to the last second that a calendar has
EntryId = Annotated[str, Field(max_length=41, pattern=r"^([0-9]+-[0-9]+)?$")]  # of a stream entry; empty: of none
Count = Annotated[int, Field(ge=0, lt=2**53)]
Digest = Annotated[int, Field(ge=0, lt=2**53)]  # of some text; a number that JSON keeps everywhere
Seconds = Annotated[float, Field(ge=0, lt=2**53)]
Text = Annotated[str, Field(max_length=MAX_TEXT_BYTES)]
Chat = Literal["auto", "off"]
"""`auto`: an instruct model sees the prompt through its chat template; `off`: the prompt is plain text."""


MAX_BLOCKS = 4096  # digests of one text: those of the largest that is allowed
MAX_REPORTED = 100_000  # beginnings or variables in one report of an engine


# Tasks: written by apps ------------------------------------------------------------------------


class OpenSession(Message):
    """A new namespace for variables and calls.

    Attributes:
        deadline: when all its calls must have ended, in seconds since the epoch.
    """

    session: Id
    name: Name
    tenant: Name = "default"
    labels: dict[Label, Label] = Field(default_factory=dict, max_length=64)
    deadline: Moment | None = None


class CloseSession(Message):
    """No more submissions; what was submitted goes on, results live for the session's time to live."""

    session: Id


class DeclareVariable(Message):
    """A variable that no call produces: with a text it is ready at once, without it waits for `SetVariable`."""

    session: Id
    variable: Id
    name: Name
    text: Text | None = None


class SetVariable(Message):
    """The value of a variable that was declared empty."""

    session: Id
    variable: Id
    text: Text


class Argument(Message):
    """What fills an input slot: a variable, or a constant given in place or by content hash. Exactly one of the three is set.

    Attributes:
        blocks: of a constant given by hash: `block_digests` of its text, so that texts that begin alike are known to.
    """

    variable: Id | None = None
    text: Text | None = None
    hash: Id | None = None
    blocks: list[Digest] = Field(default_factory=list, max_length=MAX_BLOCKS)


class Output(Message):
    """An output slot and the variable that receives it."""

    variable: Id
    sampling: SamplingConfig = SamplingConfig()


class SubmitCall(Message):
    """One call of a semantic function.

    Attributes:
        template: segments up to the last output (`parrot.template`).
        arguments: by slot name; names absent from `outputs` and present in the template.
        outputs: by slot name.
        model: the model that must serve it, or None for any.
        deadline: when it must have ended, in seconds since the epoch.
    """

    session: Id
    call: Id
    function: Name
    template: list[Segment] = Field(max_length=MAX_SEGMENTS)
    arguments: dict[Name, Argument] = Field(default_factory=dict, max_length=MAX_SEGMENTS)
    outputs: dict[Name, Output] = Field(max_length=MAX_OUTPUTS)
    model: Label | None = None
    chat: Chat = "auto"
    deadline: Moment | None = None


class WantVariable(Message):
    """Somebody asks for a variable, with the performance criterion that the answer should be optimised for.

    Attributes:
        deadline: of the criterion `deadline`: until when it is of use, in seconds since the epoch.
    """

    session: Id
    variable: Id
    criterion: Criterion
    deadline: Moment | None = None


class CancelVariable(Message):
    """Nobody wants this variable any more, nor what depends on it, nor what was made for it alone."""

    session: Id
    variable: Id


class CancelSession(Message):
    """Nobody wants anything of this session that has not ended; it is closed."""

    session: Id


# Events: written by engine workers -------------------------------------------------------------


class Capacity(Message):
    """What an engine can hold.

    Attributes:
        running: generations that it decodes in one batch.
        kv_tokens: tokens of KV cache.
        context_tokens: longest prompt plus output of one generation.
        block_tokens: tokens of one KV block, the unit of prefix sharing.
    """

    running: int = Field(ge=1, le=1_000_000)
    kv_tokens: int = Field(ge=1, lt=2**53)
    context_tokens: int = Field(ge=1, lt=2**53)
    block_tokens: int = Field(ge=1, lt=2**53)


class EngineUp(Message):
    """An engine is ready for jobs on its stream. Its id is new at each start, since it starts with an empty cache.

    Attributes:
        previous: the id under which the same process was given up though it lived; its silence was a false alarm.
    """

    engine: Id
    name: Name
    kind: Name
    model: Label
    tokenizer: Label
    host: Label
    pid: Count
    capacity: Capacity
    previous: Id | None = None


class EngineBeat(Message):
    """An engine is alive; its load at this moment.

    Attributes:
        running: generations in its batch.
        waiting: jobs that it has read and not started.
        busy_seconds: time since its start during which it had at least one generation.
        draining: it takes no more jobs and will leave.
        read: the last entry of its job stream that it had read when this was so.
        holds: the variables of the jobs up to there whose end it has not made known yet; what ends one is in `events` before a beat
            that does not list it. None: it does not say.
    """

    engine: Id
    running: Count = 0
    waiting: Count = 0
    kv_used: float = 0.0
    busy_seconds: Seconds = 0.0
    draining: bool = False
    read: EntryId = ""
    holds: list[Id] | None = Field(default=None, max_length=MAX_REPORTED)


class EngineHolds(Message):
    """What changed in an engine's KV cache, in the names that ServeCore gave to the beginnings of prompts (`Job.marks`).

    Attributes:
        sequence: grows by one with each report of an engine, from 1: one that is missing shows.
        whole: not a change but all that it holds.
        stored: beginnings that it holds now, with the tokens of them that it would not have to compute.
        removed: beginnings that it holds no more.
    """

    engine: Id
    sequence: Count
    whole: bool = False
    stored: list[tuple[Digest, Count]] = Field(default_factory=list, max_length=MAX_REPORTED)
    removed: list[Digest] = Field(default_factory=list, max_length=MAX_REPORTED)


class EngineDown(Message):
    """An engine takes no more jobs and leaves.

    Attributes:
        died: it was not drained, it broke, perhaps of one of the jobs that it holds.
    """

    engine: Id
    reason: Reason = ""
    died: bool = False


class Usage(Message):
    """What a generation cost.

    Attributes:
        tokens_in: prompt tokens.
        tokens_cached: of these, found in the engine's KV cache.
        tokens_out: generated tokens.
        first_token_seconds: from the start on the engine to the first token.
        seconds: from the start on the engine to the last token.
        running: generations in the engine's batch, this one too, on average over that time; 0 if it was not measured.
    """

    tokens_in: Count = 0
    tokens_cached: Count = 0
    tokens_out: Count = 0
    first_token_seconds: Seconds = 0.0
    seconds: Seconds = 0.0
    running: Seconds = 0.0


class GenerationDone(Message):
    """A generation was published: its variable is ready."""

    engine: Id
    variable: Id
    attempt: Count
    usage: Usage = Usage()


class GenerationFailed(Message):
    """A generation was published as failed; the variable says why."""

    engine: Id
    variable: Id
    attempt: Count
    code: Label
    reason: Reason


class GenerationReturned(Message):
    """An engine hands a job back unfinished, because it drains or no longer owns it."""

    engine: Id
    variable: Id
    attempt: Count


class GenerationRevoked(Message):
    """An operator asked through Celery that a generation be revoked: its variable is to be cancelled.

    Attributes:
        engine: whose worker was asked.
    """

    engine: Id
    variable: Id


Task = OpenSession | CloseSession | DeclareVariable | SetVariable | SubmitCall | WantVariable | CancelVariable | CancelSession
Event = EngineUp | EngineBeat | EngineHolds | EngineDown | GenerationDone | GenerationFailed | GenerationReturned | GenerationRevoked

tasks: Door[Task] = Door(OpenSession, CloseSession, DeclareVariable, SetVariable, SubmitCall, WantVariable, CancelVariable, CancelSession)
events: Door[Event] = Door(
    EngineUp, EngineBeat, EngineHolds, EngineDown, GenerationDone, GenerationFailed, GenerationReturned, GenerationRevoked
)
