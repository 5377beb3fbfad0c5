"""speak jsonrpc of the class `command`: programs that speak JSON-RPC 2.0 are services."""

import contextlib
import json
import os
import select
import signal
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(HERE, "..", "interop")]

from peer import Connection, Peer, message, request_content  # noqa: E402
from support import HANG, IPCM, Process, TidyTest, children_of  # noqa: E402

ANSWERED_WITH_ERROR, USAGE, LAUNCH_FAILED = 1, 2, 5

# A server whose methods a test adds: `def on_NAME(message)`, which returns the result. It begins with the code `first`.
SERVER = """
import json, os, re, signal, sys
FRAMING = {framing!r}
source, sink = sys.stdin.buffer, sys.stdout.buffer
def put(data):
    sink.write(data.encode() if isinstance(data, str) else data)
    sink.flush()
def send(value):
    text = value if isinstance(value, str) else json.dumps(value)
    put(text + "\\n" if FRAMING == "lines" else f"Content-Length: {{len(text.encode())}}\\r\\n\\r\\n{{text}}")
def read():
    if FRAMING == "lines":
        line = source.readline()
        return json.loads(line) if line else None
    size = None
    while (line := source.readline().strip()):
        name, value = line.split(b":")
        size = int(value)
    return json.loads(source.read(size)) if size else None
def result(message, value):
    send({{"jsonrpc": "2.0", "id": message["id"], "result": value}})
seen = []
def on_echo(message): return message.get("params")
def on_seen(message): return seen
def on_pid(message): return os.getpid()
def on_die(message): sys.exit("no more")
def on_fail(message):
    send({{"id": message["id"], "error": {{"code": 5, "message": "no \\u00e4", "data": [1]}}}})
def on_put(message): put(message["params"][0])
def on_send(message):
    for one in message["params"]: send(one)
    return "sent"
{first}
while (message := read()) is not None:
    seen.append(message.get("method", message))
    handler = globals().get("on_" + re.sub(r"\\W", "_", message.get("method", "")))
    if "id" in message and "method" in message and handler:
        value = handler(message)
        if value is not None: result(message, value)
"""


class Subscriber:
    """A member of the bus that sends requests to the service `p`, and gets messages."""

    def __init__(self, env, name="sub"):
        self.peer = Peer(env["ROUTE"], name)
        self.connections = [Connection.to(env["ROUTE"], "p", name)]
        self.name = name

    def ask(self, value):
        content = request_content(value)
        self.connections[0].send(message(self.name, "p", content))
        answer = self.get()
        assert answer["content"]["ipcm_response_id"] == content["ipcm_request_id"], answer
        return answer["content"]

    def get(self):
        """Returns the next message."""
        while True:
            streams = {one.stream: one for one in self.connections}
            ready = select.select([self.peer.listener, *streams], [], [], HANG)[0]
            assert ready, "no message"
            if ready[0] is self.peer.listener:
                self.connections.append(self.peer.accept())
                continue
            value = streams[ready[0]].receive()
            if value is None:
                self.connections.remove(streams[ready[0]])
            elif "content" in value:
                self.last = streams[ready[0]]
                return value

    def answer(self, asked, value, error=None):
        self.peer.answer(self.last, asked, value, error)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in self.connections:
            connection.close()
        self.peer.leave()


class JsonRpcTest(TidyTest):
    def server(self, first="", framing="lines"):
        return [sys.executable, "-E", "-S", self.script(SERVER.format(framing=framing, first=first), "server.py")]

    def start_server(self, env, first="", framing="lines", flags=(), args=None, status=0):
        given = ["--args", json.dumps(args)] if args is not None else []
        return self.ipcm("start", "--name", "p", "--speak", "jsonrpc", "--framing", framing, *flags, *given, "--",
                         *self.server(first, framing), env=env, status=status)

    def ask(self, env, method, params=None, status=0):
        request = {"method": method} if params is None else {"method": method, "params": params}
        return self.ipcm("request", "p", json.dumps(request), env=env, status=status)

    def value(self, env, method, params=None):
        (answer,) = self.ask(env, method, params).answers
        return answer

    def assert_refused(self, result, *words):
        self.assertEqual(result.status, ANSWERED_WITH_ERROR, result)
        for word in words:
            self.assertIn(word, result.err)

    def logs(self, env):
        return self.ipcm("logs", "p", env=env).out

    def program_of(self, env):
        (pid,) = children_of(self.peers(env)["p"]["pid"])
        return pid


