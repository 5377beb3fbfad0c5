"""The exceptions of the kit. They mirror those of the C++ library (ipcm/error.h)."""

from __future__ import annotations

import difflib
from typing import Iterable, Optional


class Error(Exception):
    """The base class of all exceptions of this package."""


class UsageError(Error, ValueError):
    """The caller has passed something that can never work: an empty name, content that is no JSON."""


class ProtocolError(Error):
    """Bytes or values of another process that do not follow the protocol."""


class BusError(Error):
    """The bus does not exist, was removed, can't be used, or takes no more messages for a peer."""


class NameTaken(BusError):
    """Another living peer has this name. `pid` is its process, or 0 if it is unknown."""

    def __init__(self, name: str, pid: int, place: str) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"the name '{name}' is in use on the bus {place}, by {holder}; choose another one, or stop it")
        self.name, self.pid = name, pid


class PeerGone(Error):
    """The peer is not on the bus, or it ended or left before it answered. `peer` is its name."""

    def __init__(self, peer: str, text: str) -> None:
        super().__init__(text)
        self.peer = peer


class RemoteError(Error):
    """The peer answered with an error. str() is the text of the peer, `peer` is its name."""

    def __init__(self, peer: str, text: str) -> None:
        super().__init__(text)
        self.peer = peer


class Timeout(Error, TimeoutError):
    """The time limit of a call has passed. A request may still be executed by its receiver; its answer is ignored."""


class LaunchError(Error):
    """A service did not start. Its process has ended and is reaped before this is raised.

    `reason` is its own words on the ready pipe (or ""), `status` its wait status as of subprocess (None: the kit ended
    it), `stderr_tail` the end of what it wrote to stderr, `timed_out` whether the time limit has passed.
    """

    def __init__(self, text: str, reason: str = "", status: Optional[int] = None, stderr_tail: str = "",
                 timed_out: bool = False) -> None:
        super().__init__(text)
        self.reason, self.status, self.stderr_tail, self.timed_out = reason, status, stderr_tail, timed_out


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Returns "; did you mean 'x'?" for the nearest of the names, or ""."""
    near = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean '{near[0]}'?" if near else ""
