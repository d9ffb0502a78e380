"""What else the machine did meanwhile."""

import os
import time
from collections.abc import Callable
from pathlib import Path

NOTED = 0.5  # cores that others used on average, from which on a block is marked
_TICKS = os.sysconf("SC_CLK_TCK")


class Watch:
    """From here on: how many cores others used on average, and the load before and after.

    own: CPU seconds so far of what is measured.
    """

    def __init__(self, own: Callable[[], float]):
        self._own = own
        self._before, self._load = self._look(), os.getloadavg()[0]

    def seen(self) -> dict[str, float]:
        """others: cores. cpu_seconds: of what is measured."""
        began, busy, own = self._before
        now, busy_now, own_now = self._look()
        used = own_now - own
        others = max(0.0, (busy_now - busy - used) / max(1e-9, now - began))
        return {
            "others": round(others, 2),
            "cpu_seconds": round(used, 2),
            "load_before": round(self._load, 2),
            "load_after": round(os.getloadavg()[0], 2),
        }

    def _look(self) -> tuple[float, float, float]:
        return time.monotonic(), _busy(Path("/proc/stat").read_text()), self._own()


def _busy(text: str) -> float:
    """CPU seconds since the start of the machine that were not idle, of the text of /proc/stat;
    time that a hypervisor took away is among them."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, text.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def of_process(pid: int) -> float:
    """CPU seconds of a process and the children that it has waited for."""
    return sum(map(int, _fields(pid)[11:15])) / _TICKS


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, by SIGSTOP or the like."""
    return _fields(pid)[0] == "T"


def _fields(pid: int) -> list[str]:
    """Of /proc/<pid>/stat, those behind the name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def of_children() -> float:
    """CPU seconds of this process's children that have ended."""
    times = os.times()
    return times.children_user + times.children_system