class CallTest(JsonRpcTest):
    """Requests and notifications."""

    def test_results_come_back_in_both_framings_and_a_dead_server_is_started_again(self):
        for framing in ("lines", "content-length"):
            with self.subTest(framing), self.bus() as env:
                self.start_server(env, framing=framing)
                self.assertEqual(self.value(env, "echo", {"a": [1, "\n ä"]}), {"a": [1, "\n ä"]})
                with Process(self.value(env, "pid")) as program:
                    program.signal(signal.SIGKILL)
                    self.assertTrue(program.wait_for_end())
                self.assertEqual(self.value(env, "echo", [2]), [2])

    def test_answers_in_any_order_find_their_requesters(self):
        first = "held = []\ndef on_hold(message):\n    held.append(message)\n    if len(held) == 3:\n" \
                "        for one in reversed(held): result(one, one['params'])"
        with self.bus() as env:
            self.start_server(env, first)
            asked = [self.start(IPCM, "request", "p", json.dumps({"method": "hold", "params": [i]}), env=env) for i in range(3)]
            self.assertEqual([one.finish().answers for one in asked], [[[i]] for i in range(3)])

    def test_an_error_object_is_the_error_as_json(self):
        with self.bus() as env:
            self.start_server(env)
            self.assert_refused(self.ask(env, "fail", status=None), '{"code": 5, "message": "no', '"data": [1]}')

    def test_messages_are_notifications(self):
        with self.bus() as env:
            self.start_server(env)
            self.ipcm("send", "p", '{"method":"note","params":[1]}', env=env)
            self.ipcm("send", "p", '{"metod":"note"}', env=env)
            self.assertEqual(self.value(env, "seen"), ["note", "seen"])
            self.assertIn("did you mean 'method'", self.logs(env))

    def test_other_requests_are_refused(self):
        with self.bus() as env:
            self.start_server(env)
            for request, words in (('{"metod":"x"}', "did you mean 'method'"), ("[1]", "no object"), ('{"method":"x","params":1}', "array")):
                self.assert_refused(self.ipcm("request", "p", request, env=env, status=None), words)
            self.assert_refused(self.ipcm("request", "p", '{"subscribe":"x"}', env=env, status=None), "connect with a name")

    def test_a_late_answer_is_dropped(self):
        first = "def on_hold(message):\n    global late\n    late = message\ndef on_free(message):\n    result(late, 'late')\n    return 'free'"
        with self.bus() as env:
            self.start_server(env, first, args={"timeout": 1})
            self.assert_refused(self.ask(env, "hold", status=None), "did not answer 'hold' within 1 s (timeout)")
            self.assertEqual(self.value(env, "free"), "free")

    def test_open_requests_are_bounded(self):
        with self.bus() as env, contextlib.ExitStack() as stack:
            self.start_server(env, "def on_hold(message): pass", args={"queue": 1})
            asked = [self.start(IPCM, "request", "p", '{"method":"hold"}', env=env) for _ in range(2)]
            ends = {stack.enter_context(Process(one.pid)).fd: one for one in asked}
            refused = ends[select.select(list(ends), [], [], HANG)[0][0]]
            self.assertIn("the queue is full: 1 requests are open", refused.finish().err)
            os.kill(self.program_of(env), signal.SIGKILL)
            asked.remove(refused)
            self.assertIn("was killed by SIGKILL", asked[0].finish().err)

    def test_wrong_parameters_are_named(self):
        with self.bus() as env:
            for args, words in (({"jobs": 2}, "one program runs"), ({"raw": True}, "all messages are JSON"),
                                ({"handshake": [{"id": 1}]}, "message 1: it has no method"),
                                ({"handshake": [{"methd": "x"}]}, "did you mean 'method'")):
                self.assertIn(words, self.start_server(env, args=args, status=LAUNCH_FAILED).err)
            self.assertIn("did you mean 'lines'", self.ipcm("start", "--speak", "jsonrpc", "--framing", "line", "--", "cat", env=env,
                                                            status=LAUNCH_FAILED).err)
            self.assertIn("goes with speak 'jsonrpc' only", self.ipcm("start", "--framing", "lines", "--", "cat", env=env,
                                                                     status=LAUNCH_FAILED).err)


