"""The obituary of a service that died (docs/bus.md, "Obituaries"), as two processes write it: the service itself before it leaves with
a status other than 0, and one that only finds the files of a dead service. No failure is reported: nothing else shall fail for it."""

from __future__ import annotations

import json
import os
import secrets
import time
from typing import Any, Dict

_MOST = 256
_LONGEST_LAST_WORDS = 4096


def _end_of_log(directory: int, file: str) -> str:
    try:
        fd = os.open(f".{file}.log", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError:
        return ""
    with open(fd, "rb") as log:
        size = os.fstat(fd).st_size
        log.seek(max(0, size - _LONGEST_LAST_WORDS))
        text = log.read(_LONGEST_LAST_WORDS).decode("utf-8", "replace")
    lines = text.split("\n")
    if size > _LONGEST_LAST_WORDS and len(lines) > 1:
        del lines[0]  # only its end
    shown = "\n".join("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line) for line in lines).strip("\n")
    return shown.encode("utf-8")[-_LONGEST_LAST_WORDS:].decode("utf-8", "ignore")


def _write(directory: int, file: str, told: Dict[str, Any], replaces: bool) -> None:
    """Writes a complete file. With `replaces` it takes the place of another; otherwise the other one stays."""
    pending = f".{secrets.token_hex(4)}.pend"
    try:
        if os.fstat(directory).st_uid != os.geteuid() or ".info.closed" in os.listdir(directory):
            return  # the bus of another user, or one that is being removed
        if words := _end_of_log(directory, file):
            told["last_words"] = words
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(pending, flags, 0o600, dir_fd=directory), "wb") as opened:
            opened.write(json.dumps({**told, "ended": time.time()}).encode("ascii"))
    except OSError:
        return  # the bus is being removed, or the disk is full
    try:
        put = os.replace if replaces else os.link
        put(pending, f".{file}.obituary", src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        pass  # there is one
    try:
        os.unlink(pending, dir_fd=directory)
    except OSError:
        pass  # it has been renamed
    _keep_few(directory)


def _keep_few(directory: int) -> None:
    """The oldest make room."""
    modified = {}
    try:
        for file in os.listdir(directory):
            if file.startswith(".") and file.endswith(".obituary"):
                modified[file] = os.stat(file, dir_fd=directory, follow_symlinks=False).st_mtime
        for file in sorted(modified, key=lambda one: modified[one])[:-_MOST]:
            os.unlink(file, dir_fd=directory)
    except OSError:
        pass  # another process has removed one, or the bus


def keep_status(directory: int, file: str, name: str, class_name: str, started: float, status: int) -> None:
    """Notes that this process, which still holds the lock of its name, is about to exit with that status. Nobody else can have written
    about its end. `file` is its name on disk, `started` the start of this process in Unix seconds (0: unknown)."""
    told = {"name": name, "class": class_name, "pid": os.getpid(), "status": status}
    _write(directory, file, {**told, "started": started} if started else told, True)


def keep_unknown(directory: int, file: str, name: str, class_name: str, pid: int) -> None:
    """Notes that a service has died, unless its obituary stands there: another process may have known how it ended. `file`
    is its name on disk."""
    told = {"name": name, "class": class_name, "unknown": "no process that could know its exit status saw it end"}
    _write(directory, file, {**told, "pid": pid} if pid > 0 else told, False)
