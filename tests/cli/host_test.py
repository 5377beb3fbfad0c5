"""G7: the command and its services if the caller has closed standard streams, ignores signals, has limits, or is in a sandbox."""

import contextlib
import errno
import json
import os
import platform
import resource
import select
import shutil
import signal
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from support import BOOT, HANG, IPCM, Process, TidyTest, protocols, refuse  # noqa: E402

CLOSE_RANGE, PIDFD_OPEN, MEMFD_CREATE, PIDFD_SEND_SIGNAL, INOTIFY_INIT1 = 436, 434, 319, 424, 294
PIDFD_GET_INFO = (16, 0xc040ff0b)  # an ioctl, since Linux 6.13
x86_64 = unittest.skipUnless(platform.machine() == "x86_64", "the filter knows the numbers of x86-64")


def ignoring(*signals):
    """Returns a preexec_fn that ignores these signals, and restores the default of the others that Python ignores."""
    def prepare():
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
    return prepare


class IgnoredSignalsTest(TidyTest):
    def test_statuses_are_known_though_the_caller_ignores_sigchld(self):
        self.statuses_are_known(ignoring(signal.SIGCHLD))

    @x86_64
    def test_statuses_are_known_on_an_older_kernel_though_the_caller_ignores_sigchld(self):
        def prepare():
            ignoring(signal.SIGCHLD)()
            refuse(errno.ENOTTY, PIDFD_GET_INFO)
        self.statuses_are_known(prepare)

    def statuses_are_known(self, prepare):
        self.ipcm("session", "--", "sh", "-c", "exit 7", status=7, preexec_fn=prepare)
        self.assertEqual(self.ipcm("run", "echo", "1", preexec_fn=prepare).answers, [1])
        boot = self.script("#!/bin/sh\nexit 3\n")
        self.assert_told(self.ipcm("run", "echo", "--boot", boot, "1", status=5, preexec_fn=prepare), "exited with status 3")

    def test_sighup_that_is_ignored_ends_neither_a_session_nor_its_command(self):
        script = 'echo ready; read line; echo "$line"'
        for number, survives in ((signal.SIGHUP, ignoring(signal.SIGHUP)), (signal.SIGTERM, ignoring(signal.SIGTERM))):
            with self.subTest(signal=number):
                running = self.start(IPCM, "session", "--", "sh", "-c", script, start_new_session=True, preexec_fn=survives)
                self.assertEqual(running.read_line(), "ready")
                os.killpg(running.pid, number)
                running.write("still here\n")
                result = running.finish()
                self.assertEqual((result.status, result.lines), (0, ["still here"]), result)

    def test_a_signal_that_is_ignored_does_not_end_a_run(self):
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                running = self.start(IPCM, "run", "echo", preexec_fn=ignoring(number))
                running.write("1\n")
                self.assertEqual(running.read_line(), "1")
                running.process.signal(number)
                running.write("2\n")
                self.assertEqual(running.read_line(), "2")
                self.assertEqual(running.finish().status, 0)

    def test_a_service_that_is_started_under_nohup_survives_sighup(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env, preexec_fn=ignoring(signal.SIGHUP))
            os.kill(self.peers(env)["echo"]["pid"], signal.SIGHUP)
            self.assertEqual(self.ipcm("request", "echo", "1", env=env).answers, [1])

    def test_a_command_finds_the_signals_that_its_caller_ignores(self):
        script = 'for s in INT QUIT PIPE XFSZ; do kill -$s $$; done; echo alive'
        command = ("session", "--", "sh", "-c", script)
        every = ignoring(signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ)
        self.assertEqual(self.ipcm(*command, preexec_fn=every).out, "alive\n")
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            script = f"kill -{int(number)} $$; echo alive"
            self.ipcm("session", "--", "sh", "-c", script, preexec_fn=ignoring(), status=128 + number)


