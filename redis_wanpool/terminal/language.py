"""English, or Chinese where the system speaks Chinese: for what operators read."""

import io
import os
import sys
from functools import lru_cache
from pathlib import Path

_CHINESE = 0x04
"""the primary language of a Windows LANGID, https://learn.microsoft.com/windows/win32/intl/language-identifiers"""


@lru_cache(maxsize=1)
def chinese() -> bool:
    """Whether the user's language is Chinese: by the POSIX variables, then by what Windows shows its menus in."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name):
            return os.environ[name].lower().startswith("zh")
    if sys.platform == "win32":
        import ctypes

        return bool(ctypes.windll.kernel32.GetUserDefaultUILanguage() & 0x3FF == _CHINESE)
    return False


def said(english: str, chinese_text: str) -> str:
    """The text in the user's language."""
    return chinese_text if chinese() else english


def tell(english: str, chinese_text: str) -> None:
    """Prints it in the user's language."""
    print(said(english, chinese_text))


def speak_anywhere() -> None:
    """Prints "?" for characters that the console lacks, and nothing without a console (pythonw.exe, `>&-`)."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
