"""Record locks on lock files, which prove that a peer lives (docs/bus.md, "Files").

A record lock has two traps. It does not exclude the process that holds it, and the close of *any* descriptor of the same
file in that process drops it. So this module keeps a list of the files that this process holds, by device and inode, and
never opens one of them a second time. One mutex covers the calls of all threads. A forked child holds no lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import struct
import threading
from typing import Dict, NamedTuple, Optional, Tuple

WHOLE, TAIL = 0, 1
"""The first locked byte: a peer locks the whole file; a process that removes leftovers, all but the first byte."""

CLEARING = "(clearing up)"
"""The note of a process that removes leftovers."""

_FLOCK = "hhqqi0q"  # struct flock: type, whence, start, length (0: to the end), pid

_mutex = threading.RLock()
_held: Dict[Tuple[int, int], int] = {}


def _forget_parents_locks() -> None:
    global _mutex
    _mutex = threading.RLock()  # another thread of the parent may have held it
    _held.clear()


os.register_at_fork(after_in_child=_forget_parents_locks)


class Facts(NamedTuple):
    """The state of a lock file. `pid`: the holder from the kernel (0: in another pid namespace); `written_by`: the process
    id in the file (0: unknown)."""

    exists: bool = False
    held: bool = False
    by_us: bool = False
    pid: int = 0
    clearing: bool = False
    written_by: int = 0
    note: str = ""


def _holder(fd: int) -> Optional[Tuple[int, int]]:
    """Returns the first locked byte and the pid of the holder; None: no other process holds the lock."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, start, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else (start, max(pid, 0))


def _note(fd: int) -> Tuple[int, str]:
    try:
        told = json.loads(os.pread(fd, 4096, 0))
        return int(told.get("pid", 0)), str(told.get("note", ""))
    except (OSError, ValueError, TypeError, AttributeError):
        return 0, ""  # incomplete, or not ours; the lock itself still counts


def look(directory: int, file: str) -> Facts:
    """Returns the state of a lock file in an open directory."""
    with _mutex:
        try:
            there = os.stat(file, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISREG(there.st_mode):
                return Facts()
            if (there.st_dev, there.st_ino) in _held:
                clearing = _held[there.st_dev, there.st_ino] == TAIL
                return Facts(True, True, True, os.getpid(), clearing, os.getpid())
            # For reading only: the close of a file that was open for writing would wake all that watch the directory.
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        except FileNotFoundError:
            return Facts()
        try:
            holder, (pid, note) = _holder(fd), _note(fd)
        finally:
            os.close(fd)
        if holder is None:
            return Facts(True, False, False, pid, False, pid, note)
        return Facts(True, True, False, holder[1], holder[0] > 0, pid, note)


class HeldLock:
    """A lock that this process holds. `left`: the file was there without a holder; `left_by`: the pid in it."""

    def __init__(self, file: str, fd: int, key: Tuple[int, int], left: bool, left_by: int) -> None:
        self._file, self._fd, self._key = file, fd, key
        self.left, self.left_by = left, left_by

    def fileno(self) -> int:
        return self._fd

    def release(self, directory: int) -> None:
        """Removes the file, then releases the lock."""
        with _mutex:
            try:
                there = os.stat(self._file, dir_fd=directory, follow_symlinks=False)
                if (there.st_dev, there.st_ino) == self._key:
                    os.unlink(self._file, dir_fd=directory)
            except OSError:
                pass  # the bus was removed
            self.let_go()

    def put_back(self, pid: int) -> None:
        """Releases the lock and leaves the file as a dead peer with that pid leaves it."""
        with _mutex:
            try:
                os.ftruncate(self._fd, 0)
                os.pwrite(self._fd, json.dumps({"pid": pid, "note": ""}).encode("ascii"), 0)
            except OSError:
                pass  # an empty file means the same as none
            self.let_go()

    def let_go(self) -> None:
        """Closes the file. In a forked child this leaves the lock of the parent alone."""
        with _mutex:
            if self._fd >= 0:
                os.close(self._fd)
                _held.pop(self._key, None)
                self._fd = -1


def acquire(directory: int, file: str, note: str, first: int = WHOLE, inspectable: bool = False) -> "HeldLock | int":
    """Takes the lock of a file in an open directory, and writes the note, and whether the peer answers inspections. Returns the pid of the holder if another
    process has it (0: unknown)."""
    while True:
        with _mutex:
            facts = look(directory, file)
            if facts.by_us:
                return os.getpid()
            fresh = True
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            try:
                fd = os.open(file, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
            except FileExistsError:
                fresh = False
                try:
                    fd = os.open(file, flags, dir_fd=directory)
                except FileNotFoundError:
                    continue
            try:
                try:
                    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 0, first)
                except (BlockingIOError, PermissionError):
                    holder = _holder(fd)
                    return holder[1] if holder else 0
                held = os.fstat(fd)
                # The former holder may have removed the file between open and lock: then this one has no name any more.
                try:
                    now = os.stat(file, dir_fd=directory, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if (now.st_dev, now.st_ino) != (held.st_dev, held.st_ino):
                    continue
                left_by = 0 if fresh else _note(fd)[0]
                if not fresh:
                    os.ftruncate(fd, 0)
                told = {"pid": os.getpid(), "note": note, **({"inspect": 1} if inspectable else {})}
                os.pwrite(fd, json.dumps(told).encode("ascii"), 0)
                key = (held.st_dev, held.st_ino)
                _held[key] = first
                lock, fd = HeldLock(file, fd, key, not fresh, left_by), -1
                return lock
            finally:
                if fd >= 0:
                    os.close(fd)
