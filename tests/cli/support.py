"""The base of every end-to-end test. A test has its own temporary directory, and fails if it leaves a process, a file there,
or a descriptor behind. Nothing sleeps or polls. HANG only ends a hang; it does not test the speed."""

import contextlib
import ctypes
import functools
import json
import os
import re
import select
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = int(os.environ.get("IPCM_TEST_PATIENCE", "1"))  # larger on an emulated machine
HANG = 20 * PATIENCE  # seconds
IPCM = os.environ.get("IPCM_TEST_IPCM", "")
BOOT = os.environ.get("IPCM_TEST_BOOT", "")

if os.environ.get("IPCM_TEST_LEAKS") == "0":  # scripts/test --core
    os.environ["LSAN_OPTIONS"] = "detect_leaks=0"

PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 36, 38, 22


# Under nohup(1) this process ignores SIGHUP, and its children would, too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def adopt_orphans():
    """Makes this process adopt the orphans of a test, so that it finds them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def refuse(error, *calls):
    """Makes these system calls of this process and its children fail with `error` from now on. A call is a number, or a pair of a number
    and the value of its second argument. Works on x86-64 only. Tests use it in a preexec_fn."""
    def step(code, if_true, if_false, value):
        return struct.pack("HBBI", code, if_true, if_false, value)

    load, equal, leave = 0x20, 0x15, 0x06
    program = b""
    for call in calls:
        number, argument = call if isinstance(call, tuple) else (call, None)
        program += step(load, 0, 0, 0) + step(equal, 0, 1 if argument is None else 3, number)
        if argument is not None:
            program += step(load, 0, 0, 24) + step(equal, 0, 1, argument)
        program += step(leave, 0, 0, 0x00050000 | error)
    program += step(leave, 0, 0, 0x7fff0000)
    space = ctypes.create_string_buffer(program)

    class Filter(ctypes.Structure):
        _fields_ = [("size", ctypes.c_ushort), ("program", ctypes.c_void_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    if libc.prctl(PR_SET_SECCOMP, 2, ctypes.byref(Filter(len(program) // 8, ctypes.addressof(space))), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")


def children_of(pid):
    """Returns all children of a process, including adopted ones."""
    pids = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            pids += [int(word) for word in file.read().split()]
    return pids


def service_of(pid):
    """Returns the only service that a process has started. Another child may be a relay, which is a fork without exec."""
    (service,) = [child for child in children_of(pid) if "--ready-fd" in command_of(child)]
    return service


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "(gone)"


def open_descriptors():
    all_open = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            leads = os.readlink(f"/proc/self/fd/{name}")
            if not leads.startswith("/proc/"):
                all_open.append(f"{name} -> {leads}")
    return sorted(all_open)


class Process:
    """A process with a pidfd, which reports its end and can't mean another process."""

    def __init__(self, pid):
        self.pid = pid
        self.fd = os.pidfd_open(pid)

    def wait_for_end(self, limit=HANG):
        return bool(select.select([self.fd], [], [], limit)[0])

    def signal(self, number):
        signal.pidfd_send_signal(self.fd, number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)


