"""`wanpool acl`: the least that a Redis must permit whom."""

import argparse
import re
from dataclasses import asdict, dataclass
from typing import Self

from redis_wanpool import settings as config
from redis_wanpool.cli.verb import Verbs, print_json
from redis_wanpool.errors import InvalidValue
from redis_wanpool.protocol.scripts import names, script
from redis_wanpool.terminal.language import said, tell
from redis_wanpool.transport.backend import Backend
from redis_wanpool.transport.cluster import SCHEMES as CLUSTERS

_LOOKING = ("snapshot", "leases", "census", "outlook", "explain", "held", "counters", "events", "verdicts")
_OPERATING = (
    "withhold",
    "restore",
    "resize",
    "revoke",
    "remove",
    "unclaim",
    "migrate",
    "census",
    "outlook",
    "counters",
    "events",
)
SCRIPTS = {
    "holder": tuple(name for name in names() if name not in _OPERATING),
    "operator": tuple(names()),
    "viewer": _LOOKING,
}
_ASKED = ("eval", "evalsha", "hget", "hkeys", "hmget", "info")
ASKED = {
    "holder": (*_ASKED, "blpop", "wait"),
    "operator": (*_ASKED, "blpop", "hgetall", "sscan", "wait", "zrange"),
    "viewer": (
        *_ASKED,
        "hgetall",
        "hvals",
        "scard",
        "sismember",
        "smembers",
        "sscan",
        "ttl",
        "xlen",
        "xrange",
        "xrevrange",
    )
    + ("zcard", "zcount", "zrange", "zscore"),
}
"""role -> the scripts that it runs; and what is asked besides, of a viewer by docs/redis-cli.md, too"""


def commands(role: str, *, fsync: bool = False, cluster: bool = False) -> tuple[str, ...]:
    """The commands that it needs: a server checks those that a script calls, too."""
    called = re.findall(r'redis\.p?call\("([A-Z]+)"', "".join(script(name).source for name in SCRIPTS[role]))
    confirmed = {"waitaof"} if fsync and "wait" in ASKED[role] else set()  # a word that Redis has from 7.2 only
    found = {"cluster|slots"} if cluster else set()  # who asks a single server may not even look at its configuration
    return tuple(sorted({*map(str.lower, called), *ASKED[role], *confirmed, *found}))


@dataclass(frozen=True, slots=True)
class User:
    """A user of Redis, and the two forms in which a server takes it."""

    role: str
    user: str
    keys: tuple[str, ...]
    commands: tuple[str, ...]
    setuser: str
    aclfile: str

    @classmethod
    def of(cls, role: str, name: str, namespace: str, database: int, *, fsync: bool, cluster: bool) -> Self:
        keys = f"wanpool:{{{namespace}}}:*", f"wanpool:{{{namespace}:*"  # no letter of a namespace is special in a glob
        needed = (*commands(role, fsync=fsync, cluster=cluster), *(["select"] if database else []))
        rules = ["on", ">PASSWORD", "resetchannels", *(f"~{key}" for key in keys), *(f"+{name}" for name in needed)]
        text = " ".join(rules)
        return cls(role, name, keys, needed, f"ACL SETUSER {name} reset {text}", f"user {name} {text}")


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(acl, "--namespace prod", "viewer --user grafana", "holder --json")
    parser.add_argument("role", choices=tuple(SCRIPTS), nargs="?", help="(default: all three)")
    parser.add_argument("--user", metavar="NAME", help="the user's name (default: wanpool-NAMESPACE-ROLE)")
    parser.add_argument(
        "--cluster", action="store_true", help="for a cluster, whose slots they ask for (default: as the URL says)"
    )
    parser.add_argument(
        "--fsync",
        action="store_true",
        help="for pools with fsync, which wait for disks: Redis 7.2 or newer, Valkey (default: as wanpool.toml says)",
    )


def acl(options: argparse.Namespace) -> int:
    """Prints the users that a Redis with ACLs needs for a namespace, with the least rights; asks no Redis."""
    settings = config.settings(url=options.url, namespace=options.namespace)
    if options.user is not None:
        if options.role is None:
            raise InvalidValue("--user is the name of one user; say of which: holder, operator or viewer")
        if options.user == "default" or not re.fullmatch(r"[A-Za-z0-9_.:@-]+", options.user):
            raise InvalidValue(
                f"--user {options.user!r}: use A-Z a-z 0-9 _ . : @ -, and not the default user, as which everybody "
                "begins who gives no name"
            )
    namespace = settings.namespace
    database = 0 if settings.url is None or settings.url.startswith("fake:") else Backend(settings.url).database
    cluster = options.cluster or (settings.url or "").startswith(CLUSTERS)
    fsync = options.fsync or (settings.durability is not None and settings.durability.fsync)
    users = [
        User.of(role, options.user or f"wanpool-{namespace}-{role}", namespace, database, fsync=fsync, cluster=cluster)
        for role in ([options.role] if options.role else SCRIPTS)
    ]
    if options.json:
        print_json(namespace=namespace, users=[asdict(user) for user in users])
        return 0
    who = {
        "holder": said("programs that lease ports"),
        "operator": said("people and scripts that use any verb of wanpool"),
        "viewer": said("who only looks: wanpool status, leases, explain, events, metrics, web; docs/redis-cli.md"),
    }
    tell(
        "Namespace {namespace!r}. Replace PASSWORD by one of each user's own (ACL GENPASS makes one), and give\n"
        "the programs a URL with it: redis://USER:PASSWORD@HOST:6379/0",
        namespace=namespace,
    )
    for user in users:
        print(f"\n{user.role}: {who[user.role]}")
        tell("at the prompt of redis-cli (it replaces what the user had; ACL SAVE or CONFIG REWRITE makes it last):")
        print(user.setuser)
        tell("or as a line of an aclfile:")
        print(user.aclfile)
    tell(
        "\nHolders and operators may write every key of the namespace, and no other. Do not take single "
        "commands\nfrom them: a script that is refused one halfway stops there, and a port may be lost."
    )
    return 0
