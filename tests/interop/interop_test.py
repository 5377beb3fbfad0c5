"""The contracts with other languages: programs in Python, with its standard library only, start, ask and answer."""

import contextlib
import ctypes
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(HERE, "..", "cli")]

from peer import Connection, Peer, frame, message, request_content  # noqa: E402
from support import BOOT, HANG, IPCM, TidyTest  # noqa: E402

IN_CREATE, IN_MOVED_TO = 0x100, 0x80
USAGE, BUS_UNAVAILABLE, SYSTEM_ERROR, UNKNOWN_CLASS = 64, 69, 71, 127


class Boot:
    """ipcm-boot as any program may start it, with a pipe for its ready line."""

    def __init__(self, test, params, params_by="argument", env=None):
        self.test = test
        text = params if isinstance(params, (str, bytes)) else json.dumps(params)
        ready, its_ready = os.pipe()
        words, passed, params_pipe = [BOOT, "--ready-fd", str(its_ready)], [its_ready], None
        if params_by == "pipe":
            its_params, params_pipe = os.pipe()
            words += ["--params-fd", str(its_params)]
            passed.append(its_params)
        else:
            words.append(text)
        self.began = time.monotonic()
        self.running = test.start(*words, env=env, stdin=subprocess.DEVNULL, pass_fds=passed)
        for fd in passed:
            os.close(fd)
        if params_pipe is not None:
            with open(params_pipe, "wb") as pipe:
                pipe.write(text.encode() if isinstance(text, str) else text)
        self.ready = ready

    @property
    def pid(self):
        return self.running.pid

    def read_ready(self):
        """Returns the bytes that the boot writes until it closes the pipe."""
        deadline = time.monotonic() + HANG
        told = b""
        with open(self.ready, "rb", buffering=0) as pipe:
            while select.select([pipe], [], [], max(0, deadline - time.monotonic()))[0]:
                piece = pipe.read(65536)
                if not piece:
                    return told
                told += piece
        self.test.fail(f"the ready pipe was not closed within {HANG} s; it holds {told!r}")


class InteropTest(TidyTest):
    """A bus in a directory of the test, and operations on it."""

    def setUp(self):
        super().setUp()
        self.route = os.path.join(self.work, "bus")
        os.mkdir(self.route, 0o700)
        self.env["IPCM_INFO"] = json.dumps(self.info)

    @property
    def info(self):
        return ["ConnectionUnix", "JSON", self.route]

    def params(self, **more):
        return {"ipcm": 1, "name": "e", "class": "echo", "ipcm_info": self.info, **more}

    @contextlib.contextmanager
    def echo(self, **how):
        """Yields an echo service that is ready. Ends it by a terminate message, with status 0."""
        boot = Boot(self, self.params(), **how)
        told = boot.read_ready()
        self.assertTrue(told.endswith(b"\n"), told)
        yield boot
        with Connection.to(self.route, "e", "ender") as connection:
            connection.send(message("ender", "e", {"terminate": 1}))
            result = boot.running.finish()
        self.assertEqual(result.status, 0, result)

    def await_on_bus(self, name):
        """Waits by inotify until the route has a file of this name."""
        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.inotify_init1(os.O_CLOEXEC)
        try:
            libc.inotify_add_watch(fd, self.route.encode(), IN_CREATE | IN_MOVED_TO)
            deadline = time.monotonic() + HANG
            while not os.path.exists(os.path.join(self.route, name)):
                if not select.select([fd], [], [], max(0, deadline - time.monotonic()))[0]:
                    self.fail(f"no {name} on the bus within {HANG} s")
                os.read(fd, 65536)
        finally:
            os.close(fd)

    def ask(self, connection, value, sender="python"):
        asked = message(sender, "e", request_content(value))
        connection.send(asked)
        answered = connection.receive()
        self.assertEqual(answered["content"]["ipcm_response_id"], asked["content"]["ipcm_request_id"])
        return answered["content"]["response"]


