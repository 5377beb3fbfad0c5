"""Services: a program that answers requests, started by `ipcm start`, ipcm_service(), start(), or by hand."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
from typing import Any, Awaitable, Callable, Dict, List, NoReturn, Optional, TypeVar

from . import boot
from .boot import Announcer, Inherited
from .bus import Bus
from .errors import BusError, UsageError, did_you_mean
from .info import VARIABLE, bus_info
from .parameters import Parameters, read_command_line, read_parameters, take_parameters
from .runtime import Runtime, print_traceback, tell

Handler = TypeVar("Handler", bound=Callable[..., Any])

_USAGE = """usage: {program} [--ready-fd N] [--params-fd M | PARAMS]
       {program} --list [--json]

A service of ipcm, written in Python. Start it with a launcher:
  ipcm start {name} --boot {program}
or by hand, on the bus of ${variable}: {program}
"""


class Service:
    """A service. Programs usually use the object `ipcm.serve`:

        @serve.request
        async def handle(request):
            return request.content.upper()
        serve.main()

    Handlers are coroutines, which run on the event loop of the service, or plain functions, which run on threads. At most
    `concurrency` requests are handled at a time; more of them wait, and then their senders. A handler that raises answers
    with the text of the exception, unless the launcher says `"expose_error_details": false`; the traceback goes to stderr.
    A general message is handled after the one before it.

    Forks: a child of a handler has no service; its copy is closed. Use subprocess or multiprocessing as usual.
    """

    def __init__(self, class_name: Optional[str] = None, *, concurrency: int = 64, grace: float = 1.0) -> None:
        """With a `class_name`, launchers must ask for that class. `grace`: the seconds that running handlers have when the
        service is told to end."""
        self.class_name, self.concurrency, self.grace = class_name, max(concurrency, 1), grace
        self._handlers: Dict[str, Callable[..., Any]] = {}
        self._parameters: Optional[Parameters] = None
        self._bus: Optional[Bus] = None
        self._runtime: Optional[Runtime] = None

    # ---- what a program registers

    def _register(self, kind: str, handler: Handler) -> Handler:
        if not callable(handler):
            raise UsageError(f"@serve.{kind} decorates a function")
        if kind in self._handlers:
            raise UsageError(f"this service has a handler for '{kind}' already")
        self._handlers[kind] = handler
        return handler

    def request(self, handler: Handler) -> Handler:
        """Decorates the function that answers requests: it gets a Request, and returns a JSON value or raises."""
        return self._register("request", handler)

    def message(self, handler: Handler) -> Handler:
        """Decorates the function that gets general messages, each a Message."""
        return self._register("message", handler)

    def start(self, handler: Handler) -> Handler:
        """Decorates a function without arguments that prepares the service. It is on the bus already; requests wait until
        the function has returned. An exception makes the start fail, with its text as the reason."""
        return self._register("start", handler)

    def stop(self, handler: Handler) -> Handler:
        """Decorates a function without arguments that is called before the service leaves the bus."""
        return self._register("stop", handler)

    def event(self, handler: Handler) -> Handler:
        """Decorates the function that gets an Event for each peer that joins or leaves."""
        return self._register("event", handler)

    def interval(self, handler: Handler) -> Handler:
        """Decorates a function without arguments that is called every `interval` seconds, if the launcher gives one."""
        return self._register("interval", handler)

    # ---- what handlers use

    @property
    def bus(self) -> Bus:
        """The bus, for requests and messages of the service itself. It belongs to the loop of the service: a plain function,
        which runs on a thread, uses call()."""
        if self._bus is None:
            raise UsageError("the service is not on the bus yet; use @serve.start")
        return self._bus

    @property
    def name(self) -> str:
        """The name of the service on the bus."""
        return self._expect_parameters().name

    @property
    def args(self) -> Any:
        """The parameters of the class, from the launcher; None if there are none."""
        return self._expect_parameters().args

    def call(self, coroutine: Awaitable[Any]) -> Any:
        """From a plain function on a thread: runs a coroutine such as serve.bus.request(…) on the loop, and waits for it."""
        runtime = self._runtime
        if runtime is None:
            raise UsageError("the service does not run")
        return asyncio.run_coroutine_threadsafe(_as_coroutine(coroutine), runtime.loop).result()

    def end(self, status: int = 0) -> None:
        """Ends the service with that exit status, once running handlers have ended. From any thread."""
        if self._runtime is not None:
            self._runtime.loop.call_soon_threadsafe(self._runtime.end, status)

    def _expect_parameters(self) -> Parameters:
        if self._parameters is None:
            raise UsageError("the service has no parameters yet; they come with main()")
        return self._parameters

    # ---- running

    def main(self, words: Optional[List[str]] = None) -> NoReturn:
        """Becomes the service that the command line describes (docs/boot.md), and exits the process when it ends.

        Without parameters, and with $IPCM_INFO set, joins that bus under the name of the program.
        """
        boot.open_standard_streams()
        status = self._main(sys.argv[1:] if words is None else words)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                pass
        if self._runtime is not None and self._runtime.has_busy_threads():
            os._exit(status)  # a handler on a thread does not end; nothing can end it but this
        sys.exit(status)

    def _own_name(self) -> str:
        return self.class_name or os.path.splitext(os.path.basename(sys.argv[0]))[0] or "service"

    def _main(self, words: List[str]) -> int:
        try:
            line = read_command_line(words)
            if line.action != "boot":
                return self._print(line.action)
            inherited = Inherited(line)
        except (UsageError, OSError) as error:
            tell(f"ipcm: {self._own_name()}: {error}; try --help")
            return boot.USAGE
        announcer = Announcer(inherited)

        def complain(status: int, error: object) -> int:
            announcer.failed(str(error), False)
            tell(f"ipcm: {self._own_name()}: {error}")
            return status
        try:
            if inherited.params >= 0:
                parameters = read_parameters(take_parameters(inherited.params, inherited.leash))
            elif line.params is not None:
                parameters = read_parameters(line.params)
            elif os.environ.get(VARIABLE):
                parameters = Parameters(self._own_name(), self._own_name(), bus_info())
            else:
                raise UsageError(f"there are no parameters, and no ${VARIABLE}; try --help")
            if self.class_name is not None and parameters.class_name != self.class_name:
                return complain(boot.UNKNOWN_CLASS, f"unknown class '{parameters.class_name}'"
                                f"{did_you_mean(parameters.class_name, [self.class_name])}; this program has: {self.class_name}")
            boot.redirect(parameters.redirect)
        except UsageError as error:
            return complain(boot.USAGE, error)
        except OSError as error:
            return complain(boot.SYSTEM_ERROR, error)
        if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(line_buffering=True)  # the log shows a print at once
        self._parameters = parameters
        return asyncio.run(self._serve(parameters, inherited, announcer))

    def _print(self, action: str) -> int:
        handler = self._handlers.get("request")
        words = (inspect.getdoc(handler) or "a service in Python").splitlines()[0] if handler else "a service in Python"
        text = {"list": f"{self._own_name()}  {words}\n",
                "list-json": json.dumps([{"name": self._own_name(), "description": words, "args": []}]) + "\n",
                "help": _USAGE.format(program=sys.argv[0], name=self._own_name(), variable=VARIABLE)}[action]
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            return boot.OUTPUT_LOST
        return 0

    async def _serve(self, parameters: Parameters, inherited: Inherited, announcer: Announcer) -> int:
        runtime = self._runtime = Runtime(self._handlers, parameters, announcer, self.concurrency, self.grace)
        doing, joined = "joining the bus", False
        try:
            runtime.watch_processes(inherited.leash)
            runtime.join()
            self._bus, joined, doing = runtime.bus, True, "@serve.start"
            if "start" in self._handlers:
                await runtime.run(self._handlers["start"])
        except Exception as error:
            text, status = str(error) or type(error).__name__, boot.SERVICE_THREW
            if not joined and isinstance(error, BusError):
                status = boot.BUS_UNAVAILABLE
            elif not joined:
                status = boot.USAGE if isinstance(error, UsageError) else boot.SYSTEM_ERROR
            else:
                print_traceback(error)
                text = f"{doing}: {text}"
            announcer.failed(text, joined)
            tell(f"ipcm: service '{parameters.name}': {text}")
            runtime.leave(status if joined else 0)
            return status
        if not announcer.ready(parameters.name):
            tell(f"ipcm: service '{parameters.name}': its launcher ended before it was ready; it leaves")
            runtime.leave()
            return boot.SYSTEM_ERROR
        return await runtime.serve()


async def _as_coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


serve = Service()
"""The service of this program."""
