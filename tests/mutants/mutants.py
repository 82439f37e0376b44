"""One small wrong per promise, and the tests that must notice it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """What is changed, and where the suite has to fail for it."""

    promise: str
    name: str
    file: str
    old: str
    new: str
    tests: str
    chosen: str = ""
    """a selection among the tests, as pytest's -k"""

    def misplaced(self, root: Path) -> str:
        """ "" if what it changes, and the tests that notice it, are there, or what is wrong."""
        for path in (self.file, *self.tests.split(" ")):
            if not (root / path).is_file():
                return f"there is no {path}"
        times = (root / self.file).read_text(encoding="utf-8").count(self.old)
        return "" if times == 1 else f"{self.file} has it {times} times, not once: {self.old!r}"


MUTANTS = [
    Mutant(
        *("safety", "an expired lease is renewed", "lua/renew.lua"),
        *('if how == "live" and (expires_at > now_ms or grace_ms > 0) then', 'if how == "live" then'),
        *("tests/protocol/test_keeping.py tests/protocol/test_protocol.py tests/protocol/test_model.py", ""),
    ),
    Mutant(
        *("safety", "anybody may end a lease", "lua/lib/end_asked.lua"),
        *("if lease_id == asked_id then", "if lease_id then"),
        *("tests/protocol/test_keeping.py", "stranger"),
    ),
    Mutant(
        *("safety", "two WANs may share a port", "lua/claim.lua"),
        *("if shared <= math.min(range[2], theirs[2]) then", "if shared < 0 then"),
        *("tests/model/test_definition.py", "overlap or belong"),
    ),
    Mutant(
        *("safety", "a fence stands still", "lua/acquire.lua"),
        *("local fence = math.max(time[1] * 1000000 + time[2], config[6] + 1)", "local fence = 7"),
        *("tests/protocol/test_protocol.py", "fence"),
    ),
    Mutant(
        *("durability", "a short confirmation is accepted", "redis_wanpool/protocol/confirming.py"),
        *("(answer.confirmed or 0) < self.durability.wanted", "answer.confirmed is None"),
        *("tests/transport/test_durability.py", "TooFew"),
    ),
    Mutant(
        *("durability", "a server without a log will do", "redis_wanpool/protocol/requirements.py"),
        *('if durability.fsync and not info.get("aof_enabled"):', "if False:"),
        *("tests/transport/test_durability.py", "without_a_log"),
    ),
    Mutant(
        *("durability", "WAIT goes over another connection", "redis_wanpool/transport/exchange.py"),
        *(
            "            connection.send_packed_command([_command(durability.command(connection.socket_timeout))])\n"
            "            confirmed = durability.confirmed(connection.read_response())\n",
            "            words = durability.command(connection.socket_timeout)\n"
            "            confirmed = durability.confirmed(client.execute_command(*words))\n",
        ),
        *("tests/transport/test_durability.py", "stops_in_the_middle and sync"),
    ),
    Mutant(
        *("durability", "an answer that is repeated is confirmed by nothing", "lua/lib/again.lua"),
        *("\nsaw()\n", "\n"),
        *("tests/transport/test_durability.py", "what_another_connection_wrote"),
    ),
    Mutant(
        *("durability", "a grant that is not confirmed is kept", "redis_wanpool/protocol/confirming.py"),
        *('yield self.call("release", wan_idx, "unused", *pairs)', 'yield self.call("release", wan_idx, "unused")'),
        *("tests/transport/test_durability.py", "taken_back"),
    ),
    Mutant(
        *("exactly once", "a repeated acquire takes another port", "lua/acquire.lua"),
        *("if known[asked] then", "if false then"),
        *("tests/protocol/test_keeping.py tests/protocol/test_lost_replies.py", "of_acquire or broken_exchange"),
    ),
    Mutant(
        *("exactly once", "a repeated release forgets that it was executed", "redis_wanpool/protocol/keeping.py"),
        *("wanted if answer.repeated else asked)", "None)"),
        *("tests/protocol/test_lost_replies.py", "went_on_before"),
    ),
    Mutant(
        *("exactly once", "a call without an answer is forgotten", "redis_wanpool/protocol/ledger.py"),
        *(
            '        self.doubts.update({(wan_idx, lease_id): ("", "unused")',
            '        dict({(wan_idx, lease_id): ("", "unused")',
        ),
        *("tests/protocol/test_lost_replies.py", "silence"),
    ),
    Mutant(
        *("exactly once", "a late duplicate keeps its port", "redis_wanpool/protocol/upkeep.py"),
        *("if answer.reply[2] != self.ledger.count_on(wan_idx):", "if False:"),
        *("tests/protocol/test_keeping.py", "late_duplicate"),
    ),
    Mutant(
        *("comeback", "nothing is settled", "lua/lib/due.lua"),
        *("> 0\n", "< 0\n"),
        *("tests/protocol/test_model.py tests/protocol/test_bounded.py", ""),
    ),
    Mutant(
        *("comeback", "a clean end gives nothing back", "redis_wanpool/engine/heartbeat.py"),
        *("self._performer.run(self._protocol.give_back())", "pass"),
        *("tests/protocol/test_protocol.py tests/engine/test_life.py", "clos or exit"),
    ),
    Mutant(
        *(
            "loss",
            "the deadline is too late",
            "redis_wanpool/protocol/acquiring.py",
        ),
        *(
            "answer.sent + (expires_ms - now_ms) / 1000 - margin(ttl)",
            "answer.sent + (expires_ms - now_ms) / 1000 + 0.3",
        ),
        *("tests/engine/test_loss.py tests/protocol/test_keeping.py", ""),
    ),
    Mutant(
        *("loss", "on_lost is not called", "redis_wanpool/engine/loss_watch.py"),
        *("                self._on_lost(lease)\n", "                pass\n"),
        *("tests/engine/test_loss.py", "black or hole or told"),
    ),
    Mutant(
        *("loss", "a timer stops with the machine", "redis_wanpool/engine/ticker.py"),
        *("else min(left, self.LOOK)", "else left"),
        *("tests/engine/test_loss.py", "soon_after"),
    ),
    Mutant(
        *("two clocks", "no cool-down for others", "lua/lib/clocks.lua"),
        *("ended + math.max(cooldown_ms, rest_ms)", "ended + rest_ms"),
        *("tests/protocol/test_protocol.py", "TestTwoClocks"),
    ),
    Mutant(
        *("two clocks", "no rest for its own network", "lua/lib/clocks.lua"),
        *("local rested_at, free_at = ended + rest_ms,", "local rested_at, free_at = ended,"),
        *("tests/protocol/test_protocol.py", "released_port_rests"),
    ),
    Mutant(
        *("two clocks", "the least recently rested first", "lua/lib/own.lua"),
        *(
            '"ZREVRANGEBYSCORE", RESTING .. network, now_ms, "-inf"',
            '"ZRANGEBYSCORE", RESTING .. network, "-inf", now_ms',
        ),
        *("tests/protocol/test_model.py tests/protocol/test_protocol.py", ""),
    ),
    Mutant(
        *("two clocks", "an unused release ends an earlier cool-down", "lua/lib/take.lua"),
        *("if free_at <= now_ms then free_at = 0 end", "free_at = 0"),
        *("tests/protocol/test_model.py tests/protocol/test_protocol.py", ""),
    ),
    Mutant(
        *("two clocks", "a step of the server's clock ends cool-downs", "lua/lib/wan.lua"),
        *("if stepped_ms > STEP_MS and elapsed_ms >= 0 then", "if false then"),
        *("tests/protocol/test_scripts.py tests/protocol/test_steps.py", "step"),
    ),
    Mutant(
        *("two clocks", "a quicker request tells no more about a step", "lua/lib/wan.lua"),
        *("elapsed_ms < STEP_MS and now_ms >= at_ms", "elapsed_ms < STEP_MS"),
        *("tests/protocol/test_scripts.py", "quickest"),
    ),
    Mutant(
        *("two clocks", "time runs backwards", "lua/lib/wan.lua"),
        *("if now_ms < seen_ms then", "if false then"),
        *("tests/protocol/test_scripts.py", "backwards"),
    ),
    Mutant(
        *("shared Redis", "the lease key is believed", "lua/renew.lua"),
        *('if redis.call("PEXPIRE", lease, left_ms) == 1 then', 'if redis.call("PEXPIRE", lease, left_ms) < 2 then'),
        *("tests/protocol/test_memory.py tests/protocol/test_scripts.py", ""),
    ),
    Mutant(
        *("shared Redis", "a full Redis changes something before it refuses", "lua/acquire.lua"),
        *('saw("fence", fence', 'redis.call("HDEL", CONFIG, "x")\nsaw("fence", fence'),
        *("tests/protocol/test_memory.py", ""),
    ),
    Mutant(
        *("shared Redis", "a full Redis takes no lease back", "lua/lib/finish.lua"),
        *('  redis.call("ZREM", LEASED, port)\n', '  saw()\n  redis.call("ZREM", LEASED, port)\n'),
        *("tests/protocol/test_memory.py", ""),
    ),
    Mutant(
        *("shared Redis", "eviction of any key is accepted", "redis_wanpool/protocol/requirements.py"),
        *('policy.startswith("allkeys-")', 'policy.startswith("nokeys-")'),
        *("tests/protocol/test_memory.py tests/test_settings.py", "allkeys or evict"),
    ),
    Mutant(
        *("bounded work", "all that is due is settled at once", "lua/lib/settle.lua"),
        *('"WITHSCORES", "LIMIT", 0, limit)', '"WITHSCORES", "LIMIT", 0, 5000)'),
        *("tests/protocol/test_bounded.py", ""),
    ),
    Mutant(
        *("connections", "a close leaves the lease", "redis_wanpool/sockets/leased.py"),
        *("                self.release(closed)", "                pass"),
        *("tests/sockets/test_sockets.py", "TestHowItEnds"),
    ),
    Mutant(
        *("connections", "what ssl took over is forgotten", "redis_wanpool/sockets/leased.py"),
        *("            tie.watch(self.fileno(), tie, how_it_ends(self, self._said_end))", "            pass"),
        *("tests/sockets/test_sockets.py", "TestTls"),
    ),
    Mutant(
        *("answers", "an old reply is the answer to a new call", "redis_wanpool/transport/strict.py"),
        *("if self._owed or self._whole is not self._writer:", "if False:"),
        *("tests/sockets/test_interrupts.py", "Handshake"),
    ),
    Mutant(
        *("connections", "an interrupted close keeps its lease for ever", "redis_wanpool/engine/heartbeat.py"),
        *("lease.connections is not None and not lease.is_connected()", "False"),
        *("tests/sockets/test_interrupts.py", "leaves_no_lease and plain"),
    ),
    Mutant(
        *("operators", "a lease that is renewed is left out of the list", "lua/lib/page.lua"),
        *('start = upto("(" .. ARGV[3])', "start = upto(ARGV[3])"),
        *("tests/cli/test_operator.py", "renewed_meanwhile"),
    ),
    Mutant(
        *("connections", "a lost lease leaves its connections", "redis_wanpool/engine/loss_watch.py"),
        *("            shut_down_all(lease)\n            try:", "            try:"),
        *("tests/sockets/test_sockets.py", "TestLoss and pool"),
    ),
    Mutant(
        *("connections", "refused ports count for nothing", "lua/reject.lua"),
        *('redis.call("ZADD", REJECTED .. by, now_ms, ports[i])', ""),
        *("tests/sockets/test_sockets.py", "too_many"),
    ),
    Mutant(
        *("connections", "one network may have the whole WAN in quarantine", "lua/lib/rejecting.lua"),
        *("math.floor(in_service / 2)", "in_service"),
        *("tests/sockets/test_sockets.py", "half_a_small_wan"),
    ),
    Mutant(
        *("connections", "the networks together may have the whole WAN in quarantine", "lua/reject.lua"),
        *("math.floor(in_service * 3 / 4)", "in_service"),
        *("tests/sockets/test_sockets.py", "many_networks"),
    ),
    Mutant(
        *("connections", "a refused port that was used only waits out its quarantine", "lua/reject.lua"),
        *("used and math.max(free_at, now_ms + math.max(cooldown_ms, rest_ms)) or free_at", "free_at"),
        *("tests/sockets/test_sockets.py", "after_a_use"),
    ),
    Mutant(
        *("connections", "half a range refused stops a connect", "redis_wanpool/protocol/connecting.py"),
        *("FACTOR, MOST = 4, 64", "FACTOR, MOST = 1, 1"),
        *("tests/sockets/test_sockets.py", "half_a_range"),
    ),
    Mutant(
        *("connections", "an attempt that timed out is forgotten", "redis_wanpool/sockets/dial.py"),
        *("earlier.used or failure.used", "failure.used"),
        *("tests/sockets/test_sockets.py", "nobody_answered"),
    ),
    Mutant(
        *("waiting", "a release calls nobody", "lua/lib/finish.lua"),
        *("if waiting > 0 then wake(", "if waiting < 0 then wake("),
        *("tests/protocol/test_queue.py", "release_calls"),
    ),
    Mutant(
        *("waiting", "a newcomer overtakes", "lua/lib/own.lua"),
        *('redis.call("SCARD", FREE) - all', 'redis.call("SCARD", FREE)'),
        *("tests/protocol/test_queue.py", "newcomer or first_come"),
    ),
    Mutant(
        *("waiting", "a free port is kept for a waiter that may not have it", "lua/lib/refuse.lua"),
        *("  if is_capped then\n", "  if false then\n"),
        *("tests/protocol/test_queue.py", "TestCapped"),
    ),
    Mutant(
        *("waiting", "a called waiter is overtaken by its own network", "lua/acquire.lua"),
        *("or 0) - mine)", "or 0))"),
        *("tests/protocol/test_queue.py", "TestCapped"),
    ),
    Mutant(
        *("waiting", "a waiter that died keeps its call", "lua/lib/ahead.lua"),
        *("wake(its_network, now_ms, now_ms)", ""),
        *("tests/protocol/test_queue.py", "TestCapped"),
    ),
    Mutant(
        *("waiting", "the queue goes by the server's clock", "lua/lib/refuse.lua"),
        *("or int(fence)", "or int(time[1] * 1000000 + time[2])"),
        *("tests/protocol/test_steps.py", "came_first"),
    ),
    Mutant(
        *("fork", "a child has its parent's leases", "redis_wanpool/engine/engine.py"),
        *('            lease.end("forked")\n', "            pass\n"),
        *("tests/engine/test_life.py", "fork"),
    ),
    Mutant(
        *("reaping", "two looks are enough", "redis_wanpool/engine/reaper.py"),
        *("    STRIKES = 3", "    STRIKES = 2"),
        *("tests/engine/test_reaper.py", "looks or row"),
    ),
    Mutant(
        *("reaping", "the looks need not be in a row", "redis_wanpool/engine/reaper.py"),
        *("suspects, self._suspects = self._suspects, {}", "suspects = self._suspects"),
        *("tests/engine/test_reaper.py", "row"),
    ),
    Mutant(
        *("reaping", "a renewal does not count", "lua/lib/end_asked.lua"),
        *("(step == 2 or expires_at == tonumber(ARGV[i + 2]))", "true"),
        *("tests/engine/test_reaper.py", "renews"),
    ),
    Mutant(
        *("reaping", "a pid is a process", "redis_wanpool/system/liveness.py"),
        *('DEAD, f"process {holder.pid} is another one by now: its', 'ALIVE, f"process {holder.pid} is'),
        *("tests/engine/test_reaper.py", "verdict"),
    ),
    Mutant(
        *("reaping", "another machine's processes are judged", "redis_wanpool/system/liveness.py"),
        *("if (holder.host, holder.boot_id) != (here.host, here.boot_id):", "if False:"),
        *("tests/engine/test_reaper.py", "verdict or says"),
    ),
    Mutant(
        *("reaping", "what is hidden is dead", "redis_wanpool/system/liveness.py"),
        *('UNKNOWN, f"there is a process', 'DEAD, f"there is a process'),
        *("tests/engine/test_reaper.py", "verdict"),
    ),
    Mutant(
        *("reaping", "the last of the ring looks at nobody", "redis_wanpool/engine/reaper.py"),
        *('after, is_round = "", True', "return dead"),
        *("tests/engine/test_reaper.py", "ring"),
    ),
    Mutant(
        *("life", "an exit waits for Redis as long as it takes", "redis_wanpool/engine/lifetime.py"),
        *("pool.wait_closed(until - boottime())", "pool.wait_closed(1000)"),
        *("tests/engine/test_life.py", "exit and held_up"),
    ),
    Mutant(
        *("life", "a forked child of multiprocessing keeps its ports", "redis_wanpool/engine/lifetime.py"),
        *("util.register_after_fork(_pools, _close_at_end_of_child)", ""),
        *("tests/engine/test_life.py", "multiprocessing or process_pool"),
    ),
    Mutant(
        *("life", "a forked child ends its parent's connections", "redis_wanpool/engine/engine.py"),
        *("        lifetime.of_the_parent.append(dict(self.__dict__))\n", ""),
        *("tests/engine/test_life.py", "connections"),
    ),
    Mutant(
        *("life", "a handler takes a lock of the thread that it interrupts", "redis_wanpool/engine/engine.py"),
        *(
            "            self.loss_watch.stop()\n",
            "            self.wakeups.close()\n            self.loss_watch.stop()\n",
        ),
        *("tests/engine/test_life.py", "locks_held"),
    ),
    Mutant(
        *("life", "SIGTERM forgets the handler that was there", "redis_wanpool/engine/lifetime.py"),
        *("    if callable(before):\n        before(number, frame)\n    else:", "    if True:"),
        *("tests/engine/test_life.py", "handler"),
    ),
    Mutant(
        *("grace", "a failover begins no grace", "lua/lib/wan.lua"),
        *("now_ms - seen_ms > SOON_MS then\n      begin_grace()", "now_ms - seen_ms > SOON_MS then"),
        *("tests/protocol/test_grace.py", "Begin"),
    ),
    Mutant(
        *("grace", "a primary that was a replica meanwhile is the same", "lua/lib/wan.lua"),
        *('or not string.find(about, "master_replid2:0+%c") or', "or"),
        *("tests/protocol/test_grace.py", "meanwhile"),
    ),
    Mutant(
        *("grace", "something is granted in it", "lua/lib/grace.lua"),
        *("if grace_ms > 0 then", "if grace_ms > 0 and has_begun then"),
        *("tests/protocol/test_grace.py", "Begin"),
    ),
    Mutant(
        *("grace", "a lease expires in it", "lua/renew.lua"),
        *(
            'if how == "live" and (expires_at > now_ms or grace_ms > 0) then',
            'if how == "live" and expires_at > now_ms then',
        ),
        *("tests/protocol/test_grace.py", "renewal_that_was_lost"),
    ),
    Mutant(
        *("grace", "a released lease comes back to life", "lua/renew.lua"),
        *("if lease_id == asked_id then how = was end", 'if lease_id == asked_id then how = "live" end'),
        *("tests/protocol/test_grace.py", "come_back_to_life or released"),
    ),
    Mutant(
        *("grace", "an earlier lease takes a port from a later one", "lua/renew.lua"),
        *("and tonumber(fence) > tonumber(last_fence or 0)", "and lease_id ~= asked_id"),
        *("tests/protocol/test_grace.py", "later_one"),
    ),
    Mutant(
        *("grace", "a lost grant is not put back", "lua/renew.lua"),
        *('    how, expires_at = "live", until_ms\n', ""),
        *("tests/protocol/test_grace.py", "comes_back"),
    ),
    Mutant(
        *("grace", "fences start again below a lost one", "lua/lib/wan.lua"),
        *('"fence", int(config[6] + 1000 * grace_ms))', '"fence", config[6])'),
        *("tests/protocol/test_grace.py", "fences"),
    ),
    Mutant(
        *("grace", "a restart in a grace is missed", "lua/lib/wan.lua"),
        *(
            "grace_ms, has_begun = math.max(grace_ms, max_ttl_ms + config[19]), true",
            "if grace_ms == 0 then grace_ms, has_begun = max_ttl_ms + config[19], true end",
        ),
        *("tests/protocol/test_grace.py", "in_a_grace"),
    ),
    Mutant(
        *("grace", "older data goes unnoticed", "lua/renew.lua"),
        *("if grace_ms == 0 then begin_grace() end", "if false then begin_grace() end"),
        *("tests/protocol/test_grace.py", "by_itself"),
    ),
    Mutant(
        *("grace", "a grace is shorter than a lease", "lua/lib/wan.lua"),
        *("math.max(grace_ms, max_ttl_ms + config[19]), true", "math.max(grace_ms, tonumber(config[19])), true"),
        *("tests/protocol/test_grace.py", "as_long"),
    ),
    Mutant(
        *("grace", "an operator takes a port away in it", "lua/withhold.lua"),
        *('-- @include "grace"\n', ""),
        *("tests/protocol/test_grace.py", "operator"),
    ),
    Mutant(
        *("grace", "a ghost stays beside the lease", "lua/lib/reassert.lua"),
        *('    redis.call("HDEL", IDS, ghost_id)\n', ""),
        *("tests/protocol/test_grace.py", "ghost"),
    ),
    Mutant(
        *("grace", "a lost grant does not cool", "redis_wanpool/protocol/keeping.py"),
        *('if told == "unsure"]', 'if told == "sure"]'),
        *("tests/protocol/test_grace.py", "release_of_a_lost_grant"),
    ),
    Mutant(
        *("grace", "holders re-assert at their next tick", "redis_wanpool/protocol/acquiring.py"),
        *("self.ledger.noticed_grace(wan_idx, answer.reply[2])", "pass"),
        *("tests/protocol/test_grace.py", "at_once"),
    ),
    Mutant(
        *("grace", "another generation goes unnoticed", "lua/acquire.lua"),
        *('if ARGV[15] ~= config[20] and ARGV[15] ~= "" then', "if false then"),
        *("tests/protocol/test_grace.py", "generation"),
    ),
    Mutant(
        *("doctor", "eviction of any key is fine", "redis_wanpool/doctor/fitness.py"),
        *("if evicts_any_key(policy):", "if False:"),
        *("tests/doctor/test_doctor_redis.py", "evict or judged"),
    ),
    Mutant(
        *("doctor", "a failover without a limit is fine", "redis_wanpool/doctor/durability.py"),
        *("elif wanted or facts.enough_replicas is not None:", "elif True:"),
        *("tests/doctor/test_doctor_redis.py", "replica or judged"),
    ),
    Mutant(
        *("doctor", "a user who may not is not found out", "redis_wanpool/transport/translate.py"),
        *("return _UNNAMED in text or _TOLD in text or bool(_NAMED.search(text) or _KEY.search(text))", "return False"),
        *("tests/doctor/test_doctor_redis.py", "may_not"),
    ),
    Mutant(
        *("doctor", "some reserved ports are all of them", "redis_wanpool/doctor/linux.py"),
        *("port <= last and port not in reserved", "port <= last and not reserved"),
        *("tests/doctor/test_doctor_machine.py", "kernel"),
    ),
    Mutant(
        *("doctor", "the line to add forgets what is reserved", "redis_wanpool/doctor/linux.py"),
        *("port_list(reserved.union(ports))", "port_list(ports)"),
        *("tests/doctor/test_doctor_machine.py", "line_to_add"),
    ),
    Mutant(
        *("doctor", "a connection that just ended is a stranger's", "redis_wanpool/doctor/occupied.py"),
        *("sorted(before & after,", "sorted(before,"),
        *("tests/doctor/test_doctor_machine.py", "without_a_lease"),
    ),
    Mutant(
        *("tuning", "a journal may not be on disk yet", "redis_wanpool/tuning/journal.py"),
        *("            os.fsync(file.fileno())\n", ""),
        *("tests/tuning/test_tuning.py", "on_disk"),
    ),
    Mutant(
        *("tuning", "a write is believed", "redis_wanpool/tuning/engine.py"),
        *("if (now := system.read(item)) != value:", "if (now := system.read(item)) is system:"),
        *("tests/tuning/test_tuning.py", "does_nothing"),
    ),
    Mutant(
        *("tuning", "undo takes back what somebody else set", "redis_wanpool/tuning/engine.py"),
        *("if now[item] != change.after and not force:", "if False:"),
        *("tests/tuning/test_tuning.py", "somebody_else"),
    ),
    Mutant(
        *("tuning", "a journal may name anything", "redis_wanpool/tuning/engine.py"),
        *("        _refuse_strangers(system, journal.changes)\n", ""),
        *("tests/tuning/test_tuning.py", "other_items"),
    ),
    Mutant(
        *("tuning", "MaxUserPort may be written", "redis_wanpool/tuning/windows/settings.py"),
        *("known = (TIME_WAIT,", "known = (MAX_USER_PORT, TIME_WAIT,"),
        *("tests/tuning/test_tuning.py", "other_items"),
    ),
    Mutant(
        *("tuning", "what waits for a restart is in effect", "redis_wanpool/tuning/engine.py"),
        *("        if changed == item:", "        if False:"),
        *("tests/tuning/test_tuning.py", "restart"),
    ),
    Mutant(
        *("tuning", "a silent netsh excludes nothing", "redis_wanpool/system/netsh.py"),
        *("    if not _RULE.search(text):", "    if False:"),
        *("tests/system/test_netsh.py tests/doctor/test_doctor_machine.py", "not_said or not_tell"),
    ),
    Mutant(
        *("tuning", "a reserved list is written over", "redis_wanpool/tuning/linux/settings.py"),
        *("port_list(stands | set(self.ports))", "port_list(set(self.ports))"),
        *("tests/tuning/test_tuning.py tests/tuning/test_tuning_linux.py", ""),
    ),
    Mutant(
        *("tuning", "a host is leased what its system keeps", "redis_wanpool/protocol/acquiring.py"),
        *("*(yield from self._of_no_use(wan_idx))", ""),
        *("tests/protocol/test_protocol.py", "keeps_for_itself"),
    ),
    Mutant(
        *("legacy", "any trouble is None", "redis_wanpool/legacy/allocator.py"),
        *("except (PoolExhausted, InGrace) as", "except Exception as"),
        *("tests/legacy/test_legacy.py", "adapter"),
    ),
    Mutant(
        *("legacy", "adopt overwrites what is not its own", "redis_wanpool/cli/adopt.py"),
        *("    if not force:", "    if False:"),
        *("tests/legacy/test_legacy.py", "overwrites"),
    ),
    Mutant(
        *("asyncio", "a cancelled acquire leaves its place in the queue", "redis_wanpool/protocol/acquiring.py"),
        *("self._ledger.abandoned.update((wan_idx, self.ticket) for wan_idx in places)", "pass"),
        *("tests/protocol/test_queue.py", "cancel"),
    ),
    Mutant(
        *("asyncio", "a cancelled acquire keeps its port", "redis_wanpool/protocol/acquiring.py"),
        *("        if not self.is_settled:\n            self._ledger.give_up(self._asked, self.ids)\n", ""),
        *("tests/protocol/test_queue.py", "cancel"),
    ),
    Mutant(
        *("grace", "a primary that was stopped is believed at once", "lua/lib/wan.lua"),
        *("now_ms - seen_ms > tonumber(config[19])", "now_ms < 0"),
        *("tests/protocol/test_grace.py", "asked_twice"),
    ),
    Mutant(
        *("cluster", "a slot that moves may run a script by halves", "redis_wanpool/protocol/keys.py"),
        *('    "leaving",\n    "nothing",\n', '    "leaving",\n'),
        *("tests/transport/test_cluster.py", "stop_halfway"),
    ),
    Mutant(
        *("cluster", "a script looks at another slot", "lua/release.lua"),
        *("local kind = ARGV[3]\n", 'local kind = ARGV[3]\nredis.call("EXISTS", "wanpool:{elsewhere:0}:free")\n'),
        *("tests/transport/test_cluster.py", "leases_on_all_shards"),
    ),
    Mutant(
        *("cluster", "a redirection is not followed", "redis_wanpool/transport/cluster.py"),
        *("        self._moved[error.slot_id] = owner = (error.host or told_by[0], error.port)\n", ""),
        *("tests/transport/test_cluster.py", "redirections"),
    ),
    Mutant(
        *("cluster", "a failed node is asked for ever", "redis_wanpool/transport/cluster.py"),
        *("self._silent, self.is_stale = node, True", "self._silent = node"),
        *("tests/transport/test_cluster.py", "redirections"),
    ),
    Mutant(
        *("cluster", "a moving slot is an error at once", "redis_wanpool/transport/cluster.py"),
        *(
            "                node, self.slots.is_stale = None, True\n                yield None, ()\n",
            "                raise\n",
        ),
        *("tests/transport/test_cluster.py", "under_load"),
    ),
    Mutant(
        *("cluster", "shards are asked one after another", "redis_wanpool/engine/fanout.py"),
        *("            thread.start()\n            continue\n", "            pass\n"),
        *("tests/transport/test_cluster.py", "same_time"),
    ),
    Mutant(
        *("cluster", "a silent shard is asked for each of its WANs", "redis_wanpool/protocol/refusals.py"),
        *("isinstance(error, BackendUnavailable) and not error.answered", "False"),
        *("tests/transport/test_cluster.py", "asked_no_more"),
    ),
    Mutant(
        *("cluster", "one shard alone is examined", "redis_wanpool/transport/cluster.py"),
        *("        for node in self.slots.primaries:\n", "        for node in self.slots.primaries[:1]:\n"),
        *("tests/transport/test_cluster.py", "evict"),
    ),
]
