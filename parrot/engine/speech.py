"""What the simulated model says: three-letter words, each of which follows from all tokens before it and the sampling alone. Pure.

So it says the same whether it is asked at once or goes on from what it has said so far, as a real model does.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from parrot.engine.toy_tokenizer import ToyTokenizer
from parrot.sampling import SamplingConfig

_SHORTEST = 8  # words of an output that ends by itself
_END = 60  # after that, one word in so many is the last
_WORDS = (
    "ace act add age ago aid aim air all and ant any ape arc are ark arm art ash ask bad bag ban bar bat bay bed bee beg bet big bit "
    "boa bow box boy bud bug bun bus but buy cab can cap car cat cod cow cry cub cup cut dad day den dew did dig dim dip doe dog dot "
    "dry due ear eat ebb eel egg elf elk elm end eve eye fan far fat few fig fin fir fit fix fly foe fog for fox fun fur gap gas gem "
    "get gin god got gum gun gut guy had ham has hat hay hen her hid him hip his hit hog hop hot how hub hue hug hut ice ill ink inn "
    "ion its ivy jam jar jaw jet job jog joy jug key kid kin kit lab lad lap law lay leg let lid lie lip lit log lot low lug mad man "
    "map mat may men met mix mob mom mop mud mug nap net new nod nor not now nut oak oar odd off oil old one opt orb ore our out owe "
    "owl own pad pan paw pay pea pen pet pie pig pin pit pod pot put rag ram ran rat raw ray red rib rid rim rip rob rod row rub rug "
    "run rye sad saw say sea see set she shy sip sir sit six ski sky sly son sow spy sum sun tag tan tap tar tax tea ten the tie tin "
    "tip toe ton too top toy try tub two use van vat vet via vow war was wax way web wet who why wig win wit woe won wow yes yet you"
)
_tokenizer = ToyTokenizer()
_SAID = _tokenizer.encode(f"{_WORDS} ")  # a word and the blank after it are one token
_OWN = frozenset(_SAID)
_BYTES = [array("q", [token]).tobytes() for token in _SAID]
_SPREAD, _BITS = 0x9E3779B97F4A7C15, 0xFFFFFFFFFFFFFFFF  # mixes the bits of a sum


@dataclass(frozen=True, slots=True)
class Speech:
    """A whole output.

    Attributes:
        tokens: its ids.
        text: what they say.
        finish_reason: `stop` or `length`.
    """

    tokens: tuple[int, ...]
    text: str
    finish_reason: str


def speak(prompt: Sequence[int], sampling: SamplingConfig) -> Speech:
    """The output of the simulated model. A smaller `max_gen_length` cuts the same output shorter.

    Args:
        prompt: token ids.
        sampling: how to sample; a temperature of 0 makes the other knobs of chance irrelevant.
    """
    limit = sampling.max_gen_length
    first_end = limit if sampling.ignore_tokenizer_eos else _SHORTEST - _spoken(prompt)
    seen = crc32(array("q", prompt), _flavour(sampling))  # of all tokens so far; it can be carried on
    tokens: list[int] = []
    for said in range(limit):
        dice = seen * _SPREAD & _BITS
        if said >= first_end and (dice >> 32) % _END == 0:
            break
        word = dice >> 56
        tokens.append(_SAID[word])
        seen = crc32(_BYTES[word], seen)
    speech = Speech(tuple(tokens), _tokenizer.decode(tokens), "stop" if len(tokens) < limit else "length")
    return _cut(speech, sampling) if sampling.stop or sampling.stop_token_ids else speech


def _spoken(prompt: Sequence[int]) -> int:
    """How many of its own words a prompt ends with, as far as it matters."""
    for count in range(min(_SHORTEST, len(prompt))):
        if prompt[-1 - count] not in _OWN:
            return count
    return min(_SHORTEST, len(prompt))


def _flavour(sampling: SamplingConfig) -> int:
    if sampling.temperature == 0:
        return 0
    chance = (sampling.temperature, sampling.top_p, sampling.presence_penalty, sampling.frequency_penalty, sampling.seed)
    return crc32(repr(chance).encode())


def _cut(speech: Speech, sampling: SamplingConfig) -> Speech:
    """End an output before the first stop text or stop token."""
    ids = next((i for i, token in enumerate(speech.tokens) if token in sampling.stop_token_ids), len(speech.tokens))
    text = _tokenizer.decode(speech.tokens[:ids])
    end = min((at for stop in sampling.stop if (at := text.find(stop)) >= 0), default=len(text))
    if ids == len(speech.tokens) and end == len(text):
        return speech
    return Speech(tuple(_tokenizer.encode(text[:end])), text[:end], "stop")
