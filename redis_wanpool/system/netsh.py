"""Runs netsh and reads its output in any language and code page: by the shape of numbers and values, because the words
around them change with the language and the release of the system."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

TIMEOUT = 15.0
NO_ANSWER = -1
_NO_WINDOW = 0x08000000  # CREATE_NO_WINDOW
_NUMBER_AT_END = re.compile(r"^.*[^\d\s].*?(\d+)[ \t]*$", re.MULTILINE)
_EXCLUDED = re.compile(r"^[ \t]*(\d+)[ \t]+(\d+)[ \t]*(\*?)[ \t]*$", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*-{3,}", re.MULTILINE)
_SETTING = re.compile(r"^(.+?)\s*[:：]\s*([a-z]+)\s*$", re.MULTILINE)
LOWEST, FEWEST = 1024, 255
"""the lowest first dynamic port and the smallest number of them on any known system; less is something else"""
EXCLUDED = ["int", "ipv4", "show", "excludedportrange", "protocol=tcp"]
LEVELS = ("normal", "disabled", "restricted", "highlyrestricted", "experimental")
_LABELS = ("auto-tuning", "autotuning", "自动调节", "自动调整", "abstimmungsgrad", "réglage automatique", "자동 조정")
"""parts of the label of the autotuning level, where its value alone does not tell it: all but "disabled" do"""


@dataclass(frozen=True, slots=True)
class Excluded:
    """Ports that Windows does not give out."""

    first: int
    last: int
    by_administrator: bool  #: whether an administrator excluded them; programs may still bind to such ports


def run(words: list[str]) -> tuple[int, str]:
    """Runs the system's own netsh, never one in the current folder, and never interactively.

    Returns its exit code and what it printed; or NO_ANSWER, and why there is none.
    """
    program = os.environ.get("SYSTEMROOT", r"C:\Windows") + r"\System32\netsh.exe"
    try:
        done = subprocess.run(
            [program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
            check=False,
            creationflags=_NO_WINDOW if sys.platform == "win32" else 0,
        )
    except subprocess.TimeoutExpired:
        return NO_ANSWER, f"no answer in {TIMEOUT:g} s"
    except OSError as error:
        return NO_ANSWER, f"it cannot be run: {error.strerror or error}"
    return done.returncode, decoded(done.stdout)


def decoded(text: bytes, code_page: str = "") -> str:
    """Decodes what netsh printed, as UTF-8 or else in the system's code page for consoles; never fails."""
    try:
        found = text.decode("utf-8")
    except UnicodeDecodeError:
        try:
            found = text.decode(code_page or _code_page(), errors="replace")
        except LookupError:  # a code page that Python does not know
            found = text.decode("ascii", errors="replace")
    return found.replace("\r\n", "\n")


def _code_page() -> str:
    if sys.platform != "win32":
        return "ascii"
    import ctypes

    # Not GetConsoleOutputCP: without a window netsh has its own console, whatever chcp or a terminal set for ours.
    return f"cp{ctypes.windll.kernel32.GetOEMCP()}"


def dynamic_ports(text: str) -> tuple[int, int] | None:
    """First and last port, from the two lines that end with a number (the start and how many); None without them."""
    numbers = [int(number) for number in _NUMBER_AT_END.findall(text)]
    if len(numbers) != 2 or numbers[0] < LOWEST or numbers[1] < FEWEST or sum(numbers) > 65_536:
        return None
    return numbers[0], numbers[0] + numbers[1] - 1


def excluded_ports(text: str) -> tuple[Excluded, ...] | None:
    """The rows of the table: first and last port, and a star for an administrator's; None if it is no such table."""
    if not _RULE.search(text):
        return None
    found = tuple(Excluded(int(first), int(last), star == "*") for first, last, star in _EXCLUDED.findall(text))
    return found if all(one.first <= one.last <= 65_535 for one in found) else None


def autotuning(text: str) -> str | None:
    """The autotuning level of `show global`; None if it is not there."""
    found = [(label.strip().casefold(), value) for label, value in _SETTING.findall(text) if value in LEVELS]
    alone: list[str] = [value for _, value in found if value != "disabled"]
    if len(alone) == 1:
        return alone[0]
    labelled: list[str] = [value for label, value in found if any(part in label for part in _LABELS)]
    return labelled[0] if len(labelled) == 1 else None


@cache
def kept_ports() -> tuple[tuple[int, int], ...]:
    """Ranges that Windows lets no program use (10013): Hyper-V, WSL and Docker reserve new ones at each start."""
    if sys.platform != "win32":
        return ()
    code, text = run(EXCLUDED)
    found = excluded_ports(text) if code == 0 else None
    return tuple((one.first, one.last) for one in found or () if not one.by_administrator)