class HurryTest(TidyTest):
    """A second signal shortens the shutdown; without it, a service that does not leave gets 25 s."""

    LIMIT = 15

    @contextlib.contextmanager
    def deaf(self):
        """Yields an environment for a service that does not leave, and a function that waits until the service is asked to leave."""
        path = os.path.join(self.work, "tells")
        os.mkfifo(path)
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            def await_word():
                self.assertTrue(select.select([fd], [], [], HANG)[0], "nobody asked it to leave")
                os.read(fd, 100)
            yield dict(self.env, DEAF_TELLS=path), await_word
        finally:
            os.close(fd)

    def test_of_run(self):
        with self.deaf() as (env, await_word):
            running = self.start(IPCM, "run", "echo", "--boot", self.fake_boot("deaf"), env=env)
            running.write("1\n")
            self.assertEqual(running.read_line(), "1")
            running.process.signal(signal.SIGINT)
            await_word()
            running.process.signal(signal.SIGINT)
            self.assertEqual(running.finish(limit=self.LIMIT).status, 128 + signal.SIGINT)

    def test_of_session(self):
        with self.deaf() as (env, await_word):
            running = self.start(IPCM, "session", "--", "sh", "-c", 'ipcm start echo --boot "$1" >&2; echo up; read line; exit 3',
                                 "sh", self.fake_boot("deaf"), env=env)
            self.assertEqual(running.read_line(), "up")
            running.write("end\n")
            await_word()
            running.process.signal(signal.SIGTERM)
            self.assertEqual(running.finish(limit=self.LIMIT).status, 3)

    def test_of_bus_rm(self):
        with self.deaf() as (deaf, await_word), self.bus() as env:
            env = dict(env, DEAF_TELLS=deaf["DEAF_TELLS"])
            self.ipcm("start", "echo", "--boot", self.fake_boot("deaf"), env=env)
            with Process(self.peers(env)["echo"]["pid"]) as service:
                running = self.start(IPCM, "bus", "rm", env=env)
                await_word()
                running.process.signal(signal.SIGINT)
                # This test does not check whether a foreign service may be killed.
                self.assertIn(running.finish(limit=self.LIMIT).status, (0, 4))
                if not service.wait_for_end(0):
                    service.signal(signal.SIGKILL)
            if os.path.exists(env["ROUTE"]):
                self.ipcm("bus", "rm", env=env)


class DescriptorsTest(TidyTest):
    def test_a_command_has_its_callers_descriptors_and_a_service_has_none(self):
        end, other = os.pipe()
        try:
            os.write(other, b"through\n")
            result = self.ipcm("session", "--", "sh", "-c", f'head -c 8 <&{end}; ipcm start echo >&2; ipcm --json ps; exec {other}>&-',
                               pass_fds=(end, other))
            self.assertEqual(result.lines[0], "through")
            with self.bus() as env:
                self.ipcm("start", "echo", env=env, pass_fds=(end, other))
                pid = self.peers(env)["echo"]["pid"]
                ours = os.readlink(f"/proc/self/fd/{end}")
                open_there = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
                self.assertNotIn(ours, open_there)
        finally:
            os.close(end)
            os.close(other)

    def started_by_hand(self, env, name, closed=(), words=(), **more):
        """Executes a boot without a launcher, with some streams closed."""
        parameters = json.dumps({"ipcm": 1, "name": name, "class": "echo", "ipcm_info": json.loads(env["IPCM_INFO"])})
        redirections = " ".join(f"{fd}>&-" for fd in closed)
        return self.start("/bin/sh", "-c", f'exec "$@" {redirections}', "sh", BOOT, *words, parameters, env=env, **more)

    def assert_streams(self, pid, closed):
        for fd in range(3):
            leads = os.readlink(f"/proc/{pid}/fd/{fd}")
            if fd in closed:
                self.assertEqual(leads, "/dev/null", f"descriptor {fd}")
            else:
                self.assertNotRegex(leads, "socket|anon_inode|ipcm-")

    def test_a_boot_without_standard_streams_serves_and_has_dev_null(self):
        for number, closed in enumerate([(0,), (1,), (2,), (0, 1, 2)]):
            with self.subTest(closed=closed), self.bus() as env:
                end, other = os.pipe()
                running = self.started_by_hand(env, "by-hand", closed, ("--ready-fd", str(other)), pass_fds=(other,))
                os.close(other)
                with open(end) as ready:
                    self.assertTrue(json.loads(ready.readline())["ready"])
                    self.assertEqual(ready.read(), "")
                self.assertEqual(self.ipcm("request", "by-hand", "1", env=env).answers, [1])
                self.assert_streams(running.pid, closed)
                self.ipcm("stop", "by-hand", env=env)
                self.assertEqual(running.finish().status, 0)

    def test_a_ready_pipe_at_a_standard_stream_is_dev_null_after_use(self):
        for fd in range(3):
            with self.subTest(fd=fd), self.bus() as env:
                end, other = os.pipe()
                running = self.started_by_hand(env, "by-hand", (), ("--ready-fd", str(fd)),
                                               preexec_fn=lambda fd=fd, other=other: os.dup2(other, fd))
                os.close(other)
                with open(end) as ready:
                    self.assertTrue(json.loads(ready.readline())["ready"])
                    self.assertEqual(ready.read(), "", "it is still open")
                self.assertEqual(self.ipcm("request", "by-hand", "1", env=env).answers, [1])
                self.assert_streams(running.pid, (fd,))
                self.ipcm("stop", "by-hand", env=env)
                self.assertEqual(running.finish().status, 0)

    def test_a_ready_pipe_that_is_closed_is_refused_by_name(self):
        with self.bus() as env:
            running = self.started_by_hand(env, "by-hand", (0,), ("--ready-fd", "0"))
            result = running.finish()
            self.assertEqual(result.status, 64, result)
            self.assertIn("--ready-fd: descriptor 0 is not open", result.err)


