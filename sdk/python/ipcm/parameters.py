"""The parameters of a service, and the command line that carries them (docs/boot.md, "Parameters")."""

from __future__ import annotations

import json
import os
import select
from typing import Any, Dict, List, NamedTuple, Optional

from .entries import check_peer_name
from .errors import UsageError, did_you_mean
from .info import BusInfo, bus_info

VERSION = 1
_LARGEST = 256 * 1024 * 1024


class Parameters(NamedTuple):
    """What the launcher asks for. Times are seconds."""

    name: str
    class_name: str
    info: BusInfo
    args: Any = None
    watch_pids: List[int] = []
    interval: Optional[float] = None
    intercept_errors: bool = False
    expose_error_details: Optional[bool] = None
    redirect: Dict[str, str] = {}
    secret: bool = False


def _refuse(key: str, expected: str, found: Any) -> UsageError:
    return UsageError(f"parameters: '{key}': expected {expected}, found {json.dumps(found)[:100]}")


def _seconds(whole: Dict[str, Any], key: str, most: float) -> Optional[float]:
    value = whole.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
        raise _refuse(key, "seconds, more than 0" + (" and at most one" if most == 1 else ""), value)
    return float(value)


def _flag(whole: Dict[str, Any], key: str) -> Optional[bool]:
    value = whole.get(key)
    if value is not None and not isinstance(value, bool):
        raise _refuse(key, "true or false", value)
    return value


def read_parameters(text: str) -> Parameters:
    """Reads the JSON object. Raises UsageError that names the key."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"parameters: they are no JSON: {error}") from None
    if not isinstance(whole, dict):
        raise UsageError("parameters: expected a JSON object")
    known = ("ipcm", "name", "class", "ipcm_info", "args", "watch_pids", "interval", "spin", "intercept_errors",
             "expose_error_details", "secret", "redirect", "exec")
    for key in whole:
        if key not in known:
            raise UsageError(f"parameters: unknown key '{key}'{did_you_mean(key, known)}")
    for key in known[:4]:
        if key not in whole:
            raise UsageError(f"parameters: '{key}' is missing")
    if whole["ipcm"] != VERSION or isinstance(whole["ipcm"], bool):
        raise UsageError(f"parameters: 'ipcm': this program speaks version {VERSION} of the boot contract, not "
                         f"{json.dumps(whole['ipcm'])}; launcher and program are of different releases")
    for key in ("name", "class"):
        if not isinstance(whole[key], str) or not whole[key]:
            raise _refuse(key, "a string, not empty", whole[key])
    key = "name"
    try:
        check_peer_name(whole[key])
        key = "ipcm_info"
        info = bus_info(whole[key])
    except UsageError as error:
        raise UsageError(f"parameters: '{key}': {error}") from None
    pids = whole.get("watch_pids") or []
    if not isinstance(pids, list) or not all(type(pid) is int and 0 < pid < 2 ** 31 for pid in pids):
        raise _refuse("watch_pids", "an array of process ids", pids)
    redirect = whole.get("redirect") or {}
    if not isinstance(redirect, dict):
        raise _refuse("redirect", "an object", redirect)
    for key, value in redirect.items():
        if key not in ("stdin", "stdout", "stderr", "inherited"):
            raise UsageError(f"parameters: 'redirect': unknown key '{key}'")
        if not isinstance(value, bool if key == "inherited" else str):
            raise _refuse(f"redirect.{key}", "a path, or &N", value)
    _seconds(whole, "spin", 1)  # a hint for programs that can poll faster than they sleep
    return Parameters(whole["name"], whole["class"], info, whole.get("args"), pids, _seconds(whole, "interval", float("inf")),
                      bool(_flag(whole, "intercept_errors")), _flag(whole, "expose_error_details"),
                      {key: value for key, value in redirect.items() if key != "inherited"}, bool(_flag(whole, "secret")))


class CommandLine(NamedTuple):
    """`action`: "boot", "list", "list-json" or "help"."""

    action: str = "boot"
    ready_fd: Optional[int] = None
    params_fd: Optional[int] = None
    params: Optional[str] = None


def read_command_line(words: List[str]) -> CommandLine:
    """Parses the words after the program's name. Raises UsageError."""
    line, at = CommandLine(), 0
    while at < len(words):
        word = words[at]
        key, has_value, value = word.partition("=")
        if key in ("--ready-fd", "--params-fd"):
            if not has_value:
                at += 1
                value = words[at] if at < len(words) else ""
            if not value.isdecimal() or len(value) > 6:
                raise UsageError(f"{key} needs the number of a descriptor, not '{value}'")
            line = line._replace(**{key[2:].replace("-", "_"): int(value)})
        elif word in ("--list", "--help"):
            line = line._replace(action=word[2:])
        elif word == "--json":
            line = line._replace(action="list-json")
        elif word.startswith("-") or line.params is not None:
            raise UsageError(f"unexpected argument '{word[:100]}'")
        else:
            line = line._replace(params=word)
        at += 1
    if line.params is not None and line.params_fd is not None:
        raise UsageError("parameters come from --params-fd or from the argument, not from both")
    return line


def take_parameters(fd: int, leash: int) -> str:
    """Reads the parameters from a descriptor to its end, and closes it. A pool may fill the pipe much later: so the end of
    the launcher ends the waiting, too. Raises UsageError."""
    data = bytearray()
    watched = [fd] if leash < 0 else [fd, leash]
    with open(fd, "rb", buffering=0):
        while True:
            ready = select.select(watched, [], [])[0]
            if fd not in ready:
                raise UsageError("the launcher ended before it sent the parameters")
            piece = os.read(fd, 1 << 20)
            if not piece:
                return data.decode("utf-8", "replace")
            data += piece
            if len(data) > _LARGEST:
                raise UsageError(f"parameters: they have more than {_LARGEST} bytes")
