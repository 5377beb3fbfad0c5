"""ipcm: services and requests on a local message bus. See README.md of this package.

    from ipcm import serve, connect, start      # asyncio
    from ipcm import connect_sync, start_sync   # scripts without asyncio

Threads and forks: objects belong to the thread, or event loop, that made them. A forked child gets closed copies; the
parent's stay usable. Nothing is shared between two connections, so each thread and each process makes its own.
"""

import importlib
from typing import TYPE_CHECKING, Any, List

from .errors import (BusError, Error, LaunchError, NameTaken, PeerGone, ProtocolError, RemoteError, Timeout,
                     UsageError)

if TYPE_CHECKING:
    from .bus import Bus, connect
    from .member import Event
    from .messages import Message
    from .runtime import Request
    from .service import Service, serve
    from .launching import Started, SyncStarted, start, start_sync
    from .sync import SyncBus, connect_sync

__version__ = "0.1.0"

__all__ = ["Bus", "BusError", "Error", "Event", "LaunchError", "Message", "NameTaken", "PeerGone", "ProtocolError",
           "RemoteError", "Request", "Service", "Started", "SyncBus", "SyncStarted", "Timeout", "UsageError", "connect",
           "connect_sync", "serve", "start", "start_sync"]

# Loaded when they are used: a script that does not use asyncio starts in half the time without it.
_MODULES = {"Bus": "bus", "connect": "bus", "Event": "member", "Message": "messages", "Request": "runtime", "Service": "service",
            "serve": "service", "Started": "launching", "SyncStarted": "launching", "start": "launching", "start_sync": "launching",
            "SyncBus": "sync", "connect_sync": "sync"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'ipcm' has no attribute '{name}'")
    value = getattr(importlib.import_module("." + _MODULES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted(__all__)
