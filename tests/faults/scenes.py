"""The commands that faults.py disturbs, and the conditions that must hold after each. A scene makes what its command needs, names the command, and
checks the result.

The rules for every scene: the command ends in time; its stdout is never wrong; after status 0, its effect exists; with another status, stderr has a message;
a service that did not start does not run; other services live on; at the end, `bus rm` and `bus gc` leave no process and no file."""

import collections
import contextlib
import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from support import BOOT, HANG, IPCM, Process, adopt_orphans, children_of, command_of

INJECT = os.environ.get('IPCM_TEST_INJECT', '')
LIMIT = '5'  # of each command, in seconds; HANG is far above it
CRASHES = (128 + signal.SIGABRT, 128 + signal.SIGSEGV, 128 + signal.SIGBUS)
ANSWER = '{"the":["answer",42]}'


class Point(collections.namedtuple('Point', 'verb side fault name number nth')):
    def __str__(self):
        return f'{self.verb} {self.side} {self.name} {self.nth} {self.fault}'


class Violation(Exception):
    pass


class Done(collections.namedtuple('Done', 'status out err')):
    def __str__(self):
        return f'status {self.status}, stdout {self.out[:200]!r}, stderr {self.err[:300]!r}'


def why_no_tracing():
    if not os.access(INJECT, os.X_OK):
        return 'IPCM_TEST_INJECT names no program'
    with subprocess.Popen(['sleep', '100']) as probe:
        attached = ctypes.CDLL(None, use_errno=True).ptrace(0x4206, probe.pid, None, None)  # PTRACE_SEIZE
        why = '' if attached == 0 else os.strerror(ctypes.get_errno())
        probe.kill()
    return why and f'ptrace: {why}'


def be_a_worker():
    adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Scene:
    """One attempt: a temporary directory, its processes, the command."""

    words = ()
    serves = False  # whether the boot side is a service that runs before the command

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix='ipcm-faults-')
        self.tmp = os.path.join(self.root, 't')
        os.mkdir(self.tmp, 0o700)
        self.env = {key: value for key, value in os.environ.items() if key not in ('IPCM_INFO', 'NOTIFY_SOCKET')}
        self.env.update(TMPDIR=self.tmp, XDG_RUNTIME_DIR=self.tmp, XDG_STATE_HOME=os.path.join(self.root, 's'), IPCM_BOOT=BOOT)
        self.service = None
        self.struck = True  # for look(): false if the process made fewer calls, so that no fault occurred

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in children_of(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.reap(HANG)
        shutil.rmtree(self.root, ignore_errors=True)

    # Hooks that a scene overrides.
    def prepare(self):
        pass

    def look(self, point, done):
        pass

    # Tools for the scenes.
    def plain(self, *words, status=0):
        """Runs a command without a fault, with the same time limit as the disturbed one."""
        done = self.finish([IPCM, '--timeout', LIMIT, *words], ())[0]
        if status is not None and done.status != status:
            raise Violation(f'afterwards `ipcm {" ".join(words)}`: {done}')
        return done

    def disturbed(self, *how):
        attach = ['--attach', str(self.service)] if self.serves and 'boot' in how else []
        read, write = os.pipe()
        try:
            command = [INJECT, '--report', str(write), *map(str, how), *attach, '--', IPCM, '--timeout', LIMIT, *self.words]
            done, report = self.finish(command, (write,), read)
        finally:
            os.close(read)
        if done.status == 125:
            raise RuntimeError(f'the injector failed: {done}')
        return done, report

    def finish(self, command, keep, report=None):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            began = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=self.env, cwd=self.root, pass_fds=keep)
            for fd in keep:
                os.close(fd)
            with Process(began.pid) as process:
                if not process.wait_for_end():
                    for pid in children_of(began.pid):
                        os.kill(pid, signal.SIGKILL)
                    began.kill()
                    began.wait()
                    raise Violation(f'hangs: {" ".join(command)[-200:]}')
            status = began.wait()
            told = os.read(report, 65536).decode() if report is not None else ''
            out.seek(0)
            err.seek(0)
            return Done(128 - status if status < 0 else status, out.read().decode(), err.read().decode()), told

    def make_bus(self):
        made = json.loads(self.plain('--json', 'bus', 'new').out)
        self.env['IPCM_INFO'] = json.dumps(made['info'])
        self.route = made['route']

    def start(self, name):
        self.plain('start', 'echo', '--name', name)
        return self.pid_of(name)

    def pid_of(self, name):
        return next((one['pid'] for one in json.loads(self.plain('--json', 'ps').out) if one['name'] == name), None)

    def answers(self, name):
        """Checks that a running service answers at once."""
        done = self.plain('request', name, ANSWER)
        if done.out != ANSWER + '\n':
            raise Violation(f'{name} answers {done}')

    def reap(self, limit):
        """Waits for the end of all children; returns those that stay."""
        deadline, left = time.monotonic() + limit, []
        while True:
            pids = [pid for pid in children_of(os.getpid()) if pid not in left]
            if not pids:
                return left
            for pid in pids:
                with Process(pid) as process:
                    if process.wait_for_end(max(0, deadline - time.monotonic())):
                        os.waitpid(pid, 0)
                    else:
                        left.append(pid)

    def ends(self, pid):
        """Checks that the process ends in time."""
        if pid not in children_of(os.getpid()):
            return
        with Process(pid) as process:
            if not process.wait_for_end():
                raise Violation(f'still runs after {HANG} s: {command_of(pid)[:200]}')
        os.waitpid(pid, 0)

    def others(self, *known):
        return [pid for pid in children_of(os.getpid()) if pid not in known]

    def nothing_is_left(self):
        if left := self.reap(HANG):
            raise Violation('processes are left: ' + ', '.join(command_of(pid)[:200] for pid in left))
        self.plain('bus', 'gc')
        if files := [os.path.relpath(os.path.join(at, name), self.tmp) for at, folders, names in os.walk(self.tmp) for name in (*folders, *names)]:
            raise Violation(f'files are left after `bus gc`: {files}')

    def bus_goes(self):
        self.plain('bus', 'rm')
        self.env.pop('IPCM_INFO')
        self.nothing_is_left()


