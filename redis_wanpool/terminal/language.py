"""English, or Chinese where the system speaks Chinese: for what operators read.

The code says English only; `zh.toml` has the Chinese of each text.
"""

import io
import os
import sys
import tomllib
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


@lru_cache(maxsize=1)
def _catalogue() -> dict[str, dict[str, str]]:
    return tomllib.loads(Path(__file__).with_name("zh.toml").read_text(encoding="utf-8"))


def said(english: str, context: str = "texts", /, **fields: object) -> str:
    """The text in the user's language; English where its Chinese is missing.

    Args:
        english: the text, with fields as in `str.format`.
        context: the table of `zh.toml` for a text that has another Chinese elsewhere.
        fields: the values of the fields.
    """
    text = _catalogue()[context].get(english, english) if chinese() else english
    return text.format(**fields)


def tell(english: str, /, **fields: object) -> None:
    """Prints it in the user's language."""
    print(said(english, **fields))


def hint(error: Exception) -> str:
    """What an operator who reads Chinese is told before an error itself, which is in English; "" for others."""
    known = _catalogue()["errors"] if chinese() else {}
    return next((known[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in known), "")


def speak_anywhere() -> None:
    """Prints "?" for characters that the console lacks, and nothing without a console (pythonw.exe, `>&-`)."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
