"""`ipcm inspect`, and the lists of `ipcm ps` that ask services: --ping and --watch."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(HERE, "..", "interop")]

import foreign  # noqa: E402
from support import HANG, IPCM, Process, TidyTest, protocols  # noqa: E402

DONE, ANSWERED_WITH_ERROR, USAGE, GONE, TIMED_OUT = range(5)


class Stopped:
    """A process that a signal has stopped, until the end of the block."""

    def __init__(self, pid):
        self.process = Process(pid)

    def __enter__(self):
        self.process.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)  # this process has adopted it
        return self

    def __exit__(self, *_):
        self.process.signal(signal.SIGCONT)
        os.close(self.process.fd)


class InspectTest(TidyTest):
    def inspect(self, env, *words):
        return json.loads(self.ipcm("--json", "inspect", *words, env=env).out)

    def test_a_service_tells_its_facts_on_every_protocol(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                before = time.time()
                self.ipcm("start", "echo", "--name", "e", "--args", '{"prefix":"> "}', "--interval", "50s", env=env)
                self.ipcm("request", "e", "1", '"two"', env=env)
                facts = self.inspect(env, "e")
                self.assertEqual((facts["name"], facts["class"], facts["pid"]), ("e", "echo", self.peers(env)["e"]["pid"]))
                self.assertEqual(facts["requests"], {"answered": 2, "failed": 0, "open": 0})
                self.assertEqual(facts["messages"], {"received": 3, "sent": 2, "waiting": 0})
                self.assertEqual((facts["parameters"]["args"], facts["parameters"]["interval"]), ({"prefix": "> "}, 50))
                self.assertNotIn("last_failure", facts)
                self.assertLess(before - 1, facts["started"])  # the kernel counts the start of a process in hundredths
                self.assertLessEqual(facts["started"], facts["ready"] + 1)
                self.assertLessEqual(facts["ready"], time.time())
                lines = dict(line.split(None, 1) for line in self.ipcm("inspect", "e", env=env).lines)
                self.assertEqual((lines["NAME"], lines["REQUESTS"]), ("e", "2 answered, 0 failed, 0 open"))
                self.assertIn('"prefix":"> "', lines["PARAMETERS"])

    def test_a_failure_is_told_with_its_text_and_time(self):
        with self.bus() as env:
            self.ipcm("start", "--name", "f", "--", "sh", "-c", "echo no paper left >&2; exit 3", env=env)
            before = time.time()
            self.ipcm("request", "f", "1", env=env, status=ANSWERED_WITH_ERROR)
            facts = self.inspect(env, "f")
            self.assertEqual(facts["requests"], {"answered": 0, "failed": 1, "open": 0})
            self.assertIn("status 3", facts["last_failure"]["text"])
            self.assertTrue(before <= facts["last_failure"]["time"] <= time.time())
            self.assertRegex(self.ipcm("inspect", "f", env=env).out, r"LAST FAILURE +\d+s ago: .*status 3")

    def test_secret_parameters_are_not_told(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e", "--secret", "--args", '{"prefix":"hush"}', env=env)
            facts = self.ipcm("--json", "inspect", "e", env=env).out
            self.assertNotIn("hush", facts)
            self.assertIsNone(json.loads(facts)["parameters"])
            self.assertRegex(self.ipcm("inspect", "e", env=env).out, r"PARAMETERS +secret")

    def test_a_service_behind_a_bridge_answers(self):
        with self.bus() as env:
            bridge = self.start(IPCM, "bridge", "--serve", "--name", "b", env=env)
            self.assertEqual(json.loads(bridge.read_line())["type"], "joined")
            bridge.write('{"op":"ready","id":1}\n')
            self.assertEqual(json.loads(bridge.read_line())["type"], "done")
            self.assertEqual(self.inspect(env, "b")["pid"], bridge.pid)
            bridge.close_stdin()
            bridge.finish()

    def test_a_stopped_service_does_not_answer_and_what_the_kernel_shows_is_printed(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                self.ipcm("start", "echo", "--name", "e", env=env)
                pid = self.peers(env)["e"]["pid"]
                with Stopped(pid):
                    result = self.ipcm("inspect", "e", "--timeout", "300ms", env=env, status=TIMED_OUT)
                    self.assertIn("'e' does not answer within 300 ms: its process is stopped", result.err)
                    self.assertEqual(result.lines[1].split()[:4], ["e", "echo", str(pid), "stopped"])
                    shown = json.loads(self.ipcm("--json", "inspect", "e", "--timeout", "50ms", env=env, status=TIMED_OUT).out)
                    self.assertEqual((shown["name"], shown["pid"], shown["answers"]), ("e", pid, False))
                self.assertEqual(self.inspect(env, "e")["requests"]["answered"], 0)

    def test_a_member_that_is_no_service_of_this_library_is_never_asked(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                client = self.start(IPCM, "bridge", "--as", "ear", env=env)
                self.assertEqual(json.loads(client.read_line())["type"], "joined")
                peer = self.start(sys.executable, "-B", foreign.__file__, env["IPCM_INFO"], "perl", env=env)
                self.assertIn("joined", json.loads(peer.read_line()))
                self.ipcm("wait", "ear", "perl", env=env)
                for name in ("ear", "perl"):
                    self.assert_told(self.ipcm("inspect", name, env=env, status=USAGE), f"'{name}' can't be inspected", "`ipcm ps` shows")
                shown = {one["name"]: one for one in json.loads(self.ipcm("ps", "--ping", "--json", env=env).out)}
                self.assertEqual([key for name in ("ear", "perl") for key in ("answers", "queued") if key in shown[name]], [])
                # The first message of each is this one.
                self.ipcm("send", "perl", '"end"', env=env)
                self.ipcm("send", "ear", '"end"', env=env)
                self.assertEqual(json.loads(peer.read_line())["content"], "end")
                self.assertEqual(json.loads(client.read_line())["content"], "end")
                client.close_stdin()
                client.finish()
                peer.close_stdin()
                peer.finish()

    def test_a_name_that_nobody_has_is_told(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e1", env=env)
            self.assert_told(self.ipcm("inspect", "e2", env=env, status=GONE), "'e2'", "not on the bus", "did you mean 'e1'")
        self.ipcm("inspect", "e", "--bus", self.work + "/nowhere", status=GONE)


class PingTest(TidyTest):
    """ipcm ps --ping"""

    def list(self, env, *words):
        return {one["name"]: one for one in json.loads(self.ipcm("--json", "ps", *words, env=env).out)}

    def test_services_tell_their_messages_and_answers_and_others_do_not(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                for name in ("e1", "e2"):
                    self.ipcm("start", "echo", "--name", name, env=env)
                self.ipcm("request", "e2", "1", "2", "3", env=env)
                listed = self.list(env, "--ping")
                self.assertEqual([(one["answers"], one["queued"], one["answered"], one["state"]) for one in (listed["e1"], listed["e2"])],
                                 [(True, 0, 0, "active"), (True, 0, 3, "active")])
                self.assertNotIn("queued", self.list(env)["e1"])
                header, _, row = self.ipcm("ps", "--ping", env=env).lines
                self.assertEqual(header.split()[-2:], ["QUEUED", "ANSWERED"])
                self.assertEqual(row.split()[-2:], ["0", "3"])

    def test_a_service_that_is_busy_is_not_answering_and_the_others_are_not_delayed(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e", env=env)
            self.ipcm("start", "echo", "--name", "stopped", env=env)
            with Stopped(self.list(env)["stopped"]["pid"]):
                listed = self.list(env, "--ping")
            self.assertEqual((listed["e"]["answers"], listed["stopped"]["state"]), (True, "stopped"))


class WatchTest(TidyTest):
    """ipcm ps --watch"""

    def next_list(self, watching, wanted):
        """Returns the next list for which `wanted` holds."""
        while True:
            listed = {one["name"]: one for one in json.loads(watching.read_line())}
            if wanted(listed):
                return listed

    def test_each_change_is_a_line_of_json_until_the_bus_is_removed(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                watching = self.start(IPCM, "ps", "--watch", "--ping", "--json", env=env, stdin=subprocess.DEVNULL)
                self.assertEqual(json.loads(watching.read_line()), [])
                self.ipcm("start", "echo", "--name", "e", env=env)
                listed = self.next_list(watching, lambda all: all.get("e", {}).get("answers"))
                self.assertEqual((listed["e"]["state"], listed["e"]["answered"]), ("active", 0))
                self.ipcm("request", "e", "1", "2", env=env)
                self.next_list(watching, lambda all: all["e"].get("answered") == 2)
                self.ipcm("stop", "e", env=env)
                self.next_list(watching, lambda all: "e" not in all)
                self.ipcm("bus", "rm", env=env)
                self.assertEqual(watching.finish().status, DONE)

    def test_signals_and_the_time_limit_end_it_with_status_0(self):
        with self.bus() as env:
            for number in (signal.SIGINT, signal.SIGTERM):
                watching = self.start(IPCM, "ps", "--watch", "--json", env=env, stdin=subprocess.DEVNULL)
                self.assertEqual(watching.read_line(), "[]")
                watching.process.signal(number)
                self.assertEqual(watching.finish().status, DONE)
            self.assertEqual(self.ipcm("ps", "--watch", "--timeout", "50ms", env=env).out.split()[0], "NAME")

    def test_it_does_not_show_the_dead(self):
        with self.bus() as env:
            self.assert_told(self.ipcm("ps", "--watch", "-a", env=env, status=USAGE), "--watch", "--all")

    def test_an_unchanged_list_is_printed_once(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e", env=env)
            lists = self.ipcm("ps", "--watch", "--timeout", "2500ms", "--json", env=env).lines
            shown = [{key: value for key, value in json.loads(line)[0].items() if key != "age_seconds"} for line in lists]
            self.assertTrue(all(one != other for one, other in zip(shown, shown[1:])), shown)

    def test_a_terminal_shows_one_list_in_place_of_the_other(self):
        with self.bus() as env:
            ours, theirs = pty.openpty()
            try:
                watching = self.start(IPCM, "ps", "--watch", env=env, stdin=subprocess.DEVNULL, stdout=theirs)
            finally:
                os.close(theirs)
            seen = b""
            try:
                self.ipcm("start", "echo", "--name", "shown", env=env)
                while b"shown" not in seen:
                    self.assertTrue(select.select([ours], [], [], HANG)[0], seen)
                    seen += os.read(ours, 65536)
                self.assertTrue(seen.startswith(b"\x1b[H\x1b[J"), seen)
                watching.process.signal(signal.SIGTERM)
                self.assertTrue(watching.process.wait_for_end())
            finally:
                os.close(ours)
            self.assertEqual(watching.popen.wait(), DONE)


if __name__ == "__main__":
    unittest.main()
