"""Whether a user of Redis may do what leasing takes: asks for each command in a form that changes nothing."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from redis_wanpool.doctor.finding import FAIL, OK, Finding, found
from redis_wanpool.doctor.server import Asking
from redis_wanpool.model.durability import Durability
from redis_wanpool.protocol.keys import WanKeys
from redis_wanpool.sync.operator import Operator
from redis_wanpool.transport.translate import is_denial

WORDS = {
    **dict.fromkeys(("INFO", "TIME"), 0),
    **dict.fromkeys(("DEL", "HGETALL", "HLEN", "HRANDFIELD", "PTTL", "SCARD", "SPOP", "SRANDMEMBER", "ZCARD"), 1),
    **dict.fromkeys(("HDEL", "HGET", "HMGET", "LPUSH", "PEXPIRE", "SADD", "SISMEMBER", "SMISMEMBER", "SREM"), 2),
    **dict.fromkeys(("HSCAN", "ZMSCORE", "ZRANK", "ZREM", "ZSCORE"), 2),
    **dict.fromkeys(("HINCRBY", "ZADD", "ZCOUNT", "ZRANGEBYLEX", "ZRANGEBYSCORE", "ZREMRANGEBYSCORE"), 3),
    **dict.fromkeys(("HSETNX", "ZRANGE", "ZREVRANGE", "ZREVRANGEBYSCORE"), 3),
    **dict.fromkeys(("HSET", "XADD"), 4),
}
"""command -> with how many words it says that it is not permitted, before it finds out that they make no sense"""
ON_A_HASH = frozenset({"HSETNX", "LPUSH", "SADD"})
"""what would write with any words: it gets a hash, which it refuses, or whose field is there; the others get no key"""
NEEDED = ("INFO", "EVAL")  #: of what the doctor asks anyway
_UNKNOWN = re.compile("unknown (redis )?command", re.IGNORECASE)
_TRY = """
local protocol = redis.pcall("HGET", KEYS[1], "protocol")
if type(protocol) == "table" then return {"HGET " .. protocol.err} end
if not protocol then return {} end
local denied = {}
for _, text in ipairs(ARGV) do
  local form = cjson.decode(text)
  local reply = redis.pcall(unpack(form))
  if type(reply) == "table" and reply.err then denied[#denied + 1] = form[1] .. " " .. reply.err end
end
return denied
"""


@dataclass(frozen=True, slots=True)
class Refused:
    """What leasing takes and this Redis does not do."""

    denied: tuple[str, ...] = ()  #: commands that this user may not run
    unknown: tuple[str, ...] = ()  #: commands that this Redis does not know
    is_whole: bool = False  #: whether all were tried, on a WAN


def look(
    operator: Operator, unseen: Sequence[tuple[str, str]], wan_idx: int | None, durability: Durability | None
) -> Refused:
    """The commands that leasing takes and that are refused; all of them show on a WAN that is defined."""
    unknown: list[str] = []
    is_whole = False
    denied = [name for name, why in unseen if name in NEEDED and is_denial(why)]
    if wan_idx is not None and "EVAL" not in denied:
        ask = Asking(operator)
        keys = WanKeys.of(operator.namespace, wan_idx)
        config, nothing = keys.declared[0], f"{keys.prefix}doctor"
        forms = [
            [name, *[config if name in ON_A_HASH else nothing, "protocol", "x", "x"][:words]]
            for name, words in WORDS.items()
        ]
        errors = ask("EVAL", _TRY, "2", config, nothing, *map(json.dumps, forms))
        is_whole = errors is not None
        denied += [error.split(" ")[0] for error in errors or () if is_denial(error)]
        unknown += [error.split(" ")[0] for error in errors or () if _UNKNOWN.search(error)]
        ask("BLPOP", nothing, "0.01")
        if durability is not None:
            ask(*(("WAITAOF", "0", "0", "1") if durability.fsync else ("WAIT", "0", "1")))
        denied += [name for name, why in ask.unseen.items() if is_denial(why)]
        unknown += [name for name, why in ask.unseen.items() if _UNKNOWN.search(why)]
    return Refused(tuple(dict.fromkeys(denied)), tuple(dict.fromkeys(unknown)), is_whole)


def judge(refused: Refused) -> Iterator[Finding]:
    """What it means."""
    if refused.is_whole and not refused.denied and not refused.unknown:
        yield found(OK, "permissions/all")
    if refused.denied:
        yield found(FAIL, "permissions/denied", names=", ".join(refused.denied))
    if refused.unknown:
        yield found(FAIL, "permissions/unknown", names=", ".join(refused.unknown))
