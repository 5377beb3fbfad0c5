"""The loop of the synchronous face: the part of asyncio's interface that channels use, on epoll, without coroutines."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from typing import Any, Callable, Dict, List, Optional, Tuple


class Timer:
    __slots__ = ("callback", "args")

    def __init__(self, callback: Callable[..., Any], args: Tuple[Any, ...]) -> None:
        self.callback: Optional[Callable[..., Any]] = callback
        self.args = args

    def cancel(self) -> None:
        self.callback = None


class BlockingLoop:
    """Callbacks run only inside run_until(). Belongs to one thread; of no use after a fork."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: Dict[int, List[Any]] = {}  # fd → [reader, its args, writer, its args]
        self._timers: List[Tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def close(self) -> None:
        self._epoll.close()

    def _register(self, fd: int, at: int, callback: Any, args: Any) -> None:
        entry = self._watched.get(fd)
        before = 0 if entry is None else self._events(entry)
        if entry is None:
            entry = self._watched[fd] = [None, (), None, ()]
        entry[at], entry[at + 1] = callback, args
        now = self._events(entry)
        if now == before:
            return
        if now == 0:
            del self._watched[fd]
            self._epoll.unregister(fd)
        elif before == 0:
            self._epoll.register(fd, now)
        else:
            self._epoll.modify(fd, now)

    @staticmethod
    def _events(entry: List[Any]) -> int:
        return (select.EPOLLIN if entry[0] else 0) | (select.EPOLLOUT if entry[2] else 0)

    def add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        self._register(fd, 0, callback, args)

    def remove_reader(self, fd: int) -> None:
        if fd in self._watched:
            self._register(fd, 0, None, ())

    def add_writer(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        self._register(fd, 2, callback, args)

    def remove_writer(self, fd: int) -> None:
        if fd in self._watched:
            self._register(fd, 2, None, ())

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        timer = Timer(callback, args)
        heapq.heappush(self._timers, (time.monotonic() + delay, next(self._order), timer))
        return timer

    def _run_timers(self) -> float:
        """Runs the timers that are due. Returns the seconds until the next one; -1: there is none."""
        timers = self._timers
        while timers:
            when, _, timer = timers[0]
            if timer.callback is None:
                heapq.heappop(timers)
                continue
            left = when - time.monotonic()
            if left > 0:
                return left
            heapq.heappop(timers)
            callback, timer.callback = timer.callback, None
            callback(*timer.args)
        return -1

    def run_until(self, is_done: Callable[[], bool], until: Optional[float] = None) -> bool:
        """Runs callbacks until `is_done` is true. Returns False if the time `until` (time.monotonic()) came first."""
        while not is_done():
            wait = self._run_timers()
            if is_done():
                return True
            if until is not None:
                left = until - time.monotonic()
                if left <= 0 and not self._epoll_has_events():
                    return False
                wait = max(left, 0) if wait < 0 else min(wait, max(left, 0))
            self._turn(wait)
        return True

    def _epoll_has_events(self) -> bool:
        return bool(self._epoll.poll(0, 1))

    def _turn(self, wait: float) -> None:
        for fd, events in self._epoll.poll(wait if wait >= 0 else None):
            entry = self._watched.get(fd)
            if entry is None:
                continue
            if events & ~select.EPOLLOUT and entry[0] is not None:
                entry[0](*entry[1])
                entry = self._watched.get(fd)
            if entry is not None and events & ~select.EPOLLIN and entry[2] is not None:
                entry[2](*entry[3])