class HandshakeTest(JsonRpcTest):
    HANDSHAKE = [{"id": 0, "method": "init", "params": {"v": 1}}, {"method": "inited"}, {"id": "x", "method": "more"}]

    def test_it_is_sent_before_ready_and_after_each_restart(self):
        with self.bus() as env:
            self.start_server(env, "on_init = on_more = on_echo\non_more = lambda message: 1", args={"handshake": self.HANDSHAKE})
            self.assertEqual(self.value(env, "seen"), ["init", "inited", "more", "seen"])
            self.assert_refused(self.ask(env, "die", status=None), "exited with status 1; its last words: no more")
            self.assertEqual(self.value(env, "seen"), ["init", "inited", "more", "seen"])

    def test_an_error_in_it_is_a_failed_start(self):
        with self.bus() as env:
            result = self.start_server(env, "on_init = on_fail", args={"handshake": self.HANDSHAKE}, status=LAUNCH_FAILED)
            self.assertIn("refused 'init' of the handshake: {", result.err)

    def test_a_death_in_it_is_a_failed_start(self):
        with self.bus() as env:
            result = self.start_server(env, "on_init = on_die", args={"handshake": self.HANDSHAKE}, status=LAUNCH_FAILED)
            self.assertIn("its last words: no more", result.err)

    def test_silence_in_it_is_a_failed_start(self):
        with self.bus() as env:
            result = self.start_server(env, args={"handshake": self.HANDSHAKE, "timeout": 1}, status=LAUNCH_FAILED)
            self.assertIn("did not answer 'init' of the handshake within 1 s", result.err)


class SubscriberTest(JsonRpcTest):
    def test_notifications_arrive_as_messages(self):
        with self.bus() as env:
            self.start_server(env)
            with Subscriber(env) as one:
                self.assertEqual(one.ask({"subscribe": "log"})["response"], True)
                self.ask(env, "send", [{"method": "other"}, {"method": "log", "params": {"n": 1.0}}])
                self.assertEqual(one.get()["content"], {"method": "log", "params": {"n": 1.0}})
                self.assertEqual(one.ask({"subscribe": "*"})["response"], True)
                self.ask(env, "send", [{"method": "other"}, {"method": "log"}])
                self.assertEqual([one.get()["content"]["method"] for _ in range(2)], ["other", "log"])
                self.assertEqual(one.ask({"unsubscribe": "*"})["response"], True)
                self.assertEqual(one.ask({"unsubscribe": "*"})["response"], False)
            self.ask(env, "send", [{"method": "log"}])  # to nobody

    def test_a_request_of_the_program_is_answered_by_a_subscriber_or_refused(self):
        first = "def on_ask(message): send({'id': 'q', 'method': 'config', 'params': [1]}); return 1\n"
        with self.bus() as env:
            self.start_server(env, first)
            self.ask(env, "ask")
            self.assertEqual(self.value(env, "seen")[1]["error"]["code"], -32601)
            with Subscriber(env) as one:
                self.assertEqual(one.ask({"subscribe": "config", "answers": True})["response"], True)
                for value, error in (({"a": 1}, None), (None, '{"code":7,"message":"m"}')):
                    self.ask(env, "ask")
                    asked = one.get()
                    self.assertEqual(asked["content"]["request"], {"method": "config", "params": [1]})
                    one.answer(asked, value, error)
                    # The answer and our next request take the same way, so they arrive in their order.
                    one.ask({"unsubscribe": "x"})
                seen = self.value(env, "seen")
                self.assertIn({"jsonrpc": "2.0", "id": "q", "result": {"a": 1}}, seen)
                self.assertIn({"jsonrpc": "2.0", "id": "q", "error": {"code": 7, "message": "m"}}, seen)


