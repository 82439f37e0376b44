"""Keeps what comes from outside from acting on the terminal, or making lines, where a log is read."""

import logging

LOGGERS = ("redis_wanpool", "redis_wanpool.proxy")


def plain(text: str) -> str:
    """The text with "?" for each control character: ESC, C0, C1, DEL, and those that turn the direction of text."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


class PlainArguments(logging.Filter):
    """Makes the arguments of each record plain: names, errors, answers of servers."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_plain(argument) for argument in record.args)
        return True


def _plain(argument: object) -> object:
    if isinstance(argument, str):
        return plain(argument)
    return argument if argument is None or isinstance(argument, (int, float)) else _Shown(argument)


class _Shown:
    """A value that is plain when somebody formats it."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return plain(str(self._value))

    def __repr__(self) -> str:
        return plain(repr(self._value))


def keep_plain() -> None:
    """From now on, for all records of this package."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)


_FILTER = PlainArguments()
