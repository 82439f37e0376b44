"""What an operator does to WANs, to ports, to the leases of others, and to the dead."""

import argparse
import logging

from redis_wanpool import Operator
from redis_wanpool.cli.verb import DONE, Verbs, answer, choose_wans, operator_of
from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.ports import port_list, ports_text
from redis_wanpool.terminal.format import counted, one_line
from redis_wanpool.terminal.language import said


def add_to(verbs: Verbs) -> None:
    for command in (drain, open_):
        parser = verbs.add(command, "0", "0 1 --namespace prod")
        parser.add_argument("wans", metavar="WAN", type=int, nargs="+", help="its number")
    for command in (withhold, restore):
        parser = verbs.add(command, "20017", "20017,20100-20199 --json")
        parser.add_argument("ports", metavar="PORTS", help="like 20017,20100-20199; of any WANs of the namespace")
    parser = verbs.add(resize, "0 20000-23999", "0 20000-21999,24000    # ask again when they have left")
    parser.add_argument("wan", metavar="WAN", type=int, help="its number")
    parser.add_argument("ports", metavar="PORTS", help="all ports that it is to have, like 20000-21999")
    parser = verbs.add(
        remove, "wanpool drain 3 && wanpool remove 3", "3 --force    # its leases end at once", "--all --namespace old"
    )
    parser.add_argument("wans", metavar="WAN", type=int, nargs="*", help="its number")
    parser.add_argument("--all", action="store_true", help="all of the namespace")
    parser.add_argument("--force", action="store_true", help="though leases live: holders lose them within their ttl")
    parser = verbs.add(reap, "--dry-run", "--json")
    parser.add_argument("--dry-run", action="store_true", help="look, and change nothing")


def drain(options: argparse.Namespace) -> int:
    """Grants nothing new on WANs; running leases live on."""
    return _set_state(options, "draining")


def open_(options: argparse.Namespace) -> int:
    """Ends a drain."""
    return _set_state(options, "open")


def _set_state(options: argparse.Namespace, state: str) -> int:
    with operator_of(options) as operator:
        wans = choose_wans(operator, options.wans)
        act = operator.drain if state == "draining" else operator.open
        changed = {wan_idx: act(wan_idx) for wan_idx in wans}
        seen = operator.snapshots(wans).values()
        already = said("{state} already, nothing to do", state=state)
        told = (
            f"{_at(operator, wan.wan_idx)}: {wan.state if changed[wan.wan_idx] else already}, "
            f"{counted(wan.leased, 'lease')} live"
            for wan in seen
        )
        rows = [
            {"wan_idx": wan.wan_idx, "state": wan.state, "leased": wan.leased, "changed": changed[wan.wan_idx]}
            for wan in seen
        ]
        answer(options, told, namespace=operator.namespace, wans=rows)
    return DONE


def _at(operator: Operator, wan_idx: int) -> str:
    return f"WAN {wan_idx} (namespace {operator.namespace!r})"


def withhold(options: argparse.Namespace) -> int:
    """Takes ports out of service; a leased one when its lease ends."""
    return _move(options, "withhold", {"leased": said("when its lease ends"), "withheld": said("nothing to do")})


def restore(options: argparse.Namespace) -> int:
    """Puts withheld ports back into service; they cool first."""
    nothing = dict.fromkeys(("free", "leased", "cooling"), said("nothing to do"))
    return _move(options, "restore", {"withheld": said("it cools first"), **nothing})


def _move(options: argparse.Namespace, verb: str, notes: dict[str, str]) -> int:
    with operator_of(options) as operator:
        moved = (operator.withhold if verb == "withhold" else operator.restore)(options.ports)
        told, rows = [], []
        for wan_idx, places in moved.items():
            rows += [{"wan_idx": wan_idx, "port": port, "was": place} for port, place in places.items()]
            for was in sorted(set(places.values())):
                which = port_list(port for port, place in places.items() if place == was)
                note = f" ({notes[was]})" if was in notes else ""
                told.append(f"{_at(operator, wan_idx)}: {verb} {which}, was {was or 'gone'}{note}")
        answer(options, told, namespace=operator.namespace, ports=rows)
    return DONE


def resize(options: argparse.Namespace) -> int:
    """Gives a WAN other ports; those that are taken away leave when their lease and cool-down are over."""
    ports = ports_text(options.ports)
    with operator_of(options) as operator:
        leaving = operator.resize(options.wan, ports)
        told = [f"{_at(operator, options.wan)}: {ports}"]
        if leaving:
            told.append(
                f"to leave yet, when lease and cool-down are over: {leaving}; ask for the same again then, and other "
                "WANs can have them"
            )
        told.append("a wanpool.toml that defines this WAN must say the same from now on")
        answer(options, told, namespace=operator.namespace, wan_idx=options.wan, ports=ports, leaving=leaving)
    return DONE


def remove(options: argparse.Namespace) -> int:
    """Removes WANs on which nothing is leased, and all that Redis knows of them."""
    if bool(options.wans) == options.all:
        raise InvalidValue("say which WANs to remove, like: wanpool remove 3; or all of the namespace: --all")
    with operator_of(options) as operator:
        claims = operator.claims()
        removed: list[int] = []
        for wan_idx in choose_wans(operator, list(claims) if options.all else options.wans):
            operator.remove(wan_idx, force=options.force)
            removed.append(wan_idx)
            if not options.json:
                print(f"{_at(operator, wan_idx)} is removed; it had {claims.get(wan_idx)}")
        told = ["the router may know old connections of these ports: use them again after its timeout (cool-down)"]
        answer(options, told, namespace=operator.namespace, removed=removed)
    return DONE


def reap(options: argparse.Namespace) -> int:
    """Takes back what dead processes of this machine held, and says of each holder what it saw, and why."""
    logging.getLogger("redis_wanpool").addHandler(logging.NullHandler())  # what is taken back is printed, and once
    with operator_of(options) as operator:
        seen = operator.reap(dry_run=options.dry_run)
        count = sum(len(ports) for one in seen for ports in one.ports.values())
        told = []
        for one in sorted(seen, key=lambda one: (one.verdict, one.id)):
            told.append(one_line(f"{one.verdict:8} {one.id}  {one.program}: {one.why}"))
            told += [f"         WAN {wan_idx}: {port_list(ports)}" for wan_idx, ports in one.ports.items()]
        did = "would be taken back" if options.dry_run else "taken back" + ("; they cool now" if count else "")
        holders = f"{counted(len(seen), 'holder')} (namespace {operator.namespace!r})"
        told.append(f"{holders}, {counted(count, 'port')} {did}")
        names = ("id", "host", "pid", "program", "verdict", "why", "ports")
        rows = [{name: getattr(one, name) for name in names} for one in seen]
        answer(options, told, namespace=operator.namespace, dry_run=options.dry_run, ports=count, holders=rows)
    return DONE
