"""The `ipcm` command as a user sees it: its answers, its exit status, and that it leaves nothing behind."""

import contextlib
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
sys.path.insert(0, HERE)

import corpus  # noqa: E402
from support import HANG, IPCM, PATIENCE, Process, TidyTest, children_of, command_of, protocols, service_of, verbs  # noqa: E402

DONE, ANSWERED_WITH_ERROR, USAGE, GONE, TIMED_OUT, LAUNCH_FAILED = range(6)
OUTPUT_LOST = 74


class RunTest(TidyTest):
    """ipcm run: makes a bus, starts one service, prints the answers to the requests, and removes both."""

    def test_one_request_prints_one_line_and_exits_0(self):
        result = self.ipcm("run", "echo", '{"hello":"world"}')
        self.assert_one_line(result.out)
        self.assertEqual(result.answers, [{"hello": "world"}])
        self.assertEqual(result.err, "")

    def test_several_requests_are_answered_in_their_order(self):
        result = self.ipcm("run", "echo", "1", '"two"', "[3]", "null", "true", "4.5")
        self.assertEqual(result.answers, [1, "two", [3], None, True, 4.5])

    def test_a_request_that_is_an_array_stays_one(self):
        requests = ["[]", "[3]", "[1,2]", '["a","b"]', "[[1],[2]]", '[{"a":1},null]']
        self.assertEqual(self.ipcm("run", "echo", *requests).answers, [json.loads(one) for one in requests])

    def test_a_request_that_is_a_negative_number_is_no_option(self):
        self.assertEqual(self.ipcm("run", "echo", "-1", "-2.5").answers, [-1, -2.5])

    def test_each_line_of_stdin_is_a_request(self):
        self.assertEqual(self.ipcm("run", "echo", input='1\n"two"\n{"n":3}\n').answers, [1, "two", {"n": 3}])

    def test_the_last_line_may_lack_its_newline(self):
        result = self.ipcm("run", "echo", input='1\n"last"')
        self.assertEqual(result.answers, [1, "last"])
        self.assertTrue(result.out.endswith("\n"))

    def test_a_blank_line_asks_nothing_and_gets_an_empty_line(self):
        result = self.ipcm("run", "echo", input='\n1\n\n   \n\t\r\n2\r\n\n')
        self.assertEqual((result.out, result.err), ("\n1\n\n\n\n2\n\n", ""))

    def test_empty_stdin_is_no_request_and_no_error(self):
        result = self.ipcm("run", "echo", input="")
        self.assertEqual((result.out, result.err), ("", ""))

    def test_answers_come_while_stdin_is_still_open(self):
        running = self.start(IPCM, "run", "echo")
        for value in (1, "two", [3]):
            running.write(json.dumps(value) + "\n")
            self.assertEqual(json.loads(running.read_line()), value)
        self.assertEqual(running.finish().status, DONE)

    def test_a_line_may_arrive_in_pieces(self):
        running = self.start(IPCM, "run", "echo")
        running.write('1\n{"in":')
        self.assertEqual(json.loads(running.read_line()), 1)
        running.write('"pieces"')
        running.write("}\n")
        self.assertEqual(json.loads(running.read_line()), {"in": "pieces"})
        self.assertEqual(running.finish().status, DONE)

    def test_args_reach_the_service(self):
        self.assertEqual(self.ipcm("run", "echo", "--args", '{"prefix":"> "}', '"hi"', "1").answers, ["> hi", 1])

    def test_args_of_more_than_one_argument_of_exec_can_hold_reach_the_service(self):
        # JSON escapes make the parameters longer than 128 KiB, the limit of one argument of exec.
        prefix = "ä" * 60000
        result = self.ipcm("run", "echo", "--args", json.dumps({"prefix": prefix}, ensure_ascii=False), '"!"')
        self.assertEqual(result.answers, [prefix + "!"])

    def test_requests_that_mean_something_to_the_bus_mean_nothing_here(self):
        requests = ['{"terminate":1}', '{"hello":"me"}', '{"ipcm_response_id":"x","response":1}', '{"ipcm_request_id":"x"}', "1"]
        self.assertEqual(self.ipcm("run", "echo", *requests).answers, [json.loads(one) for one in requests])

    def test_the_boot_binary_is_found_without_being_named(self):
        env = {key: value for key, value in self.env.items() if key != "IPCM_BOOT"}
        self.assertEqual(self.ipcm("run", "echo", "1", env=env).answers, [1])

    def test_options_may_stand_before_or_after_the_verb(self):
        self.assertEqual(self.ipcm("--timeout", "10", "run", "echo", "1").answers, [1])
        self.assertEqual(self.ipcm("run", "echo", "--timeout", "10", "1").answers, [1])

    def test_verbose_tells_on_stderr_only(self):
        result = self.ipcm("-v", "run", "echo", "1")
        self.assertEqual(result.answers, [1])
        self.assertIn("ready after", result.err)

    def test_a_service_in_another_language_is_as_good(self):
        self.assertEqual(self.ipcm("run", "echo", "--boot", self.fake_boot("echo"), "1", '{"a":[2]}').answers, [1, {"a": [2]}])

    def test_a_route_longer_than_a_socket_address_is_no_matter(self):
        deep = os.path.join(self.tmp, "d" * 150)
        os.mkdir(deep, 0o700)
        self.assertEqual(self.ipcm("run", "echo", "1", env=dict(self.env, XDG_RUNTIME_DIR=deep)).answers, [1])
        os.rmdir(deep)


class RunRefusesTest(TidyTest):
    """ipcm run with a wrong command line."""

    def test_a_request_that_is_no_json_starts_nothing(self):
        boot = self.script(f'#!/bin/sh\ntouch "{self.work}/started"\nexec "$BOOT" "$@"\n')
        before = os.stat(self.tmp).st_mtime_ns
        result = self.ipcm("run", "echo", "--boot", boot, "1", "nope", status=USAGE)
        self.assert_told(result, "nope", "not JSON")
        self.assertEqual(result.out, "")
        self.assertFalse(os.path.exists(self.work + "/started"))
        self.assertEqual(os.stat(self.tmp).st_mtime_ns, before, "a bus was made")

    def test_args_that_are_no_json_start_nothing(self):
        before = os.stat(self.tmp).st_mtime_ns
        self.assert_told(self.ipcm("run", "echo", "--args", "{prefix:1}", "1", status=USAGE), "--args", "not JSON")
        self.assertEqual(os.stat(self.tmp).st_mtime_ns, before, "a bus was made")

    def test_a_bad_line_in_the_middle_of_stdin_is_named_by_its_number_and_the_others_are_asked(self):
        result = self.ipcm("run", "echo", input='1\n"two"\n\nnope\n4\n', status=USAGE)
        self.assertEqual(result.lines, ["1", '"two"', "", "", "4"])
        self.assert_told(result, "line 4", "nope")

    def test_after_a_bad_line_the_next_one_is_answered(self):
        running = self.start(IPCM, "run", "echo")
        running.write("1\nnope\n")
        self.assertEqual([running.read_line(), running.read_line()], ["1", ""])
        running.write("3\n")
        self.assertEqual(running.read_line(), "3")
        self.assertEqual(running.finish().status, USAGE)

    def test_invalid_utf8_is_refused(self):
        result = self.ipcm("run", "echo", input=b'1\n"\xff\xfe"\n', status=USAGE)
        self.assertEqual(result.lines, ["1", ""])
        self.assert_told(result, "line 2", "\\xff")

    def test_no_words_at_all_are_a_usage_error(self):
        for words in ([], ["run"], ["frobnicate"], ["run", "echo", "--frobnicate"], ["--timeout", "-1", "run", "echo"],
                      ["--timeout", "soon", "run", "echo"], ["run", "echo", "--redirect", "up=/dev/null", "1"], ["bus"], ["request", "x"]):
            with self.subTest(words=words):
                result = self.ipcm(*words, status=USAGE)
                self.assertEqual(result.out, "")
                self.assertIn("ipcm: ", result.err)
                self.assertRegex(result.err, r"try: ipcm( \w+)* --help")

    def test_an_unknown_verb_is_named_in_the_message(self):
        self.assertIn("frobnicate", self.ipcm("frobnicate", status=USAGE).err)

    def test_an_empty_request_is_refused(self):
        self.assert_told(self.ipcm("run", "echo", "", status=USAGE), "JSON")


