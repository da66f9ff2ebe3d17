"""The envelope of every stream entry: `v` (version), `kind` (which message) and `body` (JSON), readable with redis-cli."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from parrot.errors import LimitExceeded, MessageError, VersionError

VERSION = 2
UNDERSTOOD = frozenset(str(version).encode() for version in (VERSION - 1, VERSION) if version > 0)  # so that upgrades can roll
MAX_MESSAGE_BYTES = 16 * 1024 * 1024  # of a body
MAX_TEXT_BYTES = 8 * 1024 * 1024  # of one value or constant, in UTF-8

Fields = dict[str | bytes, str | bytes]


class Message(BaseModel):
    """Base of all wire messages: frozen, and strict about unknown fields and numbers that are none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


M = TypeVar("M", bound=Message)


class Door(Generic[M]):
    """Decodes what one receiver accepts.

    Args:
        messages: the message classes, known on the wire by their class names.
    """

    def __init__(self, *messages: type[M]) -> None:
        self._by_kind = {message.__name__.encode(): message for message in messages}

    @property
    def kinds(self) -> set[str]:
        """The names of the messages that this receiver accepts."""
        return {kind.decode() for kind in self._by_kind}

    def decode(self, fields: Mapping[bytes, bytes]) -> M:
        """Check the envelope and the body of one stream entry.

        Args:
            fields: the entry's fields as Redis gave them.

        Raises:
            VersionError: a version that this build does not read.
            MessageError: a missing field, an unknown kind, or a body that is too large or does not validate.
        """
        version, kind, body = fields.get(b"v"), fields.get(b"kind"), fields.get(b"body")
        if version is None or kind is None or body is None:
            raise MessageError("The entry lacks one of the fields v, kind, body.")
        if version not in UNDERSTOOD:
            raise VersionError(f"Version {_shown(version)} is not understood here; this build reads {VERSION}. Upgrade the older side.")
        model = self._by_kind.get(kind)
        if model is None:
            raise MessageError(f"A message of kind {_shown(kind)} is not expected on this stream.")
        if len(body) > MAX_MESSAGE_BYTES:
            raise MessageError(f"{_shown(kind)}: the body has {len(body):,} bytes; {MAX_MESSAGE_BYTES:,} are allowed.")
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            first: Any = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the body"
            raise MessageError(f"{_shown(kind)}: {where}: {first['msg']}") from None


def encode(message: Message) -> Fields:
    """The stream fields of a message.

    Raises:
        LimitExceeded: it is too large.
    """
    kind, body = type(message).__name__, message.model_dump_json(exclude_unset=True)
    if len(body) > MAX_MESSAGE_BYTES // 4 and (size := len(body.encode())) > MAX_MESSAGE_BYTES:
        raise LimitExceeded(f"The message {kind} has {size:,} bytes; the limit (MAX_MESSAGE_BYTES) is {MAX_MESSAGE_BYTES:,}.")
    return {"v": str(VERSION), "kind": kind, "body": body}


def _shown(raw: bytes) -> str:
    return repr(raw[:40].decode("utf-8", "replace"))
