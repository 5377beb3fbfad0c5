"""Frames, messages, parameters and names: pure values."""

import json
import math
import os
import socket
import tempfile
import unittest

from ipcm import ProtocolError, UsageError
from ipcm.entries import disk_name, strangers
from ipcm.frames import LARGEST, FrameReader, frame
from ipcm.info import bus_info
from ipcm.messages import Stamps, json_text, json_value, new_id, read_message
from ipcm.parameters import read_command_line, read_parameters

GOOD = {"ipcm": 1, "name": "e", "class": "echo", "ipcm_info": ["ConnectionUnix", "JSON", "/x"]}


class Frames(unittest.TestCase):
    def test_any_cut_of_the_stream_gives_the_same_payloads(self):
        payloads = [b"", b"a", b"b" * 300, b"c" * 70000]
        stream = b"".join(frame(one) for one in payloads)
        for step in (1, 3, 299, 65536, len(stream)):
            reader, found, at = FrameReader(), [], 0
            while at < len(stream):
                target = reader.target()
                if target is not None:
                    piece = stream[at:at + min(step, len(target))]
                    target[:len(piece)] = piece
                    whole = reader.filled(len(piece))
                    found += [] if whole is None else [bytes(whole)]
                else:
                    piece = stream[at:at + step]
                    found += [bytes(one) for one in reader.feed(piece)]
                at += len(piece)
            self.assertEqual(found, payloads, step)
            self.assertEqual(reader.held(), 0)

    def test_a_length_above_the_limit_is_refused(self):
        with self.assertRaisesRegex(ProtocolError, str(LARGEST + 1)):
            FrameReader().feed((LARGEST + 1).to_bytes(4, "big"))


class Messages(unittest.TestCase):
    def test_text_is_pure_ascii_and_comes_back(self):
        value = {"ü\x7f\0\U0001F600": ["\\ud800", 1.5, 2 ** 70, None, True]}
        text = json_text(value)
        self.assertTrue(all(" " <= character <= "~" for character in text), text)
        self.assertEqual(json_value(text.encode()), value)

    def test_what_others_cannot_read_is_refused(self):
        deep = 1
        for _ in range(499):
            deep = [deep]
        for bad in (math.nan, math.inf, {1, 2}, "\ud800", ["a\udc00"], deep, object()):
            with self.assertRaises(UsageError, msg=repr(bad)[:60]):
                json_text(bad)
        json_text(deep[0])

    def test_text_that_is_no_json_is_refused(self):
        for bad in (b"", b"{", b"NaN", b"\xff", b"[" * 100000):
            with self.assertRaises(ProtocolError, msg=bad[:20]):
                json_value(bad)

    def test_a_message_without_sender_or_content_is_refused(self):
        for bad in ([], {"content": 1}, {"from": "", "content": 1}, {"from": "0", "content": 1}, {"from": "a"}, {"from": "a", "content": None},
                    {"from": "a", "content": 1, "stamp": "x"}):
            with self.assertRaises(ProtocolError, msg=str(bad)):
                read_message(bad, "me")

    def test_missing_keys_have_their_default(self):
        message = read_message({"from": 7, "content": 0}, "me")
        self.assertEqual((message.sender, message.to, message.content, message.broadcast), ("7", "me", 0, False))
        self.assertGreater(message.stamp, 1e9)

    def test_stamps_and_ids_rise(self):
        stamps = Stamps()
        pairs = [tuple(json.loads("{" + stamps.next() + "}").values()) for _ in range(1000)]
        self.assertEqual(pairs, sorted(set(pairs)))
        self.assertRegex(new_id(), r"^[0-9A-F]{8}-[0-9A-F]{4}-7[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$")


class Names(unittest.TestCase):
    def test_names_that_are_no_file_names_are_hashed_as_the_reference_hashes_them(self):
        self.assertEqual(disk_name("a/b", "/r"), "h-c14cddc033f64b9dea80ea675cf280a015e67251")
        self.assertEqual(disk_name("x" * 120, "/r"), "h-13f05a0b594787f5ecd315edc96141bd3243203d")
        for name in ("svc", "a b", "ü"):
            self.assertEqual(disk_name(name, "/r"), name)
        for name in (".a", "a.pid", "h-x", "a\n"):
            self.assertTrue(disk_name(name, "/r").startswith("h-") and len(disk_name(name, "/r")) == 42, name)

    def test_long_names_of_the_reference_mean_the_same(self):
        info = bus_info('["IPC::Manager::Client::ConnectionUnix","IPC::Manager::Serializer::JSON","/x"]')
        self.assertEqual((info.protocol, info.serializer, info.is_native), ("ConnectionUnix", "JSON", True))
        self.assertFalse(bus_info(["ConnectionUnix", ["JSON::Zstd", "level", 9], "/x"]).is_native)
        for bad in ("", "[]", "x", '["a","b"]', '["a","b",""]', '{"a":1}', "3"):
            with self.assertRaises(UsageError, msg=bad):
                bus_info(bad)


class Entries(unittest.TestCase):
    def test_an_endpoint_whose_maker_was_killed_is_no_stranger(self):
        with tempfile.TemporaryDirectory() as place:
            directory = os.open(place, os.O_RDONLY)
            with socket.socket(socket.AF_UNIX) as unfinished:
                unfinished.bind(place + "/.Abcdefgh.pend")
                os.mkfifo(place + "/.Bcdefghi.pend")
                self.assertEqual(strangers(directory), [".Bcdefghi.pend"])
            os.close(directory)


class Parameters(unittest.TestCase):
    def test_good_parameters_are_read(self):
        found = read_parameters(json.dumps({**GOOD, "args": {"a": 1}, "watch_pids": [1], "interval": 0.5, "spin": 0.1, "exec": {}}))
        self.assertEqual((found.name, found.class_name, found.args, found.watch_pids, found.interval), ("e", "echo", {"a": 1}, [1], 0.5))

    def test_a_bad_key_is_named(self):
        for key, value in (("ipcm", 2), ("name", ""), ("name", "_x"), ("class", 1), ("ipcm_info", "x"), ("watch_pids", [0]), ("interval", 0),
                           ("spin", 2), ("intercept_errors", 1), ("redirect", {"stdout": 1}), ("redirect", {"x": "y"}), ("argz", 1)):
            with self.assertRaises(UsageError, msg=f"{key}={value}") as caught:
                read_parameters(json.dumps({**GOOD, key: value}))
            self.assertIn(key if key != "name" or value == "" else "_x", str(caught.exception))
        for key in ("ipcm", "name", "class", "ipcm_info"):
            with self.assertRaisesRegex(UsageError, f"'{key}' is missing"):
                read_parameters(json.dumps({one: value for one, value in GOOD.items() if one != key}))

    def test_the_command_line(self):
        self.assertEqual(read_command_line(["--ready-fd", "5", "{}"])[1:], (5, None, "{}"))
        self.assertEqual(read_command_line(["--params-fd=7"])[1:], (None, 7, None))
        self.assertEqual(read_command_line(["--list", "--json"]).action, "list-json")
        for bad in (["--ready-fd"], ["--ready-fd", "x"], ["--what"], ["{}", "{}"], ["--params-fd", "3", "{}"]):
            with self.assertRaises(UsageError, msg=str(bad)):
                read_command_line(bad)


if __name__ == "__main__":
    unittest.main()
