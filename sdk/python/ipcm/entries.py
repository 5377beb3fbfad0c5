"""The files of a bus that is a directory, by name and kind (docs/bus.md, "Files"). Nothing else is ever removed."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import List

from .errors import UsageError

_BESIDE = ("pid", "name", "resume", "stats", "suspend")
_MARK = re.compile(r"\.info|\.info\.closed|\.found|\.\.info\.pend|\.\.found\.pend|\.owner(\..+)?", re.DOTALL)
_HIDDEN = re.compile(r"\..+\.(lock|lock\..+|log|log\.1|params|obituary|pend|pin)|\.journal|\.given", re.DOTALL)
_UNFINISHED = re.compile(r"\..+\.pend", re.DOTALL)
_BESIDES = re.compile(r".+\.(" + "|".join(_BESIDE) + r")(\.pend)?", re.DOTALL)
_REFERENCE = re.compile(r"PerlIPCManager-[0-9]+-[A-Za-z0-9_]{6}")
_LONGEST_ADDRESS = 104


def may_be_endpoint(file: str) -> bool:
    return bool(file) and file[0] not in "._" and not file.endswith((".pend",) + tuple("." + one for one in _BESIDE))


def is_hashed(file: str) -> bool:
    return len(file) == 42 and file.startswith("h-")


def check_peer_name(name: str) -> None:
    """Raises UsageError for a name that no peer may have."""
    if not isinstance(name, str) or not name:
        raise UsageError("the name of a peer is a string and not empty")
    if name[0] == "_" or name == "0" or "\0" in name:
        raise UsageError(f"the name {name!r} may not be used: names do not begin with '_', contain no NUL, and are not '0'")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"the name {name!r} is no Unicode text") from None


def disk_name(name: str, route: str) -> str:
    """Returns the name of a peer's files on a ConnectionUnix bus with that route."""
    raw = name.encode("utf-8", "surrogatepass")
    longest = max(_LONGEST_ADDRESS - 2 - len(os.fsencode(route)), 0)
    if (len(raw) <= longest and not name.startswith("h-") and may_be_endpoint(name)
            and not any(character < " " or character in "/\\" for character in name)):
        return name
    return "h-" + hashlib.sha256(raw).hexdigest()[:40]


def is_trusted(facts: os.stat_result, directory: os.stat_result) -> bool:
    """Returns whether a file belongs to the user of the directory, to root, or to this user."""
    return facts.st_uid in (directory.st_uid, 0, os.geteuid())


def is_endpoint(facts: os.stat_result) -> bool:
    return stat.S_ISSOCK(facts.st_mode) or (stat.S_ISREG(facts.st_mode) and facts.st_size == 0)


def is_mark(file: str) -> bool:
    return _MARK.fullmatch(file) is not None


def is_known(directory: int, file: str) -> bool:
    """Returns whether an entry is one that ConnectionUnix puts into its directory."""
    try:
        facts = os.stat(file, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return True  # it was removed just now
    if not is_trusted(facts, os.fstat(directory)):
        return False
    if _UNFINISHED.fullmatch(file) and is_endpoint(facts):
        return True  # its maker was killed before it gave the endpoint its name
    if _MARK.fullmatch(file) or _HIDDEN.fullmatch(file) or _BESIDES.fullmatch(file):
        return stat.S_ISREG(facts.st_mode)
    return file[0] not in "._" and is_endpoint(facts)


def strangers(directory: int) -> List[str]:
    """Returns the entries that no bus has put into the directory."""
    return [file for file in os.listdir(directory) if not is_known(directory, file)]


def is_named_by_the_reference(route: str) -> bool:
    return _REFERENCE.fullmatch(os.path.basename(os.path.realpath(route))) is not None
