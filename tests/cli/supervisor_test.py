"""The class `supervisor`: it starts services in the order of their dependencies, and starts them again."""

import json
import os
import signal
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from supervising import SupervisorTest, child, program  # noqa: E402
from support import BOOT, IPCM, Process  # noqa: E402


class OrderTest(SupervisorTest):
    def test_children_start_after_those_that_they_need_and_stop_before_them(self):
        with self.bus() as env:
            self.supervise(env, child("c", depends_on=["b"]), child("b", depends_on=["a"]), child("a"))
            self.assertEqual(self.up(env, "c")["state"], "running")
            self.assertEqual(self.order(env, "ready"), ["a", "b", "c"])
            self.ask(env, {"stop": "a"})
            self.assertEqual(self.order(env, "stopped"), ["c", "b", "a"])
            self.assertEqual(self.status(env, "c")["state"], "stopped")
            self.end(env)

    def test_a_child_that_runs_to_completion_holds_back_those_that_need_it(self):
        with self.bus() as env:
            self.supervise(env, program("migrate", "true", ready="exit", restart="temporary"), child("api", depends_on=["migrate"]))
            self.up(env, "api")
            self.assertEqual(self.status(env, "migrate")["state"], "done")
            self.end(env)

    def test_children_behind_a_failed_one_do_not_start_and_say_why(self):
        with self.bus() as env:
            self.supervise(env, program("migrate", "false", ready="exit", restart="temporary"), child("api", depends_on=["migrate"]))
            result = self.ask(env, {"start": "api"}, status=1)
            self.assertIn("it needs service 'migrate', whose state is: failed", result.err)
            self.end(env)

    def test_the_end_of_the_supervisor_stops_all_in_reverse_order(self):
        with self.bus() as env:
            self.supervise(env, child("a"), child("b", depends_on=["a"]))
            pids = [self.up(env, name)["pid"] for name in ("b", "a")]
            with Process(pids[0]) as b, Process(pids[1]) as a:
                self.end(env)
                self.assertTrue(a.wait_for_end() and b.wait_for_end())
            self.assertEqual(self.order(env, "stopped"), ["b", "a"])


