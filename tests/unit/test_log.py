import json
import logging

import pytest
import structlog

from parrot import log


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_json_line_holds_event_level_logger_and_time(capsys):
    log.setup(as_json=True)
    structlog.get_logger("parrot.core").info("leading", cell="main")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["cell"], line["level"], line["logger"]) == ("leading", "main", "info", "parrot.core")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("as_json", [True, False])
def test_passwords_are_never_written(capsys, as_json):
    log.setup(as_json=as_json)
    logger = structlog.get_logger("parrot.core")
    logger.info("connecting", url="redis://app:hunter2@bus/0", password="hunter2", nested={"urls": ["redis://:hunter2@bus"]})
    logging.getLogger("some.library").warning("cannot reach redis://app:hunter2@bus/0")
    try:
        raise ValueError("redis://app:hunter2@bus/0 is bad")
    except ValueError:
        logger.exception("failed")
    written = capsys.readouterr().err
    assert "hunter2" not in written
    assert "redis://app:***@bus/0 is bad" in written


def test_libraries_speak_from_warnings_on(capsys):
    log.setup()
    logging.getLogger("some.library").info("chatter")
    structlog.get_logger("parrot.worker").debug("detail")
    assert capsys.readouterr().err == ""
