"""What a behaviour is tested with: a bus, services that are started as a launcher starts them, and clients that obey."""

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../sdk/python"))
from ipcm.inotify import Watch  # noqa: E402

HANG = 30 * int(os.environ.get("IPCM_TEST_PATIENCE", "1"))  # seconds; only ends a hang


class Unsupported(Exception):
    """The kit does not have this behaviour."""


class Failure(Exception):
    """An answer of a peer that is an error. `kind` is its kind, str() the text."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


def expect(is_so, what):
    if not is_so:
        raise AssertionError(what)


def same(found, expected):
    if found != expected or type(found) is not type(expected):
        raise AssertionError(f"expected {str(expected)[:300]!r}, found {str(found)[:300]!r}")


def fails(kind, call):
    """Runs the call, which has to fail with that kind of error. Returns its text."""
    try:
        value = call()
    except Failure as failure:
        if failure.kind != kind:
            raise AssertionError(f"expected {kind}, found {failure.kind}: {failure}") from None
        return str(failure)
    raise AssertionError(f"expected {kind}, found the answer {str(value)[:200]!r}")


class Service:
    """A process that was started by the boot contract. `told` is what it wrote into the ready pipe."""

    def __init__(self, world, command, name, args=None, more=None, leash=None, wait=True, params=None):
        self.world, self.name = world, name
        self.log = tempfile.TemporaryFile()
        ready, its_ready = os.pipe()
        parameters = {"ipcm": 1, "name": name, "class": "conformance", "ipcm_info": json.loads(world.info), "expose_error_details": True,
                      **(more or {})}
        if args is not None:
            parameters["args"] = args
        text = params if params is not None else json.dumps(parameters)
        passed, words = [its_ready], [*command, "--ready-fd", str(its_ready)]
        environment = {**world.environment}
        if len(text) < 100_000:
            words.append(text)
        else:
            memory = os.memfd_create("params")
            os.write(memory, text.encode("ascii"))
            os.lseek(memory, 0, os.SEEK_SET)
            passed.append(memory)
            words += ["--params-fd", str(memory)]
        own = os.pidfd_open(os.getpid() if leash is None else leash)
        passed.append(own)
        environment["IPCM_LEASH_FD"] = str(own)
        self.process = subprocess.Popen(words, pass_fds=passed, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment)
        for fd in passed:
            os.close(fd)
        world.services.append(self)
        self.ready, self.told = ready, None
        self.bridge = None  # a pidfd of the process that holds its place on the bus, if that is another one
        if wait:
            self.await_ready()
            expect(self.is_ready(), f"service '{name}' did not start: {self.told!r}\n{self.text()}")

    def await_ready(self):
        with open(self.ready, "rb") as pipe:
            self.told = pipe.read().decode()
        self.ready = -1
        holder = json.loads(self.told).get("pid") if self.is_ready() else None
        if holder not in (None, self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                self.bridge = os.pidfd_open(holder)

    def is_ready(self):
        return self.told.endswith("\n") and json.loads(self.told).get("ready") is True

    def text(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)

    def end(self):
        """Waits for its end, and that of its bridge, and returns its status."""
        status = self.process.wait(HANG)
        if self.bridge is not None:
            expect(select.select([self.bridge], [], [], HANG)[0], f"the bridge of '{self.name}' did not end")
            os.close(self.bridge)
            self.bridge = None
        return status


class Client:
    """A process that obeys lines on its stdin."""

    def __init__(self, world, command, name=None):
        self.process = subprocess.Popen([*command, world.info], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=world.environment)
        self.events, self.messages, self._tag = queue.Queue(), queue.Queue(), 0
        self._answers, self._changed = {}, threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        world.clients.append(self)
        self.name = self.do("connect", name=name)

    def _read(self):
        for line in self.process.stdout:
            told = json.loads(line)
            if "event" in told:
                self.events.put((told["event"], told["peer"]))
            elif "message" in told:
                self.messages.put(told["message"])
            else:
                with self._changed:
                    self._answers[told["tag"]] = told
                    self._changed.notify_all()
        with self._changed:
            self._answers[None] = {"error": "died", "text": "the client has ended"}
            self._changed.notify_all()

    def begin(self, op, **more):
        """Sends an order, and returns its tag."""
        self._tag += 1
        self.process.stdin.write(json.dumps({"op": op, "tag": self._tag, **{key: value for key, value in more.items() if value is not None}}).encode() + b"\n")
        self.process.stdin.flush()
        return self._tag

    def answer(self, tag):
        """Waits for the answer to an order. Raises Failure."""
        with self._changed:
            if not self._changed.wait_for(lambda: tag in self._answers or None in self._answers, HANG):
                raise AssertionError("no answer within the limit of a hang")
            told = self._answers.pop(tag, None) or self._answers[None]
        if told.get("error") == "unsupported":
            raise Unsupported(told["text"])
        if "error" in told:
            raise Failure(told["error"], told["text"])
        return told["ok"]

    def has_answer(self, tag):
        with self._changed:
            return tag in self._answers

    def do(self, op, **more):
        return self.answer(self.begin(op, **more))

    def ask(self, service, do, timeout=None, **more):
        """Sends an order to a service of the suite, and returns its answer."""
        return self.do("request", to=service, content={"do": do, **more}, timeout=timeout)

    def begin_ask(self, service, do, **more):
        return self.begin("request", to=service, content={"do": do, **more})

    def expect_event(self, kind, peer):
        while True:
            found = self.events.get(timeout=HANG)
            if found == (kind, peer):
                return

    def forget_events(self):
        with contextlib.suppress(queue.Empty):
            while True:
                self.events.get_nowait()

    def leave(self):
        self.do("leave")
        same(self.process.wait(HANG), 0)


class World:
    """A bus and all that was started on it. close() ends everything, and reports what was left behind."""

    def __init__(self, protocol):
        self.ipcm, self.protocol = os.environ["IPCM_TEST_IPCM"], protocol
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("IPCM_") or key == "IPCM_DRIVERS"
                            or key.startswith("IPCM_TEST_")}
        self.environment.update(IPCM=self.ipcm, PYTHONDONTWRITEBYTECODE="1",
                                PATH=os.path.dirname(self.ipcm) + os.pathsep + os.environ.get("PATH", ""))
        self.services, self.clients = [], []
        made = json.loads(self.run("bus", "new", "--protocol", protocol, "--json"))
        self.info = json.dumps(made["info"]) if "info" in made else json.dumps(made)
        self.route = json.loads(self.info)[2]

    def run(self, *words):
        return subprocess.run([self.ipcm, *words], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True,
                              timeout=HANG).stdout

    def service(self, command, name="svc", **more):
        return Service(self, command, name, **more)

    def client(self, command, name=None):
        return Client(self, command, name)

    def _directory(self):
        """Returns where the files of peers are. A bus that is one file has them beside it."""
        return self.route if os.path.isdir(self.route) else os.path.join(os.path.dirname(self.route), f".{os.path.basename(self.route)}.ipcm")

    def await_no_files(self, peer, has_died=False):
        """Waits until no file of a peer is left: another peer that looks at the same time may still be removing them. If it has died, its
        obituary stays as long as the bus."""
        end = time.monotonic() + HANG
        with Watch() as watch:
            watch.add(self._directory(), Watch.CONTENTS)
            while left := [name for name in self.files() if peer in name and not (has_died and name.endswith(".obituary"))]:
                expect(select.select([watch], [], [], max(0, end - time.monotonic()))[0], f"{left} are left")
                watch.read()

    def files(self):
        """Returns the entries of the bus that belong to a peer, by name."""
        return sorted(name for name in os.listdir(self._directory()) if not name.endswith(".stats") and not name.startswith((".info", ".owner", ".found",
                                                                                                                   ".journal", ".given")))

    def close(self):
        for client in self.clients:
            client.process.stdin.close()
            client.process.kill()
            client.process.wait()
            client._reader.join(HANG)
            client.process.stdout.close()
        for service in self.services:
            if service.process.poll() is None:
                service.process.kill()
            service.process.wait()
            service.log.close()
            if service.ready >= 0:
                os.close(service.ready)
        self.run("bus", "rm", "--bus", self.info)
        expect(not os.path.exists(self.route), f"the route {self.route} is still there")
