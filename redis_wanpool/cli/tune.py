"""`wanpool tune`: the TCP settings of this machine, what would help leased ports, and the way back."""

import argparse
import difflib
from collections.abc import Collection, Iterator
from typing import Any

from redis_wanpool import settings as config
from redis_wanpool.cli.verb import DONE, NO, Verbs, operator_of, print_json
from redis_wanpool.doctor import wans
from redis_wanpool.errors import InvalidValue, WanpoolError
from redis_wanpool.model.ports import port_list, port_numbers, ports_text
from redis_wanpool.system import time_wait as rest
from redis_wanpool.terminal.format import counted, padded, width, wrapped
from redis_wanpool.terminal.language import said, tell
from redis_wanpool.terminal.screen import coloured
from redis_wanpool.transport import embedded
from redis_wanpool.tuning import Change, Setting, Status, System, Wishes, engine, left, measure, plan
from redis_wanpool.tuning.machine import this_machine
from redis_wanpool.tuning.windows.netsh_store import Netsh
from redis_wanpool.tuning.windows.settings import checked_dynamic

COLOURS = {Status.SUGGESTION: "yellow", Status.UNKNOWN: "red"}
WIDTH = 108


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(
        tune,
        "show                      # changes nothing, needs no administrator",
        "plan                      # what apply would do, word for word",
        "sudo wanpool tune apply --ports 20000-21999",
        "sudo wanpool tune undo",
    )
    parser.add_argument("what", choices=("show", "plan", "apply", "undo"))
    parser.add_argument("--ports", help="the pool's ports (default: those of all WANs of wanpool.toml and of Redis)")
    parser.add_argument(
        "--measure", action="store_true", help="with show: measure TIME_WAIT on loopback, as long as it lasts"
    )
    parser.add_argument("--force", action="store_true", help="with undo: also what somebody else changed since")
    windows = parser.add_argument_group("on Windows")
    windows.add_argument("--time-wait", type=int, metavar="S", help="TcpTimedWaitDelay (default: 30)")
    windows.add_argument(
        "--dynamic", metavar="FIRST-LAST", help="the dynamic ports (default: as they are, off the pool)"
    )
    windows.add_argument("--fin-wait-2", type=int, metavar="S", help="write TcpFinWait2Delay, which is not documented")


def tune(options: argparse.Namespace) -> int:
    """Shows this machine's TCP settings, and changes those that hinder leased ports so that it can be undone."""
    if options.measure and options.what != "show":
        raise InvalidValue("--measure: only `wanpool tune show` measures")
    if options.force and options.what != "undo":
        raise InvalidValue("--force: only `wanpool tune undo` can be forced")
    system = this_machine()
    wishes = _wishes(options, system)
    if options.what == "undo":
        return undo(options, system)
    ports, trouble = pool_ports(options)
    settings = system.settings(ports, wishes)
    if options.what == "show":
        return show(options, system, settings, ports, trouble)
    return plan_or_apply(options, system, settings, ports, trouble)


def _wishes(options: argparse.Namespace, system: System) -> Wishes:
    given = [name for name in ("time_wait", "dynamic", "fin_wait_2") if getattr(options, name) is not None]
    if given and not _is_windows(system):
        raise InvalidValue(f"--{given[0].replace('_', '-')}: only Windows has that setting; this is {system.name}")
    dynamic = None if options.dynamic is None else checked_dynamic(options.dynamic)
    return Wishes(30 if options.time_wait is None else options.time_wait, dynamic, options.fin_wait_2)


def _is_windows(system: System) -> bool:
    return "registry" in system.stores


def pool_ports(options: argparse.Namespace) -> tuple[set[int], str]:
    """The ports of all WANs that are known here; and why those of Redis are not, if they are not."""
    if options.ports is not None:
        return set(port_numbers(ports_text(options.ports))), ""
    settings = config.settings(url=options.url, namespace=options.namespace)
    ports = {port for wan in settings.wans for port in port_numbers(wan.ports)}
    if settings.url is None and not embedded.status().running:
        return ports, ""
    try:
        with operator_of(options, allow_unsafe=True) as operator:
            seen = [wan.ports for wan in wans.look(operator) if wan.ports]
    except WanpoolError as error:
        return ports, said("the WANs in Redis are not known ({error}); with --ports it goes without", error=error)
    return ports.union(port for text in seen for port in port_numbers(text)), ""


def show(
    options: argparse.Namespace, system: System, settings: list[Setting], ports: Collection[int], trouble: str
) -> int:
    measured = None
    if options.measure:
        measured = measure.time_wait()
        try:
            if _is_windows(system):  # elsewhere a port rests by other things
                rest.note(system.folder, measured)
        except OSError as error:
            trouble = said("what was measured is not noted: {error}", error=error)
    lingers = measure.lingering(ports)
    pending = [str(item) for item in engine.pending(system)]
    if options.json:
        waits = {"measured": measured, "connections": lingers.all, "of_the_pool": lingers.of_the_pool}
        facts = {"system": system.name, "ports": port_list(ports), "rest": rest.default_rest()}
        facts |= {"settings": [_setting(one) for one in settings], "pending_restart": pending, "time_wait": waits}
        print_json(**facts, trouble=trouble or None)
        return DONE
    print("\n".join([*shown(system, settings), "", _pool(ports)]))
    tell(
        "in TIME_WAIT now: {connections}, {ours} of them on pool ports",
        connections=counted(lingers.all, "connection"),
        ours=lingers.of_the_pool,
        count=lingers.all,
    )
    if measured is not None:
        tell("TIME_WAIT lasts here, measured: {measured:.1f} s", measured=measured)
    tell("a leased port rests {rest:g} s", rest=rest.default_rest())
    _print_notes(pending, trouble)
    if count := len(plan(settings)):
        tell("what can be done: wanpool tune plan ({changes})", changes=counted(count, "change"), count=count)
    return DONE


