"""The facts that a service tells of itself to `ipcm inspect` (docs/bus.md, "Inspection"). Pure values."""

from __future__ import annotations

import json
import time
from typing import Any, Dict, Optional, Tuple

from .parameters import Parameters

_LARGEST_ARGS = 64 * 1024


class Record:
    """What a service has done since its start. Times are Unix seconds."""

    def __init__(self) -> None:
        self.answered = self.failed = 0
        self.ready: Optional[float] = None
        self.last_failure: Optional[Tuple[str, float]] = None

    def note_failure(self, text: str) -> None:
        self.last_failure = text, time.time()


def _shown(parameters: Parameters) -> Optional[Dict[str, Any]]:
    """Returns the parameters that have no default value; None if they are secret."""
    if parameters.secret:
        return None
    shown: Dict[str, Any] = {}
    for key in ("watch_pids", "interval", "intercept_errors", "expose_error_details"):
        if getattr(parameters, key):
            shown[key] = getattr(parameters, key)
    if parameters.args is not None:
        size = len(json.dumps(parameters.args, separators=(",", ":")))
        shown.update({"args": parameters.args} if size <= _LARGEST_ARGS else {"args_bytes": size})
    return shown


def describe(parameters: Parameters, record: Record, pid: int, started: float, messages: Dict[str, int], open_requests: int) -> Dict[str, Any]:
    """Returns the answer to an inspection. `started`: 0 if it is unknown."""
    facts: Dict[str, Any] = {"name": parameters.name, "class": parameters.class_name, "pid": pid}
    if started:
        facts["started"] = started
    if record.ready is not None:
        facts["ready"] = record.ready
    facts["requests"] = {"answered": record.answered, "failed": record.failed, "open": open_requests}
    facts["messages"] = messages
    facts["parameters"] = _shown(parameters)
    if record.last_failure is not None:
        text, when = record.last_failure
        facts["last_failure"] = {"text": text.encode("utf-8", "replace").decode(), "time": when}
    return facts
