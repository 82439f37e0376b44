"""`wanpool version`: of the package, of its protocol, and of the server."""

import argparse

from redis_wanpool import __version__, settings
from redis_wanpool.cli.verb import DONE, Verbs, answer, operator_of
from redis_wanpool.errors import WanpoolError
from redis_wanpool.protocol.keys import PROTOCOL
from redis_wanpool.terminal.format import one_line
from redis_wanpool.transport import embedded


def add_to(verbs: Verbs) -> None:
    verbs.add(version, "", "--json")


def version(options: argparse.Namespace) -> int:
    """Says which version this is, which protocol it speaks, and which server answers; starts none."""
    url = found = trouble = None
    try:
        if (
            settings.settings(url=options.url, namespace=options.namespace).url is None
            and not embedded.status().running
        ):
            trouble = "no Redis is named, and the embedded server does not run"
        else:
            with operator_of(options, allow_unsafe=True) as operator:
                url = operator.url
                found = operator.server_facts().get("version")
    except WanpoolError as error:
        trouble = one_line(str(error))
    server = None if url is None or found is None else {"url": url, "version": found}
    told = f"server {found}, {url}" if server else f"no server: {trouble or url}"
    answer(
        options,
        [f"wanpool {__version__}, protocol {PROTOCOL}", told],
        version=__version__,
        protocol=PROTOCOL,
        server=server,
        trouble=trouble,
    )
    return DONE
