"""The class `supervisor`: how it learns that a child has failed, who is told, and what ends with it."""

import json
import os
import signal
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from supervising import SupervisorTest, child, program  # noqa: E402
from support import IPCM, Process  # noqa: E402

# A service that writes each general message that it gets to the file which its parameters name.
LISTENER = """
import json, sys
sys.path.insert(0, {here!r})
from bridged import bridge_of
bridge, lines, out = bridge_of(sys.argv[1:])
for text in lines:
    line = json.loads(text)
    if line["type"] == "joined":
        path = line["args"]
        out.write('{{"op":"ready","id":"r"}}\\n')
        out.flush()
    elif line["type"] == "message":
        with open(path, "w") as file:
            file.write(json.dumps(line["content"]) + "\\n")
    elif line["type"] == "end":
        break
out.close()
sys.exit(bridge.wait())
"""


class HealthTest(SupervisorTest):
    def test_a_child_that_does_not_answer_is_stopped_and_started_again(self):
        with self.bus() as env:
            health = {"request": "ping", "interval": 0.05, "timeout": 0.1, "retries": 2}
            self.supervise(env, child("a", health=health, grace=0.05))
            events = self.follow(env)
            pid = events.next("ready", "a")["pid"]
            with Process(pid) as process:
                process.signal(signal.SIGSTOP)
                failed = events.next("failed", "a")
            self.assertTrue(failed["how"].startswith("2 health checks failed: no answer within 100.0 ms"), failed)
            self.assertIn("restart 1 in 0.", failed["next"])
            self.assertNotEqual(events.next("ready", "a")["pid"], pid)
            self.assertIn("2 health checks failed", self.status(env, "a")["last_end"])
            self.end(env)

    def test_a_command_checks_a_child(self):
        sick = os.path.join(self.work, "sick")
        check = self.script(f'#!/bin/sh\necho "looked at $IPCM_INFO" >&2\ntest ! -e {sick}\n', "check")
        with self.bus() as env:
            health = {"command": [check], "interval": 0.02, "timeout": 10, "retries": 1}
            self.supervise(env, child("a", health=health))
            events = self.follow(env)
            events.next("ready", "a")
            open(sick, "w").close()
            failed = events.next("failed", "a")
            self.assertIn("1 health check failed: its command exited with status 1; its last words: looked at [", failed["how"])
            os.remove(sick)
            events.next("ready", "a")
            self.end(env)

    def test_a_command_that_hangs_is_killed_and_has_failed(self):
        with self.bus() as env:
            health = {"command": ["sleep", "1000"], "interval": 0.02, "timeout": 0.1, "retries": 1}
            self.supervise(env, child("a", health=health, restart="temporary"))
            self.assertIn("its command did not end within 100.0 ms", self.follow(env).next("failed", "a")["how"])
            self.end(env)

    def test_an_error_as_the_answer_is_a_failed_check(self):
        with self.bus() as env:
            health = {"request": "nonsense", "interval": 0.02, "timeout": 10, "retries": 1}
            self.supervise(env, {"name": "inner", "class": "supervisor", "health": health, "restart": "temporary"})
            failed = self.follow(env).next("failed", "inner")
            self.assertIn("1 health check failed: its answer is an error: ", failed["how"])
            self.assertEqual(failed["next"], "no restart")
            self.end(env)

    def test_failures_in_the_start_period_do_not_count(self):
        with self.bus() as env:
            health = {"command": ["false"], "interval": 0.02, "timeout": 10, "retries": 1, "start_period": 0.5}
            self.supervise(env, child("a", health=health, restart="temporary"))
            events = self.follow(env)
            ready = events.next("ready", "a")
            self.assertGreaterEqual(events.next("failed", "a")["time"] - ready["time"], 0.5)
            self.end(env)

    def test_a_missed_watchdog_is_a_failure_with_its_reason(self):
        notifies = ("import os, signal, socket\n"
                    "with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:\n"
                    "    notify.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\nsignal.pause()\n")
        dog = program("dog", sys.executable, "-E", "-S", self.script(notifies, "dog.py"), restart="temporary")
        dog["args"]["ready"] = "notify:0.1"
        with self.bus() as env:
            self.supervise(env, dog)
            self.assertIn("sent no WATCHDOG=1 within 100.0 ms", self.follow(env).next("failed", "dog")["how"])
            self.end(env)