def shown(system: System, settings: list[Setting]) -> Iterator[str]:
    """The settings as lines."""
    yield system.name
    widest = max((width(one.name) for one in settings), default=0)
    for one in settings:
        value = one.value if one.value is not None else "?"
        known = [said("default {default}", default=one.default) if one.default else ""]
        known.append(said("allowed {allowed}", allowed=one.allowed) if one.allowed else "")
        known.append(one.source)
        beside = ", ".join(filter(None, known))
        status = coloured(padded(one.status, 10), COLOURS.get(one.status, ""))
        text = f"{padded(one.name, widest)}  {value or said('empty')}" + f"  ({beside})" * bool(beside)
        first, *more = wrapped(text, WIDTH)
        yield f"{status}  {first}"
        yield from (f"{' ' * 12}{line}" for line in more)
        yield from (f"{' ' * 14}{line}" for line in wrapped(one.why, WIDTH - 4))


def plan_or_apply(
    options: argparse.Namespace, system: System, settings: list[Setting], ports: Collection[int], trouble: str
) -> int:
    applied, changes, remains = engine.Applied((), ()), plan(settings), left(settings)
    code = NO if options.what == "apply" and remains else DONE
    if not options.json:
        print("\n".join([_pool(ports), *planned(settings)]))
        _print_notes([], trouble)
    if options.what == "apply":
        if changes and not options.json:
            tell("these settings count for all programs of this machine; wanpool tune undo takes them back")
        applied = engine.apply(system, changes)
    pending = [str(item) for item in engine.pending(system)]
    if options.json:
        facts = {"applied": options.what == "apply", "ports": port_list(ports), "changes": [*map(_change, changes)]}
        facts |= {"left": [{"name": one.name, "why": one.why} for one in remains], "besides": applied.besides}
        print_json(**facts, pending_restart=pending, trouble=trouble or None)
        return code
    if applied.done:
        tell("done, and read back: {changes}", changes=counted(len(applied.done), "change"), count=len(applied.done))
    for line in applied.besides:
        tell("changed besides, by whomever: {line}", line=line)
    _print_notes(pending, "")
    return code


def planned(settings: list[Setting]) -> Iterator[str]:
    """What would be done, and what would be left to the operator, as lines."""
    changes, remains = plan(settings), left(settings)
    if not changes and not remains:
        yield said("nothing to do: all is as it should be, or not known")
    for one in changes:
        yield from _lines(one)
        if one.item.store == "netsh":
            yield f"  netsh {' '.join(Netsh.command(one.item, one.after))}"
    for setting in remains:
        text = said("left to you: {name}: {why}", name=setting.name, why=setting.why)
        yield from wrapped(text, WIDTH)


def _lines(one: Change) -> Iterator[str]:
    """A change as lines; of a file, those that go and those that come."""
    restart = said(" (in effect after a restart)") if one.needs_restart else ""
    if one.item.store != "file":
        yield f"{one.item}: {_text(one.before)} -> {_text(one.after)}{restart}"
        return
    what = ""
    if one.before is None:
        what = said(" (new)")
    elif one.after is None:
        what = said(" (removed)")
    yield f"{one.item}{what}:{restart}"
    before, after = (str(value or "").splitlines() for value in (one.before, one.after))
    for line in difflib.ndiff(before, after):
        if not line.startswith("?"):
            yield f"  {line}".rstrip()


def undo(options: argparse.Namespace, system: System) -> int:
    undone = engine.undo(system, force=options.force)
    pending = [str(item) for item in engine.pending(system)]
    if options.json:
        done, remains = ([_change(one) for one in changes] for changes in (undone.done, undone.left))
        print_json(changes=done, left=remains, pending_restart=pending)
        return NO if undone.left else DONE
    for one in undone.done:
        print("\n".join(_lines(one)))
    for one in undone.left:
        tell(
            "{item} is {before}, which somebody else set since: left alone. To set it back to {after}: wanpool tune "
            "undo --force",
            item=one.item,
            before=_line(one.before),
            after=_line(one.after),
        )
    if undone.done:
        count = len(undone.done)
        tell("taken back, and read back: {changes}", changes=counted(count, "change"), count=count)
    if not undone.done and not undone.left:
        tell("nothing to undo")
    _print_notes(pending, "")
    return NO if undone.left else DONE


def _pool(ports: Collection[int]) -> str:
    text = port_list(ports)
    return said("the pool's ports: {ports}", ports=text or said("not known; give them: --ports"))


def _print_notes(pending: list[str], trouble: str) -> None:
    if pending:
        names = ", ".join(pending)
        tell("in effect after a restart: {names}", names=names)
    if trouble:
        tell("note: {trouble}", trouble=trouble)


def _setting(one: Setting) -> dict[str, Any]:
    facts = {name: getattr(one, name) for name in ("name", "status", "value", "source", "default", "allowed", "why")}
    return {**facts, "changes": [_change(change) for change in one.changes]}


def _change(one: Change) -> dict[str, Any]:
    before, after = (None if value is None else str(value) for value in (one.before, one.after))
    return {"item": str(one.item), "before": before, "after": after, "needs_restart": one.needs_restart}


def _text(value: object) -> str:
    return said("absent") if value is None else str(value) or said("empty")


def _line(value: object) -> str:
    return _text(value).strip().replace("\n", " / ")
