"""The envelope of every stream entry: `v` (version), `kind` (which message) and `body` (JSON), readable with redis-cli."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from parrot.errors import MessageError

VERSION = 1
UNDERSTOOD = frozenset({b"1"})  # versions that this build reads

Fields = dict[str | bytes, str | bytes]


class Message(BaseModel):
    """Base of all wire messages: frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
            MessageError: a missing field, an unknown version or kind, or a body that does not validate.
        """
        version, kind, body = fields.get(b"v"), fields.get(b"kind"), fields.get(b"body")
        if version is None or kind is None or body is None:
            raise MessageError("The entry lacks one of the fields v, kind, body.")
        if version not in UNDERSTOOD:
            raise MessageError(f"Version {_shown(version)} is not understood here; this build reads {VERSION}.")
        model = self._by_kind.get(kind)
        if model is None:
            raise MessageError(f"A message of kind {_shown(kind)} is not expected on this stream.")
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            first: Any = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the body"
            raise MessageError(f"{_shown(kind)}: {where}: {first['msg']}") from None


def encode(message: Message) -> Fields:
    """The stream fields of a message."""
    return {"v": str(VERSION), "kind": type(message).__name__, "body": message.model_dump_json(exclude_unset=True)}


def _shown(raw: bytes) -> str:
    return repr(raw[:40].decode("utf-8", "replace"))
