"""Buses that this kit does not speak itself: a process of `ipcm bridge` does (docs/bridge.md). JSON lines on two pipes."""

from __future__ import annotations

import collections
import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import subprocess
import time
from typing import Any, Deque, Dict, List, Optional

from .channel import Asked, Call, Channel, Receiver
from .errors import BusError, Error, NameTaken, PeerGone, RemoteError, Timeout, UsageError
from .info import VARIABLE, BusInfo
from .link import Link
from .messages import Message, json_text

_JOIN_TIME = 30.0  # seconds
_END_TIME = 5.0
_F_SETPIPE_SZ = 1031


def find_command() -> str:
    """Returns the path of `ipcm`: $IPCM, or on $PATH. Raises BusError."""
    wanted = os.environ.get("IPCM") or "ipcm"
    found = shutil.which(wanted)
    if found is None:
        raise BusError(f"this bus needs the command `ipcm`, and '{wanted}' is no program; set $IPCM or $PATH")
    return found


class Bridge(Channel):
    """A member of any bus, held by a bridge. With `serves`, it is a service and gets requests; with `returns`, it takes the place of a
    member of its name that was suspended or has died."""

    def __init__(self, info: BusInfo, name: Optional[str], serves: bool, returns: bool = False) -> None:
        self.name = name or ""
        self._info, self._wanted, self._serves, self._returns = info, name, serves, returns
        self._process: Optional["subprocess.Popen[bytes]"] = None
        self._in = self._out = -1
        self._unread: List[bytes] = []
        self._lines: Deque[bytes] = collections.deque()  # that came before attach()
        self._queue: Deque[Any] = collections.deque()
        self._queued = 0
        self._waiters: List[Call] = []
        self._calls: Dict[str, Call] = {}  # requests
        self._orders: Dict[str, Call] = {}  # other operations
        self._last = 0
        self._reads = self._held = self._closed = False
        self._loop: Any = None
        self._receiver = Receiver()

    # ---- life

    def open(self) -> None:
        words = [find_command(), "bridge"]
        if self._serves:
            words += ["--serve", "--name", self._wanted or ""]
        elif self._wanted is not None:
            words += ["--as", self._wanted] + (["--reconnect"] if self._returns else [])
        environment = {**os.environ, VARIABLE: self._info.text}
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        for pipe in (self._in, self._out):
            with contextlib.suppress(OSError):  # the user has too many large pipes
                fcntl.fcntl(pipe, _F_SETPIPE_SZ, 1 << 20)
        try:
            self._await_joined()
        except BaseException:
            self.close()
            raise
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)

    def _await_joined(self) -> None:
        until = time.monotonic() + _JOIN_TIME
        while not self._lines:
            if not select.select([self._out], [], [], max(until - time.monotonic(), 0))[0]:
                raise BusError(f"the bus {self._info.text} was not joined within {_JOIN_TIME:g} s by `ipcm bridge`")
            data = os.read(self._out, 65536)
            if not data:
                raise BusError(f"the bus {self._info.text} can't be joined: `ipcm bridge` has ended (its words are on stderr)")
            self._lines.extend(self._split(data))
        told = json.loads(self._lines.popleft())
        if told.get("type") != "joined":
            why = str(told.get("error") or told.get("why") or "it gives no reason")
            taken = re.match(r"the name '.*' is taken on the bus .* by process (\d+)", why)
            if taken and self._wanted is not None:
                raise NameTaken(self._wanted, int(taken[1]), self._info.route)
            raise BusError(f"the bus {self._info.text} can't be joined: {why}")
        self.name = told["name"]

    def attach(self, loop: Any, receiver: Receiver) -> None:
        self._loop, self._receiver = loop, receiver
        self._want()
        if self._serves:
            self._put({"op": "ready"})
        while self._lines:
            self._take(self._lines.popleft())

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._loop is not None:
            if self._reads:
                self._loop.remove_reader(self._out)
            if self._queue:
                self._loop.remove_writer(self._in)
        process = self._process
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        # The end of its input tells the bridge to leave. It may still write until then, and must not wait for a reader.
        process.stdin.close()
        until = time.monotonic() + _END_TIME
        while select.select([self._out], [], [], max(until - time.monotonic(), 0))[0]:
            try:
                if not os.read(self._out, 1 << 20):
                    break
            except BlockingIOError:
                pass
        else:
            process.kill()
        process.stdout.close()
        process.wait()
        for call in [*self._orders.values(), *self._waiters]:
            call.finish(error=BusError("the connection to the bus was closed by the own program"))
        self._orders.clear()

    def close_in_child(self) -> None:
        self._closed = True
        if self._process is not None:
            for fd in (self._in, self._out):
                os.close(fd)

    # ---- lines to the bridge

    def _put(self, order: Dict[str, Any], content: Optional[str] = None) -> None:
        line = json.dumps(order)
        if content is not None:
            line = f'{line[:-1]},"content":{content}}}'
        data: Any = line.encode("ascii") + b"\n"
        if not self._queue:
            try:
                data = memoryview(data)[os.write(self._in, data):]
            except BlockingIOError:
                pass
            except OSError:
                raise BusError("the bridge to the bus has ended") from None
            if not data:
                return
            self._loop.add_writer(self._in, self._flush)
        self._queue.append(data)
        self._queued += len(data)

    def _flush(self) -> None:
        while self._queue:
            data = self._queue[0]
            try:
                sent = os.write(self._in, data)
            except BlockingIOError:
                break
            except OSError:
                self._queue.clear()  # the end of its output tells why
                self._queued = 0
                break
            self._queued -= sent
            if sent == len(data):
                self._queue.popleft()
            else:
                self._queue[0] = memoryview(data)[sent:]
        if not self._queue:
            self._loop.remove_writer(self._in)
        if self._queued <= Link.HIGH:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.finish()

    def room_for(self, peer: str) -> Optional[Call]:
        if self._queued <= Link.HIGH:
            return None
        call = Call("", peer)
        self._waiters.append(call)
        return call

    def _order(self, peer: str, op: str, content: Optional[str] = None, **more: Any) -> Call:
        self._last += 1
        call = Call(f"o{self._last}", peer)
        self._orders[call.id] = call
        try:
            self._put({"op": op, "id": call.id, **more}, content)
        except BaseException:
            del self._orders[call.id]
            raise
        return call

    def ask(self, call: Call, content: Any) -> None:
        self._put({"op": "request", "id": call.id, "to": call.peer}, json_text(content))
        self._calls[call.id] = call
        self._want()

    def forget(self, call: Call) -> None:
        self._calls.pop(call.id, None)

    def answer(self, request: Asked, value: Any) -> None:
        self._put({"op": "answer", "request": request.link}, json_text(value))

    def refuse(self, request: Asked, text: str) -> None:
        self._put({"op": "error", "request": request.link, "error": text.encode("utf-8", "replace").decode()})

    def send(self, peer: str, content: Any) -> Call:
        return self._order(peer, "send", json_text(content), to=peer)

    def broadcast(self, content: Any) -> Call:
        return self._order("", "broadcast", json_text(content))

    def peers(self) -> Call:
        return self._order("", "peers")

    def suspend(self, expires: Optional[float]) -> Call:
        return self._order("", "suspend", **({} if expires is None else {"expires": expires}))

    def reconnect(self) -> Call:
        return self._order("", "reconnect")

    def watch_peers(self) -> None:
        self._put({"op": "watch"})

    def hold(self, on: bool) -> None:
        self._held = on
        self._want()

    def _want(self) -> None:
        """Reads, unless requests are held back and no answer is due."""
        reads = not self._closed and (not self._held or bool(self._calls) or bool(self._orders))
        if reads != self._reads:
            self._reads = reads
            if reads:
                self._loop.add_reader(self._out, self._receive)
            else:
                self._loop.remove_reader(self._out)

    def drain(self) -> List[Call]:
        waiting = []
        for order in self._orders.values():
            if order.when_done is None:  # nobody waits for it, nor for its error
                call = Call()
                order.when_done = lambda _, call=call: call.finish()
                waiting.append(call)
        if self._queue:
            call = Call()
            self._waiters.append(call)
            waiting.append(call)
        return waiting

    # ---- lines from the bridge

    def _split(self, data: bytes) -> List[bytes]:
        """Returns the lines that are complete now."""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._unread, lines[0]])
            self._unread = []
        if rest:
            self._unread.append(rest)
        return lines

    def _receive(self) -> None:
        try:
            data = os.read(self._out, 1 << 20)
        except BlockingIOError:
            return
        if not data:
            self._gone("the bridge to the bus has ended")
            return
        for line in self._split(data):
            self._take(line)
            if self._closed:
                return
        self._want()

    def _gone(self, why: str) -> None:
        self._loop.remove_reader(self._out)
        self._reads, self._held = False, True
        calls, self._calls = list(self._calls.values()), {}
        orders, self._orders = list(self._orders.values()), {}
        self._receiver.failed(calls, lambda: BusError(why))
        for order in orders:
            order.finish(error=BusError(why))
        self._receiver.ended(why)

    def _take(self, line: bytes) -> None:
        told = json.loads(line)
        kind = told.get("type")
        if kind == "response":
            self._receiver.answered(told["id"], told.get("content"), None, told.get("from", ""))
        elif kind == "request":
            self._receiver.asked(Asked(str(told["request"]), told["from"], told.get("content"), told["request"], len(line)))
        elif kind == "message":
            self._receiver.received(Message(told.get("message", ""), told["from"], self.name, told.get("content"),
                                            bool(told.get("broadcast")), told.get("stamp", time.time())))
        elif kind == "done":
            self._done(told)
        elif kind == "error":
            self._failed(told)
        elif kind == "peers":
            self._receiver.peers_changed()
        elif kind == "end":
            self._ended(told)

    def _done(self, told: Dict[str, Any]) -> None:
        call = self._orders.pop(str(told.get("id")), None)
        if call is not None:
            call.finish(sorted(told["peers"]) if "peers" in told else told.get("sent"))

    def _failed(self, told: Dict[str, Any]) -> None:
        id, text = str(told.get("id")), str(told.get("error", ""))
        request, order = self._calls.pop(id, None), self._orders.pop(id, None)
        if request is not None and told.get("kind") == "answer":
            self._receiver.answered(id, None, text, request.peer)
        elif request is not None:
            self._receiver.failed([request], lambda: self._error(told, request.peer))
        elif order is not None:
            order.finish(error=self._error(told, order.peer))
        else:
            self._receiver.complain(text)

    @staticmethod
    def _error(told: Dict[str, Any], peer: str) -> Error:
        text = str(told.get("error", ""))
        kind = told.get("kind")
        if kind == "gone":
            return PeerGone(peer, text)
        if kind == "answer":
            return RemoteError(peer, text)
        if kind in ("usage", "protocol"):
            return UsageError(text)
        return Timeout(text) if kind == "timeout" else BusError(text)

    def _ended(self, told: Dict[str, Any]) -> None:
        if told.get("status"):
            self._gone(str(told.get("why") or "the bridge to the bus has ended"))
        else:
            self._receiver.told_to_end()
