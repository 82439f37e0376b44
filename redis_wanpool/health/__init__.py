"""Checks the lines: connects through each WAN, and writes down whether it is up."""

from redis_wanpool.health.checker import Round, check
from redis_wanpool.health.lines import LineSeen

__all__ = ["LineSeen", "Round", "check"]
