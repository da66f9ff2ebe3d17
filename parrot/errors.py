"""One tree of errors. Each class has a wire code, so that an error can cross Redis and be raised again on the other side."""

from __future__ import annotations

from typing import ClassVar


class ParrotError(Exception):
    """Base of every error that Parrot raises on purpose.

    Attributes:
        code: the stable name that travels on the wire and lands in keys and dead letters.
    """

    code: ClassVar[str] = "error"


class DefinitionError(ParrotError):
    """A semantic function is written in a way that cannot work; raised where it is defined."""

    code = "definition"


class CallError(ParrotError):
    """A call does not fit its function: missing, unknown or unusable arguments."""

    code = "call"


class SessionError(ParrotError):
    """A session is missing, closed, or not the one that a variable belongs to."""

    code = "session"


class VariableError(ParrotError):
    """A variable was used against its life cycle, for instance set twice."""

    code = "variable"


class ConfigurationError(ParrotError):
    """A setting, an extra or a file is missing or wrong; the message says what to do."""

    code = "configuration"


class MessageError(ParrotError):
    """A wire message could not be understood; it goes to the dead-letter stream."""

    code = "message"


class VersionError(MessageError):
    """A wire message is of a version that this build does not read; after an upgrade it can be replayed from the dead letters."""

    code = "version"


class InternalError(ParrotError):
    """ServeCore could not handle a message that it understood: a fault of Parrot. The message lies among the dead letters."""

    code = "internal"


class BrokerUnavailable(ParrotError):
    """The Redis server cannot be reached or refuses us."""

    code = "broker"


class NotLeader(ParrotError):
    """A newer ServeCore leads the cell; whoever sees this must stop deciding at once."""

    code = "not_leader"


class EngineError(ParrotError):
    """The engine failed while it worked on a generation."""

    code = "engine"


class EngineLost(EngineError):
    """The engine that held a generation stopped answering."""

    code = "engine_lost"


class ContextTooLong(EngineError):
    """Prompt and requested output do not fit the model's context window."""

    code = "context_too_long"


class NoEngine(EngineError):
    """For a long time no engine has served the model that the call names."""

    code = "no_engine"


class BadSampling(EngineError):
    """The engine does not accept the sampling parameters of the call."""

    code = "bad_sampling"


class UpstreamFailed(ParrotError):
    """An input of the call failed, so the call could not run; the message names the root cause."""

    code = "upstream"


class Cancelled(ParrotError):
    """The variable was cancelled, or something that it depends on."""

    code = "cancelled"


class DeadlineExceeded(ParrotError):
    """The call had not ended at its deadline."""

    code = "deadline"


class PoisonCall(ParrotError):
    """Engines died of this call, each time when it ran alone; it lies among the dead letters."""

    code = "poison"


class Overloaded(ParrotError):
    """There are more calls under way than allowed; the message has the figures. Submit again later."""

    code = "overloaded"


class LimitExceeded(ParrotError):
    """Something is larger than allowed: a message, a value, a session, a graph's depth; the message names the limit."""

    code = "limit"


class GetTimeout(ParrotError, TimeoutError):
    """`get` waited as long as it was told to; the variable may still become ready later."""

    code = "timeout"


def _tree(root: type[ParrotError]) -> dict[str, type[ParrotError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


def from_wire(code: str, message: str) -> ParrotError:
    """Rebuild an error from its wire form.

    Args:
        code: the `code` of one of the classes above; an unknown one gives a plain `ParrotError`.
        message: the sentence for the person who reads it.
    """
    return _tree(ParrotError).get(code, ParrotError)(message)