class LauncherTest(InteropTest):
    def test_a_launcher_of_twenty_lines_of_python_starts_asks_and_ends_a_service(self):
        result = self.start(sys.executable, HERE + "/python_launcher.py", BOOT, '{"hello":["wörld",1,null]}', stdin=subprocess.DEVNULL).finish()
        self.assertEqual(result.status, 0, result)
        told = json.loads(result.out)
        self.assertEqual((told["ready"]["ready"], told["ready"]["name"]), (True, "e"))
        self.assertEqual(told["answer"], {"ipcm_response_id": "r-1", "response": {"hello": ["wörld", 1, None]}})
        self.assertEqual(told["status"], 0)

    def test_that_launcher_hears_why_a_start_failed(self):
        result = self.start(sys.executable, HERE + "/python_launcher.py", "/bin/false", "1", stdin=subprocess.DEVNULL).finish()
        self.assertEqual(result.status, 1, result)
        self.assertIn("it died (status 1)", result.err)


class BootTest(InteropTest):
    """The boot contract without errors."""

    def test_the_ready_line_is_one_line_with_name_and_pid_and_then_the_pipe_is_closed(self):
        boot = Boot(self, self.params())
        told = boot.read_ready()
        self.assertEqual(told.count(b"\n"), 1)
        self.assertTrue(told.endswith(b"\n"))
        self.assertEqual(json.loads(told), {"ready": True, "name": "e", "pid": boot.pid})
        self.assertEqual(sorted(name for name in os.listdir(self.route) if not name.startswith(".")), ["e", "e.pid"])
        with open(self.route + "/e.pid") as file:
            self.assertEqual(file.read(), str(boot.pid))
        boot.running.process.signal(signal.SIGTERM)
        self.assertEqual(boot.running.finish().status, 0)
        left = [name for name in os.listdir(self.route) if name != "e.stats"]
        self.assertEqual(left, [], "it left the bus, and these stayed")

    def test_the_service_holds_no_descriptor_that_was_handed_to_it(self):
        with self.echo(params_by="pipe") as boot:
            for name in os.listdir(f"/proc/{boot.pid}/fd"):
                if int(name) > 2:
                    leads = os.readlink(f"/proc/{boot.pid}/fd/{name}")
                    self.assertFalse(leads.startswith("pipe:"), f"{name} -> {leads}")

    def test_parameters_may_come_by_a_pipe_and_be_long(self):
        boot = Boot(self, self.params(args={"prefix": "x" * 500000}), params_by="pipe")
        self.assertTrue(boot.read_ready().endswith(b"\n"))
        with Connection.to(self.route, "e", "python") as connection:
            self.assertEqual(self.ask(connection, "!"), "x" * 500000 + "!")
            connection.send(message("python", "e", {"terminate": 1}))
            self.assertEqual(boot.running.finish().status, 0)

    def test_the_bus_may_be_named_by_the_string_form_and_in_the_words_of_perl(self):
        names = ["IPC::Manager::Client::ConnectionUnix", "IPC::Manager::Serializer::JSON", self.route]
        for info in (json.dumps(self.info), names, json.dumps(names)):
            with self.subTest(info=info):
                boot = Boot(self, self.params(ipcm_info=info))
                self.assertTrue(boot.read_ready().endswith(b"\n"))
                boot.running.process.signal(signal.SIGTERM)
                self.assertEqual(boot.running.finish().status, 0)

    def test_every_optional_key_is_understood(self):
        boot = Boot(self, self.params(watch_pids=[os.getpid()], interval=60, intercept_errors=True, expose_error_details=True,
                                      redirect={"stdout": self.work + "/out"}, exec={"stay_in_begin": False}, args={}))
        self.assertTrue(boot.read_ready().endswith(b"\n"))
        boot.running.process.signal(signal.SIGTERM)
        self.assertEqual(boot.running.finish().status, 0)

    def test_a_service_ends_with_the_process_that_it_watches(self):
        watched = self.start("cat")
        boot = Boot(self, self.params(watch_pids=[watched.pid]))
        self.assertTrue(boot.read_ready().endswith(b"\n"))
        watched.finish()
        self.assertEqual(boot.running.finish().status, 0)

    def test_without_a_ready_descriptor_it_serves_all_the_same(self):
        running = self.start(BOOT, json.dumps(self.params()), stdin=subprocess.DEVNULL)
        self.await_on_bus("e.pid")
        with Connection.to(self.route, "e", "python") as connection:
            self.assertEqual(self.ask(connection, 1), 1)
            connection.send(message("python", "e", {"terminate": 1}))
            self.assertEqual(running.finish().status, 0)

    def test_list_tells_the_classes(self):
        text = self.start(BOOT, "--list", stdin=subprocess.DEVNULL).finish()
        self.assertEqual(text.status, 0)
        self.assertRegex(text.out, r"(?m)^echo\b")
        listed = json.loads(self.start(BOOT, "--list", "--json", stdin=subprocess.DEVNULL).finish().out)
        self.assertIn("echo", [one["name"] for one in listed])