class DependentsTest(SupervisorTest):
    def test_dependents_are_told_what_happens_next(self):
        fifo = os.path.join(self.work, "told")
        os.mkfifo(fifo)
        self.env["IPCM_TEST_IPCM"] = IPCM
        source = self.script(LISTENER.format(here=HERE), "listener.py")
        boot = self.script(f'#!/bin/sh\nexec "{sys.executable}" -E -S "{source}" "$@"\n', "listener")
        with self.bus() as env:
            self.supervise(env, child("a"), child("b", boot=boot, args=fifo, depends_on=["a"]))
            before = self.up(env, "b")["pid"]
            told = self.start("cat", fifo)
            self.kill(self.up(env, "a")["pid"])
            message = json.loads(told.read_line())
            self.assertEqual((message["event"], message["service"]), ("failed", "a"))
            self.assertRegex(message["next"], r"^restart 1 in 0\.\d+ s$")
            self.assertEqual(self.status(env, "b")["pid"], before)
            told.close()
            self.end(env)

    def test_propagate_starts_dependents_again_with_the_failed_child(self):
        with self.bus() as env:
            self.supervise(env, child("a", propagate=True), child("b", depends_on=["a"]), child("c", depends_on=["b"]), child("other"))
            events = self.follow(env)
            pids = {name: self.up(env, name)["pid"] for name in ("a", "b", "c", "other")}
            self.kill(pids["a"])
            events.next("failed", "a")
            for name in "abc":
                self.assertNotEqual(events.next("ready", name)["pid"], pids[name])
            self.assertEqual(self.status(env, "other")["pid"], pids["other"])
            self.assertEqual(self.order(env, "stopped"), ["c", "b"])
            self.end(env)

    def test_the_obituary_of_a_child_says_what_happens_next(self):
        with self.bus() as env:
            self.supervise(env, child("a", delay=1000, max_delay=1000, jitter=0), child("b", restart="temporary"))
            events = self.follow(env)
            pids = {name: self.up(env, name)["pid"] for name in "ab"}
            for name, next in (("a", "restart 1 in 1000 s"), ("b", "no restart")):
                self.kill(pids[name])
                self.assertEqual(events.next("failed", name)["next"], next)
                self.assertEqual(self.status(env, name)["next"], next)
            self.assertIn("restart 1 in 1000 s", self.ipcm("ps", "-a", env=env).out)
            dead = {one["name"]: one for one in json.loads(self.ipcm("--json", "ps", "-a", env=env).out)}
            self.assertEqual(dead["b"]["next"], "no restart")
            self.assertIn("; restart 1 in 1000 s", self.ipcm("request", "a", "1", env=env, status=3).err)
            self.end(env)


class EndTest(SupervisorTest):
    def test_a_second_signal_hurries_the_stop(self):
        deaf = self.fake_boot("deaf")
        with self.bus() as env:
            self.supervise(env, child("needed"), child("deaf", boot=deaf, grace=1000, depends_on=["needed"]))
            events = self.follow(env)
            events.next("ready", "deaf")
            with Process(self.peers(env)["sup"]["pid"]) as supervisor:
                supervisor.signal(signal.SIGTERM)
                events.next("stopping", "deaf")
                supervisor.signal(signal.SIGTERM)
                self.assertTrue(supervisor.wait_for_end())
            self.assertEqual(self.order(env, "killed"), ["deaf"])

    def test_the_children_of_a_killed_supervisor_end(self):
        with self.bus() as env:
            self.supervise(env, child("a"), program("b", "sleep", "1000"))
            with Process(self.up(env, "a")["pid"]) as a, Process(self.up(env, "b")["pid"]) as b:
                self.kill(self.peers(env)["sup"]["pid"])
                self.assertTrue(a.wait_for_end() and b.wait_for_end())

    def test_a_supervisor_above_sees_why_the_one_below_gave_up(self):
        inner = {"services": [program("bad", "false")], "intensity": 0}
        with self.bus() as env:
            self.supervise(env, {"name": "inner", "class": "supervisor", "args": inner, "restart": "temporary"})
            failed = self.follow(env).next("failed", "inner")
            for words in ("exited with status 1; its last words: ", "it gives up: service 'bad'", "more than 0 restarts within 60 s"):
                self.assertIn(words, failed["how"])
            self.end(env)

    def test_a_transient_child_starts_again_only_after_failures(self):
        with self.bus() as env:
            self.supervise(env, program("good", "true", restart="transient"), program("bad", "sh", "-c", "exit 3", restart="transient"),
                           intensity=1000)
            self.assertEqual(self.follow(env).next("ended", "good")["next"], "no restart")
            self.assertEqual(self.follow(env).next("failed", "bad")["restart"], 1)
            self.assertEqual(self.status(env, "good")["state"], "ended")
            self.end(env)

    def test_the_process_group_of_a_killed_child_is_killed_too(self):
        pid_file = os.path.join(self.work, "pid")
        deaf = self.fake_boot("deaf")
        boot = self.script(f'#!/bin/sh\nsleep 1000 >&- 2>&- &\necho $! >{pid_file}\nexec {deaf} "$@"\n', "with-a-child")
        with self.bus() as env:
            self.supervise(env, child("a", boot=boot, grace=0.05))
            self.up(env, "a")
            with open(pid_file) as file:
                below = int(file.read())
            with Process(below) as process:
                self.ask(env, {"stop": "a"})
                self.assertTrue(process.wait_for_end())
            self.assertEqual(self.order(env, "killed"), ["a"])
            self.end(env)


if __name__ == "__main__":
    unittest.main()
