"""What a check found, and its words."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from redis_wanpool.terminal.language import said

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    severity: str
    code: str  #: for programs; stays what it is
    wans: tuple[int, ...]
    seen: str
    means: str = ""
    cure: str = ""


@cache
def _texts() -> dict[str, dict[str, str]]:
    return tomllib.loads(Path(__file__).with_name("findings.toml").read_text(encoding="utf-8"))


def found(severity: str, name: str, wans: Iterable[int] = (), /, *, code: str = "", **fields: object) -> Finding:
    """A finding with the texts that `findings.toml` has under its name; a name is the code, and what sets it apart.

    Args:
        severity: ok, warn or fail.
        name: like replicas/too-few.
        wans: the WANs concerned, if it concerns single ones.
        code: if it is another.
        fields: the values of the texts' fields; and whole texts by their names: seen, means, cure.
    """
    texts = {part: said(text, **fields) for part, text in _texts().get(name, {}).items()}
    texts |= {part: str(fields[part]) for part in ("seen", "means", "cure") if part in fields}
    return Finding(severity, code or name.partition("/")[0], tuple(wans), **texts)
