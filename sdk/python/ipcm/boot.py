"""The boot contract, from the side of the service (docs/boot.md): what the process inherits, and how it says "ready"."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import sys
import time
from typing import List, Optional

from .errors import UsageError
from .parameters import CommandLine

USAGE, BUS_UNAVAILABLE, SERVICE_THREW, SYSTEM_ERROR, OUTPUT_LOST, UNKNOWN_CLASS = 64, 69, 70, 71, 74, 127
"""Exit statuses."""

_LOG_SIZE, _LOG_LOOK = 768 * 1024, 0.1


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def open_standard_streams() -> None:
    """Opens the standard streams that are closed: otherwise the next connection would become stdout."""
    for fd in range(3):
        if not _is_open(fd):
            null = os.open("/dev/null", os.O_RDWR)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
            os.set_inheritable(fd, True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)


def _own(fd: int, what: str) -> int:
    """Makes an inherited descriptor ours: close-on-exec, and not one of the standard streams."""
    if not _is_open(fd):
        raise UsageError(f"{what}: descriptor {fd} is not open")
    if fd > 2:
        os.set_inheritable(fd, False)
        return fd
    high = os.dup(fd)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, fd)
    os.close(null)
    return high


def _variable(name: str) -> str:
    return os.environ.pop(name, "")


class Inherited:
    """The descriptors that the launcher has passed. -1: none. Takes them, and removes their variables."""

    def __init__(self, line: CommandLine) -> None:
        leash, stderr, log = (_variable(name) for name in ("IPCM_LEASH_FD", "IPCM_STDERR_FD", "IPCM_LOG_FD"))
        original = _variable("IPCM_ORIG_IO_FDS")
        _variable("IPCM_PARAMS_WHOLE")
        self.ready = -1 if line.ready_fd is None else _own(line.ready_fd, "--ready-fd")
        self.params = -1 if line.params_fd is None else _own(line.params_fd, "--params-fd")
        self.leash = self._of(leash, "IPCM_LEASH_FD")
        self.stderr = self._of(stderr, "IPCM_STDERR_FD")
        number, _, streams = log.partition(",")
        self.log = self._of(number, "IPCM_LOG_FD")
        self.logged: List[int] = [fd for fd in (1, 2) if str(fd) in streams.split(",")]
        for fd in original.split(","):
            if fd.isdecimal() and int(fd) > 2 and _is_open(int(fd)):
                os.set_inheritable(int(fd), False)

    @staticmethod
    def _of(number: str, what: str) -> int:
        if not number:
            return -1
        if not number.isdecimal():
            raise UsageError(f"{what}: '{number}' is no descriptor")
        return _own(int(number), what)


class Announcer:
    """Says once that the service is ready, or why not."""

    def __init__(self, inherited: Inherited) -> None:
        self._inherited = inherited
        self._notify = _variable("NOTIFY_SOCKET")
        period, pid = _variable("WATCHDOG_USEC"), _variable("WATCHDOG_PID")
        self.watchdog: Optional[float] = None
        """Seconds between calls of alive(), or None."""
        if inherited.ready >= 0:
            self._notify = ""
        elif self._notify and period.isdecimal() and int(period) > 0 and pid in ("", str(os.getpid())):
            self.watchdog = int(period) / 2e6
        self.log: Optional[RollingLog] = None

    def ready(self, name: str) -> bool:
        """Returns False if the launcher has ended: then nobody knows of this service."""
        sys.stdout.flush()
        sys.stderr.flush()
        if self._inherited.stderr >= 0:
            os.dup2(self._inherited.stderr, 2)
            os.close(self._inherited.stderr)
        if self._inherited.log >= 0:
            for fd in self._inherited.logged:
                os.dup2(self._inherited.log, fd)
            self.log = RollingLog(self._inherited.log)
        if not self._write(json.dumps({"ready": True, "name": name, "pid": os.getpid()}) + "\n"):
            return False
        self._tell("READY=1\nSTATUS=serving\n")
        return True

    def failed(self, error: str, joined: bool) -> None:
        told = {"ready": False, "error": error}
        if joined:
            told["phase"] = "start"
        self._write(json.dumps(told))
        self._tell("STATUS=" + error.replace("\n", " ") + "\nSTOPPING=1\n")

    def stopping(self) -> None:
        self._tell("STOPPING=1\n")

    def alive(self) -> None:
        self._tell("WATCHDOG=1\n")

    def _write(self, text: str) -> bool:
        fd, self._inherited.ready = self._inherited.ready, -1
        if fd < 0:
            return True
        try:
            with open(fd, "wb", buffering=0) as pipe:
                pipe.write(text.encode("ascii"))
        except OSError:
            return False
        return True

    def _tell(self, state: str) -> None:
        if not self._notify:
            return
        address = "\0" + self._notify[1:] if self._notify[0] == "@" else self._notify
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.connect(address)
            one.send(state.encode("utf-8", "replace"))


class RollingLog:
    """Keeps the log of the service bounded: beyond 768 KiB, its text moves to the older file, `NAME.log.1`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._next = 0.0

    def look(self) -> None:
        """To be called often; looks at most once in 100 ms. Never raises."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LOG_LOOK
        with contextlib.suppress(OSError):
            if os.fstat(self._fd).st_size <= _LOG_SIZE:
                return
            path = os.readlink(f"/proc/self/fd/{self._fd}")
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(path, "rb") as log, open(os.open(path + ".1", flags, 0o600), "wb") as older:
                older.write(log.read(1024 * 1024))
            os.ftruncate(self._fd, 0)


def redirect(streams: "dict[str, str]") -> None:
    """Redirects standard streams, for launchers that have not done it themselves. Raises UsageError, OSError."""
    for fd, key in enumerate(("stdin", "stdout", "stderr")):
        target = streams.get(key)
        if not target:
            continue
        if target.startswith("&"):
            if not target[1:].isdecimal() or not _is_open(int(target[1:])):
                raise UsageError(f"parameters: 'redirect.{key}': '{target}' is no open descriptor")
            os.dup2(int(target[1:]), fd)
            continue
        flags = os.O_RDONLY if fd == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK
        opened = os.open(target, flags | os.O_CLOEXEC | os.O_NOCTTY, 0o666)  # a FIFO without a reader is refused
        if stat.S_ISFIFO(os.fstat(opened).st_mode) or fd:
            os.set_blocking(opened, True)
        os.dup2(opened, fd)
        os.close(opened)
