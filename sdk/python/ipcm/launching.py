"""Starting services: start() and start_sync() execute a boot binary (docs/boot.md), and end the service with its owner."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from typing import Any, Dict, List, Optional, Sequence, Union

from .bus import Bus, connect
from .channel import Call
from .entries import check_peer_name
from .errors import BusError, LaunchError, PeerGone, UsageError
from .info import Info, bus_info
from .member import Member
from .sync import SyncBus, connect_sync

Program = Union[str, Sequence[str]]

_LONGEST_ARGUMENT = 128 * 1024 - 1
_TAIL = 16 * 1024
_ENDING_TIME = 5.0  # seconds before each of SIGTERM and SIGKILL


def find_boot(boot: Optional[Program]) -> List[str]:
    """Returns the command of a boot binary: the given one, $IPCM_BOOT, or `ipcm-boot` beside `ipcm` or on $PATH."""
    if boot is not None:
        words = [boot] if isinstance(boot, str) else list(boot)
    else:
        words = [os.environ.get("IPCM_BOOT") or "ipcm-boot"]
        command = shutil.which(os.environ.get("IPCM") or "ipcm")
        if words == ["ipcm-boot"] and command is not None and not shutil.which("ipcm-boot"):
            here = os.path.dirname(os.path.realpath(command))
            words = [next((path for path in (here + "/ipcm-boot", here + "/../boot/ipcm-boot") if os.path.exists(path)), "ipcm-boot")]
    found = shutil.which(words[0])
    if found is None:
        raise LaunchError(f"no boot binary: '{words[0]}' is no program; name one with boot=, or set $IPCM_BOOT")
    return [found] + words[1:]


class _Output(threading.Thread):
    """Reads the stderr of a process: keeps its end for the error until it is ready, and passes it on after that. A thread
    does so, since a synchronous program reads nothing between its calls, and the process must not wait for that."""

    def __init__(self, fd: int) -> None:
        super().__init__(daemon=True)
        self._fd, self._tail, self._is_ready = fd, b"", False
        self._mutex = threading.Lock()
        self.start()

    def run(self) -> None:
        with open(self._fd, "rb", buffering=0) as pipe:
            while True:
                try:
                    data = os.read(pipe.fileno(), 65536)
                except OSError:
                    return
                if not data:
                    return
                with self._mutex:
                    if self._is_ready:
                        self._pass_on(data)
                    else:
                        self._tail = (self._tail + data)[-_TAIL:]

    def _pass_on(self, data: bytes) -> None:
        try:
            os.write(2, data)
        except OSError:
            pass

    def ready(self) -> None:
        with self._mutex:
            self._is_ready = True
            if self._tail:
                self._pass_on(self._tail)

    def tail(self) -> str:
        """Returns the end of the output of a process that has ended. Its children may hold the pipe open."""
        self.join(1)
        with self._mutex:
            return self._tail.decode("utf-8", "replace").strip()


class Launch:
    """The start of one process, and its end. Driven by the callbacks of the member's loop."""

    def __init__(self, member: Member, info: Any, class_name: str, name: str, args: Any, boot: Optional[Program], timeout: float) -> None:
        check_peer_name(name)
        self.name, self.pid = name, 0
        self.started, self._ended = Call(), Call()
        self._member, self._loop = member, member.loop
        self._timeout, self._begin = timeout, time.monotonic()
        self._said, self._reason, self._timed_out, self._is_ready = b"", "", False, False
        self._timers: List[Any] = []
        self._words = find_boot(boot)
        parameters: Dict[str, Any] = {"ipcm": 1, "name": name, "class": class_name, "ipcm_info": json.loads(info.text)}
        if args is not None:
            parameters["args"] = args
        try:
            text = json.dumps(parameters, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(f"the arguments of service '{name}' can't be written as JSON: {error}") from None
        self._spawn(text)

    def _spawn(self, text: str) -> None:
        own: List[int] = []  # closed here once the process has its copies
        ready = output = -1
        try:
            ready, its_ready = os.pipe()
            own.append(its_ready)
            output, its_output = os.pipe()
            own.append(its_output)
            leash, stderr = os.pidfd_open(os.getpid()), os.dup(2)
            own += [leash, stderr]
            words = self._words + ["--ready-fd", str(its_ready)]
            if len(text) < _LONGEST_ARGUMENT:
                words.append(text)
                passed = [its_ready, leash, stderr]
            else:
                memory = os.memfd_create("ipcm-params")
                own.append(memory)
                with open(memory, "wb", closefd=False) as file:
                    file.write(text.encode("ascii"))
                os.lseek(memory, 0, os.SEEK_SET)
                words += ["--params-fd", str(memory)]
                passed = [its_ready, leash, stderr, memory]
            environment = {key: value for key, value in os.environ.items() if key not in (
                "IPCM_LOG_FD", "IPCM_ORIG_IO_FDS", "IPCM_PARAMS_WHOLE", "NOTIFY_SOCKET")}
            environment.update(IPCM_LEASH_FD=str(leash), IPCM_STDERR_FD=str(stderr))
            try:
                self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=its_output, pass_fds=passed, env=environment)
            except OSError as error:
                raise LaunchError(f"service '{self.name}' did not start: boot binary '{words[0]}' can't be executed: {error.strerror}") from None
            self.pid = self._process.pid
            self._pidfd = os.pidfd_open(self.pid)
        except BaseException:
            for fd in [one for one in (ready, output) if one >= 0]:
                os.close(fd)
            raise
        finally:
            for fd in own:
                os.close(fd)
        self._ready_fd, self._output = ready, _Output(output)
        os.set_blocking(ready, False)
        self._loop.add_reader(ready, self._told)
        self._loop.add_reader(self._pidfd, self._end)
        self._timers.append(self._loop.call_later(self._timeout, self._too_late))

    def _told(self) -> None:
        try:
            data = os.read(self._ready_fd, 65536)
        except BlockingIOError:
            return
        self._said += data
        line, newline, _ = self._said.partition(b"\n")
        if data and not newline and len(self._said) <= 65536:
            return
        self._loop.remove_reader(self._ready_fd)
        os.close(self._ready_fd)
        self._ready_fd = -1
        self._reason = self._judge(line, bool(newline))
        if newline and not self._reason:
            self._cancel_timers()
            self._is_ready = True
            self._output.ready()
            self.started.finish(self)
        elif self._said:
            self._kill_later()  # it should end now
        # End of file without a word: the process ends, and its status says how.

    def _judge(self, line: bytes, newline: bool) -> str:
        """Returns why the start failed, or ""."""
        if newline and not line or not line and not newline:
            return ""
        try:
            told = json.loads(line)
            if told.get("ready") and newline:
                name = told.get("name", self.name)
                return "" if name == self.name else f"its ready line names another service: '{str(name)[:200]}'"
            if not told.get("ready") and told.get("error"):
                return str(told["error"])
        except (ValueError, AttributeError, RecursionError):
            pass
        return f"it wrote {line[:200]!r} where the ready line was expected, a JSON object with \"ready\":true (docs/boot.md)"

    def _too_late(self) -> None:
        self._timed_out = True
        self._signal(signal.SIGKILL)

    def _kill_later(self) -> None:
        self._timers.append(self._loop.call_later(_ENDING_TIME, self._signal, signal.SIGKILL))

    def _signal(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except (ProcessLookupError, OSError):
            pass

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    def _end(self) -> None:
        """The process has ended."""
        self._loop.remove_reader(self._pidfd)
        if self._ready_fd >= 0:
            self._told()
        if self._ready_fd >= 0:
            self._loop.remove_reader(self._ready_fd)
            os.close(self._ready_fd)
            self._ready_fd = -1
        self._cancel_timers()
        status = self._process.wait()
        os.close(self._pidfd)
        self._pidfd = -1
        self._ended.finish(status)
        if not self.started.done:
            self.started.finish(error=self._failure(status))

    def _failure(self, status: int) -> LaunchError:
        tail = self._output.tail()
        how = (f"exited with status {status}" if status >= 0 else f"was ended by signal {-status} ({signal.Signals(-status).name})")
        took = f"{(time.monotonic() - self._begin) * 1000:.1f} ms"
        if self._timed_out:
            text = f"it was not ready within {self._timeout:g} s and was ended"
        elif self._reason:
            text = self._reason
        else:
            text = f"boot binary '{self._words[0]}' {how} after {took}, before it was ready"
        if tail and not self._reason:
            last = tail[-500:].replace("\n", " / ")
            text += f"; its last words: {last}"
        return LaunchError(f"service '{self.name}' did not start: {text}", self._reason, None if self._timed_out else status, tail,
                           self._timed_out)

    def stop(self) -> Call:
        """Asks the service to end, by a message, then by SIGTERM, then by SIGKILL. The value of the call is its status."""
        if not self._ended.done and not self._timers:
            try:
                self._member.send(self.name, {"terminate": 1})
            except (PeerGone, BusError):
                self._signal(signal.SIGTERM)
            self._timers = [self._loop.call_later(_ENDING_TIME, self._signal, signal.SIGTERM),
                            self._loop.call_later(2 * _ENDING_TIME, self._signal, signal.SIGKILL)]
        return self._ended


class Started:
    """A service that start() has started. `name`, `pid`, `bus`: its name, its process, and the connection of its owner."""

    def __init__(self, bus: Bus, launch: Launch) -> None:
        self.bus, self._launch = bus, launch
        self.name, self.pid = launch.name, launch.pid

    async def request(self, content: Any, *, timeout: Optional[float] = None) -> Any:
        """Asks the service. See Bus.request()."""
        return await self.bus.request(self.name, content, timeout=timeout)

    async def stop(self) -> int:
        """Ends the service and closes the connection. Returns its exit status, negative for a signal. May be called again."""
        try:
            return await self.bus._wait(self._launch.stop())
        finally:
            await self.bus.close()


class _Starting:
    """What start() returns: await it, or use it with `async with`."""

    def __init__(self, info: Optional[Info], *what: Any) -> None:
        self._info, self._what = info, what
        self._started: Optional[Started] = None

    async def _start(self) -> Started:
        bus = await connect(self._info)
        try:
            launch = Launch(bus._member, bus_info(self._info), *self._what)
            try:
                await bus._wait(launch.started)
            except asyncio.CancelledError:
                await asyncio.shield(asyncio.ensure_future(Started(bus, launch).stop()))
                raise
            return Started(bus, launch)
        except BaseException:
            await bus.close()
            raise

    def __await__(self) -> Any:
        return self._start().__await__()

    async def __aenter__(self) -> Started:
        self._started = await self._start()
        return self._started

    async def __aexit__(self, *_: Any) -> None:
        if self._started is not None:
            await self._started.stop()


def start(class_name: str, name: Optional[str] = None, *, args: Any = None, boot: Optional[Program] = None,
          info: Optional[Info] = None, timeout: float = 10) -> _Starting:
    """Starts a service, and returns it when it is ready: `async with start("echo") as echo`, or `await start("echo")`.

    `boot` is the program, by default `ipcm-boot`; a service in Python names its own file. `args` go to the class, `info` is
    the bus ($IPCM_INFO). The service ends with this process, even if it is killed, and at the end of `async with`. Raises
    LaunchError with the reason if it does not become ready within `timeout` seconds.
    """
    return _Starting(info, class_name, name or class_name, args, boot, timeout)


class SyncStarted:
    """A service that start_sync() has started. As Started."""

    def __init__(self, bus: SyncBus, launch: Launch) -> None:
        self.bus, self._launch = bus, launch
        self.name, self.pid = launch.name, launch.pid

    def request(self, content: Any, *, timeout: Optional[float] = None) -> Any:
        """Asks the service. See Bus.request()."""
        return self.bus.request(self.name, content, timeout=timeout)

    def stop(self) -> int:
        """Ends the service and closes the connection. Returns its exit status, negative for a signal. May be called again."""
        try:
            return self.bus._wait(self._launch.stop())
        finally:
            self.bus.close()

    def __enter__(self) -> "SyncStarted":
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()


def start_sync(class_name: str, name: Optional[str] = None, *, args: Any = None, boot: Optional[Program] = None,
               info: Optional[Info] = None, timeout: float = 10) -> SyncStarted:
    """Starts a service without asyncio: `with start_sync("echo") as echo`. See start()."""
    bus = connect_sync(info)
    try:
        launch = Launch(bus._member, bus_info(info), class_name, name or class_name, args, boot, timeout)
        try:
            bus._wait(launch.started)
        except LaunchError:
            raise
        except BaseException:
            bus._wait(launch.stop())
            raise
    except BaseException:
        bus.close()
        raise
    return SyncStarted(bus, launch)