class BootRefusesTest(InteropTest):
    """Starts that fail: the ready pipe has the reason without a newline, stderr has one line, and there is an exit status."""

    def refuse(self, status, params, *words, params_by="argument"):
        boot = Boot(self, params, params_by)
        told = boot.read_ready()
        if told.endswith(b"\n"):
            boot.running.process.signal(signal.SIGTERM)
            boot.running.finish()
            self.fail(f"it was not refused: {params}")
        result = boot.running.finish()
        self.assertLess(time.monotonic() - boot.began, 1.0)
        self.assertEqual(result.status, status, f"{params}\n{result}")
        report = json.loads(told)
        self.assertIs(report["ready"], False)
        self.assertNotIn(b"\n", told, "a newline would mean that it is ready")
        self.assert_one_line(result.err)
        self.assertEqual(result.out, "")
        for word in words:
            self.assertIn(word, report["error"])
            self.assertIn(word, result.err)
        self.assertEqual(os.listdir(self.route), [], "it left something on the bus")

    def test_what_is_no_json(self):
        for text in ("", "nonsense", "{", '{"ipcm":1,}', '{"ipcm":1} {"ipcm":1}', "\x01", "{'ipcm':1}"):
            with self.subTest(text=text):
                self.refuse(USAGE, text, "JSON")

    def test_what_is_json_and_no_object(self):
        for text in ("[]", "1", '"name"', "null", "true"):
            with self.subTest(text=text):
                self.refuse(USAGE, text, "object")

    def test_what_is_no_json_by_a_pipe(self):
        self.refuse(USAGE, "nonsense", "JSON", params_by="pipe")
        self.refuse(USAGE, b'{"ipcm":1,"name":"\xff\xfe"}', params_by="pipe")
        self.refuse(USAGE, "", "JSON", params_by="pipe")

    def test_an_unknown_key(self):
        self.refuse(USAGE, self.params(wach_pids=[1]), "wach_pids")
        self.refuse(USAGE, self.params(exec={"stay_in_beginn": True}), "stay_in_beginn")
        self.refuse(USAGE, self.params(args={"prefx": "> "}), "prefx")

    def test_a_missing_key(self):
        for key in ("ipcm", "name", "class", "ipcm_info"):
            with self.subTest(key=key):
                params = self.params()
                del params[key]
                self.refuse(USAGE, params, key)

    def test_a_wrong_type(self):
        for key, value, expected in (("name", ["e"], "string"), ("name", {}, "string"), ("class", None, "string"), ("watch_pids", 1, "array"),
                                     ("watch_pids", ["x"], ""), ("watch_pids", [0], ""), ("watch_pids", [-1], ""), ("interval", "soon", ""),
                                     ("interval", -1, ""), ("intercept_errors", "maybe", ""), ("redirect", [], "object"),
                                     ("exec", 1, "object"), ("ipcm", [1], ""), ("args", {"prefix": ["> "]}, "string")):
            with self.subTest(key=key, value=value):
                self.refuse(USAGE, self.params(**{key: value}), "prefix" if key == "args" else key, expected)

    def test_an_empty_name_or_class(self):
        self.refuse(USAGE, self.params(name=""), "name")
        self.refuse(USAGE, self.params(**{"class": ""}), "class")

    def test_a_name_that_no_peer_may_have(self):
        self.refuse(USAGE, self.params(name="_e"), "_e")

    def test_another_version_of_the_contract(self):
        for version in (0, 2, 99):
            with self.subTest(version=version):
                self.refuse(USAGE, self.params(ipcm=version), "version", str(version))

    def test_a_bus_that_is_none(self):
        for info in ("nonsense", [], ["ConnectionUnix", "JSON"], 7, ["NoSuch", "JSON", "/x"], ["ConnectionUnix", "NoSuch", "/x"]):
            with self.subTest(info=info):
                boot = Boot(self, self.params(ipcm_info=info))
                told = boot.read_ready()
                result = boot.running.finish()
                self.assertIn(result.status, (USAGE, BUS_UNAVAILABLE), result)
                self.assertIs(json.loads(told)["ready"], False)
                self.assert_one_line(result.err)

    def test_a_dead_route(self):
        missing = self.work + "/nosuch"
        self.refuse(BUS_UNAVAILABLE, self.params(ipcm_info=["ConnectionUnix", "JSON", missing]), missing)
        file = self.script("", "file")
        self.refuse(BUS_UNAVAILABLE, self.params(ipcm_info=["ConnectionUnix", "JSON", file]), file)

    def test_an_unknown_class(self):
        self.refuse(UNKNOWN_CLASS, self.params(**{"class": "nosuch"}), "nosuch", "echo")

    def test_a_name_that_is_taken(self):
        with Peer(self.route, "e"):
            boot = Boot(self, self.params())
            told = boot.read_ready()
            result = boot.running.finish()
            self.assertEqual(result.status, BUS_UNAVAILABLE, result)
            self.assertIn(str(os.getpid()), json.loads(told)["error"])
            self.assertTrue(os.path.exists(self.route + "/e"), "it took the place of a living peer away")

    def test_descriptors_that_are_not_open(self):
        for words in (["--ready-fd", "77", json.dumps(self.params())], ["--params-fd", "77"], ["--ready-fd", "x", "{}"], ["--ready-fd"],
                      [], ["{}", "{}"], ["--frobnicate"]):
            with self.subTest(words=words):
                result = self.start(BOOT, *words, stdin=subprocess.DEVNULL).finish()
                self.assertEqual(result.status, USAGE, result)
                self.assertTrue(result.err.startswith("ipcm-boot: "), result)
                self.assertEqual(os.listdir(self.route), [])

    def test_G6_without_a_reader_of_its_ready_line_it_leaves(self):
        # Its launcher was killed, so no process knows the service and can end it.
        ready, its_ready = os.pipe()
        os.close(ready)
        running = self.start(BOOT, "--ready-fd", str(its_ready), json.dumps(self.params()), stdin=subprocess.DEVNULL, pass_fds=[its_ready])
        os.close(its_ready)
        result = running.finish()
        self.assertEqual(result.status, SYSTEM_ERROR, result)
        self.assertIn("its launcher ended before it was ready", result.err)
        self.assertFalse([name for name in os.listdir(self.route) if not name.endswith(".stats")])


