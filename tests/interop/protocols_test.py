"""Foreign peers on one bus with peers of this library, in both directions, for each protocol that they support: one in plain Python, one in plain
Perl, and the reference itself if PERL5LIB has it. With IPCM_TEST_ROUTE (support/servers.py) only the reference, on that server."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(HERE, "..", "cli")]

import foreign  # noqa: E402
from peer import request_content  # noqa: E402
from support import BOOT, HANG, IPCM, TidyTest  # noqa: E402

PERL = shutil.which("perl")
GONE = 3
SERVERS = {"dbi:Pg:": "PostgreSQL", "dbi:MariaDB:": "MariaDB"}
SERVER_ROUTE = os.environ.get("IPCM_TEST_ROUTE", "")


def perl_has(module):
    return PERL is not None and subprocess.run([PERL, f"-M{module}", "-e1"], stderr=subprocess.DEVNULL).returncode == 0


def reference(*words, input=None):
    """Runs an operation of the reference; see ipc_manager.pl."""
    return subprocess.run([PERL, HERE + "/ipc_manager.pl", *words], input=input, stdout=subprocess.PIPE, check=True).stdout


class Bus:
    """A bus for foreign peers. On a server, all buses use the same database."""

    serializer = "JSON"

    def make_bus(self):
        self.route = SERVER_ROUTE or os.path.join(self.work, {"SQLite": "bus.sqlite", "JSONFile": "bus.json"}.get(self.protocol, "bus"))
        # The reference writes long names.
        self.info = json.dumps([f"IPC::Manager::Client::{self.protocol}", f"IPC::Manager::Serializer::{self.serializer}", self.route])
        self.env["IPCM_INFO"] = self.info
        if not SERVER_ROUTE:
            return foreign.make_bus(self.protocol, self.route)
        self.addCleanup(reference, "--drop", self.info)
        return reference("--create", self.info)


class ForeignPeer:
    """A program that is a peer. It sends the messages that the test names, and reports the messages that it receives."""

    def __init__(self, test, *words):
        self.running = test.start(*words)
        self.name = words[-1]
        self.told = self.hear()
        self.pid = self.told["joined"]

    def hear(self):
        return json.loads(self.running.read_line())

    def say(self, to, content):
        self.running.write(json.dumps({"to": to, "content": content} if to else {"content": content}) + "\n")

    def ask(self, to, value):
        content = request_content(value)
        self.say(to, content)
        return content["ipcm_request_id"]

    def answer(self, asked, value, **more):
        self.say(asked["from"], {"ipcm_response_id": asked["content"]["ipcm_request_id"], "response": value, **more})

    def suspend(self, seconds):
        self.running.write(json.dumps({"suspend": seconds}) + "\n")
        self.leave()

    def leave(self):
        result = self.running.finish()
        if result.status != 0:
            self.running.test.fail(f"{self.name}: {result}")
        return result


class ForeignTest(Bus):
    """Tests for every foreign peer. `protocol` is that of the bus, `language` that of the peer."""

    def setUp(self):
        super().setUp()
        self.make_bus()

    def peer(self, name="stranger", info=None):
        command = {"Python": [sys.executable, HERE + "/foreign.py"], "Perl": [PERL, HERE + "/foreign.pl"],
                   "IPC::Manager": [PERL, HERE + "/ipc_manager.pl"]}[self.language]
        return ForeignPeer(self, *command, info or self.info, name)

    @contextlib.contextmanager
    def echo(self):
        """Yields an echo service of this library on the bus. It ends with status 0, by a message of `ender` or by a signal."""
        ready, its_ready = os.pipe()
        params = {"ipcm": 1, "name": "e", "class": "echo", "ipcm_info": self.info}
        running = self.start(BOOT, "--ready-fd", its_ready, json.dumps(params), stdin=subprocess.DEVNULL, pass_fds=[its_ready])
        os.close(its_ready)
        with open(ready) as pipe:
            self.assertIn('"ready":true', pipe.read())
        yield running
        if not running.over:
            running.process.signal(signal.SIGTERM)
            result = running.finish()
            self.assertEqual(result.status, 0, result)

    def test_it_asks_our_service(self):
        with self.echo():
            peer = self.peer()
            # A string of digits stays a string, and a number stays a number. Escapes return as characters. 30000 bytes are more than one part of a pipe.
            for value in ("x", {"hello": ["wörld ä€😀", 1, "7", 7, None]}, [True, False, 0.5, -1], "y" * 30000, {"ключ": "\x00\x7f\"\\/\n"}):
                asked = peer.ask("e", value)
                answer = peer.hear()
                self.assertEqual(answer["content"], {"ipcm_response_id": asked, "response": value})
                self.assertEqual((answer["from"], answer["to"]), ("e", "stranger"))
                # A server returns the id in another notation.
                self.assertRegex(answer["id"].upper() if SERVER_ROUTE else answer["id"], r"^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$")
            peer.leave()

    def test_it_asks_a_hundred_times_at_once_and_is_answered_in_order(self):
        with self.echo():
            peer = self.peer()
            asked = [peer.ask("e", number) for number in range(100)]
            answers = [peer.hear()["content"] for _ in asked]
            self.assertEqual(answers, [{"ipcm_response_id": one, "response": number} for number, one in enumerate(asked)])
            peer.leave()

    def test_it_asks_by_broadcast(self):
        with self.echo():
            peer = self.peer()
            asked = peer.ask(None, "anybody?")
            self.assertEqual(peer.hear()["content"], {"ipcm_response_id": asked, "response": "anybody?"})
            peer.leave()

    def test_it_ends_our_service(self):
        with self.echo() as service:
            peer = self.peer()
            peer.say("e", {"terminate": 1})
            result = service.finish()
            self.assertEqual(result.status, 0, result)
            peer.leave()
            self.assertEqual(self.peers(self.env), {})

    def test_it_is_seen_while_it_is_there(self):
        peer = self.peer()
        seen = self.peers(self.env)["stranger"]
        self.assertEqual((seen["pid"], seen["state"]), (peer.pid, "active"))
        peer.leave()
        self.assertEqual(self.peers(self.env), {})

    def test_it_gets_our_message_and_our_broadcast(self):
        peer = self.peer()
        self.ipcm("send", "stranger", '{"note":["ä€😀","7",7]}')
        got = peer.hear()
        self.assertEqual((got["content"], got["to"]), ({"note": ["ä€😀", "7", 7]}, "stranger"))
        self.assertFalse(got.get("broadcast"))
        self.ipcm("broadcast", '"to all"')
        got = peer.hear()
        self.assertEqual((got["content"], int(got["broadcast"])), ("to all", 1))
        peer.leave()

    def test_we_ask_it(self):
        peer = self.peer()
        running = self.start(IPCM, "request", "stranger", '{"n":["ä€😀"]}', '"two"', stdin=subprocess.DEVNULL)
        for value in ({"n": ["ä€😀"]}, "two"):
            asked = peer.hear()
            self.assertEqual(asked["content"]["request"], value)
            peer.answer(asked, {"got": [value, None]})
        result = running.finish()
        self.assertEqual((result.status, result.answers), (0, [{"got": [{"n": ["ä€😀"]}, None]}, {"got": ["two", None]}]), result)
        peer.leave()

    def test_we_ask_it_and_it_answers_with_an_error(self):
        peer = self.peer()
        running = self.start(IPCM, "request", "stranger", "1", stdin=subprocess.DEVNULL)
        peer.answer(peer.hear(), None, ipcm_error="boom at file line 7.\n")
        result = running.finish()
        self.assertEqual(result.status, 1, result)
        self.assertIn("boom at file line 7.", result.err)
        peer.leave()

    def test_we_ask_it_and_it_leaves(self):
        peer = self.peer()
        running = self.start(IPCM, "request", "stranger", "1", stdin=subprocess.DEVNULL)
        peer.hear()
        peer.leave()
        result = running.finish()
        self.assertEqual(result.status, GONE, result)
        self.assertIn("stranger", result.err)

    def test_we_ask_it_and_it_is_killed(self):
        peer = self.peer()
        running = self.start(IPCM, "request", "stranger", "1", stdin=subprocess.DEVNULL)
        peer.hear()
        peer.running.process.signal(signal.SIGKILL)
        result = running.finish()
        self.assertEqual(result.status, GONE, result)
        self.assertIn("stranger", result.err)
        peer.running.finish()

    def test_our_service_outlives_one_that_asks_and_is_gone(self):
        with self.echo() as service:
            hasty = self.peer("hasty")
            # A stopped service answers only after the death of the requester. Not on protocols where it may hold the lock of a file, and block all peers.
            stops = self.protocol not in ("SQLite", "JSONFile")
            if stops:
                os.kill(service.pid, signal.SIGSTOP)
                os.waitid(os.P_PID, service.pid, os.WSTOPPED)
            hasty.ask("e", "too late")
            # The peer has sent its request when it reports the next message.
            self.ipcm("send", "hasty", '"are you there?"')
            hasty.hear()
            hasty.running.process.signal(signal.SIGKILL)
            hasty.running.finish()
            if stops:
                os.kill(service.pid, signal.SIGCONT)
            peer = self.peer()
            peer.ask("e", "alive")
            self.assertEqual(peer.hear()["content"]["response"], "alive")
            peer.leave()

    def test_our_counts_can_be_read_by_others(self):
        if SERVER_ROUTE:
            self.skipTest("its owner compares them")
        with self.echo() as service:
            peer = self.peer()
            for number in range(3):
                peer.ask("e", number)
                peer.hear()
            peer.say("e", {"terminate": 1})
            self.assertEqual(service.finish().status, 0)
            peer.leave()
        ours, theirs = self.counts("e"), self.counts("stranger")
        self.assertEqual((ours["read"], ours["sent"]), ({"stranger": 4}, {"stranger": 3}))
        self.assertEqual((theirs["read"], theirs["sent"]), ({"e": 3}, {"e": 4}))

    def counts(self, name):
        if self.protocol == "SQLite":
            with contextlib.closing(sqlite3.connect(self.route)) as db:
                return self.decoded(db.execute("SELECT stats FROM ipcm_peers WHERE id = ?", (name,)).fetchone()[0])
        if self.protocol == "JSONFile":
            with open(self.route) as file:
                return json.load(file)["stats"][name]
        with open(os.path.join(self.route, name + ".stats"), "rb") as file:
            return self.decoded(file.read())

    def decoded(self, stored):
        return json.loads(stored if self.serializer == "JSON" else reference("--read", self.serializer, input=stored))

    def test_a_bus_of_ours_is_taken_down_when_it_leaves_at_the_word(self):
        if SERVER_ROUTE:
            reference("--drop", self.info)
        route = ["--route", SERVER_ROUTE] if SERVER_ROUTE else []
        made = json.loads(self.ipcm("--json", "bus", "new", "--protocol", self.protocol, "--serializer", self.serializer, *route).out)
        info = json.dumps(made["info"])
        peer = self.peer(info=info)
        running = self.start(IPCM, "bus", "rm", env=dict(self.env, IPCM_INFO=info), stdin=subprocess.DEVNULL)
        self.assertTrue(peer.hear()["content"]["terminate"])
        peer.running.finish()  # with any status: the reference leaves in two steps, and the bus may be removed between them
        result = running.finish()
        self.assertEqual(result.status, 0, result)


class SuspendTest(Bus):
    """A peer of the reference suspends itself, and returns."""

    def setUp(self):
        super().setUp()
        self.make_bus()

    def test_it_suspends_itself_and_finds_our_message_when_it_is_back(self):
        ForeignPeer(self, PERL, HERE + "/ipc_manager.pl", self.info, "sleeper").suspend(1000)
        self.assertEqual(self.peers(self.env)["sleeper"]["state"], "suspended")
        self.ipcm("send", "sleeper", '{"kept":["ä",7]}')
        # Commands on the bus do not take the suspended peer for dead.
        self.ipcm("bus", "info")
        self.ipcm("run", "echo", "1", "--bus", self.info)
        self.assertEqual(self.peers(self.env)["sleeper"]["state"], "suspended")
        peer = ForeignPeer(self, PERL, HERE + "/ipc_manager.pl", "--resume", self.info, "sleeper")
        self.assertEqual(peer.hear()["content"], {"kept": ["ä", 7]})
        self.ipcm("send", "sleeper", '"and now"')
        self.assertEqual(peer.hear()["content"], "and now")
        peer.leave()


class LongMessageTest(Bus):
    """The tables of the reference on MariaDB hold 64 KiB of a message."""

    def test_a_message_too_long_for_its_table_is_refused_with_the_reason(self):
        self.make_bus()
        peer = ForeignPeer(self, PERL, HERE + "/ipc_manager.pl", self.info, "stranger")
        result = self.ipcm("send", "stranger", json.dumps("x" * 100000), status=None)
        self.assertNotEqual(result.status, 0)
        self.assert_told(result, "too long")
        self.ipcm("send", "stranger", json.dumps("x" * 60000))
        self.assertEqual(len(peer.hear()["content"]), 60000)
        peer.leave()


class ReferenceOwnsTest:
    """The reference has made the bus and a service on it."""

    def setUp(self):
        super().setUp()
        info = json.dumps([self.protocol, self.serializer, SERVER_ROUTE])
        if SERVER_ROUTE:
            self.addCleanup(reference, "--drop", info)
        self.owner = ForeignPeer(self, PERL, HERE + "/ipc_manager.pl", "--owner", info)
        self.env["IPCM_INFO"] = self.owner.told["info"]

    def take_down(self):
        result = self.owner.leave()
        self.assertIsNone(json.loads(result.lines[-1])["error"], result)
        if self.protocol == "SQLite":
            # The last client of the reference opens the database after it was removed, and so makes an empty one.
            os.unlink(json.loads(self.owner.told["info"])[2])

    def test_we_ask_its_service(self):
        self.assertEqual(self.ipcm("request", "perl", '"hi"', "7").answers, ["echo: hi", "echo: 7"])
        self.take_down()

    def test_our_service_joins_and_ends_with_the_bus_and_the_counts_are_right(self):
        self.ipcm("start", "echo", "--name", "ours")
        self.assertEqual(self.ipcm("request", "ours", '{"a":["ä"]}', "2").answers, [{"a": ["ä"]}, 2])
        self.assertEqual(self.ipcm("request", "perl", "1").answers, ["echo: 1"])
        self.take_down()

    def test_we_take_its_bus_down(self):
        self.ipcm("stop", "perl")
        self.assertNotIn("perl", self.peers(self.env))
        self.take_down()


def add(name, base, **more):
    globals()[name] = type(name, (base, TidyTest), {"__qualname__": name, **more})


# The languages and protocols without and with a server.
REFERENCE_MISSING = None if perl_has("IPC::Manager") else "no IPC::Manager in PERL5LIB"
if SERVER_ROUTE:
    if REFERENCE_MISSING:
        print("skipped:", REFERENCE_MISSING, file=sys.stderr)
        sys.exit(77)
    # The reference uses the environment variables of the database client for the user.
    os.environ.update(PGUSER=os.environ["IPCM_DB_USER"], PGPASSWORD=os.environ["IPCM_DB_PASSWORD"])
    LANGUAGES = (("IPC::Manager", [next(name for start, name in SERVERS.items() if SERVER_ROUTE.startswith(start))], None),)
else:
    LANGUAGES = (("Python", foreign.PROTOCOLS, None),
                 ("Perl", ("ConnectionUnix", "UnixSocket", "MessageFiles", "AtomicPipe"), None if perl_has("JSON::PP") else "no perl with JSON::PP"),
                 ("IPC::Manager", foreign.PROTOCOLS, REFERENCE_MISSING))

for language, protocols, missing in LANGUAGES:
    if missing:
        print(f"not run: peers in {language}: {missing}", file=sys.stderr)
        continue
    for protocol in protocols:
        word = language.replace("::", "")
        if language != "IPC::Manager":
            add(f"{word}On{protocol}Test", ForeignTest, language=language, protocol=protocol)
            continue
        for serializer in ("JSON", "JSON::Zstd") if perl_has("Compress::Zstd") else ("JSON",):
            of = f"{protocol}{serializer.removeprefix('JSON').replace('::', '')}"
            add(f"{word}On{of}Test", ForeignTest, language=language, protocol=protocol, serializer=serializer)
            add(f"{word}Owns{of}Test", ReferenceOwnsTest, protocol=protocol, serializer=serializer)
            if protocol not in ("ConnectionUnix", "UnixSocket", "AtomicPipe"):
                add(f"{word}SuspendsOn{of}Test", SuspendTest, protocol=protocol, serializer=serializer)
        if protocol == "MariaDB":
            add(f"{word}LongMessageTest", LongMessageTest, protocol=protocol)

if __name__ == "__main__":
    unittest.main(verbosity=2)
