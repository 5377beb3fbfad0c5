"""`ipcm bridge`: a program in any language on a bus, on every protocol, as a client and as a service; with hostile input."""

import base64
import contextlib
import json
import os
import signal
import sys
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from support import IPCM, Process, TidyTest, protocols  # noqa: E402


class Talk:
    """A bridge, and the lines that were not expected yet."""

    def __init__(self, test, env, *words, joined=True):
        self.test = test
        self.running = test.start(IPCM, "bridge", *words, env=env)
        self.lines = []
        if joined:
            self.joined = self.next("joined")
            test.assertEqual(self.joined["bridge"], 1)

    def say(self, **line):
        self.running.write(json.dumps(line) + "\n")

    def read(self):
        return json.loads(self.running.read_line())

    def next(self, kind, **members):
        """Returns the first line of that type with these members; keeps others for later."""
        def fits(line):
            return line["type"] == kind and all(line.get(key) == value for key, value in members.items())

        for line in self.lines:
            if fits(line):
                self.lines.remove(line)
                return line
        while True:
            line = self.read()
            if fits(line):
                return line
            self.test.assertNotEqual(line["type"], "end", f"the bridge ended instead of {kind} {members}: {line}")
            self.lines.append(line)

    def ask(self, **line):
        """Performs an operation with an id, and returns its reply."""
        self.say(id="?", **line)
        while True:
            reply = self.read()
            if reply.get("id") == "?":
                return reply
            self.lines.append(reply)

    def done(self, **line):
        reply = self.ask(**line)
        self.test.assertEqual(reply["type"], "done", reply)
        return reply

    def refused(self, *words, **line):
        reply = self.ask(**line)
        self.test.assertEqual(reply["type"], "error", reply)
        for word in words:
            self.test.assertIn(word, reply["error"])
        return reply

    def end(self, status=0):
        result = self.running.finish()
        self.test.assertEqual(result.status, status, result)
        last = json.loads(result.lines[-1])
        self.test.assertEqual((last["type"], last["status"]), ("end", status))
        return last


class BridgeTest(TidyTest):
    def talk(self, env, *words, **more):
        return Talk(self, env, *words, **more)

    @contextlib.contextmanager
    def on(self, protocol):
        with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
            yield env


