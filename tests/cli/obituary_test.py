"""`ipcm ps --all` and the obituaries of services: when and how they died, and who could know it."""

import json
import os
import signal
import stat
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from support import IPCM, Process, TidyTest, protocols  # noqa: E402

DONE, ANSWERED_WITH_ERROR, USAGE, GONE, TIMED_OUT, LAUNCH_FAILED = range(6)


class ObituaryTest(TidyTest):
    def all(self, env):
        """Returns the members and the dead services, by name."""
        return {one["name"]: one for one in json.loads(self.ipcm("--json", "ps", "-a", env=env).out)}

    def files(self, env):
        return sorted(name for name in os.listdir(env["ROUTE"]) if name.endswith(".obituary"))

    def start_service(self, env, name="e", cls="echo"):
        """Starts a service. Its launcher is gone then, and this process has adopted it. Returns its pid."""
        self.ipcm("start", cls, "--name", name, env=env)
        return self.peers(env)[name]["pid"]

    def start_printer(self, env, name="printer"):
        """Starts a program that ends with status 3 when its fifo, whose path is returned, gets a line."""
        fifo = os.path.join(self.work, f"fifo-{name}")
        os.mkfifo(fifo)
        self.ipcm("start", "--name", name, "--speak", "none", "--restart", "never", "--",
                  "sh", "-c", 'read line < "$0"; echo "one line"; echo "no paper left" >&2; exit 3', fifo, env=env)
        return fifo

    def end(self, pid, number=signal.SIGKILL, reap=True):
        with Process(pid) as process:
            process.signal(number)
            self.assertTrue(process.wait_for_end())
        if reap:
            os.waitpid(pid, 0)  # as init does

    def test_a_killed_service_is_shown_with_its_signal_while_its_parent_has_not_reaped_it(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                pid = self.start_service(env)
                self.assertEqual(self.all(env)["e"]["state"], "active")
                self.end(pid, reap=False)
                dead = self.all(env)["e"]
                self.assertEqual((dead["state"], dead["class"], dead["pid"]), ("dead", "echo", pid))
                self.assertEqual((dead["signal"], dead["core_dumped"]), (9, False))
                self.assertEqual(dead["how"], "killed by signal 9 (SIGKILL)")
                self.assertLessEqual(dead["started"], dead["ended"])
                self.assertNotIn("e", self.peers(env))  # without --all
                os.waitpid(pid, 0)

    def test_the_status_is_unknown_if_nobody_saw_the_end(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                pid = self.start_service(env)
                self.end(pid)
                for _ in range(2):  # the first look removes the files of the dead service
                    dead = self.all(env)["e"]
                    self.assertEqual((dead["state"], dead["pid"], dead["how"]), ("dead", pid, "status unknown"))
                    self.assertIn("no process that could know", dead["unknown"])
                    self.assertNotIn("status", dead)
                    self.assertNotIn("signal", dead)
                row = self.ipcm("ps", "-a", env=env).lines[-1]
                self.assertRegex(row, rf"^e +echo +{pid} +\d+s ago +status unknown +- +-$")

    def test_a_service_that_exits_with_a_status_is_shown_with_the_last_line_of_its_log(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                fifo = self.start_printer(env, f"printer-{protocol}")
                name = f"printer-{protocol}"
                pid = self.peers(env)[name]["pid"]
                with Process(pid) as process, open(fifo, "w") as end:
                    end.write("\n")
                    end.flush()
                    self.assertTrue(process.wait_for_end())
                os.waitpid(pid, 0)  # nobody but the service itself could tell its status
                dead = self.all(env)[name]
                self.assertEqual((dead["class"], dead["pid"], dead["status"]), ("command", pid, 3))
                self.assertEqual(dead["how"], "exited with status 3")
                self.assertIn("no paper left\n", dead["last_words"])
                table = self.ipcm("ps", "--all", env=env).out
                self.assertIn("exited with status 3", table)
                self.assertIn("LAST WORDS", table)

    def test_an_orderly_end_is_not_shown(self):
        with self.bus() as env:
            self.start_service(env)
            self.ipcm("stop", "e", env=env)
            self.assertEqual(self.all(env), {})
            self.assertEqual(self.files(env), [])
            self.assertEqual(self.ipcm("ps", "-a", env=env).lines, self.ipcm("ps", env=env).lines)

    def test_a_new_start_of_the_name_removes_the_obituary_and_so_does_the_end_of_the_bus(self):
        with self.bus() as env:
            self.end(self.start_service(env))
            self.ipcm("ps", env=env)
            self.assertEqual(self.files(env), [".e.obituary"])
            self.assertEqual(stat.S_IMODE(os.stat(env["ROUTE"] + "/.e.obituary").st_mode), 0o600)
            self.ipcm("restart", "e", env=env)
            self.assertEqual(self.files(env), [])
            self.assertEqual(self.all(env)["e"]["state"], "active")
            self.end(self.peers(env)["e"]["pid"])
            self.assertEqual(self.all(env)["e"]["state"], "dead")

    def test_the_owner_of_a_session_reaps_its_services_and_knows_how_they_ended(self):
        script = """
            ipcm start echo --name e > /dev/null
            pid=$(ipcm --json ps | sed 's/.*"pid":\\([0-9]*\\).*/\\1/')
            kill -ABRT $pid
            ipcm wait --for gone e
            ipcm ps -a --json
        """
        result = self.ipcm("session", "--", "/bin/sh", "-c", script)
        said, listed = result.lines
        self.assertIn("was killed by SIGABRT", said)
        (dead,) = json.loads(listed)
        self.assertEqual((dead["name"], dead["signal"]), ("e", signal.SIGABRT))

    def test_two_observers_tell_the_same_and_leave_one_obituary(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                pid = self.start_service(env)
                watching = []
                for _ in range(2):
                    watching.append(self.start(IPCM, "-v", "--json", "events", env=env, stdin=subprocess.DEVNULL, stderr_too=True))
                    self.assertIn("watches the bus", watching[-1].read_line())
                self.end(pid)
                for one in watching:
                    event = json.loads(one.read_line())
                    while event["name"] != "e":
                        event = json.loads(one.read_line())
                    self.assertEqual((event["event"], event["pid"]), ("died", pid))
                    one.process.signal(signal.SIGTERM)
                    self.assertEqual(one.finish().status, DONE)
                dead = self.all(env)["e"]
                self.assertEqual((dead["state"], dead["pid"]), ("dead", pid))
                self.assertEqual(dead.get("signal", 9), 9)  # before Linux 6.15 it is unknown

    def test_a_request_and_a_wait_for_a_dead_service_tell_how_it_died(self):
        with self.bus() as env:
            self.end(self.start_service(env), reap=False)
            self.ipcm("ps", env=env)
            self.assert_told(self.ipcm("request", "e", "1", env=env, status=GONE), "to 'e' can't be sent: no such peer",
                             "it died: killed by signal 9 (SIGKILL)")
            self.assertEqual(self.ipcm("wait", "--for", "gone", "e", env=env).out, "'e' was killed by SIGKILL\n")
            self.assertEqual(json.loads(self.ipcm("--json", "wait", "--for", "gone", "e", env=env).out),
                             {"name": "e", "ended": True, "signal": 9})

    def test_a_service_that_a_signal_of_stop_has_ended_is_shown(self):
        with self.bus() as env:
            pid = self.start_service(env, "p")
            with Process(pid) as process:
                process.signal(signal.SIGSTOP)
                os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
                forced = self.ipcm("stop", "p", "--timeout", "1s", env=env)
                self.assertIn("SIGKILL ended it", forced.err)
            self.assertEqual(self.all(env)["p"]["how"], "killed by signal 9 (SIGKILL)")

    def test_a_damaged_obituary_is_left_out(self):
        with self.bus() as env:
            for name, text in (("a", "{"), ("b", '{"name":"other","ended":1}'), ("c", '{"name":"c","ended":1,"status":9999}')):
                with open(f"{env['ROUTE']}/.{name}.obituary", "w") as file:
                    file.write(text)
            self.assertEqual(self.all(env), {})
            self.end(self.start_service(env, "a"))
            self.assertEqual(self.all(env)["a"]["how"], "status unknown")


if __name__ == "__main__":
    unittest.main()
