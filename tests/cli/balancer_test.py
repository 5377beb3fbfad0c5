"""Replicas of a child of a supervisor, and the class `balancer`, which has their name."""

import json
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from supervising import SupervisorTest, child  # noqa: E402
from support import IPCM, Process  # noqa: E402


class Client:
    """A client behind `ipcm bridge`."""

    def __init__(self, test, env, name):
        self.running = test.start(IPCM, "bridge", "--as", name, env=env)
        self.next("joined")

    def say(self, **line):
        self.running.write(json.dumps(line) + "\n")

    def next(self, *kinds):
        while True:
            line = json.loads(self.running.read_line())
            if line["type"] in kinds:
                return line

    def request(self, number, content, to="api"):
        self.say(op="request", id=number, to=to, content=content)

    def answer(self):
        """Returns the id of a request and its answer, or its error."""
        line = self.next("response", "error")
        return line["id"], line.get("content", line.get("error"))

    def end(self):
        self.running.finish()


class BalancerTest(SupervisorTest):
    def replicated(self, env, count, **more):
        """Starts replicas that hold, answer and die on request (bridged.py)."""
        self.env["IPCM_TEST_IPCM"] = env["IPCM_TEST_IPCM"] = IPCM
        bridged = os.path.join(HERE, "bridged.py")
        boot = self.script(f'#!/bin/sh\nexec "{sys.executable}" -E -S "{bridged}" "$@"\n', "bridged")
        self.supervise(env, child("api", boot=boot, replicas=count, **more))
        self.up(env, "api")

    def pids(self, env, *names):
        return {name: self.status(env, name)["pid"] for name in names}

    def test_requests_go_to_the_replica_with_the_fewest(self):
        with self.bus() as env:
            self.replicated(env, 2)
            client = Client(self, env, "me")
            client.request(1, "hold")  # the first replica is busy from now on
            client.request(2, "self")
            number, first = client.answer()
            self.assertEqual(number, 2)
            for number in (3, 4):
                client.request(number, "self")
                self.assertEqual(client.answer(), (number, first), "the replica that is not busy")
            client.running.close()  # its first request stays open
            self.end(env)

    def test_answers_and_errors_come_back_unchanged(self):
        with self.bus() as env:
            self.replicated(env, 1)
            for value in ({"a": [1, None, "é"]}, None, "x" * 100_000):
                self.assertEqual(self.ipcm("request", "api", "-", input=json.dumps(value), env=env).answers, [value])
            err = self.ipcm("request", "api", '"fail"', env=env, status=1).err
            self.assertIn("'api' answered with an error: it failed on purpose\n", err)
            self.end(env)

    def test_a_request_whose_replica_dies_fails_once_and_others_go_on(self):
        with self.bus() as env:
            self.replicated(env, 2, delay=1000, max_delay=1000)
            client = Client(self, env, "me")
            client.request(1, "die")
            self.assertIn("went away before it answered", client.answer()[1])
            for number in range(2, 6):
                client.request(number, number)
                self.assertEqual(client.answer(), (number, number))
            client.end()
            self.end(env)

    def test_requests_wait_for_a_replica_that_starts_again(self):
        with self.bus() as env:
            self.replicated(env, 1, delay=0.2, jitter=0)
            client = Client(self, env, "me")
            client.request(1, "die")
            client.answer()
            client.request(2, "after")
            self.assertEqual(client.answer(), (2, "after"))
            client.end()
            self.end(env)

    def test_requests_wait_for_the_first_replica(self):
        with self.bus() as env:
            self.ipcm("start", "balancer", "--name", "api", "--args", '{"replicas":["late"],"timeout":1000}', env=env)
            client = Client(self, env, "me")
            client.request(1, "early")
            self.ipcm("start", "echo", "--name", "late", env=env)
            self.assertEqual(client.answer(), (1, "early"))
            client.end()

    def test_requests_beyond_the_bound_are_refused(self):
        with self.bus() as env:
            self.ipcm("start", "balancer", "--name", "api", "--args", '{"replicas":["nobody"],"max_waiting":2,"timeout":0.3}', env=env)
            client = Client(self, env, "me")
            for number in (1, 2, 3):
                client.request(number, number)
            number, error = client.answer()
            self.assertEqual(number, 3)
            self.assertIn("has 2 requests that are not answered yet, the most that its max_waiting allows", error)
            for number in (1, 2):
                self.assertEqual(client.answer()[0], number)
            client.end()

    def test_a_message_goes_to_one_replica_and_a_broadcast_to_each_once(self):
        with self.bus() as env:
            for name in ("r1", "r2"):
                setattr(self, name, Client(self, env, name))
            self.ipcm("start", "balancer", "--name", "api", "--args", '{"replicas":["r1","r2"]}', env=env)
            self.ipcm("send", "api", '"one"', env=env)
            self.ipcm("send", "api", '"two"', env=env)
            self.ipcm("broadcast", '"all"', env=env)
            for client, expected in ((self.r1, "one"), (self.r2, "two")):
                self.assertEqual(sorted(client.next("message")["content"] for _ in range(2)), ["all", expected])
                client.end()

    def test_scale_adds_replicas_and_drains_those_that_it_removes(self):
        with self.bus() as env:
            self.replicated(env, 1)
            (answer,) = self.ask(env, {"scale": {"api": 3}}).answers
            self.assertEqual((answer["started"], answer["updated"]), (["api.2", "api.3"], ["api"]))
            client = Client(self, env, "me")
            for number in (1, 2, 3):
                client.request(number, "hold")
            pids = self.pids(env, "api", "api.1", "api.2", "api.3")
            scaling = Client(self, env, "scaling")
            with Process(pids["api.2"]) as second, Process(pids["api.3"]) as third:
                scaling.request(1, {"scale": {"api": 1}}, to="sup")
                # The balancer uses only the first replica from now on: its "release" answers what that one holds.
                self.follow(env).next("reloaded")
                for replica in ("api.2", "api.3"):
                    client.request(replica, "release", to=replica)
                answers = sorted(str(client.answer()[0]) for _ in range(4))
                self.assertEqual(answers[2:], ["api.2", "api.3"])
                number, answer = scaling.answer()
                self.assertEqual(answer["stopped"], ["api.2", "api.3"])
                self.assertTrue(second.wait_for_end() and third.wait_for_end())
            client.request(5, "release")
            client.answer(), client.answer()
            self.assertEqual(self.pids(env, "api", "api.1"), {name: pids[name] for name in ("api", "api.1")})
            self.assertEqual(self.order(env, "failed"), [])
            client.end()
            scaling.end()
            self.end(env)

    def test_dependents_start_when_one_replica_is_ready(self):
        boot = self.script(f'#!/bin/sh\ncase "$*" in *\'"api.2"\'*) exec sleep 1000;; esac\nexec "$BOOT" "$@"\n', "half")
        with self.bus() as env:
            self.supervise(env, child("api", boot=boot, replicas=2, timeout=1000, grace=0.05), child("web", depends_on=["api"]))
            self.assertEqual(self.up(env, "web")["state"], "running")
            self.assertEqual(self.status(env, "api.2")["state"], "starting")
            self.assertEqual(self.ipcm("request", "api", "1", env=env).answers, [1])
            self.end(env)

    def test_the_replicas_stop_and_start_with_their_balancer(self):
        with self.bus() as env:
            self.supervise(env, child("api", replicas=2))
            before = {one["name"]: one["pid"] for one in (self.up(env, name) for name in ("api", "api.1", "api.2"))}
            self.ask(env, {"restart": "api"})
            after = self.pids(env, "api", "api.1", "api.2")
            self.assertEqual([name for name in sorted(after) if after[name] != before[name]], ["api.1", "api.2"])
            self.ask(env, {"stop": "api"})
            self.assertEqual({one["state"] for one in self.ask(env, "status").answers[0]}, {"stopped"})
            self.ask(env, {"start": "api"})
            self.assertEqual({one["state"] for one in self.ask(env, "status").answers[0]}, {"running"})
            self.end(env)

    def test_wrong_scales_get_errors_that_help(self):
        with self.bus() as env:
            self.supervise(env, child("api", replicas=1), child("db"))
            for scale, words in (({"db": 2}, "no `replicas`"), ({"apo": 2}, "did you mean 'api'"), ({"api": 0}, "from 1 to 1000"), ({"api.1": 2}, "is a replica")):
                self.assertIn(words, self.ask(env, {"scale": scale}, status=1).err)
            self.end(env)


if __name__ == "__main__":
    unittest.main()