class ClientTest(BridgeTest):
    """ipcm bridge --as NAME: a client."""

    def test_a_client_asks_a_service_on_every_protocol(self):
        for protocol in protocols():
            with self.on(protocol) as env:
                self.ipcm("start", "echo", env=env)
                talk = self.talk(env, "--as", "me")
                self.assertEqual((talk.joined["name"], json.loads(talk.joined["bus"])), ("me", json.loads(env["IPCM_INFO"])))
                talk.say(op="request", id=[1, "a"], to="echo", content={"n": 1})
                self.assertEqual(talk.next("response"), {"type": "response", "id": [1, "a"], "from": "echo", "content": {"n": 1}})
                self.assertEqual(talk.done(op="peers")["peers"], ["echo"])
                talk.end()

    def test_two_clients_exchange_messages_and_broadcasts_on_every_protocol(self):
        for protocol in protocols():
            with self.on(protocol) as env:
                a, b = self.talk(env, "--as", "a"), self.talk(env, "--as", "b")
                sent = a.done(op="send", to="b", content="one")["message"]
                self.assertEqual(b.read(), {"type": "message", "from": "a", "content": "one", "message": sent})
                self.assertEqual(b.done(op="broadcast", content=[2])["sent"], ["a"])
                self.assertEqual(a.next("message")["broadcast"], True)
                a.end(), b.end()

    def test_a_client_learns_who_joins_and_leaves_on_every_protocol(self):
        for protocol in protocols():
            with self.on(protocol) as env:
                a = self.talk(env, "--as", "a")
                a.done(op="watch")
                b = self.talk(env, "--as", "b")
                self.assertEqual(a.next("peers")["delta"], {"b": 1})
                b.end()
                self.assertEqual(a.next("peers")["delta"], {"b": -1})
                a.end()

    def test_a_durable_bus_keeps_messages_while_a_client_is_suspended(self):
        seen = 0
        for protocol in protocols():
            with self.on(protocol) as env:
                a, b = self.talk(env, "--as", "a"), self.talk(env, "--as", "b")
                reply = a.ask(op="suspend")
                if reply["type"] == "error":
                    a.end(), b.end()
                    continue
                seen += 1
                a.refused("reconnect", op="send", to="b", content=1)
                b.done(op="send", to="a", content="kept")
                a.done(op="reconnect")
                self.assertEqual(a.next("message")["content"], "kept")
                a.end(), b.end()
        self.assertGreater(seen, 2)

    def test_a_client_that_was_killed_gets_its_messages_with_reconnect(self):
        with self.bus("--protocol", "MessageFiles") as env:
            a, b = self.talk(env, "--as", "a"), self.talk(env, "--as", "b")
            a.done(op="suspend", expires=60)
            self.assertEqual(a.end()["why"], "the input has ended")
            b.done(op="send", to="a", content="kept")
            again = self.talk(env, "--as", "a", "--reconnect")
            self.assertEqual(again.next("message")["content"], "kept")
            again.end(), b.end()

    def test_contents_pass_unchanged(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            talk = self.talk(env)
            for text in ["1.0", "1e400", "123456789012345678901234567890", "-0.0", r'"\u00e9\u0000"', '{"a":1,"b":{"a":2}}', "[[],{}]", "null",
                         "false", '""']:
                talk.running.write('{"op":"request","id":%s,"to":"echo","content":%s}\n' % (text, text))
                self.assertEqual(talk.running.read_line(), '{"type":"response","id":%s,"from":"echo","content":%s}' % (text, text))
            talk.running.write('{"op":"request","to":"echo","content":"é𝄞"}\n')
            self.assertEqual(talk.read(), {"type": "response", "from": "echo", "content": "é𝄞"})
            talk.end()

    def test_bytes_pass_as_base64_on_a_bus_that_carries_bytes(self):
        for size in (0, 1, 2, 3, 100, 100_001):
            with self.subTest(size=size), self.bus("--serializer", "Cereal") as env:
                a = self.talk(env, "--as", "a")
                data = base64.b64encode(os.urandom(size)).decode()
                self.ipcm("start", "echo", env=env)
                a.say(op="request", id=1, to="echo", bytes=data)
                self.assertEqual(a.read().get("bytes"), data)
                a.end()
        with self.bus() as env:
            a = self.talk(env, "--as", "a")
            a.refused("bytes", op="request", to="a", bytes="AAAA")
            a.refused("base64", op="send", to="a", bytes="A?")
            a.end()

    def test_a_large_content_passes(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            content = "x" * 5_000_000
            line = json.dumps({"op": "request", "to": "echo", "content": content}) + "\n"
            result = self.start(IPCM, "bridge", env=env).finish(line * 4)
            self.assertEqual([len(one.get("content", "")) for one in map(json.loads, result.lines)], [0] + [len(content)] * 4 + [0])

    def test_a_line_of_its_length_precedes_a_long_line_if_the_program_wants_it(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            bridge = self.talk(env, "--lengths")
            for content, has_length in (("x" * 4000, False), ("y" * 5000, True), ("z" * 300_000, True)):
                bridge.say(op="request", to="echo", content=content)
                line = bridge.running.read_line().rstrip("\n")
                if has_length:
                    told, line = json.loads(line), bridge.running.read_line().rstrip("\n")
                    self.assertEqual(told, {"type": "length", "bytes": len(line)})
                self.assertEqual(json.loads(line)["content"], content)
            bridge.say(op="leave")
            bridge.end()

    def test_many_requests_are_answered_and_none_is_lost(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            many = 3000
            lines = "".join(f'{{"op":"request","id":{n},"to":"echo","content":{n}}}\n' for n in range(many))
            result = self.start(IPCM, "bridge", env=env).finish(lines)
            answers = [(one["id"], one["content"]) for one in map(json.loads, result.lines) if one["type"] == "response"]
            self.assertEqual(answers, [(n, n) for n in range(many)])

    def test_a_request_that_is_not_answered_in_time_fails(self):
        with self.bus() as env:
            silent, a = self.talk(env, "--as", "silent"), self.talk(env, "--as", "a")
            a.say(op="request", id=1, to="silent", content=1, timeout=0.05)
            a.say(op="request", id=2, to="silent", content=2, timeout=0.01)
            for number in (2, 1):
                error = a.next("error")
                self.assertEqual((error["id"], error["kind"], error["status"], error["op"]), (number, "timeout", 4, "request"))
                self.assertIn("silent", error["error"])
            silent.end(), a.end()

    def test_a_request_to_nobody_fails_with_the_nearest_name(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            a = self.talk(env)
            for op in ("request", "send"):
                error = a.refused("did you mean 'echo'?", op=op, to="ecko", content=1)
                self.assertEqual((error["kind"], error["status"]), ("gone", 3))
            a.end()

    def test_a_request_fails_when_its_service_is_killed(self):
        with self.bus() as env:
            service = self.talk(env, "--serve", "--name", "s")
            service.say(op="ready")
            a = self.talk(env)
            a.say(op="request", id=1, to="s", content=1)
            service.next("request")
            service.running.kill()
            self.assertEqual(a.next("error")["kind"], "gone")
            a.end()

    def test_input_that_ends_waits_for_the_open_answers(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            result = self.sh('''echo '{"op":"request","to":"echo","content":1}' | ipcm bridge''', env=env)
            self.assertEqual([json.loads(line)["type"] for line in result.lines], ["joined", "response", "end"])
            result = self.sh('''echo '{"op":"request","to":"echo","content":1}' > "$0.in"; ipcm bridge < "$0.in" > "$0.out"; cat "$0.out"''',
                             env=env)
            self.assertEqual([json.loads(line)["type"] for line in result.lines], ["joined", "response", "end"])

    def test_a_client_ends_with_its_bus_when_it_is_stopped_and_on_sigterm(self):
        with self.bus() as env:
            a, b, c, d = (self.talk(env, "--as", name) for name in "abcd")
            self.ipcm("stop", "a", env=env)
            self.assertEqual(a.end()["why"], "it was asked to terminate")
            b.running.process.signal(signal.SIGTERM)
            self.assertEqual(b.end(128 + signal.SIGTERM)["why"], "SIGTERM")
            c.say(op="leave")
            self.assertEqual(c.end()["why"], "the program has left")
            self.ipcm("bus", "rm", env=env)
            d.running.finish()

    def test_a_bridge_without_a_bus_says_so_and_exits_3(self):
        env = dict(self.env, IPCM_INFO=json.dumps(["ConnectionUnix", "JSON", self.tmp + "/nosuch"]))
        result = self.ipcm("bridge", env=env, status=3)
        self.assertIn("nosuch", result.err)
        self.assertEqual([one["type"] for one in result.answers], ["error"])
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            result = self.ipcm("bridge", "--as", "echo", env=env, status=3)
            self.assertIn("echo", result.err)
            (error,) = result.answers
            self.assertEqual((error["type"], error["kind"], error["taken"]), ("error", "bus", True))

    def test_the_words_of_the_command_line_are_checked(self):
        for words, reason in [(["--serve"], "boot arguments"), (["--name", "x"], "--serve"), (["--serve", "--as", "x"], "--name"),
                              (["--fds", "1,2"], "3 or above"), (["--fds", "77,78"], "not open"), (["--fds", "x"], "3,4"),
                              (["--serve", "--name", "x", "--", "y"], "either --name")]:
            with self.subTest(words=words):
                self.assert_told(self.ipcm("bridge", *words, status=2), reason)


class HostileTest(BridgeTest):
    """Input that breaks the rules gets an error, and the bridge goes on."""

    def test_a_line_with_a_mistake_gets_one_error_and_the_bridge_goes_on(self):
        cases = [
            ("garbage", "is not JSON"), ("[1]", "object"), ('"op"', "object"), ("{}", "no 'op'"), ('{"op":7}', "'op'"),
            ('{"op":"reqest","id":1}', "did you mean 'request'?"), ('{"op":"send","to":"x"}', "content"),
            ('{"op":"send","content":1}', "'to'"), ('{"op":"send","to":7,"content":1}', "'to'"),
            ('{"op":"request","to":"x","content":1,"timeuot":5}', "did you mean 'timeout'?"),
            ('{"op":"request","to":"x","content":1,"timeout":-1}', "timeout"), ('{"op":"request","to":"x","content":1,"timeout":"5"}', "timeout"),
            ('{"op":"request","to":"x","content":1,"deadline":5}', "deadline"), ('{"op":"peers","to":"x"}', "'to'"),
            ('{"op":"answer","request":5,"content":1}', "no open request 5"), ('{"op":"error","request":1e9,"error":"x"}', "request"),
            ('{"op":"answer","request":-1,"content":1}', "request"), ('{"op":"ready"}', "--serve"), ('{"op":"fail","error":"x"}', "--serve"),
            ('{"op":"send","to":"x","to":"y","content":1}', "twice"), ('{"op":"send","to":"x","content":1,"bytes":"AA=="}', "one is enough"),
            ('{"op":"send","to":"","content":1}', ""), ('{"op":"send","to":"x","content":null}', ""),
            ('{"op":"leave","status":256}', "status"), ('{"op":"reconnect"}', "suspend"), ('{"op":"send","to":"x","content":{"a":1,}}', "JSON"),
            ('{"op":"send","to":"\\u0000","content":1}', ""), ("{" * 2000, "JSON"), ('{"id":"' + "x" * 2000 + '","op":"peers"}', "1024"),
        ]
        with self.bus() as env:
            talk = self.talk(env)
            for line, reason in cases:
                with self.subTest(line=line[:100]):
                    talk.running.write(line + "\n")
                    error = talk.read()
                    self.assertEqual(error["type"], "error")
                    self.assertIn(reason, error["error"])
            talk.running.popen.stdin.write(b'\xff\xfe{"op"}\x00\n')
            self.assertEqual(talk.read()["type"], "error")
            self.assertEqual(talk.done(op="peers")["peers"], [])
            talk.end()

    def test_an_error_has_the_id_and_the_operation_of_its_line(self):
        with self.bus() as env:
            talk = self.talk(env)
            error = talk.refused("no key", op="peers", wrong=1)
            self.assertEqual((error["op"], error["kind"], error["status"]), ("peers", "usage", 2))
            talk.end()

    def test_operations_without_an_id_are_silent_unless_they_fail(self):
        with self.bus() as env:
            a, b = self.talk(env, "--as", "a"), self.talk(env, "--as", "b")
            a.say(op="send", to="b", content=1)
            a.say(op="broadcast", content=2)
            a.say(op="send", to="nobody", content=3)
            error = a.read()
            self.assertEqual((error["type"], error["op"]), ("error", "send"))
            a.end(), b.end()

    def test_a_line_that_is_too_long_is_skipped(self):
        with self.bus() as env:
            line = '{"op":"send","to":"x","content":"' + "x" * (65 << 20) + '"}\n'
            result = self.start(IPCM, "bridge", env=env).finish(line + '{"op":"peers","id":1}\n')
            kinds = [json.loads(one)["type"] for one in result.lines]
            self.assertEqual(kinds, ["joined", "error", "done", "end"])
            self.assertIn("64 MiB", json.loads(result.lines[1])["error"])

    def test_half_a_line_at_the_end_is_no_operation(self):
        with self.bus() as env:
            result = self.start(IPCM, "bridge", env=env).finish('{"op":"peers","id":1}\n{"op":"peers","id":2}')
            self.assertEqual([json.loads(one)["type"] for one in result.lines], ["joined", "done", "end"])

    def test_a_bridge_whose_output_nobody_reads_any_more_ends(self):
        with self.bus() as env:
            talk = self.talk(env, "--as", "a")
            talk.running.popen.stdout.close()
            self.assertTrue(talk.running.process.wait_for_end())

    def test_a_program_that_does_not_read_makes_the_senders_wait_and_loses_nothing(self):
        with self.bus() as env:
            slow = self.talk(env, "--as", "slow")
            many, piece = 60, "y" * 500_000
            sender = self.start(IPCM, "bridge", "--as", "fast", env=env)
            lines = "".join(json.dumps({"op": "send", "to": "slow", "content": [n, piece]}) + "\n" for n in range(many))

            def pour():
                rest = memoryview(lines.encode())
                while rest:
                    rest = rest[sender.popen.stdin.write(rest):]

            writer = threading.Thread(target=pour)
            writer.start()
            writer.join(0.5)
            self.assertTrue(writer.is_alive(), "30 MB went to somebody who does not read")
            self.assertEqual([slow.next("message")["content"][0] for _ in range(many)], list(range(many)))
            writer.join()
            sender.finish()
            slow.end()

    def test_sigterm_ends_a_bridge_whose_program_does_not_read(self):
        with self.bus() as env:
            deaf = self.talk(env, "--as", "deaf")
            a = self.talk(env, "--as", "a")
            a.done(op="send", to="deaf", content="z" * 12_000_000)  # more than the bridge holds for its program
            deaf.running.process.signal(signal.SIGTERM)
            self.assertTrue(deaf.running.process.wait_for_end())
            a.end()


class ServiceTest(BridgeTest):
    """ipcm bridge --serve."""

    BRIDGED = os.path.join(HERE, "bridged.py")

    def program(self):
        self.env["IPCM_TEST_IPCM"] = IPCM
        return self.script(f'#!/bin/sh\nexec "{sys.executable}" -E -S "{self.BRIDGED}" "$@"\n', "bridged")

    def begin(self, env, name="p", status=0, args=None, **more):
        return self.ipcm("start", "anything", "--name", name, "--boot", self.program(), "--args", json.dumps(args or {}),
                         "--timeout", 60, env=dict(env, IPCM_TEST_IPCM=IPCM), status=status, **more)

    def ask(self, env, what, name="p", status=0):
        result = self.ipcm("request", name, json.dumps(what), env=env, status=status)
        return result.answers[0] if status == 0 else result

    def test_a_program_behind_a_bridge_is_a_service_on_every_protocol(self):
        for protocol in protocols():
            with self.on(protocol) as env:
                self.begin(env)
                self.assertEqual(self.ask(env, {"hello": 1}), {"hello": 1})
                who = self.ask(env, "self")
                self.assertEqual(self.peers(env)["p"]["pid"], who["bridge"])
                self.assertIn("it failed on purpose", self.ask(env, "fail", status=1).err)
                self.ipcm("stop", "p", env=env)
                self.await_no_children()

    def test_bytes_reach_a_service_and_come_back(self):
        with self.bus("--serializer", "Cereal") as env:
            self.begin(env)
            a = self.talk(env)
            a.say(op="request", id=1, to="p", bytes="AAEC/w==")
            self.assertEqual(a.read()["bytes"], "AAEC/w==")
            a.end()
            self.ipcm("stop", "p", env=env)

    def test_requests_are_answered_in_any_order_and_a_service_asks_others(self):
        with self.bus() as env:
            self.begin(env)
            self.ipcm("start", "echo", env=env)
            a = self.talk(env)
            for number, what in enumerate(["hold", "hold", "release"]):
                a.say(op="request", id=number, to="p", content=what)
            self.assertEqual([a.read()["id"] for _ in range(3)], [2, 1, 0])
            self.assertEqual(self.ask(env, {"ask": "echo", "what": [1]}), [1])
            self.assertIn("'nobody'", self.ask(env, {"ask": "nobody", "what": 1}, status=1).err)
            a.end()
            self.ipcm("stop", "--all", env=env)

    def test_stray_output_goes_to_the_log_and_not_into_the_protocol(self):
        with self.bus() as env:
            self.begin(env)
            self.assertEqual(self.ask(env, 1), 1)
            self.ipcm("stop", "p", env=env)
            self.await_no_children()
            log = self.ipcm("logs", "p", env=env).out
            self.assertIn("stray output on stdout", log)
            self.assertIn("stray output on stderr", log)

    def test_a_start_that_fails_has_the_reason_of_the_program(self):
        with self.bus() as env:
            self.assertIn("no licence", self.begin(env, status=5, args={"fail": "no licence"}).err)
            self.begin(env, status=5, args={"die": True})
            self.assertIn("IPCM", self.begin(env, status=5, args={"die": True}).err.upper())
            self.ipcm("start", "anything", "--name", "p", "--boot", self.program(), "--args", '{"hang":true}', "--timeout", "0.3",
                      env=dict(env, IPCM_TEST_IPCM=IPCM), status=5)
            self.assertEqual(self.peers(env), {})

    def test_the_death_of_either_process_ends_the_other(self):
        for victim in ("pid", "bridge"):
            with self.subTest(victim=victim), self.bus() as env:
                self.begin(env)
                who = self.ask(env, "self")
                with Process(who["pid"]) as program, Process(who["bridge"]) as bridge:
                    (program if victim == "pid" else bridge).signal(signal.SIGKILL)
                    self.assertTrue(program.wait_for_end())
                    self.assertTrue(bridge.wait_for_end())
                self.assertEqual(self.peers(env), {})

    def test_a_program_that_does_not_end_is_killed(self):
        with self.bus() as env:
            self.begin(env)
            who = self.ask(env, "self")
            with Process(who["pid"]) as program:
                self.assertEqual(self.ask(env, "deaf"), "deaf")
                self.ipcm("stop", "p", env=env)
                self.assertTrue(program.wait_for_end())

    def test_a_program_leaves_by_itself(self):
        with self.bus() as env:
            self.begin(env)
            self.ask(env, "leave", status=3)
            self.await_no_children()
            self.assertEqual(self.peers(env), {})

    def test_the_death_of_the_launcher_ends_both(self):
        pids = os.path.join(self.work, "pids")
        run = self.start(IPCM, "run", "anything", "--boot", self.program(), "--args", json.dumps({"pids": pids}),
                         env=dict(self.env, IPCM_TEST_IPCM=IPCM))
        run.write('"self"\n')
        who = json.loads(run.read_line())
        with Process(who["pid"]) as program, Process(who["bridge"]) as bridge:
            run.kill()
            self.assertTrue(program.wait_for_end())
            self.assertTrue(bridge.wait_for_end())
        run.finish()
        self.await_no_children()
        self.ipcm("bus", "gc")

    def test_a_service_that_nobody_launched_serves_until_its_input_ends(self):
        for protocol in protocols():
            with self.on(protocol) as env:
                s = self.talk(env, "--serve", "--name", "s")
                self.assertEqual((s.joined["name"], s.joined["start"], s.joined["args"]), ("s", True, None))
                s.done(op="ready")
                s.done(op="watch")
                a = self.talk(env, "--as", "a")
                self.assertEqual(s.next("peers")["delta"]["a"], 1)
                a.say(op="request", id=1, to="s", content="x")
                asked = s.next("request")
                self.assertEqual((asked["from"], asked["content"]), ("a", "x"))
                s.done(op="answer", request=asked["request"], content="y")
                self.assertEqual(a.next("response")["content"], "y")
                s.refused("already", op="answer", request=asked["request"], content="z")
                s.refused("suspended", op="suspend")
                a.done(op="send", to="s", content="note")
                self.assertEqual(s.next("message")["content"], "note")
                self.assertEqual(s.end()["why"], "the program has closed its end")
                a.end()

    def test_a_service_does_what_it_is_told_before_it_is_ready(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            s = self.talk(env, "--serve", "--name", "s")
            s.say(op="request", id=1, to="echo", content="early")
            self.assertEqual(s.next("response")["content"], "early")
            a = self.talk(env)
            a.say(op="request", id=1, to="s", content="waits")
            s.done(op="ready")
            s.say(op="answer", request=s.next("request")["request"], content="answered")
            self.assertEqual(a.next("response")["content"], "answered")
            s.end(), a.end()

    def test_an_answer_to_a_requester_that_has_left_is_no_error_without_an_id(self):
        with self.bus() as env:
            s = self.talk(env, "--serve", "--name", "s")
            s.done(op="ready")
            a = self.talk(env, "--as", "a")
            for number in (1, 2):
                a.say(op="request", id=number, to="s", content=number)
            first, second = s.next("request"), s.next("request")
            a.running.kill()
            a.running.process.wait_for_end()
            s.say(op="answer", request=first["request"], content=1)
            self.assertEqual(s.refused(op="answer", request=second["request"], content=2)["kind"], "gone")
            s.end()


if __name__ == "__main__":
    unittest.main()
