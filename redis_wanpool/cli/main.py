"""Reads a command line, and runs its verb."""

import argparse
import os
import sys
from collections.abc import Sequence

from redis_wanpool import __version__, errors
from redis_wanpool.cli import (
    acl,
    adopt,
    demo,
    doctor,
    explain,
    init,
    lease,
    leases,
    lua,
    operate,
    router,
    run,
    server,
    status,
    tune,
)
from redis_wanpool.cli.verb import DONE, NO, NOT_ELEVATED, UNREACHABLE, USAGE, Command, Verbs
from redis_wanpool.errors import BackendUnavailable, InvalidValue, WanpoolError
from redis_wanpool.terminal.format import one_line
from redis_wanpool.terminal.language import chinese, speak_anywhere
from redis_wanpool.transport.url import has_password
from redis_wanpool.tuning import NotElevated


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; answers with its exit code: 0 done, 1 no, 2 usage, 3 Redis unreachable, 77 not permitted."""
    speak_anywhere()
    options = command_line().parse_args(argv)
    try:
        if getattr(options, "config", None):
            os.environ["WANPOOL_CONFIG"] = options.config
        _refuse_password(getattr(options, "url", None))
        command: Command = options.command
        code = command(options)
        sys.stdout.flush()
        return code
    except WanpoolError as error:
        return _fail(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `wanpool status | head`: nobody reads on
        _say_no_more()
        return DONE
    except OSError as error:  # a full disk behind standard output, a file that went away
        _say_no_more()
        return _fail(WanpoolError(": ".join(filter(None, (error.filename, error.strerror or str(error))))))


def _say_no_more() -> None:
    """What could not be printed is not tried again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: WanpoolError) -> int:
    hint = next((hint for kind, hint in _HINTS.items() if isinstance(error, kind)), "") if chinese() else ""
    print(f"wanpool: {hint}{'：' if hint else ''}{one_line(str(error))}", file=sys.stderr)
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), NO)


_CODES = {InvalidValue: USAGE, BackendUnavailable: UNREACHABLE, NotElevated: NOT_ELEVATED}
_HINTS: dict[type[WanpoolError], str] = {
    errors.PoolExhausted: "没有空闲端口，可等待（--wait）、尽早归还或增加端口",
    errors.WanDraining: "该 WAN 正在排空，不再分配，可用 wanpool open 恢复",
    errors.WanNotDefined: "WAN 未定义，或其数据已丢失",
    errors.WanMismatch: "与已有的定义不同，或端口与其他 WAN 重叠",
    errors.WanInUse: "仍有租约，请先排空，或使用 --force",
    errors.PortNotInRange: "端口不属于任何 WAN",
    errors.PortUnavailable: "该端口现在不可用",
    errors.PortRejected: "操作系统拒绝了端口，请检查占用者（ss -tanp）",
    errors.LeaseLost: "租约已失效，请停止使用该端口",
    errors.InGrace: "故障切换后的宽限期，请稍后再试",
    errors.UnsafeRedis: "此 Redis 无法保证安全",
    errors.BackendUnavailable: "无法使用 Redis，请检查它是否运行以及 URL",
    NotElevated: "需要管理员权限",
    errors.InvalidValue: "参数或设置有误",
}
"""what an operator who reads Chinese is told before the error itself"""


def _refuse_password(url: str | None) -> None:
    if url is not None and has_password(url):
        raise InvalidValue(
            "a password on the command line is seen by everybody on this machine; set WANPOOL_URL, or url in a "
            "wanpool.toml that only its owner can read"
        )


def command_line() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="wanpool",
        description="Source ports of WAN lines, leased through Redis.",
        epilog="exit codes: 0 done, 1 no, 2 usage, 3 Redis unreachable, 77 only an administrator may",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = Verbs(parser)
    seeing, acting = (status, leases, explain), (lease, run, operate)
    for module in (demo, init, adopt, *seeing, *acting, doctor, tune, router, acl, lua, server):
        module.add_to(verbs)
    return parser
