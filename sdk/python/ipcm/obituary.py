"""The obituary of a service that died (docs/bus.md, "Obituaries"), as a process writes it that only finds its files."""

from __future__ import annotations

import json
import os
import secrets
import time

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


def keep_unknown(directory: int, file: str, name: str, class_name: str, pid: int) -> None:
    """Notes that a service has died, unless its obituary stands there: another process may have known how it ended. `file`
    is its name on disk."""
    obituary = {"name": name, "class": class_name, "ended": time.time(), "unknown": "no process that could know its exit status saw it end"}
    if pid > 0:
        obituary["pid"] = pid
    pending = f".{secrets.token_hex(4)}.pend"
    try:
        if os.fstat(directory).st_uid != os.geteuid() or ".info.closed" in os.listdir(directory):
            return  # the bus of another user, or one that is being removed
        if words := _end_of_log(directory, file):
            obituary["last_words"] = words
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(pending, flags, 0o600, dir_fd=directory), "wb") as opened:
            opened.write(json.dumps(obituary).encode("ascii"))
    except OSError:
        return  # the bus is being removed, or the disk is full
    try:
        os.link(pending, f".{file}.obituary", src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except OSError:
        pass  # there is one
    finally:
        try:
            os.unlink(pending, dir_fd=directory)
        except OSError:
            pass