class RestartTest(SupervisorTest):
    def listen(self, env):
        """Returns a member of the bus that gets the events from now on."""
        bridge = self.start(IPCM, "bridge", "--as", "listener", env=env)
        bridge.write(json.dumps({"op": "request", "id": 1, "to": "sup", "content": {"subscribe": True}}) + "\n")
        while json.loads(bridge.read_line())["type"] != "response":
            pass
        return bridge

    def await_event(self, bridge, event, service):
        """Returns the next event of this kind, and those before it."""
        before = []
        while True:
            line = json.loads(bridge.read_line())
            if line["type"] != "message":
                continue
            told = line["content"]
            if (told["event"], told.get("service")) == (event, service):
                return told, before
            before.append((told["event"], told.get("service")))

    def test_a_killed_child_is_started_again_after_the_delay_of_the_formula(self):
        with self.bus() as env:
            self.supervise(env, child("a"), child("b", depends_on=["a"]))
            before, other = self.up(env, "a")["pid"], self.up(env, "b")["pid"]
            bridge = self.listen(env)
            self.kill(before)
            failed, _ = self.await_event(bridge, "failed", "a")
            self.assertIn("SIGKILL", failed["how"])
            self.assertEqual(failed["restart"], 1)
            self.assertTrue(0.08 <= failed["delay"] <= 0.12, failed)
            ready, _ = self.await_event(bridge, "ready", "a")
            self.assertNotEqual(ready["pid"], before)
            self.assertGreaterEqual(ready["time"] - failed["time"], failed["delay"] - 0.001)
            self.assertEqual(self.status(env, "b")["pid"], other, "one_for_one leaves the others alone")
            bridge.finish()
            self.end(env)

    def test_too_many_failures_make_the_supervisor_give_up_and_say_why(self):
        with self.bus() as env:
            self.supervise(env, child("good"), child("bad", depends_on=["good"]), intensity=1)
            bridge = self.listen(env)
            self.kill(self.up(env, "bad")["pid"])
            self.await_event(bridge, "ready", "bad")
            with Process(self.peers(env)["sup"]["pid"]) as supervisor:
                self.kill(self.up(env, "bad")["pid"])
                gave_up, _ = self.await_event(bridge, "gave up", None)
                self.assertIn("more than 1 restarts within 60 s", gave_up["why"])
                self.await_event(bridge, "stopped", "good")
                self.assertTrue(supervisor.wait_for_end())
            bridge.finish()

    def test_one_for_all_stops_the_others_and_starts_all_again(self):
        with self.bus() as env:
            self.supervise(env, child("other"), child("flaky"), strategy="one_for_all")
            other, flaky = self.up(env, "other")["pid"], self.up(env, "flaky")["pid"]
            bridge = self.listen(env)
            self.kill(flaky)
            _, before = self.await_event(bridge, "stopped", "other")
            self.assertNotIn(("starting", "flaky"), before)
            ready, _ = self.await_event(bridge, "ready", "other")
            self.assertNotEqual(ready["pid"], other)
            self.assertEqual(self.up(env, "flaky")["state"], "running")
            bridge.finish()
            self.end(env)

    def test_rest_for_one_leaves_those_before_alone(self):
        with self.bus() as env:
            self.supervise(env, child("first"), child("second"), child("third"), strategy="rest_for_one")
            first, second, third = (self.up(env, name)["pid"] for name in ("first", "second", "third"))
            bridge = self.listen(env)
            self.kill(second)
            ready, _ = self.await_event(bridge, "ready", "third")
            self.assertNotEqual(ready["pid"], third)
            self.assertEqual(self.status(env, "first")["pid"], first)
            bridge.finish()
            self.end(env)

    def test_a_temporary_child_stays_down_until_a_request_starts_it(self):
        with self.bus() as env:
            self.supervise(env, child("once", restart="temporary"))
            pid = self.up(env, "once")["pid"]
            bridge = self.listen(env)
            self.kill(pid)
            failed, _ = self.await_event(bridge, "failed", "once")
            self.assertNotIn("restart", failed)
            self.assertEqual(self.status(env, "once")["state"], "failed")
            self.assertNotEqual(self.up(env, "once")["pid"], pid)
            bridge.finish()
            self.end(env)

    def test_a_child_that_ignores_its_stop_is_killed_after_its_grace(self):
        with self.bus() as env:
            stubborn = self.fake_boot("deaf")
            self.supervise(env, child("a", boot=stubborn, grace=0.1))
            self.up(env, "a")
            self.ask(env, {"stop": "a"})
            self.assertEqual(self.status(env, "a")["state"], "stopped")
            self.assertEqual(self.order(env, "killed"), ["a"])
            self.end(env)

    def test_a_restart_by_request_gives_a_new_process(self):
        with self.bus() as env:
            self.supervise(env, child("a"))
            before = self.up(env, "a")["pid"]
            (after,) = self.ask(env, {"restart": "a"}).answers
            self.assertEqual(after["state"], "running")
            self.assertNotEqual(after["pid"], before)
            self.end(env)


class ReloadTest(SupervisorTest):
    def reload(self, env, *services, status=0, **more):
        return self.ask(env, {"reload": {"services": services, **more}}, status=status)

    def test_a_reload_applies_only_the_difference(self):
        with self.bus() as env:
            self.supervise(env, child("same"), child("policy"), child("args"), child("old", depends_on=["same"]))
            before = {name: self.up(env, name)["pid"] for name in ("same", "policy", "args", "old")}
            with Process(before["old"]) as old:
                (answer,) = self.reload(env, child("new", depends_on=["args"]), child("args", args={"prefix": "x"}), child("same"),
                                        child("policy", restart="transient", depends_on=["same"])).answers
                self.assertTrue(old.wait_for_end())
            self.assertEqual(answer, {"started": ["new"], "stopped": ["old"], "restarted": ["args"], "updated": ["policy"],
                                      "unchanged": ["same"]})
            after = {one["name"]: one for one in self.ask(env, "status").answers[0]}
            self.assertEqual(sorted(after), ["args", "new", "policy", "same"])
            self.assertEqual({one["state"] for one in after.values()}, {"running"})
            self.assertEqual([name for name in ("same", "policy", "args") if after[name]["pid"] != before[name]], ["args"])
            self.assertEqual(self.ipcm("request", "args", '"y"', env=env).answers, ["xy"])
            self.end(env)

    def test_mistakes_are_told_at_once_and_nothing_changes(self):
        with self.bus() as env:
            self.supervise(env, child("a"))
            before = self.up(env, "a")
            err = self.reload(env, child("b", depends_on=["bb"]), child("c", jitter=2), status=1).err
            for words in ("there is no service 'bb'", "jitter: wants"):
                self.assertIn(words, err)
            self.assertEqual(self.status(env, "a"), before)
            self.end(env)

    def test_the_answer_names_a_child_that_does_not_become_ready(self):
        with self.bus() as env:
            self.supervise(env)
            (answer,) = self.reload(env, program("bad", "false", ready="exit", restart="temporary"), child("good")).answers
            self.assertEqual(answer["started"], ["bad", "good"])
            self.assertIn("service 'bad' is failed", answer["failed"]["bad"])
            self.assertEqual(self.status(env, "good")["state"], "running")
            self.end(env)

    def test_a_child_that_was_stopped_by_request_stays_so(self):
        with self.bus() as env:
            self.supervise(env, child("a"))
            self.up(env, "a")
            self.ask(env, {"stop": "a"})
            (answer,) = self.reload(env, child("a", args={"prefix": "x"})).answers
            self.assertEqual(answer["updated"], ["a"])
            self.assertEqual(self.status(env, "a")["state"], "stopped")
            self.end(env)


