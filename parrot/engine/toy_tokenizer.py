"""The simulated engine's tokenizer: four bytes of UTF-8 are one token. Nothing to load, and texts survive the way there and back."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate

from parrot.engine.protocol import Turn
from parrot.errors import EngineError

_ID = "I" if array("I").itemsize == 4 else "L"  # the array type of four unsigned bytes on this machine
_BLANK = b"\0"  # fills the last token of a text


class ToyTokenizer:
    """Implements `parrot.engine.protocol.Tokenizer`. About as many tokens as a real one makes of English."""

    name = "simulated"
    has_chat_template = False

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        raw = text.encode()
        return array(_ID, raw + _BLANK * (-len(raw) % 4)).tolist()

    def decode(self, tokens: Sequence[int]) -> str:
        return array(_ID, tokens).tobytes().replace(_BLANK, b"").decode("utf-8", "replace")

    def ends(self, text: str) -> list[int]:
        raw = text.encode()
        begun = [*accumulate(int(byte & 0xC0 != 0x80) for byte in raw)]  # characters; all their bytes but the first look like this
        return begun[3::4] + begun[-1:] * (len(raw) % 4 > 0)

    def start(self, empty: bool) -> list[int]:
        return [0] if empty else []

    def render(self, turns: Sequence[Turn], open_assistant: bool) -> str:
        raise EngineError("The simulated model has no chat template; it sees prompts as plain text.")
