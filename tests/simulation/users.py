"""What users do with a pool object: take ports in every way, keep them, and give them back, or forget them."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from loop import Errand, pause

from redis_wanpool.errors import LeaseLost, WanpoolError
from redis_wanpool.model.request import Request

if TYPE_CHECKING:
    from process import Process
    from world import World

ENDS = ("fin", "drained", "reset", "time_wait", None)


def user(world: World, process: Process, dice: Random) -> Errand:
    """One thread of a process, until the faults are over."""
    while world.loop.now < world.plan.quiet and not process.engine.closed:
        yield pause(dice.random() * world.plan.idle)
        request = wish(world, dice)
        began = process.clock()
        try:
            leases = yield from taking(process, request)
        except WanpoolError as error:
            world.judge.words[f"acquire: {type(error).__name__}"] += 1
            check_wait(world, process, request, began, error)
            yield pause(0.1 + dice.random())
            continue
        check_wait(world, process, request, began, None)
        until = world.loop.now + hold(world, dice)
        for lease in leases:
            yield from using(world, process, lease, dice, until)
        leases = lease = None


def wish(world: World, dice: Random) -> Request:
    """What a user asks for."""
    plan = world.plan
    wans = [wan.wan_idx for wan in plan.wans]
    chance = dice.random()
    wan: Any = (dice.choice(wans),)
    count = least = 1
    port = None
    if chance < 0.1:
        wan = None
    elif chance < 0.35:
        most = world.plan.most(
            wan[0]
        )  # a waiter for more than there can be stands in the way of all behind it for ever
        count = min(dice.choice((2, 3, 8, 16)), most)
        least = dice.choice((1, count))
    elif chance < 0.37:
        port = 20000 + 100 * wan[0] + dice.randrange(3)
    return Request(
        wans=wan,
        count=count,
        least=least,
        port=port,
        wait=dice.choice((0.0, 0.0, 0.5, 5.0, 60.0, None) if port is None else (0.0, 0.5)),
        ttl=dice.choice((None, None, None, plan.ttl / 2)),
        label="sim",
        reuse_address=dice.random() < 0.7,
    )


def taking(process: Process, request: Request) -> Errand:
    """Leases ports, as the faces do."""
    engine = process.engine
    engine.check_open()
    try:
        leases = yield from process.led(engine.patiently(request, process.protocol.lease))
        leases = engine.leased(leases)
    finally:
        engine.heartbeat.clear_up_soon()
    process.world.judge.handed(process, leases)
    return leases


def check_wait(world: World, process: Process, request: Request, began: float, error: Exception | None) -> None:
    """A call returns within its wait, and a silent Redis may add one connect_timeout."""
    if request.wait is None or request.wait == 0.0 or process.was_held_up(began):
        return
    took = process.clock() - began
    if took > request.wait + 0.25 + 8 * process.timeout:  # a step is asked again up to 6 times here, which none bounds
        world.judge.wrong(f"{process.name}: an acquire with wait={request.wait:g} took {took:.3f} s ({error!r})")


def hold(world: World, dice: Random) -> float:
    """Seconds for which ports are kept."""
    return world.plan.hold * dice.random()


def using(world: World, process: Process, lease: Any, dice: Random, until: float) -> Errand:
    """Keeps a port until then, and lets go of it."""
    judge = world.judge
    if dice.random() < 0.05:
        yield from renewing(process, lease)
    yield pause(max(0.0, until - world.loop.now))
    chance = dice.random()
    if chance < 0.03:  # it is forgotten, and the heartbeat finds out
        judge.dropped(lease)
        return
    used = chance > 0.2
    closed = dice.choice(ENDS) if used else None
    judge.stops_using(lease, "unused" if not used else closed or "fin")
    try:
        was_ours = yield from process.led(process.engine.releasing(lease, used, closed))
    except WanpoolError as error:
        judge.words[f"release: {type(error).__name__}"] += 1
    else:
        judge.told(process, lease, was_ours)
    finally:
        process.engine.heartbeat.clear_up_soon()


def renewing(process: Process, lease: Any) -> Errand:
    """Prolongs a lease by hand."""
    try:
        yield from process.led(process.protocol.renew_one(lease, lease.max_ttl))
    except LeaseLost:
        process.world.judge.words["renew: lost"] += 1
    except WanpoolError as error:
        process.world.judge.words[f"renew: {type(error).__name__}"] += 1
    finally:
        process.engine.loss_watch.look_soon(lease)