class HostileTest(JsonRpcTest):
    def test_lines_that_are_no_json_go_to_the_log(self):
        with self.bus() as env:
            self.start_server(env, "put('Server 1.0\\n')")
            self.assertEqual(self.value(env, "send", ["just text", "{broken", "5", "[]"]), "sent")
            logs = self.logs(env)
            for words in ("Server 1.0\n", "just text\n", "sent no JSON: '{broken'", "an empty batch"):
                self.assertIn(words, logs)

    def test_unknown_ids_and_messages_against_the_standard_are_reported(self):
        messages = [{"id": 9999, "result": 1}, {"result": 1}, {"id": None, "error": {"code": -32700, "message": "m"}}, {"id": "a"},
                    {"id": 1.5, "result": 1}, {"method": 5}, [5]]
        with self.bus() as env:
            self.start_server(env)
            self.assertEqual(self.value(env, "send", messages), "sent")
            self.assertEqual(self.value(env, "echo", [1]), [1])
            logs = self.logs(env)
            self.assertEqual(logs.count("unknown id"), 4, logs)
            self.assertEqual(logs.count("no message of JSON-RPC"), 3, logs)
            self.assertIn(-32600, [one["error"]["code"] for one in self.value(env, "seen") if isinstance(one, dict)])

    def test_the_members_of_a_batch_are_messages(self):
        first = "held = []\ndef on_hold(message):\n    held.append(message)\n    if len(held) == 2:\n" \
                "        send([{'id': one['id'], 'result': one['params']} for one in held] + [{'method': 'note'}, {'id': 1, 'method': 'x'}])"
        with self.bus() as env:
            self.start_server(env, first)
            asked = [self.start(IPCM, "request", "p", json.dumps({"method": "hold", "params": [i]}), env=env) for i in range(2)]
            self.assertEqual([one.finish().answers for one in asked], [[[0]], [[1]]])
            self.assertEqual(self.value(env, "seen")[2]["error"]["code"], -32601)

    def test_an_answer_without_result_is_an_error(self):
        with self.bus() as env:
            self.start_server(env, "def on_bad(message): send({'id': message['id']})")
            self.assert_refused(self.ask(env, "bad", status=None), "sent no valid answer: it has no method, no result and no error")

    def test_broken_framing_ends_the_program_with_the_reason(self):
        with self.bus() as env:
            self.start_server(env, framing="content-length", flags=["--max-output", "100000"])
            for text, words in (("Server is up\n", "does not end with \\\\r\\\\n: 'Server is up'"), ("Content-Length: x\r\n\r\n", "no number"),
                                ("X: 1\r\n\r\n", "no Content-Length"), ("x" * 5000, "more than 4096 bytes"),
                                ("Content-Length: 100001\r\n\r\n", "max_output")):
                with self.subTest(words):
                    self.assert_refused(self.ask(env, "put", [text], status=None), "broke the framing", words.replace("\\\\", "\\"))
                    self.assertEqual(self.value(env, "echo", [1]), [1])

    def test_a_message_as_large_as_max_output_passes(self):
        with self.bus() as env:
            self.start_server(env, framing="content-length", flags=["--max-output", "100000"])
            text = "x" * (100_000 - len('{"jsonrpc": "2.0", "id": 1, "result": [""]}'))
            self.assertEqual(self.value(env, "echo", [text]), [text])

    def test_a_line_without_end_is_cut(self):
        with self.bus() as env:
            self.start_server(env, "def on_flood(message): put('x' * 2000000)", flags=["--max-output", "100000"])
            self.assert_refused(self.ask(env, "flood", status=None), "more than 100000 bytes (max_output)")
            self.assertEqual(self.value(env, "echo", [1]), [1])

    def test_a_closed_stdout_is_the_error(self):
        with self.bus() as env:
            self.start_server(env, "def on_close(message): os.close(1); signal.pause()")
            self.assert_refused(self.ask(env, "close", status=None), "has closed its stdout")
            self.assertEqual(self.value(env, "echo", [1]), [1])

    def test_without_restart_the_service_ends_with_its_program(self):
        with self.bus() as env:
            self.start_server(env, flags=["--restart", "never"])
            with Process(self.peers(env)["p"]["pid"]) as service:
                self.assert_refused(self.ask(env, "die", status=None), "exited with status 1")
                self.assertTrue(service.wait_for_end())


if __name__ == "__main__":
    unittest.main()