class NotifyTest(InteropTest):
    """Without --ready-fd, systemd gets the messages that it expects."""

    def serve_and_listen(self, address, bind_to):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.settimeout(HANG)
            notify.bind(bind_to)
            env = dict(self.env, NOTIFY_SOCKET=address)
            running = self.start(BOOT, json.dumps(self.params()), env=env, stdin=subprocess.DEVNULL)
            self.assertIn("READY=1", notify.recv(4096).decode().split("\n"))
            with Connection.to(self.route, "e", "python") as connection:  # ready means able to answer
                self.assertEqual(self.ask(connection, 1), 1)
                connection.send(message("python", "e", {"terminate": 1}))
                self.assertIn("STOPPING=1", notify.recv(4096).decode().split("\n"))
                self.assertEqual(running.finish().status, 0)

    def test_ready_and_stopping_reach_a_socket_in_a_directory(self):
        path = self.work + "/notify"
        self.serve_and_listen(path, path)

    def test_ready_and_stopping_reach_an_abstract_socket(self):
        name = f"ipcm-interop-{os.getpid()}"
        self.serve_and_listen("@" + name, "\0" + name)

    def test_the_watchdog_is_fed_at_half_its_time(self):
        path = self.work + "/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.settimeout(HANG)
            notify.bind(path)
            env = dict(self.env, NOTIFY_SOCKET=path, WATCHDOG_USEC="100000")
            running = self.start(BOOT, json.dumps(self.params()), env=env, stdin=subprocess.DEVNULL)
            self.assertIn("READY=1", notify.recv(4096).decode().split("\n"))
            for _ in range(3):
                self.assertIn("WATCHDOG=1", notify.recv(4096).decode().split("\n"))
            running.process.signal(signal.SIGTERM)
            self.assertEqual(running.finish().status, 0)

    def test_a_start_that_fails_is_not_ready(self):
        path = self.work + "/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            running = self.start(BOOT, json.dumps(self.params(ipcm_info=["ConnectionUnix", "JSON", self.work + "/nosuch"])),
                                 env=dict(self.env, NOTIFY_SOCKET=path), stdin=subprocess.DEVNULL)
            self.assertEqual(running.finish().status, BUS_UNAVAILABLE)
            notify.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.assertNotIn(b"READY=1", notify.recv(4096))

    def test_a_notify_socket_that_nobody_listens_at_does_not_matter(self):
        with self.echo(env=dict(self.env, NOTIFY_SOCKET=self.work + "/nosuch")):
            pass


