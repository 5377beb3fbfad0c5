"""inotify, through ctypes: the standard library has no interface to it."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any, Set

_libc = ctypes.CDLL(None, use_errno=True)

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_ATTRIB, _DELETE_SELF, _MOVE_SELF, _MASK_ADD = 0x4, 0x400, 0x800, 0x20000000
_HEAD = 16


class Watch:
    """Reports changes of directories and files. Owns one descriptor; readable when there are events.

    Belongs to one thread. Raises OSError, for instance if the user has too many watches.
    """

    CONTENTS = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
    """Files of a directory come, go, or are closed after writing. The death of a peer closes its lock file."""

    ITSELF = _ATTRIB | _DELETE_SELF | _MOVE_SELF
    """The file is moved, or loses a name."""

    def __init__(self) -> None:
        self._fd: int = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1: " + os.strerror(ctypes.get_errno()))

    def fileno(self) -> int:
        return self._fd

    def add(self, path: str, events: int) -> None:
        """Adds events of a path to those that are watched."""
        if _libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(events | _MASK_ADD)) < 0:
            raise OSError(ctypes.get_errno(), f"watch '{path}': {os.strerror(ctypes.get_errno())}")

    def read(self) -> Set[str]:
        """Reads all events. Returns the names of the files that changed; "" for an overflow or the watched file itself."""
        names: Set[str] = set()
        while True:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                return names
            at = 0
            while at + _HEAD <= len(data):
                size = int.from_bytes(data[at + 12:at + 16], sys.byteorder)
                names.add(os.fsdecode(data[at + _HEAD:at + _HEAD + size].rstrip(b"\0")))
                at += _HEAD + size

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