class Result:
    def __init__(self, status, out, err, seconds):
        self.status, self.out, self.err, self.seconds = status, out, err, seconds

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def answers(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def __str__(self):
        return f"exit status {self.status}\nstdout: {self.out[:2000]}\nstderr: {self.err[:2000]}"


class Running:
    """A running command. Its stdin and stdout are pipes to the test; its stderr is a file, because services keep it open."""

    def __init__(self, test, words, env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr_too=False, **more):
        self.test = test
        self.words = words
        self.began = time.monotonic()
        self.err = tempfile.TemporaryFile(dir=test.work)
        self.popen = subprocess.Popen(words, stdin=stdin, stdout=stdout,
                                      stderr=subprocess.STDOUT if stderr_too else self.err, env=env, bufsize=0, cwd=test.work, **more)
        self.process = Process(self.popen.pid)
        self.seen = b""
        self.over = False
        test.running.append(self)

    @property
    def pid(self):
        return self.popen.pid

    def write(self, text):
        self.popen.stdin.write(text.encode())

    def close_stdin(self):
        self.popen.stdin.close()

    def read_line(self, limit=HANG):
        deadline = time.monotonic() + limit
        while b"\n" not in self.seen:
            if not select.select([self.popen.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                self.test.fail(f"no line on stdout within {limit} s\n{self.describe()}")
            piece = self.popen.stdout.read(65536)
            if not piece:
                self.test.fail(f"stdout ended where a line was expected\n{self.describe()}")
            self.seen += piece
        line, self.seen = self.seen.split(b"\n", 1)
        return line.decode()

    def finish(self, input=None, limit=HANG):
        """Writes `input` to stdin, reads all of stdout, and waits for the end."""
        stdin, stdout = self.popen.stdin, self.popen.stdout
        deadline = time.monotonic() + limit
        to_write = memoryview(input.encode() if isinstance(input, str) else input or b"")
        pieces = [self.seen]
        with selectors.DefaultSelector() as waits:
            waits.register(self.process.fd, selectors.EVENT_READ)
            if stdout:
                os.set_blocking(stdout.fileno(), False)
                waits.register(stdout, selectors.EVENT_READ)
            if stdin and not stdin.closed:
                if to_write:
                    os.set_blocking(stdin.fileno(), False)
                    waits.register(stdin, selectors.EVENT_WRITE)
                else:
                    stdin.close()
            while waits.get_map():
                ready = waits.select(max(0, deadline - time.monotonic()))
                if not ready:
                    self.kill()
                    what = "stdout still open" if self.process.wait_for_end(0) else "still running"
                    self.test.fail(f"{what} after {limit} s: {' '.join(map(str, self.words))[:300]}\n"
                                   f"stdout: {b''.join(pieces)[:2000]!r}\n{self.describe()}")
                for key, _ in ready:
                    if key.fileobj is stdin:
                        try:
                            to_write = to_write[stdin.write(to_write[:1 << 16]) or 0:]
                        except BrokenPipeError:
                            to_write = to_write[:0]
                        if not to_write:
                            with contextlib.suppress(KeyError):  # the process ended in this round
                                waits.unregister(stdin)
                            stdin.close()
                    elif key.fileobj is stdout:
                        piece = stdout.read(1 << 20)
                        if piece:
                            pieces.append(piece)
                        elif piece is not None:
                            waits.unregister(stdout)
                    else:
                        waits.unregister(self.process.fd)
                        seconds = time.monotonic() - self.began
                        if stdin and not stdin.closed:
                            with contextlib.suppress(KeyError):
                                waits.unregister(stdin)
        status = self.popen.wait()
        out = b"".join(pieces).decode()
        err = self.describe(prefix="")
        self.close()
        return Result(128 - status if status < 0 else status, out, err, seconds)

    def kill(self):
        if self.popen.returncode is None:
            self.popen.kill()

    def describe(self, prefix="stderr: "):
        self.err.seek(0)
        return prefix + self.err.read().decode(errors="replace")

    def close(self):
        if self.over:
            return
        self.over = True
        self.kill()
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout, self.err):
            if stream:
                stream.close()
        os.close(self.process.fd)


@functools.cache
def protocols():
    """Returns the protocols that work on this machine without a server and between processes."""
    listed = subprocess.run([IPCM, "bus", "protocols", "--json"], stdout=subprocess.PIPE, timeout=HANG, check=True).stdout
    servers, one_process = ("PostgreSQL", "MariaDB", "MySQL"), ("LocalMemory",)
    return tuple(one["name"] for one in json.loads(listed) if one["viable"] and one["name"] not in servers + one_process)


@functools.cache
def verbs():
    """Returns all verbs of the command, as lists of words, from its own help."""
    def below(words):
        text = subprocess.run([IPCM, *words, "--help"], stdout=subprocess.PIPE, timeout=HANG, check=True, text=True).stdout
        listed = re.search(r"^Subcommands:\n(.*?)\n\n", text, re.DOTALL | re.MULTILINE)
        if not listed:
            return [words]
        return [verb for name in re.findall(r"^  (\S+)", listed[1], re.MULTILINE) for verb in below([*words, name])]
    return below([])


class TidyTest(unittest.TestCase):
    """A test with its own $TMPDIR and $XDG_RUNTIME_DIR, which are empty at the start and must be empty at the end. It fails if a process
    or a descriptor is left."""

    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        if not IPCM or not BOOT:
            raise unittest.SkipTest("IPCM_TEST_IPCM and IPCM_TEST_BOOT name the binaries")
        adopt_orphans()

    def run(self, result=None):
        # After a failed test, tearDown() waits less for the leftovers and does not report them.
        method = getattr(self, self._testMethodName)

        def noted():
            try:
                method()
            except BaseException:
                self.failed = True
                raise

        self.failed = False
        setattr(self, self._testMethodName, functools.wraps(method)(noted))
        return super().run(result)

    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="cli-test-", dir="/tmp")
        self.tmp = os.path.join(self.root, "t")  # must be empty at the end
        self.work = os.path.join(self.root, "w")  # the test's own files
        os.mkdir(self.tmp, 0o700)
        os.mkdir(self.work)
        self.running = []
        self.env = {key: value for key, value in os.environ.items()
                    if key not in ("IPCM_INFO", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")}
        self.env.update(TMPDIR=self.tmp, XDG_RUNTIME_DIR=self.tmp, IPCM_BOOT=BOOT, BOOT=BOOT,
                        PATH=os.path.dirname(IPCM) + ":" + os.environ.get("PATH", "/usr/bin:/bin"))
        self.descriptors = open_descriptors()

    def tearDown(self):
        for running in self.running:
            running.close()
        left = self.await_no_children(0 if self.failed else HANG)
        files = sorted(os.listdir(self.tmp))
        descriptors = open_descriptors()
        shutil.rmtree(self.root)
        if self.failed:
            return
        self.assertEqual(left, [], "processes were left behind")
        self.assertEqual(files, [], "files were left behind")
        self.assertEqual(descriptors, self.descriptors, "descriptors were left open")

    def await_no_children(self, limit=HANG):
        """Waits until no child is left, including orphaned grandchildren. Kills and returns those that stay."""
        deadline = time.monotonic() + limit
        left = []
        while pids := children_of(os.getpid()):
            for pid in pids:
                with Process(pid) as process:
                    if not process.wait_for_end(max(0, deadline - time.monotonic())):
                        left.append(f"{pid} {command_of(pid)}")
                        process.signal(signal.SIGKILL)
                        process.wait_for_end()
                os.waitpid(pid, 0)
        return left

    def start(self, *words, env=None, **more):
        """Starts a command, and returns while it runs."""
        return Running(self, [str(word) for word in words], env or self.env, **more)

    def ipcm(self, *words, input=None, env=None, status=0, limit=HANG, **more):
        """Runs `ipcm WORDS` to its end. Fails if its exit status is not `status`; None accepts any."""
        more.setdefault("stdin", subprocess.DEVNULL if input is None else subprocess.PIPE)
        result = self.start(IPCM, *words, env=env, **more).finish(input, limit)
        if status is not None:
            self.assertEqual(result.status, status, f"ipcm {' '.join(map(str, words))[:300]}\n{result}")
        return result

    def sh(self, script, *args, status=0, env=None, limit=HANG, **more):
        """Runs a shell script; $1 and so on are `args`."""
        more.setdefault("stdin", subprocess.DEVNULL)
        result = self.start("/bin/sh", "-c", script, "sh", *args, env=env, **more).finish(None, limit)
        if status is not None:
            self.assertEqual(result.status, status, f"{script}\n{result}")
        return result

    @contextlib.contextmanager
    def bus(self, *options):
        """Makes a bus, yields the environment for its users, and removes the bus."""
        made = json.loads(self.ipcm("--json", "bus", "new", *options).out)
        info = json.dumps(made["info"])
        env = dict(self.env, IPCM_INFO=info, ROUTE=made["route"])
        try:
            yield env
        finally:
            if os.path.exists(made["route"]):
                self.ipcm("bus", "rm", env=env)

    def peers(self, env):
        """Returns the peers on the bus, by name."""
        return {one["name"]: one for one in json.loads(self.ipcm("--json", "ps", env=env).out)}

    def script(self, text, name="boot.sh", mode=0o755):
        path = os.path.join(self.work, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def fake_boot(self, how):
        """Returns the path of a boot binary that misbehaves; see fake_boot.py."""
        return self.script(f'#!/bin/sh\nexec "{sys.executable}" -E -S "{HERE}/fake_boot.py" {how} "$@"\n', f"boot-{how}")

    def assert_one_line(self, text):
        self.assertTrue(text.endswith("\n"), repr(text))
        self.assertEqual(text.count("\n"), 1, text)

    def assert_told(self, result, *words):
        """Checks that stderr has one line for people with these words, and that stdout is empty."""
        self.assert_one_line(result.err)
        self.assertTrue(result.err.startswith("ipcm: "), result.err)
        for word in words:
            self.assertIn(word, result.err)
