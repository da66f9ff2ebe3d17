import socket
import sys

import pytest

from parrot.cli.main import main


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the command."""
    monkeypatch.setattr(sys, "argv", ["parrot", *words])
    for name in ("PARROT_REDIS_URL", "PARROT_CONFIG", "PARROT_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_help_lists_the_commands(monkeypatch, capsys):
    status, out, _ = said(monkeypatch, capsys, "--help")
    assert status == 0
    for command in ("dev", "demo", "run", "ls", "show", "redis", "core", "worker"):
        assert command in out


@pytest.mark.parametrize("command", ["dev", "demo", "run", "ls", "show", "redis", "core", "worker"])
def test_every_help_teaches_with_an_example(monkeypatch, capsys, command):
    status, out, _ = said(monkeypatch, capsys, command, "--help")
    assert status == 0
    assert "Example" in out


def test_a_session_and_a_call_are_not_shown_at_once(monkeypatch, capsys):
    status, _, error = said(monkeypatch, capsys, "show", "a session", "--why", "summarize")
    assert status == 2
    assert "not both" in error


def test_an_unknown_command_is_an_error_with_status_2(monkeypatch, capsys):
    status, _, error = said(monkeypatch, capsys, "fly")
    assert status == 2
    assert "fly" in error


def test_a_broker_that_is_not_there_is_one_sentence(monkeypatch, capsys):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken, and nobody listens
        status, out, error = said(monkeypatch, capsys, "ls", "--redis-url", f"redis://127.0.0.1:{unused.getsockname()[1]}/0")
    assert (status, out) == (2, "")
    assert error.startswith("parrot: No Redis server answers")
    assert error.count("\n") == 1


def test_a_url_that_is_none_is_one_sentence(monkeypatch, capsys):
    status, _, error = said(monkeypatch, capsys, "show", "--redis-url", "localhost")
    assert status == 2
    assert "not a Redis URL" in error


def test_a_program_that_is_not_there_is_one_sentence(monkeypatch, capsys):
    status, _, error = said(monkeypatch, capsys, "run", "nowhere.py")
    assert (status, error) == (2, "parrot: nowhere.py is not a file. Name a Python program.\n")


def test_a_port_in_use_says_what_to_do(monkeypatch, capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, _, error = said(monkeypatch, capsys, "dev", "--engine", "simulated", "--port", port, "--data", str(tmp_path))
    assert status == 2
    assert f"Port {port} is in use" in error
    assert "--port 0" in error


def test_a_missing_extra_says_how_to_get_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("parrot.cli.stack.find_spec", lambda name: None)
    status, _, error = said(monkeypatch, capsys, "dev", "--engine", "vllm", "--port", "0", "--data", str(tmp_path))
    assert status == 2
    assert "--engine simulated" in error


def test_a_text_that_is_too_short_for_the_demo_is_one_sentence(monkeypatch, capsys, tmp_path):
    (tmp_path / "short.txt").write_text("Short.")
    status, _, error = said(monkeypatch, capsys, "demo", "--engine", "simulated", str(tmp_path / "short.txt"))
    assert status == 2
    assert "too short" in error
