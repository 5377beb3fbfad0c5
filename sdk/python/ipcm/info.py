"""The info string, which identifies a bus: ["PROTOCOL","SERIALIZER","ROUTE"]."""

from __future__ import annotations

import json
import os
from typing import Any, Sequence, Tuple, Union

from .errors import UsageError

Info = Union[str, Sequence[Any]]
VARIABLE = "IPCM_INFO"


class BusInfo:
    """A parsed info string: `protocol` and `serializer` as short names, `options` of the serializer, `route`."""

    __slots__ = ("protocol", "serializer", "options", "route", "text")

    def __init__(self, protocol: str, serializer: str, options: Tuple[Any, ...], route: str, text: str) -> None:
        self.protocol, self.serializer, self.options, self.route, self.text = protocol, serializer, options, route, text

    @property
    def is_native(self) -> bool:
        """Whether this kit speaks the protocol itself. Otherwise `ipcm bridge` does."""
        return self.protocol == "ConnectionUnix" and self.serializer == "JSON" and not self.options


def _short(name: str, prefix: str) -> str:
    return name[len(prefix):] if name.startswith(prefix) else name


def bus_info(given: "Info | None" = None) -> BusInfo:
    """Returns the bus of an info string, an array of three, or $IPCM_INFO. Raises UsageError."""
    if given is None:
        given = os.environ.get(VARIABLE, "")
        if not given:
            raise UsageError(f"which bus? Neither an info string nor ${VARIABLE} is set; `ipcm bus new` makes a bus and prints it")
    try:
        parts = json.loads(given) if isinstance(given, str) else list(given)
        protocol, serializer, route = parts
        options: Tuple[Any, ...] = ()
        if isinstance(serializer, (list, tuple)):
            serializer, *rest = serializer
            options = tuple(rest)
        if not (isinstance(protocol, str) and isinstance(serializer, str) and isinstance(route, str) and route):
            raise ValueError
    except (ValueError, TypeError):
        raise UsageError(f'an info string is ["PROTOCOL","SERIALIZER","ROUTE"], and this is none: {str(given)[:200]!r}') from None
    return BusInfo(_short(protocol, "IPC::Manager::Client::"), _short(serializer, "IPC::Manager::Serializer::"), options,
                   route, json.dumps(parts, separators=(",", ":")))
