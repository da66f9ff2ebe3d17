from parrot.cli.redis import lines, redis_cli_arguments


def test_a_nested_answer_is_numbered_and_indented():
    answer = [[b"1-0", [b"kind", b"OpenSession"]], [b"2-0", []]]
    assert list(lines(answer)) == [
        '1) 1) "1-0"',
        '   2) 1) "kind"',
        '      2) "OpenSession"',
        '2) 1) "2-0"',
        "   2) (empty array)",
    ]


def test_numbers_of_a_long_list_stand_in_a_column():
    assert next(lines([1] * 10)) == " 1) (integer) 1"


def test_nothing_and_status_are_shown_without_quotes():
    assert list(lines(None)) == ["(nil)"]
    assert list(lines(b"PONG")) == ["PONG"]


def test_text_keeps_its_letters_and_bytes_become_hex():
    assert list(lines('Grüße\n"x"'.encode() + b"\xff\x00")) == ['"Grüße\\n\\"x\\"\\xff\\x00"']


def test_a_password_is_not_among_the_arguments():
    arguments, environment = redis_cli_arguments("redis://app:s%40cret@bus:6380/2")
    assert arguments == ["--user", "app", "-h", "bus", "-p", "6380", "-n", "2"]
    assert environment == {"REDISCLI_AUTH": "s@cret"}


def test_tls_and_sockets_are_understood():
    assert redis_cli_arguments("rediss://bus") == (["--tls", "-h", "bus", "-p", "6379", "-n", "0"], {})
    assert redis_cli_arguments("unix:///run/redis.sock") == (["-s", "/run/redis.sock"], {})
