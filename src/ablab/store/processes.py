"""Processes across clock changes, restarts and containers: who they are, and whether they live.

A process is identified by the boot of its machine, its namespace of process ids, its id and its
start time in seconds since the boot. Setting the clock changes none of these.
"""

import os
import socket
from functools import cache
from pathlib import Path

import psutil

_PROC = Path("/proc")
_SAME_SECONDS = 1.0  # start times that differ by less are equal


def this_host() -> str:
    """Where this process's id is valid: ``NAME/BOOT/NAMESPACE`` (``NAME/BOOT`` outside Linux)."""
    return "/".join(part for part in (socket.gethostname(), _boot(), _namespace()) if part)


def boot_of(host: str) -> str:
    """The boot in the output of :func:`this_host`."""
    return host.partition("/")[2].partition("/")[0]


def name_of(host: str) -> str:
    """The machine's name in the output of :func:`this_host`."""
    return host.split("/", maxsplit=1)[0]


def is_by_clock(host: str) -> bool:
    """Whether an earlier release wrote this: its boot and start times are by the clock."""
    parts = host.split("/")
    return len(parts) == 2 and parts[1].isdigit() and bool(_namespace())


@cache
def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # not Linux
        return f"{psutil.boot_time():.0f}"


@cache
def _namespace() -> str:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def start_time(pid: int) -> float | None:
    """When a process of this machine started, in seconds since the boot; None if it has ended.

    Outside Linux, in seconds since 1970, as the system recorded it then.
    """
    if not _namespace():
        return start_by_clock(pid)
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    if state in "ZX":  # ended, though its parent has not noticed
        return None
    return int(fields[18]) / os.sysconf("SC_CLK_TCK")


def start_by_clock(pid: int) -> float | None:
    """When a process of this machine started, in seconds since 1970; None if it has ended."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def is_running(pid: int, started: float, by_clock: bool = False) -> bool:
    """Whether the process of this machine with this id and start time is running."""
    found = start_by_clock(pid) if by_clock else start_time(pid)
    return found is not None and abs(found - started) < _SAME_SECONDS


def is_stopped(pid: int) -> bool:
    """Whether a process of this machine is stopped, as by Ctrl-Z."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False
