"""One small wrong per promise, and the tests that must notice it."""

from __future__ import annotations

from dataclasses import dataclass


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


MUTANTS = [
    Mutant(
        *("safety", "an expired lease is renewed", "lua/renew.lua"),
        *('if how == "live" and expires_at > now_ms then', 'if how == "live" then'),
        *("tests/test_keeping.py tests/test_protocol.py tests/test_model.py", ""),
    ),
    Mutant(
        *("safety", "anybody may end a lease", "lua/lib/end_asked.lua"),
        *("if lease_id == asked_id then", "if lease_id then"),
        *("tests/test_keeping.py", "stranger"),
    ),
    Mutant(
        *("safety", "two WANs may share a port", "lua/claim.lua"),
        *("if shared <= math.min(range[2], theirs[2]) then", "if shared < 0 then"),
        *("tests/test_definition.py", "overlap or belong"),
    ),
    Mutant(
        *("safety", "a fence stands still", "lua/acquire.lua"),
        *("local fence = math.max(time[1] * 1000000 + time[2], config[6] + 1)", "local fence = 7"),
        *("tests/test_protocol.py", "fence"),
    ),
    Mutant(
        *("exactly once", "a repeated acquire takes another port", "lua/acquire.lua"),
        *("if known[asked] then", "if false then"),
        *("tests/test_keeping.py tests/test_lost_replies.py", "of_acquire or broken_exchange"),
    ),
    Mutant(
        *("exactly once", "a repeated release forgets that it was executed", "redis_wanpool/protocol/keeping.py"),
        *("how if answer.repeated else asked)", "None)"),
        *("tests/test_lost_replies.py", "went_on_before"),
    ),
    Mutant(
        *("exactly once", "a call without an answer is forgotten", "redis_wanpool/protocol/acquiring.py"),
        *(
            '        self.doubts.update({(wan_idx, lease_id): ("", "unused")',
            '        dict({(wan_idx, lease_id): ("", "unused")',
        ),
        *("tests/test_lost_replies.py", "silence"),
    ),
    Mutant(
        *("exactly once", "a late duplicate keeps its port", "redis_wanpool/protocol/upkeep.py"),
        *("if answer.reply[2] != self._held_here(wan_idx):", "if False:"),
        *("tests/test_keeping.py", "late_duplicate"),
    ),
    Mutant(
        *("comeback", "nothing is settled", "lua/lib/due.lua"),
        *("> 0\n", "< 0\n"),
        *("tests/test_model.py tests/test_bounded.py", ""),
    ),
    Mutant(
        *("comeback", "a clean end gives nothing back", "redis_wanpool/face.py"),
        *("            self._run_blocking(self.protocol.give_back())\n        if", "            pass\n        if"),
        *("tests/test_protocol.py tests/test_life.py", "clos or exit"),
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
        *("tests/test_loss.py tests/test_keeping.py", ""),
    ),
    Mutant(
        *("loss", "on_lost is not called", "redis_wanpool/face.py"),
        *("                self._tell_loss(lease)\n", "                pass\n"),
        *("tests/test_loss.py", "black or hole or told"),
    ),
    Mutant(
        *("loss", "a timer stops with the machine", "redis_wanpool/background.py"),
        *("else min(left, self.LOOK)", "else left"),
        *("tests/test_loss.py", "soon_after"),
    ),
    Mutant(
        *("two clocks", "no cool-down for others", "lua/lib/clocks.lua"),
        *("ended + math.max(cooldown_ms, rest_ms)", "ended + rest_ms"),
        *("tests/test_protocol.py", "TestTwoClocks"),
    ),
    Mutant(
        *("two clocks", "no rest for its own network", "lua/lib/clocks.lua"),
        *("local rested_at, free_at = ended + rest_ms,", "local rested_at, free_at = ended,"),
        *("tests/test_protocol.py", "released_port_rests"),
    ),
    Mutant(
        *("two clocks", "the least recently rested first", "lua/lib/own.lua"),
        *(
            '"ZREVRANGEBYSCORE", RESTING .. network, now_ms, "-inf"',
            '"ZRANGEBYSCORE", RESTING .. network, "-inf", now_ms',
        ),
        *("tests/test_model.py tests/test_protocol.py", ""),
    ),
    Mutant(
        *("two clocks", "an unused release ends an earlier cool-down", "lua/lib/take.lua"),
        *("if free_at <= now_ms then free_at = 0 end", "free_at = 0"),
        *("tests/test_model.py tests/test_protocol.py", ""),
    ),
    Mutant(
        *("two clocks", "a step of the server's clock ends cool-downs", "lua/lib/wan.lua"),
        *("if stepped_ms > STEP_MS and elapsed_ms >= 0 then", "if false then"),
        *("tests/test_scripts.py tests/test_steps.py", "step"),
    ),
    Mutant(
        *("two clocks", "a step is known no better than the first request was on its way", "lua/lib/wan.lua"),
        *("elapsed_ms < STEP_MS and now_ms >= at_ms", "elapsed_ms < STEP_MS"),
        *("tests/test_scripts.py", "quickest"),
    ),
    Mutant(
        *("two clocks", "time runs backwards", "lua/lib/wan.lua"),
        *("if now_ms < seen_ms then", "if false then"),
        *("tests/test_scripts.py", "backwards"),
    ),
    Mutant(
        *("shared Redis", "the lease key is believed", "lua/renew.lua"),
        *('if redis.call("PEXPIRE", lease, left_ms) == 1 then', 'if redis.call("PEXPIRE", lease, left_ms) < 2 then'),
        *("tests/test_memory.py tests/test_scripts.py", ""),
    ),
    Mutant(
        *("shared Redis", "a full Redis changes something before it refuses", "lua/acquire.lua"),
        *('saw("fence", fence + count - 1)\n', 'redis.call("HDEL", CONFIG, "x")\nsaw("fence", fence + count - 1)\n'),
        *("tests/test_memory.py", ""),
    ),
    Mutant(
        *("shared Redis", "a full Redis takes no lease back", "lua/lib/finish.lua"),
        *('  redis.call("ZREM", LEASED, port)\n', '  saw()\n  redis.call("ZREM", LEASED, port)\n'),
        *("tests/test_memory.py", ""),
    ),
    Mutant(
        *("shared Redis", "eviction of any key is accepted", "redis_wanpool/safety.py"),
        *('policy.startswith("allkeys-")', 'policy.startswith("nokeys-")'),
        *("tests/test_memory.py tests/test_settings.py", "allkeys or evict"),
    ),
    Mutant(
        *("bounded work", "all that is due is settled at once", "lua/lib/settle.lua"),
        *('"WITHSCORES", "LIMIT", 0, limit)', '"WITHSCORES", "LIMIT", 0, 5000)'),
        *("tests/test_bounded.py", ""),
    ),
    Mutant(
        *("connections", "a close leaves the lease", "redis_wanpool/sockets.py"),
        *("        if release is not None:\n            release(closed)", "        pass"),
        *("tests/test_sockets.py", "closing_the_connection"),
    ),
    Mutant(
        *("connections", "what ssl took over is forgotten", "redis_wanpool/sockets.py"),
        *("            tie.watch(fd, tie, closed)", "            pass"),
        *("tests/test_sockets.py", "TestTls"),
    ),
    Mutant(
        *("connections", "a lost lease leaves its connections", "redis_wanpool/face.py"),
        *("                sockets.hang_up(connection)", "                pass"),
        *("tests/test_sockets.py", "TestLoss and pool"),
    ),
    Mutant(
        *("connections", "refused ports count for nothing", "lua/reject.lua"),
        *('redis.call("ZADD", rejected, now_ms, ports[i])', ""),
        *("tests/test_sockets.py", "too_many"),
    ),
    Mutant(
        *("connections", "half a range refused stops a connect", "redis_wanpool/protocol/connecting.py"),
        *("FACTOR, MOST = 4, 64", "FACTOR, MOST = 1, 1"),
        *("tests/test_sockets.py", "half_a_range"),
    ),
    Mutant(
        *("connections", "an attempt that timed out is forgotten", "redis_wanpool/sockets.py"),
        *("earlier.used or failure.used", "failure.used"),
        *("tests/test_sockets.py", "nobody_answered"),
    ),
    Mutant(
        *("waiting", "a release calls nobody", "lua/lib/finish.lua"),
        *("if waiting > 0 then wake(", "if waiting < 0 then wake("),
        *("tests/test_queue.py", "release_calls"),
    ),
    Mutant(
        *("waiting", "a newcomer overtakes", "lua/lib/own.lua"),
        *('redis.call("SCARD", FREE) - all', 'redis.call("SCARD", FREE)'),
        *("tests/test_queue.py", "newcomer or first_come"),
    ),
    Mutant(
        *("waiting", "a free port is kept for who may not have it", "lua/lib/ahead.lua"),
        *("elseif waiter.is_capped then", "elseif false then"),
        *("tests/test_queue.py", "TestCapped"),
    ),
    Mutant(
        *("waiting", "the queue goes by the server's clock", "lua/lib/refuse.lua"),
        *('"NX", fence, ticket', '"NX", time[1] * 1000000 + time[2], ticket'),
        *("tests/test_steps.py", "came_first"),
    ),
    Mutant(
        *("fork", "a child has its parent's leases", "redis_wanpool/face.py"),
        *('lease.end("forked")\n        life.of_the_parent.append(dict(self.__dict__))\n        self._begin()', "pass"),
        *("tests/test_life.py", "fork"),
    ),
    Mutant(
        *("reaping", "two looks are enough", "redis_wanpool/reaper.py"),
        *("    STRIKES = 3", "    STRIKES = 2"),
        *("tests/test_reaper.py", "looks or row"),
    ),
    Mutant(
        *("reaping", "the looks need not be in a row", "redis_wanpool/reaper.py"),
        *("suspects, self._suspects = self._suspects, {}", "suspects = self._suspects"),
        *("tests/test_reaper.py", "row"),
    ),
    Mutant(
        *("reaping", "a renewal does not count", "lua/lib/end_asked.lua"),
        *("(step == 2 or expires_at == tonumber(ARGV[i + 2]))", "true"),
        *("tests/test_reaper.py", "renews"),
    ),
    Mutant(
        *("reaping", "a pid is a process", "redis_wanpool/verdict.py"),
        *('DEAD, f"process {who.pid} is another one by now: its', 'ALIVE, f"process {who.pid} is'),
        *("tests/test_reaper.py", "verdict"),
    ),
    Mutant(
        *("reaping", "another machine's processes are judged", "redis_wanpool/verdict.py"),
        *("if (who.host, who.boot_id) != (here.host, here.boot_id):", "if False:"),
        *("tests/test_reaper.py", "verdict or says"),
    ),
    Mutant(
        *("reaping", "what is hidden is dead", "redis_wanpool/verdict.py"),
        *('UNKNOWN, f"there is a process', 'DEAD, f"there is a process'),
        *("tests/test_reaper.py", "verdict"),
    ),
    Mutant(
        *("reaping", "the last of the ring looks at nobody", "redis_wanpool/reaper.py"),
        *('after, is_round = "", True', "return dead"),
        *("tests/test_reaper.py", "ring"),
    ),
    Mutant(
        *("life", "an exit waits for Redis as long as it takes", "redis_wanpool/life.py"),
        *("pool._wait_closed(until - boottime())", "pool._wait_closed(1000)"),
        *("tests/test_life.py", "exit and held_up"),
    ),
    Mutant(
        *("life", "a forked child of multiprocessing keeps its ports", "redis_wanpool/life.py"),
        *("util.register_after_fork(_pools, _close_at_end_of_child)", ""),
        *("tests/test_life.py", "multiprocessing or process_pool"),
    ),
    Mutant(
        *("life", "a forked child ends its parent's connections", "redis_wanpool/face.py"),
        *("        life.of_the_parent.append(dict(self.__dict__))\n", ""),
        *("tests/test_life.py", "connections"),
    ),
    Mutant(
        *("life", "a handler takes a lock of the thread that it interrupts", "redis_wanpool/face.py"),
        *(
            "            self._losswatch.stop()\n",
            "            self._wakeups.close()\n            self._losswatch.stop()\n",
        ),
        *("tests/test_life.py", "locks_held"),
    ),
    Mutant(
        *("life", "SIGTERM forgets the handler that was there", "redis_wanpool/life.py"),
        *("    if callable(before):\n        before(number, frame)\n    else:", "    if True:"),
        *("tests/test_life.py", "handler"),
    ),
    Mutant(
        *("legacy", "any trouble is None", "redis_wanpool/legacy.py"),
        *("except PoolExhausted as", "except Exception as"),
        *("tests/test_legacy.py", "adapter"),
    ),
    Mutant(
        *("legacy", "adopt overwrites what is not its own", "redis_wanpool/cli/adopt.py"),
        *("    if not force:", "    if False:"),
        *("tests/test_legacy.py", "overwrites"),
    ),
    Mutant(
        *("asyncio", "a cancelled acquire leaves its place in the queue", "redis_wanpool/protocol/acquiring.py"),
        *("self.abandoned.update((wan_idx, ids[0]) for wan_idx in (queued if done else asked))", "pass"),
        *("tests/test_queue.py", "cancel"),
    ),
    Mutant(
        *("asyncio", "a cancelled acquire keeps its port", "redis_wanpool/protocol/acquiring.py"),
        *("            if not done:\n                self._give_up(asked, ids, [])\n", ""),
        *("tests/test_queue.py", "cancel"),
    ),
]