class LimitsTest(TidyTest):
    def limited(self, size):
        def prepare():
            ignoring()()
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return prepare

    def test_a_limit_of_file_sizes_kills_nobody_and_leaves_nothing(self):
        request = json.dumps("x" * 300_000)
        for protocol in protocols():
            for size in (0, 100 * 1024, 1000 * 1024):
                with self.subTest(protocol=protocol, size=size):
                    # stdout is a pipe, so the limit does not apply.
                    result = self.ipcm("run", "echo", "--protocol", protocol, input=request + "\n", status=None,
                                       preexec_fn=self.limited(size))
                    self.assertLess(result.status, 128, result)
                    if result.status == 0:
                        self.assertEqual(result.answers, [json.loads(request)])
                    elif size > 0:  # stderr is a file here; with a limit of 0 it stays empty
                        self.assertIn("ipcm: ", result.err)
                    self.assertEqual(os.listdir(self.tmp), [])

    def test_a_service_under_such_a_limit_answers_large_requests_through_its_socket(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env, preexec_fn=self.limited(4_000_000))
            for size in (100_000, 120_000, 1_000):
                request = json.dumps("y" * size)
                self.assertEqual(self.ipcm("request", "echo", request, env=env).answers, [json.loads(request)])

    def test_long_args_need_no_file(self):
        prefix = "x" * 120_000  # with the request longer than one argument of exec may be
        result = self.ipcm("run", "echo", "--args", json.dumps({"prefix": prefix}), '"a"', preexec_fn=self.limited(4096))
        self.assertEqual(result.answers, [prefix + "a"])


@x86_64
class SandboxTest(TidyTest):
    """System calls that the profile of a container, or an older kernel, refuses."""

    def refused(self, error, *calls):
        def prepare():
            ignoring()()
            refuse(error, *calls)
        return prepare

    def test_close_range(self):
        for error in (errno.ENOSYS, errno.EPERM):
            self.assertEqual(self.ipcm("run", "echo", "1", preexec_fn=self.refused(error, CLOSE_RANGE)).answers, [1])
            self.ipcm("session", "--", "sh", "-c", "exit 4", status=4, preexec_fn=self.refused(error, CLOSE_RANGE))

    def test_memfd_create(self):
        large = json.dumps("x" * 1_000_000)
        for protocol in protocols():
            with self.subTest(protocol=protocol):
                result = self.ipcm("run", "echo", "--protocol", protocol, input=large + "\n", status=None,
                                   preexec_fn=self.refused(errno.EPERM, MEMFD_CREATE))
                if result.status == 0:
                    self.assertEqual(result.answers, [json.loads(large)])
                else:
                    self.assertIn("memfd_create", result.err)

    def test_a_call_that_nothing_can_stand_in_for_is_named(self):
        result = self.ipcm("run", "echo", "1", status=None, preexec_fn=self.refused(errno.EPERM, PIDFD_OPEN))
        if result.status != 0:
            self.assertIn("pidfd_open", result.err)

    def test_a_service_without_a_watch_of_its_place_looks_by_itself(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env, preexec_fn=self.refused(errno.EMFILE, INOTIFY_INIT1))
            with Process(self.peers(env)["echo"]["pid"]) as service:
                shutil.rmtree(env["ROUTE"])
                self.assertTrue(service.wait_for_end(), "it stays")

    def test_pidfd_send_signal(self):
        result = self.ipcm("run", "echo", "1", preexec_fn=self.refused(errno.EPERM, PIDFD_SEND_SIGNAL))
        self.assertEqual(result.answers, [1])
        boot = self.script("#!/bin/sh\nexec sleep 1000\n")
        self.assert_told(self.ipcm("run", "echo", "--timeout", "0.5", "--boot", boot, "1", status=5,
                                   preexec_fn=self.refused(errno.EPERM, PIDFD_SEND_SIGNAL)), "not ready")


if __name__ == "__main__":
    unittest.main()
