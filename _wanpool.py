"""Starts `wanpool`, from outside the package, so that Ctrl-C while the package is imported leaves no traceback."""

import signal


def main() -> int:
    """Runs one command; answers with its exit code, 130 if it was interrupted."""
    try:
        from redis_wanpool.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the interpreter's end has nothing to say to a second Ctrl-C