class LaunchTest(TidyTest):
    """Starts that fail: exit status 5, and one line with the reason."""

    def test_an_unknown_class_is_told_with_those_that_there_are(self):
        self.assert_told(self.ipcm("run", "nosuch", "1", status=LAUNCH_FAILED), "nosuch", "echo")

    def test_an_unknown_key_in_args_is_named(self):
        self.assert_told(self.ipcm("run", "echo", "--args", '{"prefx":"> "}', "1", status=LAUNCH_FAILED), "prefx")

    def test_args_of_a_wrong_type_are_named(self):
        self.assert_told(self.ipcm("run", "echo", "--args", '{"prefix":[7]}', "1", status=LAUNCH_FAILED), "prefix", "string")

    def test_a_missing_boot_binary_is_told(self):
        result = self.ipcm("run", "echo", "--boot", self.work + "/nosuch", "1", status=LAUNCH_FAILED)
        self.assert_told(result, "nosuch", "No such file")

    def test_a_boot_binary_that_is_not_executable_is_told(self):
        boot = self.script("#!/bin/sh\n", mode=0o644)
        self.assert_told(self.ipcm("run", "echo", "--boot", boot, "1", status=LAUNCH_FAILED), boot, "ermission")

    def test_a_directory_as_boot_binary_is_told(self):
        self.assert_told(self.ipcm("run", "echo", "--boot", self.work, "1", status=LAUNCH_FAILED), self.work)

    def test_a_boot_binary_whose_interpreter_is_missing_is_told(self):
        boot = self.script("#!/nosuch/interpreter\n")
        self.assert_told(self.ipcm("run", "echo", "--boot", boot, "1", status=LAUNCH_FAILED), boot, "No such file")

    def test_a_boot_binary_of_garbage_is_told(self):
        boot = self.script("\x01\x02\x03 no program\n")
        self.assert_told(self.ipcm("run", "echo", "--boot", boot, "1", status=LAUNCH_FAILED), boot, "xec")

    def test_a_boot_binary_that_exits_with_words_is_told_with_status_and_words(self):
        boot = self.script("#!/bin/sh\necho 'the flux is empty' >&2\nexit 3\n")
        result = self.ipcm("run", "echo", "--boot", boot, "1", status=LAUNCH_FAILED)
        self.assert_told(result, "3", "the flux is empty")

    def test_a_boot_binary_that_dies_of_sigsegv_is_told(self):
        boot = self.script("#!/bin/sh\nkill -SEGV $$\n")
        self.assert_told(self.ipcm("run", "echo", "--boot", boot, "1", status=LAUNCH_FAILED), "SIGSEGV")

    def test_a_boot_binary_that_exits_0_before_it_is_ready_is_told(self):
        result = self.ipcm("run", "echo", "--boot", self.script("#!/bin/sh\nexit 0\n"), "1", status=LAUNCH_FAILED)
        self.assert_told(result, "status 0", "before it was ready")

    def test_a_boot_binary_that_is_never_ready_is_ended_at_the_time_limit_and_not_before(self):
        boot = self.script("#!/bin/sh\nexec sleep 1000\n")
        result = self.ipcm("--timeout", "1", "run", "echo", "--boot", boot, "1", status=LAUNCH_FAILED)
        self.assert_told(result, "not ready within")
        self.assertGreaterEqual(result.seconds, 1)
        self.assertLess(result.seconds, 3)

    def test_a_boot_binary_that_ignores_sigterm_is_ended_at_the_time_limit(self):
        boot = self.script("#!/bin/sh\ntrap '' TERM\nexec sleep 1000\n")
        self.assert_told(self.ipcm("--timeout", "1", "run", "echo", "--boot", boot, "1", status=LAUNCH_FAILED), "not ready within")

    def test_a_boot_binary_that_writes_something_else_than_the_ready_line_is_told(self):
        boot = self.script("#!/bin/sh\neval \"printf garbage >&$2\"\nexit 1\n")
        self.assert_told(self.ipcm("run", "echo", "--boot", boot, "1", status=LAUNCH_FAILED), "garbage")

    def test_a_failed_launch_leaves_a_bus_usable(self):
        with self.bus() as env:
            self.ipcm("start", "nosuch", "--name", "a", env=env, status=LAUNCH_FAILED)
            self.ipcm("start", "echo", "--name", "a", env=env)
            self.assertEqual(self.ipcm("request", "a", "1", env=env).answers, [1])


