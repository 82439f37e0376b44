"""What may be wrong between the pool and the world: each check looks first, and judges what it saw then."""

from dataclasses import dataclass

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