class Run(Scene):
    words = ('run', 'echo', ANSWER)

    def look(self, point, done):
        right = ANSWER + '\n'
        if done.out not in ('', right) or (done.status == 0 and done.out != right):
            raise Violation(f'a wrong answer: {done}')
        self.nothing_is_left()


class BusNew(Scene):
    words = ('--json', 'bus', 'new')

    def look(self, point, done):
        if done.status == 0:
            self.env['IPCM_INFO'] = json.dumps(json.loads(done.out)['info'])
            self.start('one')
            self.answers('one')
            self.bus_goes()
            return
        if point.fault != 'KILL':
            self.nothing_is_left()
            return
        # If its bus is complete, it can be used and removed.
        self.plain('bus', 'gc')
        for name in os.listdir(self.tmp):
            self.plain('--bus', os.path.join(self.tmp, name), 'ps')
            self.plain('--bus', os.path.join(self.tmp, name), 'bus', 'rm')
        self.nothing_is_left()


class Start(Scene):
    words = ('start', 'echo', '--name', 'new')

    def prepare(self):
        self.make_bus()
        self.other = self.start('other')

    def look(self, point, done):
        self.answers('other')
        killed_boot = self.struck and point.fault == 'KILL' and point.side == 'boot'  # it may die after it was ready
        # If brk() fails at the wrong moment in a static program, glibc goes on with a heap that ends within a page, and ends the process later with
        # "malloc assertion failure in sysmalloc".
        glibc_may_abort = self.struck and point.name == 'brk' and point.side == 'boot'
        if done.status == 0 and glibc_may_abort:
            asked = self.plain('request', 'new', ANSWER, status=None)
            if asked.out != ANSWER + '\n' and 'malloc assertion failure' not in asked.err:
                raise Violation(f'afterwards `ipcm request new`: {asked}')
        elif done.status == 0 and not killed_boot:
            self.answers('new')
        elif point.fault == 'KILL' and point.side == 'launcher' and self.pid_of('new') is not None:
            # The service was ready before, and serves. Or it leaves now, because nobody has read its ready line.
            if self.plain('request', 'new', ANSWER, status=None).out != ANSWER + '\n':
                self.is_gone()
        else:
            self.is_gone()
        self.bus_goes()

    def is_gone(self):
        for pid in self.others(self.other):
            self.ends(pid)
        if self.pid_of('new') is not None:
            raise Violation('it did not start, and is on the bus')


