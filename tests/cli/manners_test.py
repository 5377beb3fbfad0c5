"""Manners of the `ipcm` command: every line of input gets a line of output, lost output is reported, no raw bytes reach a terminal, and the
error for a wrong word suggests a similar one."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from support import BOOT, HANG, IPCM, Process, TidyTest, service_of  # noqa: E402

DONE, ANSWERED_WITH_ERROR, USAGE, GONE, TIMED_OUT, LAUNCH_FAILED = range(6)
OUTPUT_LOST = 74


class LineForLineTest(TidyTest):
    """ipcm run < requests prints exactly one line for each line, whatever happens."""

    def test_G5_what_is_no_json_is_told_in_its_place(self):
        lines = ['1', 'nope', '', '{"a":1,"a":2}', "[" * 501 + "]" * 501, '"' + "x" * 100_000, '"last"']
        result = self.ipcm("run", "echo", input="\n".join(lines) + "\n", status=USAGE)
        self.assertEqual(result.lines, ["1", "", "", "", "", "", '"last"'])
        told = result.err.splitlines()
        self.assertEqual(len(told), 4, result.err)
        for number, one in zip((2, 4, 5, 6), told):
            self.assertIn(f"line {number} of stdin", one)
            self.assertLess(len(one), 500)

    def test_G9_a_line_without_end_is_told_at_once_and_does_not_keep_a_signal_out(self):
        with open("/dev/zero", "rb") as endless:
            running = self.start(IPCM, "run", "echo", stdin=endless)
        self.assertEqual(running.read_line(), "")
        running.process.signal(signal.SIGTERM)
        result = running.finish()
        self.assertEqual(result.status, 128 + signal.SIGTERM, result)
        self.assertIn("line 1 of stdin is longer than 64 MiB", result.err)

    def test_G5_the_lines_after_one_that_is_too_long_are_answered(self):
        result = self.ipcm("run", "echo", input="1\n" + "2" * (65 << 20) + "\n3\n", status=USAGE)
        self.assertEqual(result.lines, ["1", "", "3"])
        self.assertIn("line 2 of stdin is longer than 64 MiB", result.err)

    def test_G5_with_json_the_error_is_an_object_in_its_place(self):
        result = self.ipcm("--json", "run", "echo", input="1\nnope\n3\n", status=USAGE)
        self.assertEqual(result.err, "")
        one, told, three = result.answers
        self.assertEqual((one, three), (1, 3))
        self.assertEqual((told["line"], told["kind"], told["status"]), (2, "usage", USAGE))
        self.assertIn("line 2, column 1", told["error"])

    def test_G5_an_error_of_the_service_is_told_in_its_place(self):
        requests = '1\n{"fail":"no luck"}\n3\n'
        result = self.ipcm("run", "echo", "--boot", self.fake_boot("fails"), input=requests, status=ANSWERED_WITH_ERROR)
        self.assertEqual(result.lines, ["1", "", "3"])
        self.assertIn("no luck", result.err)
        self.assertIn("line 2 of stdin", result.err)
        result = self.ipcm("--json", "run", "echo", "--boot", self.fake_boot("fails"), input=requests, status=ANSWERED_WITH_ERROR)
        self.assertEqual([type(one) for one in result.answers], [int, dict, int])
        self.assertEqual(result.answers[1]["kind"], "answer")

    def test_G4_lines_after_the_service_has_died_are_told_one_by_one(self):
        running = self.start(IPCM, "run", "echo")
        running.write("1\n")
        self.assertEqual(running.read_line(), "1")
        with Process(service_of(running.pid)) as service:
            service.signal(signal.SIGKILL)
            self.assertTrue(service.wait_for_end())
        running.write("2\n")
        self.assertEqual(running.read_line(), "")
        running.write("3\nnope\n")
        self.assertEqual([running.read_line(), running.read_line()], ["", ""])
        result = running.finish()
        self.assertEqual(result.status, GONE, result)
        self.assertEqual(len(result.err.splitlines()), 3, result.err)

    def test_G4_an_answer_that_does_not_come_in_time_is_told_and_the_next_is_asked(self):
        # The limit is for the start, too, which takes its time on a loaded machine.
        result = self.ipcm("--timeout", "3s", "run", "echo", "--boot", self.fake_boot("mute"), input="1\n2\n", status=TIMED_OUT)
        self.assertEqual(result.out, "\n\n")
        told = result.err.splitlines()
        self.assertEqual(["line 1 of stdin" in told[0], "line 2 of stdin" in told[1], len(told)], [True, True, 2], result.err)

    def test_a_line_that_is_too_long_is_told_and_the_next_one_answered(self):
        result = self.ipcm("run", "echo", input='1\n"' + "x" * (65 << 20) + '"\n3\n', status=USAGE, limit=3 * HANG)
        self.assertEqual(result.lines, ["1", "", "3"])
        self.assertIn("line 2 of stdin", result.err)


class OutputTest(TidyTest):
    """A verb that could not write its output exits with 74. The command waits for the reader of a full pipe."""

    def lost(self, *words, env=None, program=None):
        with open("/dev/full", "w") as full:
            running = self.start(program or IPCM, *words, env=env, stdin=-3, stdout=full)
            result = running.finish()
        self.assertEqual(result.status, OUTPUT_LOST, f"{words}\n{result}")
        return result

    def test_G5_output_on_a_full_disk_is_told(self):
        for words in (["--help"], ["--version"], ["run", "--help"], ["bus", "--help"], ["types"], ["types", "--json"], ["bus", "protocols"],
                      ["bus", "protocols", "--json"], ["bus", "ls"], ["run", "echo", "1"]):
            with self.subTest(words=words):
                self.assertIn("No space left", self.lost(*words).err)
        for words in (["--help"], ["--list"], ["--list", "--json"]):
            with self.subTest(boot=words):
                self.assertIn("No space left", self.lost(*words, program=BOOT).err)

    def test_G5_output_on_a_full_disk_is_told_about_a_bus(self):
        with self.bus() as env:
            for words in (["bus", "info"], ["ps"], ["ps", "--json"]):
                with self.subTest(words=words):
                    self.lost(*words, env=env)

    def test_G6_a_new_bus_that_nobody_was_told_of_is_removed(self):
        for words in (["bus", "new"], ["bus", "new", "--json"], ["bus", "new", "--protocol", "JSONFile"]):
            self.lost(*words)
            self.assertEqual(os.listdir(self.tmp), [], words)

    def test_G6_a_service_that_nobody_was_told_of_is_ended(self):
        with self.bus() as env:
            for words in (["start", "echo"], ["start", "echo", "--json"], ["start", "echo", "--no-wait"]):
                with self.subTest(words=words):
                    self.lost(*words, env=env)
                    self.assertEqual(self.peers(env), {})

    def test_G5_a_reader_that_has_left_is_not_complained_to(self):
        result = self.sh("(ipcm types; echo $? >&2) | :")
        # The shell's `:` may end after the command has written its output. Then the command succeeds.
        self.assertIn(result.err.strip(), ("74", "0"))
        read_end, write_end = os.pipe()
        os.close(read_end)
        with os.fdopen(write_end, "w") as gone:
            result = self.start(IPCM, "types", stdin=-3, stdout=gone).finish()
        self.assertEqual((result.status, result.err), (OUTPUT_LOST, ""))

    def test_G8_a_pipe_that_somebody_made_non_blocking_gets_everything(self):
        count = 3000
        requests = "".join(f'"{number:06d}{"y" * 400}"\n' for number in range(count))
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        path = self.work + "/requests"
        with open(path, "w") as file:
            file.write(requests)
        with open(path) as file:
            running = self.start(IPCM, "run", "echo", stdout=write_end, stdin=file)
        os.close(write_end)
        self.assertTrue(select.select([read_end], [], [], HANG)[0])
        # The pipe becomes full before the test reads it: it holds less than the output.
        self.assertLess(fcntl.fcntl(read_end, fcntl.F_GETPIPE_SZ), len(requests))
        with os.fdopen(read_end) as pipe:
            self.assertEqual(pipe.read(), requests)
        result = running.finish()
        self.assertEqual((result.status, result.err), (DONE, ""))

    def test_G8_errors_wait_for_a_non_blocking_stderr(self):
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        fill = b"x" * 4096
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write_end, fill)
        pid = os.posix_spawn(IPCM, [IPCM, "frobnicate"], self.env, file_actions=[(os.POSIX_SPAWN_DUP2, write_end, 2)])
        os.close(write_end)
        text = b""
        while piece := os.read(read_end, 65536):
            text += piece
        os.close(read_end)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), USAGE)
        self.assertIn(b"frobnicate", text)


class WordsTest(TidyTest):
    """The command line: accepted words, and the errors for others."""

    def test_a_time_limit_may_have_a_unit(self):
        for limit in ("0", "600", "600.5", "600s", "600000ms", "10m", "1h", "0s", "0ms"):
            with self.subTest(limit=limit):
                self.assertEqual(self.ipcm("--timeout", limit, "run", "echo", "1").answers, [1])
        self.assertEqual(self.ipcm("--timeout=600000ms", "types").err, "")

    def test_what_is_no_time_limit_is_refused(self):
        for limit in ("nan", "inf", "-1", "-0", "-inf", "1e3", "0x10", "5x", "s", " 5", "5 s", "1,5", "soon"):
            with self.subTest(limit=limit):
                self.assert_told(self.ipcm("--timeout", limit, "types", status=USAGE), "--timeout", limit.strip())

    def test_a_time_limit_of_zero_is_none(self):
        with self.bus() as env:
            self.ipcm("--timeout", "0", "start", "echo", env=env)
            with Process(self.peers(env)["echo"]["pid"]) as service:
                service.signal(signal.SIGSTOP)
                running = self.start(IPCM, "--timeout", "0", "request", "echo", "1", env=env, stdin=-3)
                self.assertFalse(select.select([running.process.fd], [], [], 0.2)[0], "it has given up")
                service.signal(signal.SIGCONT)
                self.assertEqual(running.finish().answers, [1])

    def test_redirect_takes_one_word(self):
        log = self.work + "/log"
        for words in (["--redirect", f"err={log}", "1"], [f"--redirect=err={log}", "1"],
                      ["--redirect", f"err={log}", "--redirect", f"out={log}", "1"]):
            with self.subTest(words=words):
                self.assertEqual(self.ipcm("run", "echo", *words).answers, [1])

    def test_the_word_that_was_meant_is_suggested(self):
        for words, meant in ((["rnu", "echo"], "'run'"), (["bus", "nwe"], "'new'"), (["ps", "--jsn"], "'--json'"),
                             (["start", "echo", "--nmae", "x"], "'--name'")):
            with self.subTest(words=words):
                self.assert_told(self.ipcm(*words, status=USAGE), f"did you mean {meant}?")
        self.assert_told(self.ipcm("run", "ecko", "1", status=LAUNCH_FAILED), "did you mean 'echo'?")
        self.assertNotIn("did you mean", self.ipcm("frobnicate", status=USAGE).err)

    def test_the_peer_that_was_meant_is_suggested(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "worker", env=env)
            for words in (["request", "wroker", "1"], ["send", "wroker", "1"], ["stop", "wroker"]):
                with self.subTest(words=words):
                    self.assert_told(self.ipcm(*words, env=env, status=GONE), "did you mean 'worker'?")

    def test_a_value_that_is_empty_is_refused(self):
        with self.bus() as env:
            for words in (["--bus", "", "ps"], ["--bus=", "ps"], ["bus", "rm", ""], ["bus", "rm", "--bus", ""], ["start", "echo", "--name", ""],
                          ["start", ""], ["stop", ""], ["request", "", "1"], ["start", "echo", "--boot", ""], ["bus", "new", "--route", ""],
                          ["bus", "new", "--protocol="]):
                with self.subTest(words=words):
                    self.assert_told(self.ipcm(*words, env=env, status=USAGE), "empty")
            self.assertTrue(os.path.isdir(env["ROUTE"]), "the bus of $IPCM_INFO was removed")

    def test_help_of_a_verb_lists_the_options_of_all(self):
        for verb in (["run"], ["start"], ["ps"], ["bus"], ["bus", "new"], ["session"]):
            out = self.ipcm(*verb, "--help").out
            for option in ("--bus", "--json", "--timeout", "--verbose"):
                self.assertIn(option, out, verb)

    def test_json_errors_tell_line_column_and_what_was_found(self):
        for text, words in (('{"a" 1}', ("column 6", "'1'")), ('[1,\n2\n3]', ("line 3, column 1", "'3'")), ("\ufeff{}", ("byte order mark",)),
                            ('{"a":1,"a":2}', ("'a'", "line 1, column 1")), ("[" * 600, ("nested deeper", "column 501")), ("", ("ends too early",))):
            with self.subTest(text=text[:20]):
                self.assert_told(self.ipcm("run", "echo", text, status=USAGE), *words)

    def test_huge_words_are_told_briefly(self):
        huge = "x" * 100_000
        for words in ([huge], ["run", "echo", huge], ["run", "echo", "--" + huge], ["ps", "--bus", huge], ["types", huge], ["--timeout", huge, "ps"]):
            result = self.ipcm(*words, status=USAGE)
            self.assert_one_line(result.err)
            self.assertLess(len(result.err), 1000)


class PlacesTest(TidyTest):
    """The places where the command searches for files."""

    def test_the_boot_binary_is_found_on_the_path(self):
        apart = os.path.join(self.work, "bin")
        os.mkdir(apart)
        shutil.copy(IPCM, apart + "/ipcm")
        env = {key: value for key, value in self.env.items() if key != "IPCM_BOOT"}
        env["LD_LIBRARY_PATH"] = os.path.dirname(BOOT)
        there = os.path.join(self.work, "there")
        os.mkdir(there)
        self.script('#!/bin/sh\nexec "$BOOT" "$@"\n', "there/ipcm-boot")
        env["PATH"] = there + ":/usr/bin:/bin"
        result = self.start(apart + "/ipcm", "run", "echo", "1", env=env, stdin=-3).finish()
        self.assertEqual((result.status, result.out), (DONE, "1\n"), result)

    def test_a_relative_tmpdir_works(self):
        env = {key: value for key, value in self.env.items() if key != "XDG_RUNTIME_DIR"}
        env["TMPDIR"] = os.path.relpath(self.tmp, self.work)
        result = self.sh('eval "$(ipcm bus new)"; cd /; ipcm start echo; ipcm request echo 1; ipcm --json bus ls | grep -c route; ipcm bus rm', env=env)
        self.assertEqual(result.lines[:2], ["echo", "1"], result)

    def test_a_tmpdir_that_is_not_utf8_is_refused_by_name(self):
        env = {os.fsencode(key): os.fsencode(value) for key, value in self.env.items() if key != "XDG_RUNTIME_DIR"}
        place = os.fsencode(self.work) + b"/\xff"
        os.mkdir(place, 0o700)
        env[b"TMPDIR"] = place
        for words in (["run", "echo", "1"], ["bus", "new"], ["session", "--", "true"]):
            with self.subTest(words=words):
                self.assert_told(self.ipcm(*words, env=env, status=USAGE), "$TMPDIR", "UTF-8", "\\xff")
                self.assertEqual(os.listdir(place), [])

    def test_a_bus_may_be_named_by_a_relative_path(self):
        with self.bus() as env:
            relative = os.path.relpath(env["ROUTE"], self.work)
            self.assertEqual(json.loads(self.ipcm("--json", "ps", "--bus", relative).out), [])

    def test_a_start_on_a_missing_bus_has_the_status_of_a_missing_bus(self):
        for info in (["ConnectionUnix", "JSON", self.tmp + "/nosuch"], ["JSONFile", "JSON", self.tmp + "/nosuch.json"]):
            env = dict(self.env, IPCM_INFO=json.dumps(info))
            self.assertIn("nosuch", self.ipcm("start", "echo", env=env, status=GONE).err)


class TerminalTest(TidyTest):
    """Bytes from other programs reach a terminal or a log only escaped."""

    def assert_harmless(self, text):
        for raw in ("\x1b", "\x07", "\x7f", "\x9b", "\u202e", "\u2066"):
            self.assertNotIn(raw, text, repr(text))

    def test_answers_are_json_that_a_terminal_shows_as_it_is(self):
        evil = "\x1b[2J\x07\x7f\x9b\u202e\u2066 ü€"
        for text in (json.dumps(evil), json.dumps(evil, ensure_ascii=False).replace("\x9b", "\\u009b")):
            result = self.ipcm("run", "echo", text)
            self.assertEqual(result.answers, [evil])
            self.assert_harmless(result.out)
            self.assertIn("ü€", result.out)

    def test_errors_of_a_service_are_told_printable(self):
        request = json.dumps({"fail": "evil\n\x1b[2J\u202e" + "x" * 100_000})
        result = self.ipcm("run", "echo", "--boot", self.fake_boot("fails"), request, status=ANSWERED_WITH_ERROR)
        self.assert_one_line(result.err)
        self.assert_harmless(result.err)
        self.assertIn("evil\\n\\x1b[2J\\u{202e}", result.err)
        self.assertLess(len(result.err), 20_000)

    def test_last_words_are_told_printable(self):
        boot = self.script("#!/bin/sh\nprintf 'evil \\033[2J \\377\\n' >&2\nexit 3\n")
        self.assert_harmless(self.ipcm("run", "echo", "--boot", boot, "1", status=LAUNCH_FAILED).err)

    def test_types_are_listed_printable(self):
        boot = self.script("#!/bin/sh\nprintf 'evil  \\033[2J\\n'\n")
        result = self.ipcm("types", "--boot", boot)
        self.assertEqual(result.out, "evil  \\x1b[2J\n")

    def test_words_of_the_command_line_are_told_printable(self):
        for words in (["\x1b[2J"], ["run", "echo", "\x1b[2J"], ["run", "echo", "--\x1b[2J"], ["ps", "--bus", "\x1b[2J"]):
            result = self.ipcm(*words, status=USAGE)
            self.assert_one_line(result.err)
            self.assert_harmless(result.err)

    def test_the_name_of_a_caller_reaches_the_log_printable_and_short(self):
        log = self.work + "/log"
        with self.bus() as env:
            self.ipcm("start", "echo", "--redirect", f"err={log}", env=env)
            frames = (json.dumps({"hello": "evil\n\x1b[2J\u202e" + "x" * 5000}).encode(), b"garbage")
            with socket.socket(socket.AF_UNIX) as caller:
                here = os.getcwd()
                os.chdir(env["ROUTE"])  # the path in a socket address is limited
                try:
                    caller.connect("echo")
                finally:
                    os.chdir(here)
                caller.sendall(b"".join(struct.pack(">I", len(frame)) + frame for frame in frames))
                caller.settimeout(HANG)
                with contextlib.suppress(OSError):
                    while caller.recv(65536):  # until it hangs up
                        pass
            self.ipcm("stop", "echo", env=env)
        with open(log, "rb") as file:
            text = file.read().decode()
        self.assert_harmless(text)
        self.assertIn("evil\\n\\x1b[2J\\u{202e}", text)
        self.assertEqual([line for line in text.splitlines() if not line.startswith("ipcm: ")], [])
        self.assertLess(max(len(line) for line in text.splitlines()), 1000)


if __name__ == "__main__":
    unittest.main(verbosity=2)
