"""Long constant texts: stored once by content, believed only if they match their name."""

from __future__ import annotations

from redis.asyncio import Redis

from parrot.broker.texts import LIFE_SECONDS, Texts
from parrot.wire.keys import Keys, content_hash

KEYS = Keys("test")


async def test_a_text_is_read_back_by_its_hash_and_expires(redis: Redis) -> None:
    texts = Texts(redis, KEYS)
    digest = content_hash("a long text")
    await texts.put({digest: "a long text"})
    assert await texts.get([digest, "absent"]) == ["a long text", None]
    assert 0 < await redis.ttl(KEYS.text(digest)) <= LIFE_SECONDS


async def test_a_text_that_does_not_match_its_name_is_not_believed(redis: Redis) -> None:
    await redis.set(KEYS.text(content_hash("right")), "wrong")
    assert await Texts(redis, KEYS).get([content_hash("right")]) == [None]
