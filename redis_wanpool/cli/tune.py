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
from redis_wanpool.tuning import (
    SUGGESTION,
    UNKNOWN,
    Change,
    Setting,
    System,
    Wishes,
    checked_dynamic,
    engine,
    left,
    measure,
    plan,
)
from redis_wanpool.tuning.machine import this_machine
from redis_wanpool.tuning.windows.netsh_store import Netsh

COLOURS = {SUGGESTION: "yellow", UNKNOWN: "red"}
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
        return ports, said(
            f"the WANs in Redis are not known ({error}); with --ports it goes without",
            f"无法得知 Redis 中的 WAN（{error}）；可用 --ports 直接给出",
        )
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
            trouble = said(f"what was measured is not noted: {error}", f"测量结果未能保存：{error}")
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
        f"in TIME_WAIT now: {counted(lingers.all, 'connection')}, {lingers.of_the_pool} of them on pool ports",
        f"当前处于 TIME_WAIT 的连接：{lingers.all}，其中端口池的端口 {lingers.of_the_pool}",
    )
    if measured is not None:
        tell(f"TIME_WAIT lasts here, measured: {measured:.1f} s", f"本机 TIME_WAIT 实测：{measured:.1f} 秒")
    tell(f"a leased port rests {rest.default_rest():g} s", f"租用的端口静置 {rest.default_rest():g} 秒")
    _print_notes(pending, trouble)
    if count := len(plan(settings)):
        tell(
            f"what can be done: wanpool tune plan ({counted(count, 'change')})",
            f"可执行：wanpool tune plan（{count} 项更改）",
        )
    return DONE


def shown(system: System, settings: list[Setting]) -> Iterator[str]:
    """The settings as lines."""
    yield system.name
    widest = max((width(one.name) for one in settings), default=0)
    for one in settings:
        value = one.value if one.value is not None else "?"
        known = [said(f"default {one.default}", f"默认 {one.default}") if one.default else ""]
        known.append(said(f"allowed {one.allowed}", f"允许 {one.allowed}") if one.allowed else "")
        known.append(one.source)
        beside = ", ".join(filter(None, known))
        status = coloured(padded(one.status, 10), COLOURS.get(one.status, ""))
        text = f"{padded(one.name, widest)}  {value or said('empty', '空')}" + f"  ({beside})" * bool(beside)
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
            tell(
                "these settings count for all programs of this machine; wanpool tune undo takes them back",
                "这些设置影响本机所有程序；可用 wanpool tune undo 撤销",
            )
        applied = engine.apply(system, changes)
    pending = [str(item) for item in engine.pending(system)]
    if options.json:
        facts = {"applied": options.what == "apply", "ports": port_list(ports), "changes": [*map(_change, changes)]}
        facts |= {"left": [{"name": one.name, "why": one.why} for one in remains], "besides": applied.besides}
        print_json(**facts, pending_restart=pending, trouble=trouble or None)
        return code
    if applied.done:
        tell(
            f"done, and read back: {counted(len(applied.done), 'change')}", f"已完成并核对：{len(applied.done)} 项更改"
        )
    for line in applied.besides:
        tell(f"changed besides, by whomever: {line}", f"同时另有改动：{line}")
    _print_notes(pending, "")
    return code


def planned(settings: list[Setting]) -> Iterator[str]:
    """What would be done, and what would be left to the operator, as lines."""
    changes, remains = plan(settings), left(settings)
    if not changes and not remains:
        yield said("nothing to do: all is as it should be, or not known", "无需更改：一切正常，或无法得知")
    for one in changes:
        yield from _lines(one)
        if one.item.store == "netsh":
            yield f"  netsh {' '.join(Netsh.command(one.item, one.after))}"
    for setting in remains:
        text = said(f"left to you: {setting.name}: {setting.why}", f"需自行处理：{setting.name}：{setting.why}")
        yield from wrapped(text, WIDTH)


def _lines(one: Change) -> Iterator[str]:
    """A change as lines; of a file, those that go and those that come."""
    restart = said(" (in effect after a restart)", "（重启后生效）") if one.needs_restart else ""
    if one.item.store != "file":
        yield f"{one.item}: {_text(one.before)} -> {_text(one.after)}{restart}"
        return
    what = ""
    if one.before is None:
        what = said(" (new)", "（新建）")
    elif one.after is None:
        what = said(" (removed)", "（删除）")
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
            f"{one.item} is {_line(one.before)}, which somebody else set since: left alone. To set it back to "
            f"{_line(one.after)}: wanpool tune undo --force",
            f"{one.item} 现为 {_line(one.before)}，之后被他人改过，未动。"
            f"要恢复为 {_line(one.after)}：wanpool tune undo --force",
        )
    if undone.done:
        count = len(undone.done)
        tell(f"taken back, and read back: {counted(count, 'change')}", f"已撤销并核对：{count} 项更改")
    if not undone.done and not undone.left:
        tell("nothing to undo", "没有可撤销的更改")
    _print_notes(pending, "")
    return NO if undone.left else DONE


def _pool(ports: Collection[int]) -> str:
    text = port_list(ports)
    return said(
        f"the pool's ports: {text or 'not known; give them: --ports'}",
        f"端口池的端口：{text or '未知；请用 --ports 给出'}",
    )


def _print_notes(pending: list[str], trouble: str) -> None:
    if pending:
        names = ", ".join(pending)
        tell(f"in effect after a restart: {names}", f"重启后生效：{names}")
    if trouble:
        tell(f"note: {trouble}", f"注意：{trouble}")


def _setting(one: Setting) -> dict[str, Any]:
    facts = {name: getattr(one, name) for name in ("name", "status", "value", "source", "default", "allowed", "why")}
    return {**facts, "changes": [_change(change) for change in one.changes]}


def _change(one: Change) -> dict[str, Any]:
    before, after = (None if value is None else str(value) for value in (one.before, one.after))
    return {"item": str(one.item), "before": before, "after": after, "needs_restart": one.needs_restart}


def _text(value: object) -> str:
    return said("absent", "无") if value is None else str(value) or said("empty", "空")


def _line(value: object) -> str:
    return _text(value).strip().replace("\n", " / ")