class PythonPeerTest(InteropTest):
    """A peer in Python on the bus, and `ipcm` talks to it."""

    def test_it_is_seen(self):
        with Peer(self.route, "pypeer"):
            peers = self.peers(self.env)
            self.assertEqual((peers["pypeer"]["pid"], peers["pypeer"]["state"]), (os.getpid(), "active"))

    def test_it_gets_a_message(self):
        with Peer(self.route, "pypeer") as peer:
            running = self.start(IPCM, "send", "pypeer", '{"note":["ä€😀"]}', stdin=subprocess.DEVNULL)
            with peer.accept() as connection:
                payload = connection.receive_payload()
                self.assertTrue(payload.isascii(), "Perl peers do not decode UTF-8")
                got = json.loads(payload)
                self.assertEqual(got["content"], {"note": ["ä€😀"]})
                self.assertEqual((got["to"], got["from"]), ("pypeer", connection.peer))
                self.assertNotIn("broadcast", got)
                self.assertRegex(got["id"], r"^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$")
                self.assertLess(abs(got["stamp"] - time.time()), 60)
                self.assertGreaterEqual(got["stamp_ord"], 0)
                self.assertEqual(running.finish().status, 0)
                self.assertIsNone(connection.receive())

    def test_it_gets_a_broadcast(self):
        with Peer(self.route, "pypeer") as peer:
            running = self.start(IPCM, "broadcast", '"to all"', stdin=subprocess.DEVNULL)
            with peer.accept() as connection:
                got = connection.receive()
                self.assertEqual((got["content"], got["broadcast"], got["to"]), ("to all", 1, "pypeer"))
            self.assertEqual(running.finish().status, 0)

    def test_it_answers_a_request(self):
        with Peer(self.route, "pypeer") as peer:
            running = self.start(IPCM, "request", "pypeer", '{"n":1}', stdin=subprocess.DEVNULL)
            with peer.accept() as connection:
                asked = connection.receive()
                self.assertEqual(asked["content"]["request"], {"n": 1})
                self.assertRegex(asked["content"]["ipcm_request_id"], r"^[0-9A-F-]{36}$")
                peer.answer(connection, asked, {"got": [1, "zwei", None]})
                result = running.finish()
            self.assertEqual((result.status, result.answers), (0, [{"got": [1, "zwei", None]}]), result)

    def test_it_answers_with_an_error(self):
        with Peer(self.route, "pypeer") as peer:
            running = self.start(IPCM, "request", "pypeer", "1", stdin=subprocess.DEVNULL)
            with peer.accept() as connection:
                peer.answer(connection, connection.receive(), None, "boom at file line 7.\n")
                result = running.finish()
            self.assertEqual(result.status, 1, result)
            self.assertIn("boom at file line 7.", result.err)

    def test_other_messages_before_the_answer_are_passed_over(self):
        with Peer(self.route, "pypeer") as peer:
            running = self.start(IPCM, "request", "pypeer", "1", stdin=subprocess.DEVNULL)
            with peer.accept() as connection:
                asked = connection.receive()
                connection.send(message("pypeer", asked["from"], {"by": "the way"}))
                connection.send(message("pypeer", asked["from"], {"ipcm_response_id": "NOBODY-ASKED", "response": 0}))
                connection.send({"hello": "pypeer"})
                peer.answer(connection, asked, 2)
                result = running.finish()
            self.assertEqual((result.status, result.answers), (0, [2]), result)

    def test_it_closes_instead_of_an_answer_and_leaves(self):
        peer = Peer(self.route, "pypeer")
        with peer:
            running = self.start(IPCM, "request", "pypeer", "1", stdin=subprocess.DEVNULL)
            connection = peer.accept()
            connection.receive()
        connection.close()  # after its endpoint was removed
        result = running.finish()
        self.assertEqual(result.status, 3, result)
        self.assertIn("pypeer", result.err)

    def test_it_answers_two_requests_that_are_asked_in_turn(self):
        with Peer(self.route, "pypeer") as peer:
            running = self.start(IPCM, "request", "pypeer", "1", "2", stdin=subprocess.DEVNULL)
            with peer.accept() as connection:
                for _ in range(2):
                    asked = connection.receive()
                    peer.answer(connection, asked, asked["content"]["request"] * 10)
                result = running.finish()
            self.assertEqual(result.answers, [10, 20], result)

    def test_it_leaves_the_bus_on_the_word_to_end_and_stop_is_done(self):
        peer = Peer(self.route, "pypeer")
        running = self.start(IPCM, "bus", "rm", stdin=subprocess.DEVNULL)
        with peer.accept() as connection:
            got = connection.receive()
            self.assertTrue(got["content"]["terminate"])
            peer.leave()
        self.assertEqual(running.finish().status, 0)
        self.assertFalse(os.path.exists(self.route))

    def test_a_request_longer_than_a_socket_buffer_arrives_in_one_piece(self):
        with Peer(self.route, "pypeer") as peer:
            text = "x" * 100000
            running = self.start(IPCM, "request", "pypeer", json.dumps(text), stdin=subprocess.DEVNULL)
            with peer.accept() as connection:
                asked = connection.receive()
                self.assertEqual(asked["content"]["request"], text)
                peer.answer(connection, asked, "y" * 5000000)
                result = running.finish()
            self.assertEqual(result.answers, ["y" * 5000000])