class Served(Scene):
    """A bus with the service that the command names, and another one."""

    serves = True

    def prepare(self):
        self.make_bus()
        self.other = self.start('other')
        self.service = self.start('meant')


class Stop(Served):
    words = ('stop', 'meant')

    def look(self, point, done):
        self.answers('other')
        if done.status == 0:
            self.ends(self.service)
            if self.pid_of('meant') is not None:
                raise Violation('stopped, and still on the bus')
        self.bus_goes()


class BusRm(Served):
    words = ('bus', 'rm')

    def look(self, point, done):
        if done.status == 0:
            self.env.pop('IPCM_INFO')
            self.nothing_is_left()
            return
        # A second command removes the rest. If nothing is left, it reports that.
        again = self.plain('bus', 'rm', status=None)
        if again.status not in (0, 3):
            raise Violation(f'afterwards `ipcm bus rm`: {again}')
        self.env.pop('IPCM_INFO')
        self.nothing_is_left()


class Request(Served):
    words = ('request', 'meant', ANSWER)

    def look(self, point, done):
        right = ANSWER + '\n'
        if done.out not in ('', right) or (done.status == 0 and done.out != right):
            raise Violation(f'a wrong answer: {done}')
        self.answers('other')
        if not (self.struck and point.fault == 'KILL' and point.side == 'boot'):
            self.answers('meant')
        self.bus_goes()


SCENES = {'run': Run, 'bus-new': BusNew, 'start': Start, 'stop': Stop, 'bus-rm': BusRm, 'request': Request}


def count(verb, side):
    """Returns the system calls of that side: number → times, the maximum of three runs, which differ a little."""
    be_a_worker()
    most = collections.Counter()
    for _ in range(3):
        with SCENES[verb]() as scene:
            scene.prepare()
            done, report = scene.disturbed('--side', side, '--count')
            if done.status != 0:
                raise RuntimeError(f'{verb} fails undisturbed: {done}')
            most |= collections.Counter(dict(tuple(map(int, line.split())) for line in report.splitlines()))
    return most


def attempt(point, end):
    """Tries one point. Returns (point, whether the fault struck or None if there was no time, violations)."""
    if time.monotonic() >= end:
        return point, None, []
    wrong, struck = [], True
    with SCENES[point.verb]() as scene:
        scene.prepare()
        try:
            fault = 'KILL' if point.fault == 'KILL' else getattr(errno, point.fault)
            done, report = scene.disturbed('--side', point.side, '--call', point.number, '--nth', point.nth, '--fault', fault)
            struck = scene.struck = report == 'struck\n'
            # There is no message if the command was killed, if writing the message failed, or if the dynamic linker had no memory for one.
            mute = ('write', 'writev', 'mmap', 'brk', 'mprotect') if point.side == 'launcher' else ()
            if done.status != 0 and not done.err and point.fault != 'KILL' and point.name not in mute:
                wrong.append(f'fails without a word: {done}')
            if point.name not in ('mmap', 'brk', 'mprotect') and point.fault != 'KILL' and (done.status in CRASHES or 'SIGABRT' in done.err or 'SIGSEGV' in done.err):
                wrong.append(f'crashes: {done}')
            scene.look(point, done)
        except Violation as violation:
            wrong.append(str(violation))
    return point, struck, wrong
