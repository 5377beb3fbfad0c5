"""The verbs that look after services: `ipcm events` and `ipcm restart`."""

import json
import os
import signal
import stat
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from support import IPCM, TidyTest, protocols  # noqa: E402

DONE, ANSWERED_WITH_ERROR, USAGE, GONE, TIMED_OUT, LAUNCH_FAILED = range(6)


class EventsTest(TidyTest):
    """ipcm events: prints what happens to the peers of a bus."""

    def watching(self, env, *words):
        """Starts `ipcm events`, and returns when it watches the bus."""
        running = self.start(IPCM, "-v", *words, "events", env=env, stdin=subprocess.DEVNULL, stderr_too=True)
        self.assertIn("watches the bus", running.read_line())
        return running

    def next_of(self, watching, name):
        """Returns the next event of that peer. Clients of other commands have events, too."""
        while True:
            event = json.loads(watching.read_line())
            if event["name"] == name:
                return event

    def test_the_life_of_a_service_is_printed(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                watching = self.watching(env, "--json")
                self.ipcm("start", "echo", "--name", "e", env=env)
                pid = self.peers(env)["e"]["pid"]
                joined, ready = self.next_of(watching, "e"), self.next_of(watching, "e")
                self.assertEqual((joined["event"], ready["event"]), ("joined", "ready"))
                self.assertEqual((ready["class"], ready["pid"]), ("echo", pid))
                self.ipcm("stop", "e", env=env)
                left = self.next_of(watching, "e")
                self.assertEqual((left["event"], left["ended"], left["pid"]), ("left", True, pid))
                self.assertEqual(left.get("status", 0), 0)  # before Linux 6.15 it is unknown
                self.ipcm("bus", "rm", env=env)
                self.assertEqual(watching.finish().status, DONE)

    def test_a_killed_service_has_died_by_a_signal(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                self.ipcm("start", "echo", "--name", "e", env=env)
                pid = self.peers(env)["e"]["pid"]
                watching = self.watching(env, "--json")
                os.kill(pid, signal.SIGKILL)
                died = self.next_of(watching, "e")
                self.assertEqual((died["event"], died["ended"], died["pid"]), ("died", True, pid))
                self.assertEqual(died.get("signal", 9), 9)
                watching.process.signal(signal.SIGTERM)
                self.assertEqual(watching.finish().status, DONE)

    def test_the_last_words_of_a_service_that_died_are_told(self):
        with self.bus() as env:
            fifo = os.path.join(self.work, "fifo")
            os.mkfifo(fifo)
            self.ipcm("start", "--name", "printer", "--speak", "none", "--restart", "never", "--",
                      "sh", "-c", 'read line < "$0"; echo "no paper left" >&2; exit 3', fifo, env=env)
            watching = self.watching(env)
            with open(fifo, "w") as end:
                end.write("\n")
            line = watching.read_line()
            while "'printer'" not in line:
                line = watching.read_line()
            self.assertIn("'printer' died: exited with status", line)
            self.assertIn("no paper left", line)
            watching.process.signal(signal.SIGINT)
            self.assertEqual(watching.finish().status, DONE)

    def test_a_name_that_is_taken_again_has_its_events_in_their_order(self):
        with self.bus() as env:
            watching = self.watching(env, "--json")
            for _ in range(3):
                self.ipcm("start", "echo", "--name", "e", env=env)
                self.ipcm("stop", "e", env=env)
            self.assertEqual([self.next_of(watching, "e")["event"] for _ in range(9)], ["joined", "ready", "left"] * 3)
            watching.process.signal(signal.SIGTERM)
            self.assertEqual(watching.finish().status, DONE)

    def test_a_count_ends_it_and_fewer_events_in_the_time_are_an_error(self):
        with self.bus() as env:
            counted = self.start(IPCM, "-v", "events", "--json", "-n", "1", env=env, stdin=subprocess.DEVNULL, stderr_too=True)
            self.assertIn("watches", counted.read_line())
            self.ipcm("start", "echo", "--name", "e", env=env)
            result = counted.finish()
            self.assertEqual((result.status, len(result.lines)), (DONE, 1), result)
            self.ipcm("events", "--timeout", "50ms", env=env)
            self.assert_told(self.ipcm("events", "-n", "1", "--timeout", "50ms", env=env, status=TIMED_OUT), "saw 0 of 1 events")

    def test_no_bus_is_an_error(self):
        self.ipcm("events", "--bus", self.work + "/nowhere", status=GONE)


class RestartTest(TidyTest):
    """ipcm restart: ends a service, and starts it again from its stored parameters."""

    def pid(self, env):
        return self.peers(env)["e"]["pid"]

    def test_a_service_is_another_process_with_the_same_parameters(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                self.ipcm("start", "echo", "--name", "e", "--args", '{"prefix":"> "}', env=env)
                before = self.pid(env)
                for _ in range(2):
                    self.assertEqual(self.ipcm("restart", "e", env=env).out, "e\n")
                    self.assertEqual(self.ipcm("request", "e", '"hi"', env=env).answers, ["> hi"])
                    self.assertNotEqual(self.pid(env), before)
                    before = self.pid(env)

    def test_a_service_that_died_is_started_again(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e", "--args", '{"prefix":"> "}', env=env)
            os.kill(self.pid(env), signal.SIGKILL)
            self.ipcm("wait", "--for", "gone", "e", env=env)
            self.ipcm("restart", "e", env=env)
            self.assertEqual(self.ipcm("request", "e", '"hi"', env=env).answers, ["> hi"])

    def test_a_program_has_its_words_and_its_working_directory_again(self):
        with self.bus() as env:
            self.ipcm("start", "--name", "e", "--raw", "--", "sh", "-c", 'pwd; echo "$0"', "a word", env=env)
            self.sh("cd / && ipcm restart e", env=env)
            (answer,) = self.ipcm("request", "e", "1", env=env).answers
            self.assertEqual(answer.split("\n")[:2], [os.path.realpath(self.work), "a word"])

    def test_only_the_user_can_read_the_parameters_and_the_end_on_purpose_removes_them(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e", env=env)
            stored = env["ROUTE"] + "/.e.params"
            self.assertEqual(stat.S_IMODE(os.stat(stored).st_mode), 0o600)
            self.ipcm("stop", "e", env=env)
            self.assertFalse(os.path.exists(stored))
            self.ipcm("restart", "e", env=env, status=GONE)

    def test_the_flags_of_the_start_hold_again(self):
        with self.bus() as env:
            boot = self.script('#!/bin/sh\nprintf "%s\\n" "$*" >> "$0.seen"\nexec "$BOOT" "$@"\n')
            self.ipcm("start", "echo", "--name", "e", "--boot", boot, "--expose-errors", "--interval", "50s", "--spin", "10us", env=env)
            self.ipcm("restart", "e", env=env)
            with open(boot + ".seen") as file:
                first, second = [json.loads(line[line.index("{"):]) for line in file]
            self.assertEqual((first["interval"], first["expose_error_details"]), (50, True))
            self.assertEqual(first, second)

    def test_a_service_with_secret_parameters_is_refused_and_goes_on(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e", "--secret", "--args", '{"prefix":"hush "}', env=env)
            before = self.pid(env)
            with open(env["ROUTE"] + "/.e.params") as file:
                self.assertNotIn("hush", file.read())
            self.assert_told(self.ipcm("restart", "e", env=env, status=USAGE), "'e'", "secret", "ipcm stop")
            self.assertEqual(self.pid(env), before)

    def test_a_service_that_another_program_has_started_is_refused(self):
        with self.bus() as env:
            listener = self.start(IPCM, "listen", "--as", "e", env=env, stdin=subprocess.DEVNULL)
            self.ipcm("wait", "e", env=env)
            self.assert_told(self.ipcm("restart", "e", env=env, status=USAGE), "'e'", "not started by `ipcm start`")
            listener.process.signal(signal.SIGINT)
            self.assertEqual(listener.finish().status, DONE)
            # The parameters of a dead service do not belong to its successor.
            self.ipcm("start", "echo", "--name", "e", env=env)
            os.kill(self.pid(env), signal.SIGKILL)
            self.ipcm("wait", "--for", "gone", "e", env=env)
            listener = self.start(IPCM, "listen", "--as", "e", env=env, stdin=subprocess.DEVNULL)
            self.ipcm("wait", "e", env=env)
            self.assert_told(self.ipcm("restart", "e", env=env, status=USAGE), f"process {listener.pid} has the name now")

    def test_a_name_that_nobody_has_is_told(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e1", env=env)
            self.assert_told(self.ipcm("restart", "e2", env=env, status=GONE), "'e2' is not on the bus", "did you mean 'e1'")

    def test_a_start_that_fails_is_told_with_the_last_words_and_can_be_repeated(self):
        with self.bus() as env:
            broken = os.path.join(self.work, "broken")
            boot = self.script(f'#!/bin/sh\n[ -e "{broken}" ] && {{ echo "no database here" >&2; exit 3; }}\nexec "$BOOT" "$@"\n')
            self.ipcm("start", "echo", "--name", "e", "--boot", boot, env=env)
            open(broken, "w").close()
            self.assert_told(self.ipcm("restart", "e", env=env, status=LAUNCH_FAILED), "'e' did not start", "status 3",
                             "no database here", "former process has ended")
            self.assertNotIn("e", self.peers(env))
            os.unlink(broken)
            self.ipcm("restart", "e", env=env)
            self.assertEqual(self.ipcm("request", "e", "1", env=env).answers, [1])


if __name__ == "__main__":
    unittest.main()