class AdoptionTest(SupervisorTest):
    """The test itself starts the supervisor, and is the process to which it and its children are leashed."""

    def supervise_as_owner(self, env, *services):
        args = {"adopt": True, "services": services}
        parameters = {"ipcm": 1, "name": "sup", "class": "supervisor", "ipcm_info": json.loads(env["IPCM_INFO"]), "args": args}
        leash, (ready, report) = os.pidfd_open(os.getpid()), os.pipe()
        supervisor = self.start(BOOT, "--ready-fd", report, json.dumps(parameters), env=dict(env, IPCM_LEASH_FD=str(leash)),
                                pass_fds=(leash, report), stderr_too=True)
        os.close(leash)
        os.close(report)
        with open(ready) as pipe:
            self.assertTrue(json.loads(pipe.readline())["ready"])
        return supervisor

    def test_the_next_supervisor_adopts_children_and_goes_on_counting(self):
        with self.bus() as env:
            services = child("a"), program("job", "true", ready="exit", restart="temporary"), child("changed"), child("gone")
            first = self.supervise_as_owner(env, *services)
            pids = {name: self.up(env, name)["pid"] for name in ("a", "changed", "gone")}
            self.up(env, "job")
            first.process.signal(signal.SIGKILL)
            first.finish()
            self.assertIn("a", self.peers(env))
            with Process(pids["gone"]) as gone, Process(pids["a"]) as adopted:
                second = self.supervise_as_owner(env, *services[:2], child("changed", args={"prefix": "> "}))
                self.assertEqual(self.up(env, "a")["pid"], pids["a"])
                self.assertEqual(self.status(env, "job")["state"], "done")
                self.assertNotEqual(self.up(env, "changed")["pid"], pids["changed"])
                self.assertTrue(gone.wait_for_end())
                adopted.signal(signal.SIGKILL)
                self.assertTrue(adopted.wait_for_end())
            failed = self.next_event(second, "failed", "a")
            self.assertIn("SIGKILL", failed["how"])
            self.assertEqual(failed["restart"], 1)
            self.assertNotEqual(self.next_event(second, "ready", "a")["pid"], pids["a"])
            self.end(env)
            self.assertEqual(second.finish().status, 0)

    def next_event(self, supervisor, event, service):
        while True:
            line = supervisor.read_line()
            told = json.loads(line) if line.startswith("{") else {"event": None}
            if (told["event"], told.get("service")) == (event, service):
                return told

    def test_a_supervisor_without_an_owner_refuses_to_adopt(self):
        with self.bus() as env:
            result = self.ipcm("start", "supervisor", "--name", "sup", "--args", '{"adopt":true}', env=env, status=None)
            self.assertNotEqual(result.status, 0)
            self.assertIn("leashed to no process", result.err)


class BadInputTest(SupervisorTest):
    def test_a_cycle_is_an_error_of_the_start(self):
        with self.bus() as env:
            args = json.dumps({"services": [child("a", depends_on=["b"]), child("b", depends_on=["a"])]})
            result = self.ipcm("start", "supervisor", "--name", "sup", "--args", args, env=env, status=None)
            self.assertNotEqual(result.status, 0)
            self.assertIn("'a' needs 'b', 'b' needs 'a'", result.err)

    def test_wrong_requests_get_errors_that_help(self):
        with self.bus() as env:
            self.supervise(env, child("a"))
            for request, words in ((5, "a request is"), ({"scale": "a"}, "scale"), ({"start": "aa"}, "did you mean 'a'"), ({}, "exactly one")):
                self.assertIn(words, self.ask(env, request, status=1).err)
            self.end(env)


if __name__ == "__main__":
    unittest.main()
