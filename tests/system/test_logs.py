"""What comes from outside does not act on a terminal where a log is read."""

from __future__ import annotations

import logging

import pytest

import redis_wanpool
from redis_wanpool.system.logs import LOGGERS

EVIL = "a\x1b]0;x\x07b\x9b31m\x7f\u202e\u2066\r\nc\x00"


@pytest.mark.parametrize("name", LOGGERS)
def test_no_control_character_of_an_argument_reaches_a_log(name: str, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger(name).warning("%s, %d, %.1f: %s", EVIL, 5, 0.25, redis_wanpool.WanpoolError(EVIL))
    (message,) = caplog.messages
    assert message.isprintable() and message.startswith("a?]0;x?b?31m???") and ", 5, 0.2: a?" in message


def test_what_is_shown_by_repr_stays_so(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("redis_wanpool").warning("%r %r", redis_wanpool.ANY, "text")
    assert caplog.messages == ["ANY 'text'"]


def test_each_logger_of_the_package_has_the_filter() -> None:
    ours = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "redis_wanpool"]
    assert set(ours) == set(LOGGERS)
