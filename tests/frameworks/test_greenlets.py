"""The same program under threads, gevent and eventlet: it works, or is refused by name in its first call."""

from __future__ import annotations

from typing import Any

import pytest


def story(site: Any, how: str) -> str:
    return str(site.run(str(site.programs / "story.py"), how))


@pytest.mark.parametrize("when", ["never", "early", "late", "between"])
def test_threads_and_greenlets_connect_and_leave_nothing(site: Any, when: str) -> None:
    assert story(site, when) == "connected 12\n"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("half", "call gevent.monkey.patch_all() without options"),
        ("eventlet", "eventlet has patched this process, and is not supported"),
    ],
)
def test_what_could_only_hang_is_refused_by_name(site: Any, how: str, words: str) -> None:
    assert words in story(site, how)


def test_gevent_that_comes_after_the_first_use_is_refused_in_the_next_call(site: Any) -> None:
    """What gevent leaves of the threads that ran before it may complain at their end."""
    said, _ = site.start(str(site.programs / "story.py"), "used").communicate(timeout=90)
    assert "call gevent.monkey.patch_all() before that" in said
    site.wait_until_nothing_is_leased()