class WhatPerlSendsTest(InteropTest):
    """An echo service understands what the reference sends, and what it may send."""

    def setUp(self):
        super().setUp()
        self.boot = Boot(self, self.params())
        self.assertTrue(self.boot.read_ready().endswith(b"\n"))
        self.connection = Connection.to(self.route, "e", "perl")

    def tearDown(self):
        self.connection.close()
        status = 0
        if not self.boot.running.over:
            self.boot.running.process.signal(signal.SIGTERM)
            status = self.boot.running.finish().status
        super().tearDown()
        self.assertEqual(status, 0)

    def expect_answer(self, request_id, value):
        answered = self.connection.receive()
        self.assertEqual(answered["content"], {"ipcm_response_id": request_id, "response": value})
        self.assertEqual((answered["from"], answered["to"]), ("e", "perl"))
        return answered

    def expect_alive(self):
        self.assertEqual(self.ask(self.connection, "alive", "perl"), "alive")

    def test_the_captured_message(self):
        self.connection.send(
            b'{"id":"01A2050B-EF33-7769-9AB2-B6C36F6D7024","content":{"ipcm_request_id":"01A2050B-EF33-7C54-B7BE-570FED48A938",'
            b'"request":"hello"},"from":"perl","stamp_ord":0,"stamp":1795380997.93995,"to":"e"}')
        answered = self.expect_answer("01A2050B-EF33-7C54-B7BE-570FED48A938", "hello")
        self.assertRegex(answered["id"], r"^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$")
        self.assertIsInstance(answered["stamp"], float)
        self.assertIsInstance(answered["stamp_ord"], int)

    def test_keys_in_any_order(self):
        chance = random.Random(1)
        for number in range(50):
            whole = message("perl", "e", None)
            content = [("ipcm_request_id", f"R-{number}"), ("request", number)]
            chance.shuffle(content)
            whole["content"] = dict(content)
            items = list(whole.items())
            chance.shuffle(items)
            self.connection.send(dict(items))
            self.expect_answer(f"R-{number}", number)

    def test_numbers_as_strings_and_a_string_as_number(self):
        self.connection.send(b'{"stamp":"1795380997.93995","stamp_ord":"3","id":"A","content":{"request":"7","ipcm_request_id":"R"},"to":"e","from":"perl"}')
        self.expect_answer("R", "7")
        # Perl writes a string of digits as a number after it was used in arithmetic: here the ids of a request and of a message.
        self.connection.send(b'{"id":4711,"stamp":1795380998,"stamp_ord":1,"content":{"request":7,"ipcm_request_id":815},"to":"e","from":"perl"}')
        answered = self.connection.receive()
        self.assertEqual(str(answered["content"]["ipcm_response_id"]), "815")
        self.assertEqual(answered["content"]["response"], 7)

    def test_a_request_as_broadcast(self):
        self.connection.send({**message("perl", "e", request_content([1], "R")), "broadcast": 1})
        self.expect_answer("R", [1])
        whole = {**message("perl", "e", request_content([2], "R2")), "broadcast": "1"}
        del whole["to"]  # not needed beside broadcast
        self.connection.send(whole)
        self.expect_answer("R2", [2])

    def test_a_broadcast_that_is_false(self):
        for value in (0, "", None, "0", False):
            with self.subTest(value=value):
                self.connection.send({**message("perl", "e", request_content(1, "R")), "broadcast": value})
                self.expect_answer("R", 1)

    def test_surrogate_pairs_and_other_escapes(self):
        self.connection.send(b'{"content":{"ipcm_request_id":"R","request":"\\ud83d\\ude00 \\u00e4\\u20AC \\/ \\b\\f\\n\\r\\t\\"\\\\ \\u0000 \\u007f \x7f"},"to":"e","from":"perl"}')
        payload = self.connection.receive_payload()
        self.assertTrue(payload.isascii())
        self.assertEqual(json.loads(payload)["content"]["response"], '😀 ä€ / \b\f\n\r\t"\\ \x00 \x7f \x7f')

    def test_utf8_is_answered_in_ascii(self):
        self.connection.send(json.dumps(message("perl", "e", request_content({"ä": "😀€"}, "R")), ensure_ascii=False).encode())
        payload = self.connection.receive_payload()
        self.assertTrue(payload.isascii(), payload)
        self.assertEqual(json.loads(payload)["content"]["response"], {"ä": "😀€"})

    def test_escapes_in_keys_and_ids(self):
        self.connection.send(b'{"\\u0063ontent":{"ipcm_request\\u005fid":"R\\u002d1","request":true},"to":"e","fro\\u006d":"p\\u0065rl"}')
        self.expect_answer("R-1", True)

    def test_messages_without_id_and_stamp(self):
        self.connection.send({"from": "perl", "to": "e", "content": request_content("bare", "R")})
        self.expect_answer("R", "bare")

    def test_unknown_keys_and_blanks_around(self):
        whole = {**message("perl", "e", request_content(1, "R")), "x_new": {"a": [1]}}
        self.connection.send(b" \n\t" + json.dumps(whole, indent=2).encode() + b" \n")
        self.expect_answer("R", 1)

    def test_a_message_that_is_for_somebody_else_by_its_words_is_taken_all_the_same(self):
        self.connection.send(message("perl", "somebody", request_content(1, "R")))
        self.expect_answer("R", 1)

    def test_floats_and_big_integers_come_back_to_the_digit(self):
        for text in (b"1795380339.0", b"1e+20", b"18446744073709551615", b"-0.0", b"1795380997.93995", b"0.1000", b"123456789012345678901234567890"):
            with self.subTest(text=text):
                self.connection.send(b'{"content":{"ipcm_request_id":"R","request":' + text + b'},"to":"e","from":"perl"}')
                self.assertIn(b'"response":' + text, self.connection.receive_payload())

    def test_two_frames_in_one_segment(self):
        first, second = (frame(message("perl", "e", request_content(number, f"R-{number}"))) for number in (1, 2))
        self.connection.send_bytes(first + second)
        self.expect_answer("R-1", 1)
        self.expect_answer("R-2", 2)

    def test_hello_and_first_message_in_one_segment(self):
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.connect(self.route + "/e")
        with Connection(stream) as other:
            other.send_bytes(frame({"hello": "other"}) + frame(message("other", "e", request_content("both", "R"))))
            self.assertEqual(other.receive()["content"]["response"], "both")

    def test_a_frame_byte_by_byte(self):
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.connect(self.route + "/e")
        with Connection(stream) as other:
            for byte in frame({"hello": "other"}) + frame(message("other", "e", request_content("slow", "R"))):
                other.send_bytes(bytes([byte]))
            self.assertEqual(other.receive()["content"]["response"], "slow")

    def test_many_requests_before_the_first_answer_is_read(self):
        count = 2000
        frames = b"".join(frame(message("perl", "e", request_content(number, f"R-{number}"))) for number in range(count))
        writer = threading.Thread(target=self.connection.send_bytes, args=(frames,))
        writer.start()
        got = [self.connection.receive()["content"]["response"] for _ in range(count)]
        writer.join()
        self.assertEqual(got, list(range(count)))

    def test_messages_that_are_none_harm_nobody(self):
        for payload in (b'{"to":"e","content":1}', b'{"from":"perl","to":"e"}', b'{"from":"perl","to":"e","content":null}',
                        b'{"from":"","to":"e","content":1}', b'{"from":"perl","to":"e","content":{"ipcm_response_id":"X","response":1}}',
                        b'{"hello":"perl"}'):
            with self.subTest(payload=payload):
                self.connection.send(payload)
                self.expect_alive()

    def test_frames_that_are_no_json_end_at_most_their_own_connection(self):
        for payload in (b"nonsense", b"[1,2]", b"7", b"", b"\xff\xfe", b'{"from":', b'{"a":1}{"b":2}'):
            with self.subTest(payload=payload):
                with Connection.to(self.route, "e", "vandal") as vandal:
                    vandal.send(payload)
                self.expect_alive()

    def test_a_caller_that_does_not_greet_is_closed_upon(self):
        for payload in (b"nonsense", b"{}", b'{"hello":""}', b'{"hello":null}', b"[]", frame(b"x")[:2]):
            with self.subTest(payload=payload):
                stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                stream.connect(self.route + "/e")
                with Connection(stream) as caller:
                    caller.send(payload)
                    if len(payload) > 2:
                        self.assertIsNone(caller.receive(), "the connection was kept")
                self.expect_alive()

    def test_a_frame_that_announces_gibibytes_is_not_believed(self):
        with Connection.to(self.route, "e", "vandal") as vandal:
            vandal.send_bytes(b"\xff\xff\xff\xff")
            self.assertIsNone(vandal.receive())
        self.expect_alive()

    def test_a_caller_that_closes_in_the_middle_of_a_frame_harms_nobody(self):
        with Connection.to(self.route, "e", "vandal") as vandal:
            vandal.send_bytes(b"\x00\x00\x01\x00{\"half\"")
        self.expect_alive()
        before = cpu_ticks(self.boot.pid)
        select.select([self.connection.stream], [], [], 0.3)  # no message comes; the reference spins in this case
        self.assertLess(cpu_ticks(self.boot.pid) - before, 15, "the service spins")

    def test_a_requester_that_is_gone_before_its_answer_harms_nobody(self):
        with Connection.to(self.route, "e", "hasty") as hasty:
            hasty.send(message("hasty", "e", request_content(1)))
        self.expect_alive()

    def test_an_answer_goes_to_the_listening_peer_that_asked_although_its_connection_is_closed(self):
        with Peer(self.route, "listener") as listener:
            # The service is stopped until the connection is closed. Otherwise it could answer on it, and the answer would be lost.
            os.kill(self.boot.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, self.boot.pid, os.WSTOPPED)
            with Connection.to(self.route, "e", "listener") as connection:
                connection.send(message("listener", "e", request_content("call back", "R")))
                connection.stream.shutdown(socket.SHUT_RDWR)
            os.kill(self.boot.pid, signal.SIGCONT)
            with listener.accept() as back:
                self.assertEqual(back.peer, "e")
                self.assertEqual(back.receive()["content"], {"ipcm_response_id": "R", "response": "call back"})

    def test_a_new_hello_under_a_known_name_replaces_the_old_connection(self):
        with Connection.to(self.route, "e", "twice") as first, Connection.to(self.route, "e", "twice") as second:
            second.send(message("twice", "e", request_content(2, "R2")))
            self.assertEqual(second.receive()["content"]["response"], 2)
            first.close()
            second.send(message("twice", "e", request_content(3, "R3")))
            self.assertEqual(second.receive()["content"]["response"], 3)

    def test_the_word_to_end_may_come_from_anybody_and_in_any_truth(self):
        self.connection.send({**message("spawn", "e", {"terminate": "1"}), "broadcast": 1})
        result = self.boot.running.finish()
        self.assertEqual(result.status, 0, result)


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    unittest.main(verbosity=2)
