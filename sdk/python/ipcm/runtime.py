"""A service that runs: its place on the bus, its requests in progress, and the reasons to end."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextvars
import functools
import inspect
import os
import signal
import sys
import time
import traceback
from typing import Any, Callable, Deque, Dict, List, Optional, Set

from . import boot
from .boot import Announcer
from .bus import Bus
from .channel import Asked
from .errors import BusError, Error, PeerGone, UsageError
from .inspection import Record, describe
from .member import Event, Member, make_channel
from .messages import Message
from .parameters import Parameters
from .presence import start_time

_FLUSH_TIME = 5.0  # seconds
_MOST_QUEUED, _MOST_QUEUED_BYTES = 1024, 64 * 1024 * 1024


def tell(sentence: str) -> None:
    """Prints a sentence to stderr."""
    try:
        print(sentence, file=sys.stderr, flush=True)
    except OSError:
        pass


def print_traceback(error: BaseException) -> None:
    """Prints the traceback of an exception of a handler to stderr, without the frames of this package."""
    frames, here = error.__traceback__, os.path.dirname(os.path.abspath(__file__))
    while frames is not None and frames.tb_next is not None and frames.tb_frame.f_code.co_filename.startswith((here, concurrent.futures.__path__[0])):
        frames = frames.tb_next
    try:
        traceback.print_exception(type(error), error, frames)
        sys.stderr.flush()
    except OSError:
        pass


class Request:
    """A request: `content` is its JSON value, `sender` the name of the peer that asks,
    and `id` its identifier."""

    __slots__ = ("id", "sender", "content")

    def __init__(self, asked: Asked) -> None:
        self.id, self.sender, self.content = asked.id, asked.sender, asked.content

    def __repr__(self) -> str:
        return f"<ipcm.Request from {self.sender!r}: {self.content!r}>"


class Runtime:
    """A service that runs: its requests in progress, and the reasons to end."""

    def __init__(self, handlers: Dict[str, Callable[..., Any]], parameters: Parameters, announcer: Announcer, concurrency: int,
                 grace: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.member: Member = None  # type: ignore[assignment]
        self.bus: Bus = None  # type: ignore[assignment]
        self._handlers, self._parameters, self._announcer = handlers, parameters, announcer
        self._concurrency, self._grace = concurrency, grace
        self._ended: "asyncio.Future[int]" = self.loop.create_future()
        self._threads = concurrent.futures.ThreadPoolExecutor(min(concurrency, 64), "ipcm-handler")
        self._on_threads = 0
        self._running: Set["asyncio.Task[None]"] = set()
        self._queue: Deque[Asked] = collections.deque()
        self._queued_bytes = 0
        self._messages: Deque[Any] = collections.deque()
        self._delivering: Optional["asyncio.Task[None]"] = None
        self._processes: List[int] = []
        self._is_ready = False
        self._record = Record()

    def has_busy_threads(self) -> bool:
        return self._on_threads > 0

    def complain(self, sentence: str) -> None:
        tell(f"ipcm: service '{self._parameters.name}': {sentence}")

    # ---- reasons to end

    def end(self, status: int = 0) -> None:
        if not self._ended.done():
            self._ended.set_result(status)

    def _told_to_end(self, why: str) -> None:
        if why:
            self.complain(f"it ends: {why}")
        self.end(boot.BUS_UNAVAILABLE if why else 0)

    def watch_processes(self, leash: int) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self.end)
        processes, leashed = [], 0
        if leash >= 0:
            processes.append(leash)
            leashed = _pid_of(leash)
        # A launcher in another pid namespace: its numbers mean nothing here.
        for pid in self._parameters.watch_pids if leash < 0 or leashed > 0 else []:
            if pid == leashed:
                continue
            try:
                processes.append(os.pidfd_open(pid))
            except OSError:
                self.end()
        for process in processes:
            self.loop.add_reader(process, self._process_ended, process)
        self._processes = processes

    def _process_ended(self, process: int) -> None:
        self.loop.remove_reader(process)
        self.end()

    # ---- life

    def join(self) -> None:
        channel = make_channel(self._parameters.info, self._parameters.name, self._parameters.class_name, True)
        channel.open()
        member = self.member = Member(channel, self.loop)
        member.on_asked, member.on_message, member.on_end, member.on_complaint = self._asked, self._received, self._told_to_end, self.complain
        member.on_inspected = self._inspected
        member.attach()
        self.bus = Bus(member)
        if "event" in self._handlers:
            member.on_event = self._received
            member.watch()

    def leave(self, status: int = 0) -> None:
        """Leaves the bus. The process is about to exit with that status."""
        if self.member is not None:
            if status & 0xFF:
                self.member.channel.keep_status(status & 0xFF)  # as its parent sees it
            self.member.close()
        for process in self._processes:
            self.loop.remove_reader(process)
            os.close(process)
        self._processes = []
        self._threads.shutdown(wait=False)

    async def serve(self) -> int:
        self._is_ready = True
        self._record.ready = time.time()
        self._start_queued()
        self._deliver()
        beats = [self._beat(self._parameters.interval, self._handlers["interval"])] if (
            self._parameters.interval and "interval" in self._handlers) else []
        if self._announcer.watchdog:
            beats.append(self._beat(self._announcer.watchdog, self._announcer.alive))
        beating = [self.loop.create_task(beat) for beat in beats]
        status = await self._ended
        self._announcer.stopping()
        self.member.channel.hold(True)
        self._queue.clear()
        for task in beating:
            task.cancel()
        status = await self._finish() or status
        self.leave(status)
        return status

    async def _finish(self) -> int:
        """Lets running handlers end, calls the stop handler, and sends what is queued. Returns an exit status, or 0."""
        status = 0
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=self._grace)
            for task in late:
                task.cancel()
        if "stop" in self._handlers:
            try:
                await self.run(self._handlers["stop"])
            except Exception as error:
                print_traceback(error)
                status = boot.SERVICE_THREW
        if self._delivering is not None:
            self._delivering.cancel()
        try:
            await asyncio.wait_for(self.bus.flush(), _FLUSH_TIME)
        except (asyncio.TimeoutError, Error):
            self.complain("answers were lost: their receivers do not read")
        return status

    async def _beat(self, period: float, handler: Callable[..., Any]) -> None:
        due = self.loop.time()
        while True:
            due = max(due + period, self.loop.time())
            await asyncio.sleep(due - self.loop.time())
            await self._guarded(handler)

    # ---- handlers

    async def run(self, handler: Callable[..., Any], *args: Any) -> Any:
        if inspect.iscoroutinefunction(handler):
            return await handler(*args)
        if handler == self._announcer.alive:
            return handler(*args)
        self._on_threads += 1
        work = self.loop.run_in_executor(self._threads, functools.partial(contextvars.copy_context().run, handler, *args))
        work.add_done_callback(self._thread_is_free)
        result = await asyncio.shield(work)
        return await result if inspect.isawaitable(result) else result

    def _thread_is_free(self, _: Any) -> None:
        self._on_threads -= 1

    async def _guarded(self, handler: Callable[..., Any], *args: Any) -> None:
        try:
            await self.run(handler, *args)
        except Exception as error:
            print_traceback(error)
            self._record.note_failure(str(error) or type(error).__name__)
            if not self._parameters.intercept_errors:
                self.end(boot.SERVICE_THREW)

    # ---- requests

    def _asked(self, asked: Asked) -> None:
        if self._is_ready and len(self._running) < self._concurrency and not self._queue:
            self._start(asked)
            return
        self._queue.append(asked)
        self._queued_bytes += asked.size
        if len(self._queue) >= _MOST_QUEUED or self._queued_bytes >= _MOST_QUEUED_BYTES:
            self.member.channel.hold(True)

    def _start(self, asked: Asked) -> None:
        task = self.loop.create_task(self._handle(asked))
        self._running.add(task)
        task.add_done_callback(self._handled)

    def _handled(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._start_queued()
        if self._announcer.log is not None:
            self._announcer.log.look()

    def _start_queued(self) -> None:
        if not self._queue or self._ended.done():
            return
        while self._queue and len(self._running) < self._concurrency:
            asked = self._queue.popleft()
            self._queued_bytes -= asked.size
            self._start(asked)
        if len(self._queue) < _MOST_QUEUED // 2 and self._queued_bytes < _MOST_QUEUED_BYTES // 2:
            self.member.channel.hold(False)

    async def _handle(self, asked: Asked) -> None:
        channel = self.member.channel
        value, words = None, ""
        try:
            if "request" not in self._handlers:
                raise Error(f"'{self._parameters.name}' does not answer requests")
            value = await self.run(self._handlers["request"], Request(asked))
        except Exception as error:
            words = self._words_of(error, asked)
        try:
            if not words:
                try:
                    channel.answer(asked, value)
                    self._record.answered += 1
                    return
                except UsageError as error:  # no JSON, or too large: the requester should not wait for it in vain
                    words = self._words_of(error, asked)
            self._record.failed += 1
            channel.refuse(asked, words)
        except (PeerGone, BusError) as error:
            if not words:
                self._record.failed += 1
            if not self.member.is_closed:
                self.complain(f"an answer found nobody: {error}")

    def _inspected(self, asked: Asked) -> None:
        """Answers at once, also while handlers run."""
        messages = {**self.member.channel.counts(), "waiting": len(self._queue) + len(self._messages)}
        try:
            self.member.channel.answer(asked, describe(self._parameters, self._record, os.getpid(), start_time(os.getpid()), messages, len(self._running)))
        except (PeerGone, BusError, UsageError) as error:
            self.complain(f"an inspection found nobody: {error}")

    def _words_of(self, error: Exception, asked: Asked) -> str:
        self._record.note_failure(f"the request {asked.id} of '{asked.sender}' failed: {error}")
        if not isinstance(error, Error):
            self.complain(f"the request {asked.id} of '{asked.sender}' failed:")
            print_traceback(error)
        if self._parameters.expose_error_details is False:
            return "Internal service error"
        return str(error) or type(error).__name__

    # ---- messages and events

    def _received(self, one: "Message | Event") -> None:
        kind = "event" if isinstance(one, Event) else "message"
        if kind not in self._handlers:
            return
        self._messages.append((kind, one))
        if len(self._messages) == _MOST_QUEUED:
            self.member.channel.hold(True)
        self._deliver()

    def _deliver(self) -> None:
        if self._is_ready and self._messages and self._delivering is None:
            self._delivering = self.loop.create_task(self._deliver_all())

    async def _deliver_all(self) -> None:
        try:
            while self._messages:
                kind, one = self._messages.popleft()
                if len(self._messages) == _MOST_QUEUED // 2:
                    self.member.channel.hold(False)
                await self._guarded(self._handlers[kind], one)
                if self._announcer.log is not None:
                    self._announcer.log.look()
        finally:
            self._delivering = None


def _pid_of(process: int) -> int:
    """Returns the pid of a pidfd; 0: it has ended, or it is in another pid namespace."""
    try:
        with open(f"/proc/self/fdinfo/{process}", "rb") as file:
            for line in file:
                if line.startswith(b"Pid:"):
                    return max(int(line[4:]), 0)
    except (OSError, ValueError):
        pass
    return 0