class ServiceTroubleTest(TidyTest):
    """A service that runs and misbehaves."""

    def test_an_error_as_answer_is_told_and_the_others_are_asked_all_the_same(self):
        result = self.ipcm("run", "echo", "--boot", self.fake_boot("fails"), "1", '{"fail":"no luck today"}', "3", status=ANSWERED_WITH_ERROR)
        self.assertEqual(result.answers, [1, 3])
        self.assert_one_line(result.err)
        self.assertIn("no luck today", result.err)
        self.assertIn("request 2", result.err)

    def test_an_answer_that_is_bytes_is_told_as_an_error_is_and_the_others_are_asked_all_the_same(self):
        boot = os.path.join(os.environ["IPCM_TEST_CHILDREN"], "self_boot")
        words = ["--serializer", "Cereal", "--boot", boot]
        result = self.ipcm("run", "speaker", *words, '"environment"', '"bytes"', '"environment"', status=ANSWERED_WITH_ERROR)
        self.assertEqual(len(result.answers), 2)
        self.assertIn("'speaker' is no JSON but 8 bytes", result.err)
        self.assertIn("request 2", result.err)

    def test_a_request_that_is_answered_with_bytes_has_the_status_of_an_error(self):
        boot = os.path.join(os.environ["IPCM_TEST_CHILDREN"], "self_boot")
        with self.bus("--serializer", "Cereal") as env:
            self.ipcm("start", "speaker", "--boot", boot, env=env)
            result = self.ipcm("--json", "request", "speaker", '"bytes"', env=env, status=ANSWERED_WITH_ERROR)
            self.assertEqual(result.out, "")
            told = json.loads(result.err)
            self.assertEqual((told["kind"], told["status"]), ("answer", ANSWERED_WITH_ERROR))
            self.assertIn("8 bytes", told["error"])

    def test_a_service_that_kills_itself_when_asked_is_gone(self):
        result = self.ipcm("run", "echo", "--boot", self.fake_boot("dies"), "1", status=GONE)
        self.assertEqual(result.out, "")
        self.assert_told(result, "echo", "SIGKILL")

    def test_a_service_that_leaves_when_asked_is_gone(self):
        self.assert_told(self.ipcm("run", "echo", "--boot", self.fake_boot("leaves"), "1", status=GONE), "echo")

    def test_a_service_that_is_killed_while_it_is_asked_is_gone(self):
        running = self.start(IPCM, "run", "echo")
        running.write("1\n")
        self.assertEqual(json.loads(running.read_line()), 1)
        service = service_of(running.pid)
        with Process(service) as process:
            process.signal(signal.SIGSTOP)  # the service can't answer now
            running.write("2\n")
            process.signal(signal.SIGKILL)
            result = running.finish()
        self.assertEqual(result.status, GONE, result)
        self.assertEqual(result.out, "\n")  # a line for a line
        self.assert_one_line(result.err)
        self.assertIn("SIGKILL", result.err)

    def test_a_service_that_was_killed_before_it_is_asked_is_gone(self):
        running = self.start(IPCM, "run", "echo")
        running.write("1\n")
        self.assertEqual(json.loads(running.read_line()), 1)
        service = service_of(running.pid)
        with Process(service) as process:
            process.signal(signal.SIGKILL)
            self.assertTrue(process.wait_for_end())
        running.write("2\n")
        result = running.finish()
        self.assertEqual((result.status, result.out), (GONE, "\n"), result)
        self.assert_one_line(result.err)
        self.assertIn("echo", result.err)

    def test_an_answer_that_does_not_come_times_out_and_not_before(self):
        result = self.ipcm("--timeout", PATIENCE, "run", "echo", "--boot", self.fake_boot("mute"), "1", status=TIMED_OUT)
        self.assertGreaterEqual(result.seconds, PATIENCE)
        self.assert_told(result, "echo", "request 1")

    def test_a_stopped_service_times_out_a_request_and_answers_after_it_goes_on(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            with Process(self.peers(env)["echo"]["pid"]) as service:
                service.signal(signal.SIGSTOP)
                result = self.ipcm("request", "--timeout", "1", "echo", "1", env=env, status=TIMED_OUT)
                self.assertGreaterEqual(result.seconds, 1)
                self.assert_told(result, "echo")
                service.signal(signal.SIGCONT)
            self.assertEqual(self.ipcm("request", "echo", "2", env=env).answers, [2])

    def test_a_service_that_does_not_want_to_end_is_ended(self):
        self.assertEqual(self.ipcm("run", "echo", "--boot", self.fake_boot("deaf"), "1").answers, [1])

    def test_a_request_whose_peer_dies_meanwhile_is_gone(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--boot", self.fake_boot("dies"), "--name", "d", env=env)
            self.assert_told(self.ipcm("request", "d", "1", env=env, status=GONE), "'d'")

    def test_a_request_that_is_answered_with_an_error_exits_1(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--boot", self.fake_boot("fails"), "--name", "f", env=env)
            result = self.ipcm("request", "f", '{"fail":"no luck today"}', env=env, status=ANSWERED_WITH_ERROR)
            self.assert_told(result, "'f'", "no luck today")
            self.assertEqual(result.out, "")


class RequestTest(TidyTest):
    """ipcm request: contents from stdin and from files, and a request for each line."""

    def test_a_dash_is_the_content_of_stdin_and_an_at_sign_that_of_a_file(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            path = os.path.join(self.work, "content")
            with open(path, "w", encoding="utf-8") as file:
                file.write('{"from":\n"a file"}\n')
            result = self.ipcm("request", "echo", "1", f"@{path}", "-", env=env, input='["from", "stdin"]\n')
            self.assertEqual(result.answers, [1, {"from": "a file"}, ["from", "stdin"]])
            os.unlink(path)

    def test_a_content_that_fits_no_argument_is_answered(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            text = json.dumps("x" * (16 << 20))
            self.assertEqual(self.ipcm("request", "echo", "-", env=env, input=text).out, text + "\n")

    def test_a_content_that_no_message_can_carry_is_refused_with_the_limit(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            self.assert_told(self.ipcm("request", "echo", "-", env=env, input=json.dumps("x" * (64 << 20)), status=USAGE), "stdin", "64 MiB")
            self.assert_told(self.ipcm("request", "echo", "@/dev/zero", env=env, status=USAGE), "'/dev/zero'", "64 MiB")

    def test_a_content_that_can_not_be_read_is_told(self):
        with self.bus() as env:
            self.assert_told(self.ipcm("request", "echo", "@/nowhere/at/all", env=env, status=USAGE), "/nowhere/at/all", "No such file")
            self.assert_told(self.ipcm("request", "echo", "@/", env=env, status=USAGE), "'/'", "directory")
            self.assert_told(self.ipcm("request", "echo", "-", env=env, input="nope", status=USAGE), "from stdin", "nope")
            self.assert_told(self.ipcm("request", "echo", "-", "-", env=env, status=USAGE), "twice")

    def test_a_fifo_is_read_to_its_end(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            path = os.path.join(self.work, "fifo")
            os.mkfifo(path)
            asked = self.start(IPCM, "request", "echo", f"@{path}", env=env, stdin=subprocess.DEVNULL)
            with open(path, "w") as fifo:  # waits for the reader
                fifo.write('{"from":')
                fifo.flush()
                fifo.write('"a fifo"}')
            self.assertEqual(asked.finish(None, HANG).answers, [{"from": "a fifo"}])
            os.unlink(path)

    def test_the_deadline_ends_the_wait_for_a_fifo_without_a_writer_with_a_silent_one_and_for_a_terminal(self):
        with self.bus() as env:
            path = os.path.join(self.work, "fifo")
            os.mkfifo(path)
            terminal, end = pty.openpty()
            silent = os.open(path, os.O_RDWR)
            try:
                for word in (f"@{path}", f"@{os.ttyname(end)}"):
                    result = self.ipcm("--timeout", "0.2", "send", "nobody", word, env=env, status=TIMED_OUT)
                    self.assert_told(result, word[1:], "--timeout", "has not ended")
            finally:
                for fd in (terminal, end, silent):
                    os.close(fd)
            self.assert_told(self.ipcm("--timeout", "0.2", "request", "nobody", f"@{path}", env=env, status=TIMED_OUT), path, "--timeout")
            os.unlink(path)

    def test_each_line_of_stdin_is_a_request_and_answers_keep_the_order(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            lines = "".join(f"{number}\n" for number in range(500))
            for jobs in ("1", "32"):
                self.assertEqual(self.ipcm("request", "echo", "--lines", "--jobs", jobs, env=env, input=lines).out, lines)

    def test_jobs_lines_are_open_at_the_same_time(self):
        # Each of the two programs waits until the other has started: with one open request, neither would end.
        with self.bus() as env:
            pipes = [os.path.join(self.work, name) for name in "ab"]
            for path in pipes:
                os.mkfifo(path)
            script = 'read -r n; if [ "$n" = 1 ]; then echo >"$0"; read -r x <"$1"; else read -r x <"$0"; echo >"$1"; fi; echo "$n"'
            self.ipcm("start", "--name", "both", "--jobs", "2", "--", "sh", "-c", script, *pipes, env=env)
            self.assertEqual(self.ipcm("request", "both", "--lines", "--jobs", "2", env=env, input="1\n2\n").answers, [1, 2])
            for path in pipes:
                os.unlink(path)

    def test_a_bad_line_is_named_and_the_others_are_answered(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            result = self.ipcm("request", "echo", "--lines", env=env, input="1\nnope\n\n3\n", status=USAGE)
            self.assertEqual(result.out, "1\n\n\n3\n")
            self.assertIn("line 2 of stdin", result.err)

    def test_lines_to_nobody_name_a_similar_peer(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            result = self.ipcm("request", "ecko", "--lines", env=env, input="1\n", status=GONE)
            self.assertEqual(result.out, "\n")
            self.assertIn("did you mean 'echo'?", result.err)

    def test_words_and_lines_exclude_each_other(self):
        with self.bus() as env:
            self.assert_told(self.ipcm("request", "echo", "1", "--lines", env=env, input="", status=USAGE), "--lines", "'1'")
            self.assert_told(self.ipcm("request", "echo", "1", "--jobs", "2", env=env, status=USAGE), "--jobs is for --lines")
            self.assert_told(self.ipcm("request", "echo", env=env, status=USAGE), "@FILE", "--lines")


class SecretTest(TidyTest):
    def test_secret_args_are_not_in_the_process_list_and_others_are(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "plain", "--args", '{"prefix":"open-sesame "}', env=env)
            self.ipcm("start", "echo", "--name", "hidden", "--secret", "--args", '{"prefix":"open-sesame "}', env=env)
            peers = self.peers(env)
            self.assertIn("open-sesame", command_of(peers["plain"]["pid"]))
            self.assertNotIn("open-sesame", command_of(peers["hidden"]["pid"]))
            self.assertIn("ipcm-boot", command_of(peers["hidden"]["pid"]))
            with open(f"/proc/{peers['hidden']['pid']}/environ", "rb") as file:
                self.assertNotIn(b"open-sesame", file.read())
            self.assertEqual(self.ipcm("request", "hidden", '"x"', env=env).answers, ["open-sesame x"])


class SessionTest(TidyTest):
    """ipcm session: a bus that exists while a command runs."""

    def test_the_command_finds_its_bus_in_ipcm_info(self):
        result = self.ipcm("session", "--", "sh", "-c", 'echo "$IPCM_INFO"')
        protocol, serializer, route = json.loads(result.out)
        self.assertEqual((protocol.split("::")[-1], serializer.split("::")[-1]), ("ConnectionUnix", "JSON"))
        self.assertTrue(route.startswith(self.tmp + "/"), route)
        self.assertFalse(os.path.exists(route))

    def test_its_exit_status_is_that_of_the_command(self):
        for status in (0, 1, 7, 255):
            self.ipcm("session", "--", "sh", "-c", f"exit {status}", status=status)

    def test_a_command_that_a_signal_ended_is_128_and_the_signal(self):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
            self.ipcm("session", "--", "sh", "-c", f"kill -{int(number)} $$", status=128 + number)

    def test_a_missing_command_is_127_and_one_that_can_not_be_executed_126(self):
        self.assert_told(self.ipcm("session", "--", "nosuch-command", status=127), "nosuch-command", "No such file")
        self.assert_told(self.ipcm("session", "--", self.script("", mode=0o644), status=126), "ermission")

    def test_the_commands_words_are_not_taken_for_options(self):
        self.assertEqual(self.ipcm("session", "--", "echo", "--json", "-v", "--", "a b").out, "--json -v -- a b\n")

    def test_the_commands_words_reach_it_unchanged(self):
        for word in ("[a,b]", "[]", "", "'", "a\\b", "{x}", "ä€"):
            with self.subTest(word=word):
                self.assertEqual(self.ipcm("session", "--", "printf", "%s|", "1", word, "2").out, f"1|{word}|2|")

    def test_without_a_command_it_is_the_shell(self):
        shell = self.script('#!/bin/sh\necho "shell $# ${IPCM_INFO:+has a bus}"\n')
        self.assertEqual(self.ipcm("session", env=dict(self.env, SHELL=shell)).out, "shell 0 has a bus\n")

    def test_stdin_and_stdout_are_the_commands_own(self):
        self.assertEqual(self.ipcm("session", "--", "cat", input="as it is").out, "as it is")

    def test_services_started_inside_are_gone_afterwards(self):
        result = self.ipcm("session", "--", "sh", "-c", "ipcm start echo >&2; ipcm start echo --name e2 >&2; ipcm --json ps; ipcm request e2 1")
        peers, answer = result.answers
        self.assertEqual(sorted(one["name"] for one in peers), ["e2", "echo"])
        self.assertEqual(answer, 1)
        for one in peers:
            self.assertFalse(os.path.exists(f"/proc/{one['pid']}"), "a service survived its session")

    def test_a_session_in_a_session_is_of_its_own(self):
        result = self.ipcm("session", "--", "sh", "-c", 'ipcm start echo >&2; ipcm session -- ipcm --json ps; ipcm --json ps')
        inner, outer = result.answers
        self.assertEqual(inner, [])
        self.assertEqual([one["name"] for one in outer], ["echo"])

    @contextlib.contextmanager
    def session_with_a_service(self):
        """Yields a session whose command has started a service and now waits for a line of stdin, and both processes."""
        running = self.start(IPCM, "session", "--", "sh", "-c", "ipcm start echo >&2; ipcm --json ps; echo $$; read line; exit 9")
        (service,) = json.loads(running.read_line())
        with Process(service["pid"]) as echo, Process(int(running.read_line())) as command:
            yield running, echo, command

    def test_when_the_command_is_terminated_all_is_gone(self):
        with self.session_with_a_service() as (running, echo, command):
            command.signal(signal.SIGTERM)
            self.assertEqual(running.finish(b"").status, 128 + signal.SIGTERM)
            self.assertTrue(echo.wait_for_end(0), "the session ended before its service")

    def test_when_the_command_is_killed_all_is_gone(self):
        with self.session_with_a_service() as (running, echo, command):
            command.signal(signal.SIGKILL)
            self.assertTrue(running.process.wait_for_end())
            self.assertEqual(running.finish().status, 128 + signal.SIGKILL)
            self.assertTrue(echo.wait_for_end(0), "the session ended before its service")

    def test_when_the_session_is_terminated_all_is_gone(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number), self.session_with_a_service() as (running, echo, command):
                running.process.signal(number)
                self.assertTrue(running.process.wait_for_end(), "the session goes on")
                self.assertEqual(running.finish().status, 128 + number)
                self.assertTrue(echo.wait_for_end(0), "the session ended before its service")
                self.assertTrue(command.wait_for_end(0), "the session ended before its command")

    def test_when_the_session_is_killed_its_services_are_gone_and_so_is_its_bus(self):
        with self.session_with_a_service() as (running, echo, command):
            running.process.signal(signal.SIGKILL)
            self.assertTrue(echo.wait_for_end(), "the service outlived its session")
            running.write("end\n")  # the test ends the command
            self.assertTrue(command.wait_for_end())
            self.assertEqual(running.finish().status, 128 + signal.SIGKILL)

    def test_when_a_session_without_services_is_killed_gc_takes_its_bus_away(self):
        running = self.start(IPCM, "session", "--", "sh", "-c", 'ipcm --json bus info; read line')
        route = json.loads(running.read_line())["route"]
        running.process.signal(signal.SIGKILL)
        self.assertTrue(running.process.wait_for_end())
        running.write("end\n")
        self.assertEqual(running.finish().status, 128 + signal.SIGKILL)
        self.assertTrue(os.path.isdir(route))
        self.assertIn(route, self.ipcm("bus", "gc").lines)
        self.assertFalse(os.path.exists(route))

    def test_ctrl_c_is_for_the_command_to_decide(self):
        script = 'trap "echo caught" INT; ipcm start echo >&2; echo ready; read line; ipcm request echo 1; exit 4'
        running = self.start(IPCM, "session", "--", "sh", "-c", script, start_new_session=True)
        self.assertEqual(running.read_line(), "ready")
        os.killpg(running.pid, signal.SIGINT)
        running.write("go on\n")
        result = running.finish()
        self.assertEqual((result.status, result.lines), (4, ["caught", "1"]), result)


class BusTest(TidyTest):
    """ipcm bus: buses that exist longer than a command runs."""

    def test_a_shell_makes_uses_and_removes_a_bus(self):
        result = self.sh('''
            set -e
            eval "$(ipcm bus new)"
            echo "$IPCM_INFO"
            ipcm start echo > /dev/null
            ipcm request echo '"over the bus"'
            ipcm bus info --json
            ipcm bus rm
            env | grep -c ^IPCM_INFO=''')
        info, answer, about, exported = result.answers
        self.assertEqual(answer, "over the bus")
        self.assertEqual(about["info"], info)
        self.assertEqual(about["route"], info[2])
        self.assertEqual(about["peers"], ["echo"])
        self.assertEqual(exported, 1)
        self.assertFalse(os.path.exists(info[2]))

    def test_a_bus_in_a_place_with_quotes_and_blanks_survives_eval(self):
        place = os.path.join(self.tmp, "it's a \"place\" $HOME")
        os.mkdir(place, 0o700)
        env = dict(self.env, XDG_RUNTIME_DIR=place)
        result = self.sh('eval "$(ipcm bus new)"; ipcm start echo; ipcm request echo 1; ipcm bus rm', env=env)
        self.assertEqual(result.lines, ["echo", "1"])
        os.rmdir(place)

    def test_a_new_bus_is_a_directory_for_its_user_alone(self):
        with self.bus() as env:
            self.assertEqual(os.stat(env["ROUTE"]).st_mode & 0o777, 0o700)

    def test_ls_lists_the_buses_and_no_longer_after_rm(self):
        with self.bus() as one, self.bus() as two:
            self.ipcm("start", "echo", env=one)
            listed = {bus["route"]: bus for bus in json.loads(self.ipcm("--json", "bus", "ls").out)}
            self.assertEqual(listed[one["ROUTE"]]["peers"], ["echo"])
            self.assertEqual(listed[two["ROUTE"]]["peers"], [])
            table = self.ipcm("bus", "ls").lines
            self.assertTrue(table[0].startswith("ROUTE"))
            self.assertTrue(any(line.startswith(one["ROUTE"]) for line in table))
            self.ipcm("bus", "rm", two["ROUTE"])  # a directory is accepted too
            self.assertNotIn(two["ROUTE"], self.ipcm("bus", "ls").out)
            self.assertTrue(os.path.isdir(one["ROUTE"]))

    def test_rm_takes_the_info_string(self):
        with self.bus() as env:
            self.ipcm("bus", "rm", env["IPCM_INFO"])
            self.assertFalse(os.path.exists(env["ROUTE"]))

    def test_info_tells_a_person_the_same(self):
        with self.bus() as env:
            out = self.ipcm("bus", "info", env=env).out
            for word in ("protocol", "ConnectionUnix", "JSON", env["ROUTE"], "none"):
                self.assertIn(word, out)

    def test_rm_ends_what_is_on_the_bus(self):
        with self.bus() as env:
            for name in ("a", "b", "c"):
                self.ipcm("start", "echo", "--name", name, env=env)
            pids = [one["pid"] for one in self.peers(env).values()]
            with contextlib.ExitStack() as stack:
                processes = [stack.enter_context(Process(pid)) for pid in pids]
                self.ipcm("bus", "rm", env=env)
                for process in processes:
                    self.assertTrue(process.wait_for_end(), "a service outlived its bus")
            self.assertFalse(os.path.exists(env["ROUTE"]))

    def test_rm_of_a_missing_bus_is_told(self):
        missing = self.tmp + "/ipcm-1-nosuch"
        self.assert_told(self.ipcm("bus", "rm", missing, status=GONE), missing)
        self.assert_told(self.ipcm("bus", "rm", env=dict(self.env, IPCM_INFO=json.dumps(["ConnectionUnix", "JSON", missing])), status=GONE), missing)

    def test_everything_on_a_missing_bus_is_gone(self):
        env = dict(self.env, IPCM_INFO=json.dumps(["ConnectionUnix", "JSON", self.tmp + "/nosuch"]))
        for words in (["bus", "info"], ["ps"], ["request", "e", "1"], ["send", "e", "1"], ["broadcast", "1"], ["stop", "e"], ["stop", "--all"],
                      ["start", "echo"], ["start", "echo", "--no-wait"]):
            with self.subTest(words=words):
                self.assert_told(self.ipcm(*words, env=env, status=GONE), "nosuch")

    def test_without_a_bus_it_is_told_how_to_get_one(self):
        for words in (["bus", "info"], ["bus", "rm"], ["ps"], ["start", "echo"], ["request", "e", "1"], ["stop", "e"]):
            with self.subTest(words=words):
                self.assert_told(self.ipcm(*words, status=USAGE), "IPCM_INFO", "ipcm bus new")

    def test_a_bus_that_is_none_is_a_usage_error(self):
        for info in ("nonsense", "[]", '["ConnectionUnix"]', '{"a":1}', "7", '["ConnectionUnix","JSON","/tmp",1]'):
            with self.subTest(info=info):
                self.ipcm("ps", "--bus", info, status=USAGE)

    def test_a_bus_of_an_unknown_kind_is_told_with_the_known_ones(self):
        for info, known in (('["NoSuch","JSON","/tmp"]', "ConnectionUnix"), ('["ConnectionUnix","NoSuch","/tmp"]', "JSON")):
            with self.subTest(info=info):
                self.assert_told(self.ipcm("ps", "--bus", info, status=GONE), "NoSuch", known)

    def test_info_in_the_words_of_perl_is_understood(self):
        with self.bus() as env:
            info = ["IPC::Manager::Client::ConnectionUnix", "IPC::Manager::Serializer::JSON", env["ROUTE"]]
            self.ipcm("start", "echo", "--bus", json.dumps(info))
            self.assertEqual(self.ipcm("request", "--bus", json.dumps(info), "echo", "1").answers, [1])


class ServicesTest(TidyTest):
    """start, ps, request, send, broadcast, stop."""

    def test_a_service_is_started_listed_asked_and_stopped(self):
        with self.bus() as env:
            self.assertEqual(self.ipcm("start", "echo", env=env).out, "echo\n")
            peers = self.peers(env)
            self.assertEqual(list(peers), ["echo"])
            self.assertEqual((peers["echo"]["class"], peers["echo"]["state"]), ("echo", "active"))
            self.assertGreater(peers["echo"]["memory_bytes"], 0)
            self.assertEqual(self.ipcm("request", "echo", "1", '"two"', env=env).answers, [1, "two"])
            with Process(peers["echo"]["pid"]) as process:
                self.ipcm("stop", "echo", env=env)
                self.assertTrue(process.wait_for_end(0), "stop came back before the service had ended")
            self.assertEqual(self.peers(env), {})

    def test_start_tells_a_program_the_pid(self):
        with self.bus() as env:
            told = json.loads(self.ipcm("--json", "start", "echo", "--name", "e1", env=env).out)
            self.assertEqual((told["name"], told["ready"]), ("e1", True))
            self.assertEqual(told["pid"], self.peers(env)["e1"]["pid"])
            self.assertGreater(told["milliseconds"], 0)

    def test_ps_shows_a_person_a_table(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e1", env=env)
            head, row = self.ipcm("ps", env=env).lines
            self.assertEqual(head.split(), ["NAME", "CLASS", "PID", "STATE", "AGE", "CPU", "MEMORY"])
            self.assertEqual(row.split()[:4], ["e1", "echo", str(self.peers(env)["e1"]["pid"]), "active"])

    def test_services_live_on_after_the_command_that_started_them(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            pid = self.peers(env)["echo"]["pid"]
            self.assertIn(pid, children_of(os.getpid()))  # this process has adopted it, because its starter has ended
            self.assertEqual(self.ipcm("request", "echo", "1", env=env).answers, [1])

    def test_the_output_of_start_in_a_substitution_does_not_wait_for_the_service(self):
        with self.bus() as env:
            result = self.sh('name=$(ipcm start echo); echo "got $name"; ipcm request "$name" 1', env=env)
            self.assertEqual(result.lines, ["got echo", "1"])
            self.assertEqual(list(self.peers(env)), ["echo"])

    def test_a_service_started_from_a_pipeline_does_not_keep_it_open(self):
        with self.bus() as env:
            self.assertEqual(self.sh("ipcm start echo | cat", env=env).lines, ["echo"])
            self.assertEqual(list(self.peers(env)), ["echo"])

    def test_start_releases_its_caller_whatever_that_captures(self):
        with self.bus() as env:
            result = self.sh('x=$(ipcm start echo --name e1 2>&1); ipcm start echo --name e2 2>&1 | cat; echo "got $x"', env=env)
            self.assertEqual(result.lines, ["e2", "got e1"])
            for more in ([], ["--no-wait"]):
                captured = self.start(IPCM, "start", "echo", "--name", "e" + str(len(more) + 3), *more, env=env, stderr_too=True)
                self.assertIn("e", captured.finish().out)
            self.assertEqual(sorted(self.peers(env)), ["e1", "e2", "e3", "e4"])

    def test_the_log_of_a_service_is_private_and_is_shown_also_after_its_end(self):
        boot = self.script('#!/bin/sh\necho to-stdout\necho to-stderr >&2\nexec "$BOOT" "$@"\n')
        with self.bus() as env:
            self.ipcm("start", "echo", "--boot", boot, env=env)
            self.assertEqual(sorted(self.ipcm("logs", "echo", env=env).lines), ["to-stderr", "to-stdout"])
            self.assertEqual(os.stat(env["ROUTE"] + "/.echo.log").st_mode & 0o7777, 0o600)
            self.ipcm("stop", "echo", env=env)
            self.assertEqual(len(self.ipcm("logs", "echo", env=env).lines), 2)
            self.assertEqual(self.ipcm("logs", "echo", "-n", "1", env=env).lines, self.ipcm("logs", "echo", env=env).lines[-1:])
            self.assertEqual(self.ipcm("logs", "echo", "-n", "0", env=env).out, "")
            self.assertEqual(len(self.ipcm("--json", "logs", "echo", env=env).answers), 2)
            with open(env["ROUTE"] + "/.echo.log", "ab") as log:
                log.write(b"no newline")
            self.assertEqual(self.ipcm("logs", "echo", "-n", "0", env=env).out, "")
            self.assertEqual(self.ipcm("logs", "echo", "-n", "1", env=env).lines, ["no newline"])
            for wrong in ("-5", "x", "1e3", "99999999999999999999"):
                self.assert_told(self.ipcm("logs", "echo", "-n", wrong, env=env, status=USAGE), "--lines", "whole number")
            self.assert_told(self.ipcm("logs", "nobody", env=env, status=GONE), "nobody", "no log")
        self.assert_told(self.ipcm("logs", "echo", env=env, status=GONE), "bus")

    def test_a_log_in_what_is_no_bus_is_not_shown(self):
        plain = os.path.join(self.work, "plain")
        os.mkdir(plain, 0o700)
        for name in (".e.log", "file"):
            with open(os.path.join(plain, name), "w", encoding="ascii") as file:
                file.write("secret\n")
        info = json.dumps(["ConnectionUnix", "JSON", plain])
        result = self.ipcm("--bus", info, "logs", "e", status=GONE)
        self.assert_told(result, "no bus")
        self.assertEqual(result.out, "")

    def test_a_log_is_followed_until_its_bus_is_removed(self):
        boot = self.script(f'#!/bin/sh\nexec "{sys.executable}" -E -S "{HERE}/fake_boot.py" talks "$@"\n')
        with self.bus() as env:
            self.ipcm("start", "talker", "--boot", boot, env=env)
            follower = self.start(IPCM, "logs", "talker", "-f", env=env)
            self.assertEqual(follower.read_line(), "begin")
            for number in range(3):
                self.ipcm("request", "talker", f'"line {number}"', env=env)
                self.assertEqual(follower.read_line(), f"line {number}")
            self.ipcm("bus", "rm", env=env)
            self.assertEqual(follower.finish().status, 0)

    def test_the_log_of_a_boot_of_others_is_bounded(self):
        boot = self.script(f'#!/bin/sh\nexec "{sys.executable}" -E -S "{HERE}/fake_boot.py" talks "$@"\n')
        with self.bus() as env:
            self.ipcm("start", "talker", "--boot", boot, env=env)
            follower = self.start(IPCM, "logs", "talker", "-f", env=env)
            self.assertEqual(follower.read_line(), "begin")
            for number in range(30):
                self.ipcm("request", "talker", json.dumps("x" * 100000 + str(number)), env=env)
                self.assertTrue(follower.read_line().endswith(f"x{number}"))
            log = env["ROUTE"] + "/.talker.log"
            self.assertLessEqual(os.path.getsize(log), 1 << 20)
            self.assertLessEqual(os.path.getsize(log + ".1"), 1 << 20)
            self.ipcm("bus", "rm", env=env)
            follower.finish()

    def test_the_last_words_of_a_service_are_in_the_error_about_its_end(self):
        boot = self.script(f'#!/bin/sh\nexec "{sys.executable}" -E -S "{HERE}/fake_boot.py" sighs "$@"\n')
        self.assertIn("its last words: it is all over", self.ipcm("run", "talker", "--boot", boot, "1", status=GONE).err)
        with self.bus() as env:
            self.ipcm("start", "talker", "--boot", boot, env=env)
            self.assert_told(self.ipcm("request", "talker", "1", env=env, status=GONE), "its last words: it is all over")

    def test_run_and_session_copy_the_logs_of_their_services_to_their_stderr(self):
        boot = self.script(f'#!/bin/sh\nexec "{sys.executable}" -E -S "{HERE}/fake_boot.py" talks "$@"\n')
        result = self.ipcm("run", "talker", "--boot", boot, '"first"', '"second"')
        self.assertEqual((result.lines, result.err.splitlines()), (['"first"', '"second"'], ["begin", "first", "second"]))
        result = self.ipcm("session", "--", "sh", "-c",
                           'ipcm start talker --boot "$1" >&2; ipcm request talker \'"hi"\'; ipcm start echo', "sh", boot)
        self.assertEqual(result.lines, ['"hi"', "echo"])
        for line in ("begin", "hi"):
            self.assertIn(line, result.err.splitlines())

    def test_a_start_that_is_interrupted_leaves_nothing(self):
        fifo = self.work + "/fifo"
        os.mkfifo(fifo)
        boot = self.script(f'#!/bin/sh\necho up >"{fifo}"\nread line <"{fifo}"\nexec "$BOOT" "$@"\n')
        for verb, number in (("start", signal.SIGINT), ("start", signal.SIGTERM), ("run", signal.SIGINT)):
            with self.bus() as env:
                running = self.start(IPCM, verb, "echo", "--boot", boot, *(["1"] if verb == "run" else []), env=env)
                with open(fifo) as file:
                    self.assertEqual(file.readline(), "up\n")
                service = Process(service_of(running.pid))
                running.process.signal(number)
                self.assertEqual(running.finish().status, 128 + number)
                with service:
                    self.assertTrue(service.wait_for_end(0), "it outlives the command")
                self.assertEqual(self.peers(env), {})

    def test_a_start_whose_output_can_not_be_written_leaves_no_service(self):
        with self.bus() as env, open("/dev/full", "w") as full:
            self.assertNotEqual(self.ipcm("start", "echo", env=env, stdout=full, status=None).status, 0)
            self.assertEqual(self.peers(env), {})

    def test_start_without_waiting_can_be_asked_at_once_or_soon(self):
        with self.bus() as env:
            self.assertEqual(self.ipcm("start", "echo", "--no-wait", env=env).out, "echo\n")
            told = json.loads(self.ipcm("--json", "start", "echo", "--no-wait", "--name", "n", env=env).out)
            self.assertEqual((told["name"], told["ready"]), ("n", False))
            with Process(told["pid"]):
                pass  # it runs
            self.ipcm("start", "echo", "--name", "after", env=env)

    def test_a_name_that_is_taken_is_told_with_the_pid_that_has_it(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e1", env=env)
            pid = self.peers(env)["e1"]["pid"]
            self.assert_told(self.ipcm("start", "echo", "--name", "e1", env=env, status=LAUNCH_FAILED), "'e1'", str(pid))
            self.assertEqual(self.peers(env)["e1"]["pid"], pid)
            self.assertEqual(self.ipcm("request", "e1", "1", env=env).answers, [1])

    def test_the_name_of_a_killed_service_is_free_again(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            with Process(self.peers(env)["echo"]["pid"]) as process:
                process.signal(signal.SIGKILL)
                self.assertTrue(process.wait_for_end())
            self.assertEqual(self.peers(env), {})
            self.ipcm("start", "echo", env=env)
            self.assertEqual(self.ipcm("request", "echo", "1", env=env).answers, [1])

    def test_names_that_no_peer_may_have_are_refused(self):
        with self.bus() as env:
            for name in ("_hidden", "0"):
                with self.subTest(name=name):
                    result = self.ipcm("start", "echo", "--name", name, env=env, status=None)
                    self.assertIn(result.status, (USAGE, LAUNCH_FAILED))
                    self.assertIn(f"'{name}'", result.err)

    def test_names_that_no_file_can_have_are_as_good(self):
        with self.bus() as env:
            for name in ("a/b", "x" * 150, "with blank", "Grüße", ".dot", "a.pid"):
                with self.subTest(name=name):
                    self.ipcm("start", "echo", "--name", name, env=env)
                    self.assertEqual(self.ipcm("request", name, "1", env=env).answers, [1])
                    self.assertIn(name, self.peers(env))

    def test_an_array_is_one_request_and_one_message(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            self.assertEqual(self.ipcm("request", "echo", "[1,2]", env=env).answers, [[1, 2]])

    def test_a_request_to_nobody_is_gone(self):
        with self.bus() as env:
            self.assert_told(self.ipcm("request", "nobody", "1", env=env, status=GONE), "'nobody'")

    def test_a_message_to_nobody_is_gone(self):
        with self.bus() as env:
            self.assert_told(self.ipcm("send", "nobody", "1", env=env, status=GONE), "'nobody'")

    def test_a_request_that_is_no_json_is_not_sent(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            self.assert_told(self.ipcm("request", "echo", "1", "nope", env=env, status=USAGE), "nope")

    def test_messages_and_broadcasts_are_taken_and_answer_nothing(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            for words in (["send", "echo", '{"note":1}'], ["broadcast", '"to all"']):
                result = self.ipcm(*words, env=env)
                self.assertEqual((result.out, result.err), ("", ""))
            self.assertEqual(self.ipcm("request", "echo", "1", env=env).answers, [1])

    def test_every_protocol_of_this_machine_is_asked_and_answers(self):
        for name in protocols():
            with self.subTest(protocol=name):
                asked = 'ipcm start echo >/dev/null && ipcm request echo 5 && ipcm send echo 1 && ipcm bus ls'
                asked = asked.replace("ipcm ", f"{IPCM} ")
                result = self.ipcm("session", "--protocol", name, "--", "sh", "-c", asked)
                self.assertEqual(result.out.splitlines()[0], "5")
                self.assertIn(name, result.out)
                self.assertEqual(self.ipcm("run", "--protocol", name, "echo", '"hi"').answers, ["hi"])

    def test_visitors_leave_no_file_on_a_bus_of_ours(self):
        for protocol in ("ConnectionUnix", "UnixSocket", "MessageFiles"):
            with self.subTest(protocol=protocol):
                asked = 'ipcm start echo >/dev/null && ls -A "$1" && ipcm request echo 5 && ipcm send echo 1 && ls -A "$1"'
                asked = asked.replace("ipcm ", f"{IPCM} ").replace('"$1"', f'"$({IPCM} --json bus info | sed \'s/.*"route":"//; s/".*//\')"')
                result = self.ipcm("session", "--protocol", protocol, "--", "sh", "-c", asked)
                before, after = result.out.split("5\n")
                self.assertEqual(after, before)

    def test_the_word_to_end_ends_a_service(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            with Process(self.peers(env)["echo"]["pid"]) as process:
                self.ipcm("send", "echo", '{"terminate":1}', env=env)
                self.assertTrue(process.wait_for_end())
            self.assertEqual(self.peers(env), {})

    def test_stop_all_stops_all(self):
        with self.bus() as env:
            for name in ("a", "b", "c"):
                self.ipcm("start", "echo", "--name", name, env=env)
            pids = [one["pid"] for one in self.peers(env).values()]
            self.ipcm("stop", "--all", env=env)
            self.assertEqual(self.peers(env), {})
            self.assertTrue(os.path.isdir(env["ROUTE"]))
            for pid in pids:
                with Process(pid) as process:  # a zombie of this process by now
                    self.assertTrue(process.wait_for_end(0))

    def test_stop_all_of_an_empty_bus_is_done(self):
        with self.bus() as env:
            self.ipcm("stop", "--all", env=env)

    def test_stop_of_nobody_is_gone_and_stops_nobody(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            self.assert_told(self.ipcm("stop", "echo", "nobody", env=env, status=GONE), "'nobody'")
            self.assertEqual(list(self.peers(env)), ["echo"])

    def test_stop_wants_names_or_all_and_not_both(self):
        with self.bus() as env:
            self.ipcm("stop", env=env, status=USAGE)
            self.ipcm("stop", "--all", "echo", env=env, status=USAGE)

    def test_the_limit_of_stop_holds_also_where_force_is_needed(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            os.kill(self.peers(env)["echo"]["pid"], signal.SIGSTOP)
            result = self.ipcm("stop", "echo", "--timeout", "1", env=env)
            self.assertIn("SIGKILL ended it", result.err)
            self.assertLess(result.seconds, 5)  # a stop without --timeout has 30 s

    def test_a_stopped_process_and_a_deaf_one_are_ended_by_force(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "stopped", env=env)
            self.ipcm("start", "echo", "--name", "deaf", "--boot", self.fake_boot("deaf"), env=env)
            peers = self.peers(env)
            with Process(peers["stopped"]["pid"]) as stopped, Process(peers["deaf"]["pid"]) as deaf:
                stopped.signal(signal.SIGSTOP)
                told = self.ipcm("stop", "stopped", "deaf", env=env).err
                self.assertIn("'stopped' did not end when it was asked to; SIGKILL ended it", told)
                self.assertIn("'deaf' did not end when it was asked to; SIGKILL ended it", told)
                self.assertTrue(stopped.wait_for_end(0))
                self.assertTrue(deaf.wait_for_end(0))
            self.assertEqual(self.peers(env), {})

    def test_redirected_streams_lead_where_they_should(self):
        with self.bus() as env:
            log = self.work + "/log"
            boot = self.script('#!/bin/sh\necho to-stdout\necho to-stderr >&2\nexec "$BOOT" "$@"\n')
            self.ipcm("start", "echo", "--boot", boot, "--redirect", f"out={log}", "--redirect", f"err={log}", env=env)
            self.ipcm("stop", "echo", env=env)
            with open(log) as file:
                self.assertEqual(sorted(file.read().split()), ["to-stderr", "to-stdout"])

    def test_what_a_service_prints_does_not_get_among_the_answers(self):
        boot = self.script('#!/bin/sh\necho noise\nexec "$BOOT" "$@"\n')
        result = self.ipcm("run", "echo", "--boot", boot, "1")
        self.assertEqual(result.out, "1\n")
        self.assertIn("noise", result.err)


class JsonErrorsTest(TidyTest):
    """With --json, an error is one JSON object on stderr."""

    def assert_json_error(self, result, status, kind=None):
        self.assert_one_line(result.err)
        try:
            told = json.loads(result.err)
        except ValueError:
            self.fail(f"no JSON: {result.err}")
        self.assertTrue(told["error"])
        self.assertEqual(told["status"], status)
        if kind:
            self.assertEqual(told["kind"], kind)
        return told

    def test_a_launch_that_failed(self):
        boot = self.script("#!/bin/sh\necho 'the flux is empty' >&2\nexit 3\n")
        told = self.assert_json_error(self.ipcm("--json", "run", "echo", "--boot", boot, "1", status=LAUNCH_FAILED), LAUNCH_FAILED, "launch")
        self.assertEqual((told["phase"], told["exit_status"]), ("boot", 3))
        self.assertEqual(told["stderr"], "the flux is empty\n")

    def test_a_launch_that_a_signal_ended(self):
        boot = self.script("#!/bin/sh\nkill -SEGV $$\n")
        told = self.assert_json_error(self.ipcm("--json", "run", "echo", "--boot", boot, "1", status=LAUNCH_FAILED), LAUNCH_FAILED)
        self.assertEqual(told["signal"], int(signal.SIGSEGV))

    def test_last_words_that_are_no_utf8(self):
        boot = self.script("#!/bin/sh\nprintf '\\377\\376 \"quoted\"\\n' >&2\nexit 3\n")
        told = self.assert_json_error(self.ipcm("--json", "run", "echo", "--boot", boot, "1", status=LAUNCH_FAILED), LAUNCH_FAILED)
        self.assertIn('"quoted"', told["stderr"])

    def test_a_request_that_is_no_json(self):
        self.assert_json_error(self.ipcm("--json", "run", "echo", "nope", status=USAGE), USAGE, "usage")

    def test_a_peer_that_is_not_there(self):
        with self.bus() as env:
            self.assert_json_error(self.ipcm("--json", "request", "nobody", "1", env=env, status=GONE), GONE, "gone")

    def test_a_bus_that_is_not_there(self):
        self.assert_json_error(self.ipcm("--json", "bus", "rm", self.tmp + "/nosuch", status=GONE), GONE, "bus")

    def test_an_answer_that_does_not_come(self):
        self.assert_json_error(self.ipcm("--json", "--timeout", PATIENCE, "run", "echo", "--boot", self.fake_boot("mute"), "1", status=TIMED_OUT),
                               TIMED_OUT, "timeout")

    def test_an_error_as_answer_to_request(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--boot", self.fake_boot("fails"), "--name", "f", env=env)
            self.assert_json_error(self.ipcm("--json", "request", "f", '{"fail":"no"}', env=env, status=ANSWERED_WITH_ERROR),
                                   ANSWERED_WITH_ERROR, "answer")

    def test_an_error_as_answer_to_run(self):
        self.assert_json_error(self.ipcm("--json", "run", "echo", "--boot", self.fake_boot("fails"), '{"fail":"no"}',
                                         status=ANSWERED_WITH_ERROR), ANSWERED_WITH_ERROR, "answer")

    def test_words_that_are_wrong(self):
        self.assert_json_error(self.ipcm("--json", "frobnicate", status=USAGE), USAGE, "usage")

    def test_a_limit_of_unread_input_that_is_no_number(self):
        for text in ("abc", "0", "-1", "1.5", "99999999"):
            with self.subTest(text=text):
                result = self.ipcm("--json", "run", "echo", "1", env={**self.env, "IPCM_INPUT_LIMIT": text}, status=None)
                self.assertNotEqual(result.status, 0)
                self.assertIn("IPCM_INPUT_LIMIT", result.err)
                self.assertIn(text, result.err)

    def test_a_session_without_its_command(self):
        self.assert_json_error(self.ipcm("--json", "session", "--", "nosuch-command", status=127), 127)


class BroadcastTest(TidyTest):
    def test_a_peer_that_does_not_read_is_a_timeout_and_the_others_get_the_message(self):
        large = json.dumps("x" * 120_000)  # a longer word does not fit a command line
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e", env=env)
            pid = self.ipcm("ps", "--json", env=env).answers[0][0]["pid"]
            os.kill(pid, signal.SIGSTOP)
            try:
                result = self.ipcm("broadcast", *[large] * 15, "--timeout", "500ms", env=env, status=TIMED_OUT)
                self.assertIn("'e'", result.err)
            finally:
                os.kill(pid, signal.SIGCONT)
            self.ipcm("broadcast", "1", env=env)


class ListenTest(TidyTest):
    """ipcm listen: prints the messages of a bus, and answers requests with lines of stdin."""

    def listening(self, env, *words, **more):
        """Starts `ipcm listen --as l`, and returns when peers can send to it."""
        running = self.start(IPCM, "listen", "--as", "l", *words, env=env, **more)
        self.ipcm("wait", "l", env=env)
        return running

    def test_messages_and_broadcasts_are_printed_a_line_each(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                listener = self.listening(env, "--count", "2", stdin=subprocess.DEVNULL)
                self.ipcm("send", "l", '{"a": [1, "\u00e4"]}', env=env)
                self.ipcm("broadcast", '"all"', env=env)
                result = listener.finish()
                self.assertEqual((result.status, result.err), (DONE, ""))
                one, two = (json.loads(line) for line in result.out.splitlines())
                self.assertEqual((one["type"], one["content"]), ("message", {"a": [1, "\u00e4"]}))
                self.assertNotIn("broadcast", one)
                self.assertEqual((two["content"], two["broadcast"]), ("all", True))

    def test_without_reply_a_request_is_printed_and_fails_with_the_reason(self):
        with self.bus() as env:
            listener = self.listening(env, "--count", "1", stdin=subprocess.DEVNULL)
            result = self.ipcm("request", "l", '"hi"', env=env, status=ANSWERED_WITH_ERROR)
            self.assertIn("it only listens", result.err)
            line = json.loads(listener.finish().out)
            self.assertEqual((line["type"], line["content"]), ("request", "hi"))

    def test_a_shell_loop_becomes_a_service(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                fifo = os.path.join(self.work, protocol)
                os.mkfifo(fifo)
                loop = self.start("/bin/sh", "-c", """
                    ipcm listen --as l --reply --count 3 < "$1" | while read -r line; do
                      case $line in *nothing*) echo ;; *) echo "$line" ;; esac
                    done > "$1" """, "sh", fifo, env=env, stdin=subprocess.DEVNULL)
                self.ipcm("wait", "l", env=env)
                self.assertEqual(self.ipcm("request", "l", '"hi"', env=env).answers[0]["content"], "hi")
                result = self.ipcm("request", "l", '"nothing"', env=env, status=ANSWERED_WITH_ERROR)
                self.assertIn("it has no answer", result.err)
                self.assertEqual(self.ipcm("request", "l", '"more"', env=env).answers[0]["request"], 3)
                self.assertEqual(loop.finish().status, DONE)

    def test_a_line_that_is_no_json_fails_its_request_alone(self):
        with self.bus() as env:
            listener = self.listening(env, "--reply", "--count", "2", stdin=subprocess.PIPE)
            listener.write("yes\n17\n")
            result = self.ipcm("request", "l", "1", env=env, status=ANSWERED_WITH_ERROR)
            self.assertIn("line 1 of stdin", result.err)
            self.assertEqual(self.ipcm("request", "l", "2", env=env).answers, [17])
            self.assertIn("line 1 of stdin", listener.finish().err)

    def test_the_end_of_stdin_ends_it_and_fails_the_open_requests(self):
        with self.bus() as env:
            listener = self.listening(env, "--reply", stdin=subprocess.PIPE)
            asking = self.start(IPCM, "request", "l", "1", env=env, stdin=subprocess.DEVNULL)
            listener.read_line()
            self.assertEqual(listener.finish("").status, DONE)
            self.assertIn("it has no answer", asking.finish().err)

    def test_fewer_messages_than_wanted_in_the_time_are_an_error(self):
        with self.bus() as env:
            result = self.ipcm("listen", "--count", "1", "--timeout", "50ms", env=env, status=TIMED_OUT)
            self.assertIn("got 0 of 1 messages", result.err)
            self.ipcm("listen", "--timeout", "50ms", env=env)  # without a count, the time is its end

    def test_messages_beyond_the_count_stay_for_a_client_that_reconnects(self):
        with self.bus("--protocol", "MessageFiles") as env:
            listener = self.listening(env, "--count", "2", stdin=subprocess.DEVNULL)
            listener.process.signal(signal.SIGSTOP)
            self.ipcm("send", "l", "1", "2", "3", env=env)
            listener.process.signal(signal.SIGCONT)
            self.assertEqual([json.loads(line)["content"] for line in listener.finish().out.splitlines()], [1, 2])
            bridge = self.start(IPCM, "bridge", "--as", "l", "--reconnect", env=env)
            self.assertEqual(json.loads(bridge.read_line())["type"], "joined")
            self.assertEqual(json.loads(bridge.read_line())["content"], 3)
            self.assertEqual(bridge.finish().status, DONE)

    def test_it_ends_with_its_bus_and_with_a_signal_and_a_name_is_not_taken_twice(self):
        with self.bus() as env:
            listener = self.listening(env, stdin=subprocess.DEVNULL)
            self.assertIn("'l'", self.ipcm("listen", "--as", "l", env=env, status=GONE).err)
            listener.process.signal(signal.SIGINT)
            self.assertEqual(listener.finish().status, DONE)
            listener = self.listening(env, stdin=subprocess.DEVNULL)
            self.ipcm("bus", "rm", env=env)
            self.assertEqual(listener.finish().status, DONE)


class KillTest(TidyTest):
    """ipcm kill: signals processes that are proven to be those of members."""

    def test_a_signal_ends_a_service_and_the_wait_for_it_tells(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                self.ipcm("start", "echo", "--name", "e", env=env)
                waiting = self.start(IPCM, "wait", "--for", "gone", "e", env=env)
                result = self.ipcm("kill", "-s", "kill", "e", env=env)
                self.assertEqual((result.out, result.err), ("", ""))
                self.assertEqual(waiting.finish().status, DONE)

    def test_the_default_is_term_and_the_service_leaves_cleanly(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e", env=env)
            self.ipcm("kill", "e", env=env)
            self.assertIn("'e' ", self.ipcm("wait", "--for", "gone", "e", env=env).out)
            self.assertEqual(self.ipcm("ps", "--json", env=env).answers, [[]])

    def test_a_wrong_name_keeps_all_of_them_from_the_signal(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "echo1", env=env)
            result = self.ipcm("kill", "-s", "KILL", "echo1", "echo2", env=env, status=GONE)
            self.assertIn("'echo2' got no signal", result.err)
            self.assertIn("did you mean 'echo1'?", result.err)
            self.assertEqual(self.ipcm("request", "echo1", "1", env=env).answers, [1])

    def test_signal_0_checks_and_changes_nothing(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e", env=env)
            self.ipcm("kill", "-s", "0", "e", env=env)
            self.assertEqual(self.ipcm("request", "e", "1", env=env).answers, [1])

    def test_what_is_no_signal_is_refused(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e", env=env)
            for signal_word in ("TREM", "-9", "9x", "99999999999", "65"):
                result = self.ipcm("kill", f"--signal={signal_word}", "e", env=env, status=USAGE)
                self.assertIn("signal", result.err)
            self.assertEqual(self.ipcm("request", "e", "1", env=env).answers, [1])


class WaitTest(TidyTest):
    """ipcm wait: waits for the event that a peer can receive, or has left."""

    def test_a_service_that_is_started_later_is_awaited(self):
        with self.bus() as env:
            waiting = self.start(IPCM, "wait", "e", env=env)
            self.ipcm("start", "echo", "--name", "e", env=env)
            result = waiting.finish()
            self.assertEqual((result.status, result.out, result.err), (DONE, "", ""))
            self.assertEqual(self.ipcm("wait", "e", env=env).out, "")  # it is ready

    def test_the_end_of_a_service_is_awaited_and_printed(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                self.ipcm("start", "echo", "--name", "e", env=env)
                waiting = self.start(IPCM, "--json", "wait", "--for", "gone", "e", env=env)
                self.ipcm("stop", "e", env=env)
                result = waiting.finish()
                self.assertEqual(result.status, DONE, result)
                answer = json.loads(result.out)
                self.assertEqual(answer["name"], "e")
                if answer["ended"]:  # the end may come before the command has looked
                    self.assertEqual(answer.get("status", 0), 0)  # before Linux 6.15 it is unknown

    def test_a_killed_service_is_gone(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e", env=env)
            pid = self.ipcm("ps", "--json", env=env).answers[0][0]["pid"]
            waiting = self.start(IPCM, "wait", "--for", "gone", "e", env=env)
            os.kill(pid, signal.SIGKILL)
            result = waiting.finish()
            self.assertEqual(result.status, DONE, result)
            self.assertIn("'e' ", result.out)

    def test_a_service_that_is_not_there_is_gone_and_not_ready(self):
        with self.bus() as env:
            self.assertEqual(self.ipcm("wait", "--for", "gone", "e", env=env).out, "'e' has left\n")
            self.assertIn("not ready", self.ipcm("wait", "e", "--timeout", "50ms", env=env, status=TIMED_OUT).err)

    def test_a_service_that_stays_is_not_gone(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--name", "e", env=env)
            self.assertIn("still on the bus", self.ipcm("wait", "--for", "gone", "e", "--timeout", "50ms", env=env, status=TIMED_OUT).err)

    def test_the_removal_of_the_bus_ends_the_wait(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                waiting = self.start(IPCM, "wait", "e", env=env)
                self.ipcm("start", "echo", "--name", "other", env=env)  # meanwhile it has joined and looked
                self.ipcm("bus", "rm", env=env)
                self.assertEqual(waiting.finish().status, GONE)

    def test_other_words_are_refused(self):
        self.assertIn("ready or gone", self.ipcm("wait", "e", "--for", "ever", status=USAGE).err)


class HelpTest(TidyTest):
    def test_every_verb_has_help_with_an_example_of_itself(self):
        self.assertGreater(len(verbs()), 12)
        for verb in verbs():
            with self.subTest(verb=verb):
                result = self.ipcm(*verb, "--help")
                self.assertIn("Example", result.out)
                self.assertIn("ipcm " + " ".join(verb), result.out.split("Example")[1])
                self.assertEqual(result.err, "")

    def test_the_help_tells_the_exit_statuses_and_has_an_example(self):
        result = self.ipcm("--help")
        self.assertIn("Exit status", result.out)
        self.assertIn("Example", result.out)

    def test_the_version_is_one_line(self):
        self.assertRegex(self.ipcm("--version").out, r"^\d+\.\d+\.\d+\n$")

    def test_types_lists_the_classes_for_a_person_and_for_a_program(self):
        self.assertIn("echo", self.ipcm("types").out)
        (echo,) = [one for one in json.loads(self.ipcm("types", "--json").out) if one["name"] == "echo"]
        self.assertTrue(echo["description"])
        (prefix,) = echo["args"]
        self.assertEqual((prefix["name"], prefix["type"], prefix["required"], prefix["default"]), ("prefix", "string", False, ""))

    def test_types_asks_the_boot_binary_that_is_named(self):
        boot = self.script('#!/bin/sh\necho "asked: $*"\n')
        self.assertEqual(self.ipcm("types", "--boot", boot).out, "asked: --list\n")

    def test_types_of_what_is_no_boot_binary_is_told(self):
        self.assert_told(self.ipcm("types", "--boot", "/bin/false", status=LAUNCH_FAILED), "/bin/false", "status 1")
        self.assert_told(self.ipcm("types", "--boot", self.work + "/nosuch", status=LAUNCH_FAILED), "nosuch")
        self.ipcm("--timeout", "1", "types", "--boot", self.script("#!/bin/sh\nexec sleep 1000\n"), status=TIMED_OUT)


class StreamsTest(TidyTest):
    """Signals, and unusual standard streams."""

    def test_ctrl_c_leaves_nothing(self):
        running = self.start(IPCM, "run", "echo", start_new_session=True)
        running.write("1\n")
        self.assertEqual(json.loads(running.read_line()), 1)
        os.killpg(running.pid, signal.SIGINT)
        self.assertTrue(running.process.wait_for_end(), "it goes on")
        result = running.finish()
        self.assertEqual((result.status, result.err), (128 + signal.SIGINT, ""))

    def test_ctrl_c_while_the_service_starts_leaves_nothing(self):
        there = self.work + "/there"
        os.mkfifo(there)
        boot = self.script(f'#!/bin/sh\necho there > "{there}"\nexec sleep 1000\n')
        running = self.start(IPCM, "run", "echo", "--boot", boot, "1", start_new_session=True)
        with open(there) as fifo:  # open blocks until the boot script opens it too
            self.assertEqual(fifo.read(), "there\n")
        os.killpg(running.pid, signal.SIGINT)
        self.assertTrue(running.process.wait_for_end(), "it goes on")
        self.assertEqual(running.finish().status, 128 + signal.SIGINT)

    def test_ctrl_c_while_an_answer_is_awaited_leaves_nothing(self):
        running = self.start(IPCM, "--timeout", HANG, "run", "echo", "--boot", self.fake_boot("fails"), start_new_session=True)
        running.write("1\n")
        self.assertEqual(json.loads(running.read_line()), 1)
        service = service_of(running.pid)
        with Process(service) as process:
            process.signal(signal.SIGSTOP)
            running.write("2\n")
            os.killpg(running.pid, signal.SIGINT)
            self.assertTrue(running.process.wait_for_end(), "it goes on")
        self.assertEqual(running.finish().status, 128 + signal.SIGINT)

    def test_sigterm_and_sighup_leave_nothing(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number):
                running = self.start(IPCM, "run", "echo")
                running.write("1\n")
                running.read_line()
                running.process.signal(number)
                self.assertTrue(running.process.wait_for_end(), "it goes on")
                self.assertEqual(running.finish().status, 128 + number)

    def test_sigkill_leaves_nothing(self):
        running = self.start(IPCM, "run", "echo")
        running.write("1\n")
        running.read_line()
        service = service_of(running.pid)
        with Process(service) as process:
            running.process.signal(signal.SIGKILL)
            self.assertTrue(process.wait_for_end(), "the service outlived its launcher")
        self.assertEqual(running.finish().status, 128 + signal.SIGKILL)

    def big_file(self, lines=50000):
        path = self.work + "/big"
        with open(path, "w") as file:
            file.writelines(f'{{"line":{number}}}\n' for number in range(lines))
        return path

    def test_a_reader_that_has_had_enough_ends_the_run(self):
        result = self.sh('ipcm run echo < "$1" | head -1', self.big_file())
        self.assertEqual(result.answers, [{"line": 0}])

    def test_a_reader_that_has_had_enough_ends_an_endless_run(self):
        result = self.sh("yes 1 | ipcm run echo | head -1", limit=10)
        self.assertEqual(result.answers, [1])

    def test_answers_that_can_not_be_written_are_no_success(self):
        result = self.sh('ipcm run echo 1 > /dev/full; echo "status $?"')
        self.assertEqual(result.lines, [f"status {OUTPUT_LOST}"])
        self.assertIn("stdout", result.err)

    def test_stdin_that_is_closed_is_an_empty_one(self):
        result = self.sh("ipcm run echo <&-")
        self.assertEqual((result.out, result.err), ("", ""))

    def test_stdin_that_is_closed_does_not_matter_to_words(self):
        self.assertEqual(self.sh("ipcm run echo 1 <&-").answers, [1])

    def test_stdout_that_is_closed_is_told(self):
        result = self.sh('ipcm run echo 1 >&-; echo "status $?" >&2')
        self.assertIn(f"status {OUTPUT_LOST}", result.err, "the answer is lost, and nobody was told")
        self.assertIn("stdout", result.err)

    def test_stderr_that_is_closed_does_not_matter(self):
        self.assertEqual(self.sh("ipcm run echo 1 2>&-").answers, [1])
        self.assertEqual(self.sh("ipcm run echo 1 <&- 2>&-").answers, [1])

    def test_stdin_that_is_a_file_or_a_directory(self):
        path = self.big_file(10)
        self.assertEqual(self.sh('ipcm run echo < "$1"', path).answers, [{"line": number} for number in range(10)])
        result = self.sh("ipcm run echo < /", status=None)
        self.assertNotEqual(result.status, 0)
        self.assertTrue(result.err.startswith("ipcm: "), result)

    def test_a_run_leaves_the_rest_of_a_shared_stdin_blocking(self):
        # O_NONBLOCK on a shared description would affect other processes that have it open.
        running = self.start("/bin/sh", "-c", "ipcm run echo 1 >&2; cat")
        self.assertEqual(running.finish("after it\n").out, "after it\n")

    def test_a_slow_reader_gets_everything(self):
        path = self.big_file(30000)
        running = self.start("/bin/sh", "-c", 'ipcm run echo < "$1"', "sh", path)
        select.select([running.popen.stdout], [], [], HANG)  # it runs, and will fill the pipe
        result = running.finish()
        self.assertEqual(result.status, 0)
        self.assertEqual(result.out, "".join(f'{{"line":{number}}}\n' for number in range(30000)))

    def test_a_frame_of_many_mebibytes_goes_there_and_back(self):
        document = json.dumps("x" * (20 << 20))
        result = self.ipcm("run", "echo", input=document + "\n")
        self.assertTrue(result.out == document + "\n", "the answer differs")

    def test_a_document_that_is_too_long_is_told_and_nothing_hangs(self):
        result = self.ipcm("run", "echo", input=json.dumps("x" * (65 << 20)) + "\n", status=USAGE)
        self.assert_one_line(result.err)


class CorpusTest(TidyTest):
    def test_ten_thousand_documents_of_this_machine_come_back_in_order(self):
        lines = list(corpus.lines())
        self.assertGreaterEqual(len(lines), corpus.LEAST)
        text = "\n".join(lines) + "\n"
        result = self.ipcm("run", "echo", input=text, limit=120)
        answers = result.out.split("\n")
        self.assertEqual(answers.pop(), "")
        for number, (line, answer) in enumerate(zip(lines, answers), 1):
            asked, answered = json.loads(line), json.loads(answer)
            # Compared as text too: in Python, 1, 1.0 and True are equal.
            if asked != answered or json.dumps(asked) != json.dumps(answered):
                self.fail(f"document {number}\nasked    {line[:1000]}\nanswered {answer[:1000]}")
        self.assertEqual(len(answers), len(lines))
        self.assertEqual(result.err, "")
        print(f"\ncorpus: {len(lines)} documents, {len(text.encode()) / 1e6:.1f} MB, in {result.seconds:.2f} s: "
              f"{len(lines) / result.seconds:.0f} documents per second", flush=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
