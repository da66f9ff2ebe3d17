import shutil

from parrot.cli.hints import parrot_line, redis_line


def test_a_line_for_redis_uses_what_is_installed(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/redis-cli")
    assert redis_line("redis://bus/0", "HGETALL", "parrot:{main}:x") == "redis-cli -u redis://bus/0 HGETALL 'parrot:{main}:x'"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert redis_line("redis://bus/0", "PING") == "PARROT_REDIS_URL=redis://bus/0 parrot redis PING"


def test_no_line_shows_a_password():
    assert "hunter2" not in parrot_line("redis://app:hunter2@bus/0", "show", "s-1")
