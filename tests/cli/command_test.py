"""The class `command`: programs that know nothing of ipcm are services."""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from support import HANG, IPCM, Process, TidyTest, children_of, command_of  # noqa: E402

DONE, ANSWERED_WITH_ERROR, USAGE, GONE, TIMED_OUT, LAUNCH_FAILED = range(6)


class CommandTest(TidyTest):
    """Helpers of the tests below."""

    def start_program(self, env, *program, name="p", args=None, flags=(), status=0):
        given = ["--args", json.dumps(args)] if args is not None else []
        return self.ipcm("start", "--name", name, *flags, *given, "--", *program, env=env, status=status)

    def ask(self, env, request, name="p", status=0):
        return self.ipcm("request", name, json.dumps(request), env=env, status=status)

    def assert_refused(self, result, *words):
        """Checks that the requester got an error with these words."""
        self.assertEqual(result.status, ANSWERED_WITH_ERROR, result)
        for word in words:
            self.assertIn(word, result.err)

    def worker(self, body, name="worker.py"):
        """Returns the words of a Python program that answers lines; `body` handles `request` and calls answer()."""
        text = ("import json, os, signal, sys, time\n"
                "def answer(value):\n    print(json.dumps(value), flush=True)\n"
                "for line in sys.stdin:\n    request = json.loads(line)\n" +
                "".join(f"    {one}\n" for one in body.splitlines()))
        return [sys.executable, "-E", "-S", self.script(text, name)]

    def service_process(self, env, name="p"):
        return self.peers(env)[name]["pid"]

    def program_of(self, env, name="p"):
        """Returns the pid of the only program of a service."""
        (pid,) = children_of(self.service_process(env, name))
        return pid

    def fifo(self, name):
        path = os.path.join(self.work, name)
        os.mkfifo(path)
        return path


class PerRequestTest(CommandTest):
    """speak per-request, the default of the command line."""

    def test_each_line_of_stdin_becomes_the_input_of_one_process(self):
        result = self.ipcm("run", "--", "cat", input='1\n"two"\n{"n": 3}\n')
        self.assertEqual(result.answers, [1, "two", {"n": 3}])
        self.assertEqual(result.err, "")

    def test_jq_is_a_service(self):
        if not shutil.which("jq"):
            self.skipTest("jq is not installed")
        with self.bus() as env:
            self.assertEqual(self.ipcm("start", "--name", "up", "--", "jq", "-c", "ascii_upcase", env=env).out, "up\n")
            self.assertEqual(self.ask(env, "hi", "up").answers, ["HI"])
            self.assert_refused(self.ask(env, 5, "up", status=None), "program 'jq' exited with status 5", "its last words", "explode")
            self.assertEqual(self.ask(env, "again", "up").answers, ["AGAIN"])

    def test_bc_is_a_service_of_raw_text(self):
        if not shutil.which("bc"):
            self.skipTest("bc is not installed")
        self.assertEqual(self.ipcm("run", "--raw", "--", "bc", "-l", input="2+3\n2^70\n").answers, ["5", "1180591620717411303424"])

    def test_raw_sends_strings_without_quotes_and_other_values_as_json(self):
        with self.bus() as env:
            self.start_program(env, "cat", flags=["--raw"])
            self.assertEqual(self.ask(env, 'say "ä"\n').answers, ['say "ä"\n'])
            self.assertEqual(json.loads(self.ask(env, [1, "x"]).answers[0]), [1, "x"])
            self.assertEqual(self.ask(env, "").answers, [""])

    def test_raw_output_that_is_no_utf_8_is_a_string_all_the_same(self):
        with self.bus() as env:
            self.start_program(env, "printf", r"\377", flags=["--raw"])
            self.assertEqual(self.ask(env, 1).answers, ["\N{REPLACEMENT CHARACTER}"])

    def test_the_name_is_that_of_the_program(self):
        with self.bus() as env:
            self.assertEqual(self.ipcm("start", "--", "/bin/cat", env=env).out, "cat\n")
            self.assertEqual(self.peers(env)["cat"]["class"], "command")

    def test_words_of_the_program_are_no_options_of_ipcm(self):
        with self.bus() as env:
            self.start_program(env, "printf", "[\"%s\",\"%s\",\"%s\"]", "--json", "--", "[1,2]")
            self.assertEqual(self.ask(env, 1).answers, [["--json", "--", "[1,2]"]])

    def test_the_answer_may_have_white_space_around_it_and_inside(self):
        with self.bus() as env:
            self.start_program(env, "printf", '\n { "a":\n 1 }\n\n')
            self.assertEqual(self.ask(env, 1).answers, [{"a": 1}])

    def test_a_program_may_leave_its_input_unread(self):
        result = self.ipcm("run", "--", "echo", "7", input=json.dumps("x" * 300_000) + "\n")
        self.assertEqual(result.answers, [7])

    def test_jobs_run_at_the_same_time(self):
        # Each process opens both ends of its fifo with the help of the other one: alone it would wait for ever.
        one, two = self.fifo("one"), self.fifo("two")
        script = f'read n; if [ "$n" = 1 ]; then echo 1 > {one}; read m < {two}; else read m < {one}; echo 2 > {two}; fi; echo "$m"'
        self.assertEqual(self.ipcm("run", "--jobs", "2", "--", "sh", "-c", script, input="1\n2\n").answers, [2, 1])

    def test_the_program_finds_its_bus(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            self.start_program(env, "sh", "-c", 'read x; ipcm request echo "$x"')
            self.assertEqual(self.ask(env, [1]).answers, [[1]])


class BadProgramTest(CommandTest):
    """Programs that misbehave: the requester gets an error of its own, and the service goes on."""

    def assert_survives(self, env, request, *words, name="p"):
        self.assert_refused(self.ask(env, request, name, status=None), *words)
        self.assertEqual(self.ask(env, "good", name).answers, ["good"])

    def per_request(self, env, case, **more):
        """Starts a program that does `case` for the request "bad", and otherwise answers with the request."""
        self.start_program(env, "sh", "-c", f'read x; if [ "$x" = \'"bad"\' ]; then {case}; else echo "$x"; fi', **more)

    def test_an_exit_status_and_the_end_of_stderr_are_the_error(self):
        with self.bus() as env:
            self.per_request(env, "echo 1; echo no database >&2; exit 3")
            self.assert_survives(env, "bad", "program 'sh' exited with status 3; its last words: no database")
            self.assertIn("no database\n", self.ipcm("logs", "p", env=env).out)

    def test_a_signal_is_the_error(self):
        with self.bus() as env:
            self.per_request(env, "kill -9 $$")
            self.assert_survives(env, "bad", "was killed by SIGKILL")

    def test_output_that_is_no_json_is_quoted(self):
        with self.bus() as env:
            self.per_request(env, "echo no; echo json; echo hm >&2")
            self.assert_survives(env, "bad", r"printed no JSON value: 'no\njson\n'", "raw: any text", "its last words: hm")

    def test_no_output_is_an_error(self):
        with self.bus() as env:
            self.per_request(env, "exec >&-")
            self.assert_survives(env, "bad", "printed nothing")

    def test_output_without_end_is_cut_and_the_program_is_ended(self):
        with self.bus() as env:
            self.per_request(env, "exec yes", flags=["--max-output", "100000"])
            self.assert_survives(env, "bad", "printed more than 100000 bytes (max_output)")

    def test_a_program_that_never_ends_and_ignores_sigterm_is_killed_after_its_time(self):
        with self.bus() as env:
            self.per_request(env, "trap '' TERM; echo busy >&2; while :; do sleep 1000; done", args={"timeout": 0.3, "grace": 0.1})
            self.assert_survives(env, "bad", "did not end within 300.0 ms (timeout)", "its last words: busy")

    def test_a_program_that_forks_away_answers_with_what_it_printed_and_its_group_ends(self):
        fifo = self.fifo("alive")
        with self.bus() as env:
            self.per_request(env, f"(exec 3<>{fifo}; echo up >&3; exec sleep 1000) & read up < {fifo}; echo 5")
            self.assertEqual(self.ask(env, "bad").answers, [5])
            self.assertEqual(self.ask(env, "good").answers, ["good"])
            self.assertEqual([command_of(pid) for pid in children_of(self.service_process(env)) if "sleep" in command_of(pid)], [])

    def test_almost_64_mib_the_limit_of_the_bus_reach_a_program(self):
        size = 64 * 1024 * 1024 - 4096
        result = self.ipcm("run", "--", "wc", "-c", input='"' + "x" * size + '"\n', limit=6 * HANG)
        self.assertEqual(result.answers, [size + 3])

    def test_8_mb_go_through_a_program_and_back(self):
        result = self.ipcm("run", "--max-output", "10000000", "--", "cat", input=json.dumps("x" * 8_000_000) + "\n1\n", limit=6 * HANG)
        self.assertEqual([len(line) for line in result.lines], [8_000_002, 1])

    def test_a_full_queue_is_an_error_at_once(self):
        fifo = self.fifo("go")
        with self.bus() as env:
            self.start_program(env, "sh", "-c", f"read x < {fifo}; echo 1", args={"queue": 1})
            asked = [self.start(IPCM, "request", "p", "1", env=env) for _ in range(3)]
            # Two of the three wait; the third is refused, while no program has ended.
            with contextlib.ExitStack() as stack:
                ends = {stack.enter_context(Process(one.pid)).fd: one for one in asked}
                ready, _, _ = select.select(list(ends), [], [], HANG)
                self.assertEqual(len(ready), 1)
                refused = ends[ready[0]]
            self.assertIn("the queue is full: 1 requests", refused.finish().err)
            asked.remove(refused)
            while asked:
                with open(fifo, "w") as file:
                    file.write("go\n")
                with contextlib.ExitStack() as stack:
                    ends = {stack.enter_context(Process(one.pid)).fd: one for one in asked}
                    ended = ends[select.select(list(ends), [], [], HANG)[0][0]]
                self.assertEqual(ended.finish().answers, [1])
                asked.remove(ended)


class RefusedTest(CommandTest):
    """Wrong parameters: an error that names them, and no service."""

    def test_a_class_and_a_program_exclude_each_other(self):
        for verb in ("start", "run"):
            self.assert_told(self.ipcm(verb, "echo", "--", "cat", status=USAGE), "echo", "'cat'", "exclude each other", "--help")

    def test_flags_of_a_program_need_one(self):
        self.assert_told(self.ipcm("start", "echo", "--speak", "lines", status=USAGE), "--speak", "after --")
        self.assert_told(self.ipcm("run", "echo", "--raw", "1", status=USAGE), "--raw", "after --")

    def test_nothing_after_the_dashes_is_an_error(self):
        self.assert_told(self.ipcm("start", "--", status=USAGE), "no program")
        self.assert_told(self.ipcm("run", "--", "", status=USAGE), "no program")

    def test_a_parameter_can_be_given_only_once(self):
        for args, flags, word in (({"speak": "none"}, ["--speak", "lines"], "--speak"), ({"argv": ["x"]}, [], "argv"), ({"shell": "x"}, [], "shell")):
            with self.subTest(args=args):
                self.assert_told(self.ipcm("run", *flags, "--args", json.dumps(args), "--", "cat", status=USAGE), word)

    def test_a_missing_program_is_an_error_at_once(self):
        with self.bus() as env:
            result = self.start_program(env, "nosuch-program", status=LAUNCH_FAILED)
            self.assert_told(result, "program 'nosuch-program' does not exist", "PATH")
            result = self.start_program(env, "./nosuch", status=LAUNCH_FAILED)
            self.assert_told(result, "'./nosuch' can't be executed", "No such file")
            result = self.start_program(env, self.script("", mode=0o644), status=LAUNCH_FAILED)
            self.assert_told(result, "Permission denied", "chmod +x")
            self.assertEqual(self.peers(env), {})

    def test_a_wrong_parameter_is_named(self):
        for args, words in (
                ({"speak": "line"}, ["speak", "did you mean 'lines'?"]), ({"ready": "lines:x"}, ["ready", "did you mean 'line'?"]),
                ({"speak": "lines", "ready": "line:("}, ["ready", "regular expression"]), ({"ready": "line:"}, ["ready", "REGEX"]),
                ({"ready": "fd:2"}, ["ready", "3 to 1000"]), ({"ready": "port:x"}, ["ready", "1 to 65535"]), ({"ready": "notify:0"}, ["ready", "SECONDS"]),
                ({"ready": "exec:"}, ["ready", "CMD"]), ({"ready": "started:1"}, ["ready", "no value"]), ({"jobs": 0}, ["jobs", "1 to 256"]), ({"jobs": 1000}, ["jobs"]),
                ({"speak": "none", "jobs": 2}, ["jobs", "none"]), ({"timeout": -1}, ["timeout"]), ({"max_output": 1 << 40}, ["max_output"]),
                ({"restart": "sometimes"}, ["restart"]), ({"speak": "lines", "restart": "sometimes"}, ["restart", "on-failure"]),
                ({"ready": "exit", "speak": "lines"}, ["ready", "none"]), ({"speak": "per-request", "ready": "line:x"}, ["ready", "per-request"]),
                ({"env": {"A=B": "1"}}, ["env", "A=B"]), ({"umask": "99"}, ["umask", "octal"]), ({"nice": 40}, ["nice", "-20 to 19"]),
                ({"rlimits": {"nofiles": 1}}, ["rlimits", "did you mean 'nofile'?"]), ({"rlimits": {"core": [2, 1]}}, ["rlimits", "above"]),
                ({"user": "no such user"}, ["user", "/etc/passwd"]), ({"group": "no such group"}, ["group", "/etc/group"]),
                ({"directory": "/nosuch"}, ["directory", "/nosuch"]), ({"colour": 1}, ["colour"]), ({"argv": []}, ["argv"])):
            with self.subTest(args=args):
                given = {"argv": ["cat"], **args}
                result = self.ipcm("run", "command", "--args", json.dumps(given), "1", status=LAUNCH_FAILED)
                for word in words:
                    self.assertIn(word, result.err)

    def test_argv_and_shell_exclude_each_other(self):
        result = self.ipcm("run", "command", "--args", '{"argv":["cat"],"shell":"cat"}', "1", status=LAUNCH_FAILED)
        self.assertIn("exclude each other", result.err)


class ProcessTest(CommandTest):
    """The process of a program: its environment, directory and attributes."""

    def value_of(self, script, **args):
        """Returns what a shell script prints with these parameters."""
        given = {"shell": script, "speak": "per-request", "raw": True, **args}
        (answer,) = self.ipcm("run", "command", "--args", json.dumps(given), "1").answers
        return answer

    def test_variables_are_added_and_removed(self):
        env = dict(self.env, GONE="1")
        given = {"shell": 'echo "$NEW,${GONE-gone}"', "speak": "per-request", "raw": True, "env": {"NEW": "a b", "GONE": None}}
        self.assertEqual(self.ipcm("run", "command", "--args", json.dumps(given), "1", env=env).answers, ["a b,gone"])

    def test_it_runs_in_its_directory(self):
        self.assertEqual(self.value_of("pwd", directory="/usr"), "/usr")

    def test_umask_nice_and_limits(self):
        self.assertEqual(self.value_of("umask", umask="027"), "0027")
        self.assertEqual(self.value_of("nice", nice=5), "5")
        self.assertEqual(self.value_of("ulimit -n; ulimit -H -n", rlimits={"nofile": [100, 200]}), "100\n200")
        self.assertEqual(self.value_of("ulimit -c", rlimits={"core": 0}), "0")

    def test_no_new_privs(self):
        self.assertEqual(self.value_of("grep NoNewPrivs /proc/self/status", no_new_privs=True), "NoNewPrivs:\t1")

    def test_user_and_group(self):
        if os.getuid() != 0:
            self.skipTest("needs root")
        self.assertEqual(self.value_of("id -u; id -g; id -G", user="nobody", group="0"), "65534\n0\n0")
        self.assertEqual(self.value_of("id -u; id -g; id -G", user="1234", group="99"), "1234\n99\n99")

    def test_attributes_that_the_kernel_refuses_are_the_error(self):
        given = {"argv": ["cat"], "speak": "per-request", "rlimits": {"nofile": 1 << 60}}
        result = self.ipcm("run", "command", "--args", json.dumps(given), "1", status=ANSWERED_WITH_ERROR)
        self.assertIn("prlimit", result.err)

    def test_it_has_the_default_actions_of_signals_and_no_descriptors_of_the_service(self):
        self.assertEqual(self.value_of("grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f 2 | sort -u"), "0000000000000000")
        self.assertEqual(self.value_of("ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ")  # 3: the directory


class JustRunsTest(CommandTest):
    """speak none: the program just runs."""

    def test_requests_are_refused_and_output_goes_to_the_log(self):
        with self.bus() as env:
            self.start_program(env, "sh", "-c", "echo on stdout; echo up >&2; exec sleep 1000", flags=["--ready", "line:^up$"])
            self.assert_refused(self.ask(env, 1, status=None), "does not answer requests")
            log = self.ipcm("logs", "p", env=env).out
            self.assertIn("on stdout\n", log)
            self.assertIn("up\n", log)

    def test_the_service_ends_with_its_program_and_its_status(self):
        fifo = self.fifo("end")
        with self.bus() as env:
            self.start_program(env, "sh", "-c", f"read x < {fifo}; exit 7", flags=["--ready", "started"])
            with Process(self.service_process(env)) as service:
                with open(fifo, "w") as file:
                    file.write("end\n")
                self.assertTrue(service.wait_for_end())
            self.assertIn("exited with status 7", self.ipcm("logs", "p", env=env).out)

    def test_it_is_started_again_after_a_failure(self):
        fifo = self.fifo("runs")
        with self.bus() as env:
            self.start_program(env, "sh", "-c", f"echo $$ > {fifo}; exec sleep 1000", flags=["--ready", "started", "--restart", "on-failure"])
            with open(fifo) as file:
                first = int(file.read())
            os.kill(first, signal.SIGKILL)
            with open(fifo) as file:
                self.assertNotEqual(int(file.read()), first)

    def test_ready_exit_waits_for_the_end(self):
        with self.bus() as env:
            self.start_program(env, "sh", "-c", "echo done", flags=["--ready", "exit"])
            self.assertEqual(self.peers(env)["p"]["state"], "active")
            self.assertIn("done\n", self.ipcm("logs", "p", env=env).out)
            result = self.start_program(env, "sh", "-c", "echo words; exit 4", name="q", flags=["--ready", "exit"], status=LAUNCH_FAILED)
            self.assertIn("exited with status 4, before it was ready; its last words: words", result.err)

    def test_a_program_that_dies_before_its_line_is_the_error_with_what_it_printed(self):
        with self.bus() as env:
            result = self.start_program(env, "sh", "-c", "echo one; echo two >&2; exit 3", flags=["--ready", "line:up"], status=LAUNCH_FAILED)
            self.assertIn("exited with status 3, before it was ready", result.err)
            self.assertIn("one", result.err)
            self.assertIn("two", result.err)

    def test_a_start_that_takes_too_long_leaves_nothing_and_quotes_the_program(self):
        with self.bus() as env:
            result = self.ipcm("start", "--timeout", "0.5", "--ready", "line:up", "--", "sh", "-c", "echo warming; sleep 1000 & wait", env=env,
                               status=LAUNCH_FAILED)
            self.assertIn("warming", result.err)


class ReadyTest(CommandTest):
    """The events that make a program ready."""

    NOTIFY = ("import os, signal, socket\n"
              "def notify(text):\n"
              "    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
              "    sock.sendto(text.encode(), os.environ['NOTIFY_SOCKET'])\n")

    def python(self, text, name="program.py"):
        return [sys.executable, "-E", "-S", self.script(text, name)]

    def start_until(self, env, ready, *program, status=0, **args):
        return self.start_program(env, *program, flags=["--ready", ready], args=args or None, status=status)

    def test_a_newline_on_its_descriptor(self):
        with self.bus() as env:
            self.start_until(env, "fd:5", "sh", "-c", "echo >&5; exec sleep 1000")
            self.assertEqual(self.peers(env)["p"]["state"], "active")

    def test_a_descriptor_that_is_closed_without_a_newline_is_an_error(self):
        with self.bus() as env:
            result = self.start_until(env, "fd:5", "sh", "-c", "echo no port >&2; exec sleep 1000 5>&-", status=LAUNCH_FAILED)
            self.assertIn("closed descriptor 5 without a newline", result.err)
            self.assertIn("no port", result.err)

    def test_a_notification_also_from_a_child_of_the_program(self):
        child = "if os.fork() == 0:\n    notify('STATUS=half way\\nREADY=1')\n    os._exit(0)\nos.wait()\nsignal.pause()\n"
        for body in ("notify('READY=1')\nsignal.pause()\n", child.replace("os.wait()\n", "")):
            with self.subTest(body=body), self.bus() as env:
                self.start_until(env, "notify", *self.python(self.NOTIFY + body))
                self.assertEqual(self.peers(env)["p"]["state"], "active")

    def test_a_notification_of_another_process_does_not_count(self):
        out, back = self.fifo("out"), self.fifo("back")
        program = self.python(self.NOTIFY + f"open({out!r}, 'w').write(os.environ['NOTIFY_SOCKET'])\nopen({back!r}).read()\nraise SystemExit(3)\n")
        with self.bus() as env:
            running = self.start(IPCM, "start", "--name", "p", "--ready", "notify", "--", *program, env=env)
            with open(out) as file:
                address = file.read()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
                other.sendto(b"READY=1", address)
            with open(back, "w") as file:
                file.write("go on")
            result = running.finish()
            self.assertEqual(result.status, LAUNCH_FAILED, result)
            self.assertIn("exited with status 3, before it was ready", result.err)

    def test_a_notification_of_a_program_that_runs_as_another_user(self):
        python = "/usr/bin/python3"  # that of these tests may be in a directory of root
        if os.getuid() != 0 or not os.access(python, os.X_OK):
            self.skipTest("needs root and " + python)
        program = [python, "-E", "-S", "-c", self.NOTIFY + "notify('READY=1')\nsignal.pause()\n"]
        with self.bus() as env:
            self.start_until(env, "notify", *program, user="nobody")
            self.assertEqual(self.peers(env)["p"]["state"], "active")

    def test_the_status_is_part_of_the_error(self):
        program = self.python(self.NOTIFY + "notify('STATUS=migrating tables')\nraise SystemExit(3)\n")
        with self.bus() as env:
            result = self.start_until(env, "notify", *program, status=LAUNCH_FAILED)
            self.assertIn("exited with status 3, before it was ready", result.err)
            self.assertIn("migrating tables", result.err)

    def test_a_missing_sign_of_life_ends_the_program(self):
        with self.bus() as env:
            self.start_program(env, *self.python(self.NOTIFY + "notify('READY=1')\nsignal.pause()\n"), flags=["--ready", "notify:0.2"])
            self.ipcm("wait", "--for", "gone", "p", env=env)  # it may have ended already
            self.assertIn("sent no WATCHDOG=1 within 200.0 ms", self.ipcm("logs", "p", env=env).out)

    def test_a_port(self):
        program = self.python("import socket, sys, signal\n"
                              "s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nsignal.pause()\n")
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            port = chosen.getsockname()[1]
        with self.bus() as env:
            self.start_until(env, f"port:{port}", *program, str(port))
            socket.create_connection(("127.0.0.1", port)).close()

    def test_a_port_that_is_open_before_the_start_is_an_error(self):
        with socket.create_server(("127.0.0.1", 0)) as server, self.bus() as env:
            port = server.getsockname()[1]
            result = self.start_until(env, f"port:{port}", "sleep", "1000", status=LAUNCH_FAILED)
            self.assertIn(f"port {port} is open already", result.err)

    def test_a_command_that_succeeds(self):
        file = os.path.join(self.work, "there")
        with self.bus() as env:
            self.start_until(env, f"exec:test -e {file}", "sh", "-c", f"touch {file}; exec sleep 1000")
            self.assertTrue(os.path.exists(file))

    def test_a_program_that_is_not_ready_in_time_is_ended(self):
        for ready in ("line:never", "exec:echo not yet >&2; false", "notify"):
            with self.subTest(ready=ready), self.bus() as env:
                result = self.start_until(env, ready, "sh", "-c", "trap '' TERM; echo warming; sleep 1000", status=LAUNCH_FAILED,
                                          start_timeout=0.3, grace=0.1)
                self.assertIn("was not ready within its time (start_timeout)", result.err)
                self.assertIn("warming", result.err)

    def test_the_program_does_not_see_the_notify_socket_of_the_service(self):
        given = {"shell": "echo ${NOTIFY_SOCKET-none}", "speak": "per-request", "raw": True}
        env = dict(self.env, NOTIFY_SOCKET="@nowhere")
        self.assertEqual(self.ipcm("run", "command", "--args", json.dumps(given), "1", env=env).answers, ["none"])


class EndTest(CommandTest):
    """The end of a service ends everything that its program has started."""

    def started_tree(self, env, script, **more):
        """Starts a program that prints the pids of its processes and then `up`. Returns their pidfds."""
        self.start_program(env, "sh", "-c", script + "; echo up; exec sleep 1000", flags=["--ready", "line:^up$"], **more)
        pids = [int(line.split()[1]) for line in self.ipcm("logs", "p", env=env).lines if line.startswith("pid ")]
        return [Process(pid) for pid in pids]

    def test_children_that_daemonise_or_ignore_sigterm_end_too(self):
        daemon = f"setsid sh -c 'trap \"\" TERM HUP; echo pid $$ > {{0}}; exec sleep 1000'"
        one, two = self.fifo("one"), self.fifo("two")
        script = (f"({daemon.format(one)} &); (setsid setsid sh -c 'echo pid $$ > {two}; exec sleep 1000' &); "
                  f"cat {one}; cat {two}; sleep 1000 & echo pid $!; echo pid $$")
        with self.bus() as env:
            processes = self.started_tree(env, script, args={"grace": 0.2})
            self.assertEqual(len(processes), 4)
            self.ipcm("stop", "p", env=env)
            for process in processes:
                with process:
                    self.assertTrue(process.wait_for_end(0), command_of(process.pid))

    def test_sigkill_of_the_service_ends_its_direct_child(self):
        with self.bus() as env:
            (program,) = self.started_tree(env, "echo pid $$")
            with program, Process(self.service_process(env)) as service:
                service.signal(signal.SIGKILL)
                self.assertTrue(program.wait_for_end())

    def test_programs_of_requests_end_with_the_service(self):
        fifo = self.fifo("runs")
        with self.bus() as env:
            self.start_program(env, "sh", "-c", f"echo $$ > {fifo}; sleep 1000; echo 1")
            asked = self.start(IPCM, "request", "p", "1", env=env)
            with open(fifo) as file:
                pid = int(file.read())
            with Process(pid) as program:
                self.ipcm("stop", "p", env=env)
                self.assertTrue(program.wait_for_end(0))
            self.assertEqual(asked.finish().status, GONE)


class LinesTest(CommandTest):
    """speak lines: long-lived programs."""

    def test_one_program_answers_all_requests(self):
        words = self.worker("answer([request, os.getpid()])")
        result = self.ipcm("run", "--speak", "lines", "--", *words, input='1\n{"two": [2]}\n"drei"\n')
        self.assertEqual([answer[0] for answer in result.answers], [1, {"two": [2]}, "drei"])
        self.assertEqual(len({answer[1] for answer in result.answers}), 1)

    def test_a_request_of_several_lines_arrives_as_one(self):
        with self.bus() as env:
            self.start_program(env, *self.worker("answer(request)"), flags=["--speak", "lines"])
            self.assertEqual(self.ipcm("request", "p", '{"a":\n[1,\r\n"x\\n"]}', env=env).answers, [{"a": [1, "x\n"]}])

    def test_raw_lines(self):
        with self.bus() as env:
            self.start_program(env, "sh", "-c", 'while read -r l; do echo "<$l>"; done', flags=["--speak", "lines", "--raw"])
            self.assertEqual(self.ask(env, 'a "b"').answers, ['<a "b">'])
            self.assert_refused(self.ask(env, "a\nb", status=None), "several lines")
            self.assertEqual(self.ask(env, "c").answers, ["<c>"])

    def test_it_is_ready_after_its_line_and_starts_again_after_its_death(self):
        words = self.worker("answer(request if request != 'die' else os.kill(os.getpid(), signal.SIGKILL))")
        with open(words[-1]) as file:
            text = file.read()
        self.script("import sys\nprint('loading', flush=True)\nprint('warm', file=sys.stderr, flush=True)\n" + text, "worker.py")
        with self.bus() as env:
            self.start_program(env, *words, flags=["--speak", "lines", "--ready", "line:^warm$"])
            self.assertEqual(self.ask(env, 1).answers, [1])
            self.assert_refused(self.ask(env, "die", status=None), "was killed by SIGKILL")
            self.assertEqual(self.ask(env, 2).answers, [2])
            with Process(self.program_of(env)) as program:
                program.signal(signal.SIGKILL)
                self.assertTrue(program.wait_for_end())
            self.assertEqual(self.ask(env, 3).answers, [3])

    def test_jobs_are_programs_in_parallel(self):
        one, two = self.fifo("one"), self.fifo("two")
        body = f"""ours, other = ("{one}", "{two}") if request == 1 else ("{two}", "{one}")
if request == 1:
    open(ours, "w").write("1")
    answer(open(other).read())
else:
    text = open(other).read()
    open(ours, "w").write("2")
    answer(text)"""
        result = self.ipcm("run", "--speak", "lines", "--jobs", "2", "--", *self.worker(body), input="1\n2\n")
        self.assertEqual(result.answers, ["2", "1"])

    def bad(self, env, case, **more):
        self.start_program(env, *self.worker(f"if request == 'bad':\n    {case}\nelse:\n    answer(request)"),
                           flags=["--speak", "lines", *more.pop("flags", [])], **more)

    def assert_survives(self, env, *words):
        self.assert_refused(self.ask(env, "bad", status=None), *words)
        self.assertEqual(self.ask(env, "good").answers, ["good"])

    def test_a_line_that_is_no_json_is_the_error(self):
        with self.bus() as env:
            self.bad(env, "print('no json', flush=True)")
            self.assert_survives(env, "printed no JSON value: 'no json'")

    def test_an_exit_with_last_words_is_the_error(self):
        with self.bus() as env:
            self.bad(env, "sys.exit('no database')")
            self.assert_survives(env, "exited with status 1; its last words: no database")

    def test_a_line_without_end_is_cut(self):
        with self.bus() as env:
            self.bad(env, "print('x' * 2000000, flush=True)", flags=["--max-output", "100000"])
            self.assert_survives(env, "more than 100000 bytes (max_output)")

    def test_a_program_that_never_answers_is_ended_after_its_time(self):
        with self.bus() as env:
            self.bad(env, "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()", args={"timeout": 0.5, "grace": 0.1})
            self.assert_survives(env, "did not answer within 500.0 ms (timeout)")

    def test_a_closed_stdout_is_the_error(self):
        with self.bus() as env:
            self.bad(env, "os.close(1); signal.pause()")
            self.assert_survives(env, "has closed its stdout")

    def test_a_second_line_does_not_become_the_next_answer(self):
        with self.bus() as env:
            self.bad(env, "answer(1); answer(2); time.sleep(0)")
            self.assertEqual(self.ask(env, "bad").answers, [1])
            self.assertEqual(self.ask(env, "good").answers, ["good"])

    def test_a_program_that_can_not_start_again_fails_the_requests_that_wait(self):
        marker = os.path.join(self.work, "started")
        script = f"[ -e {marker} ] && echo broken >&2 && exit 3; touch {marker}; echo up; read x; exit 9"
        with self.bus() as env:
            self.start_program(env, "sh", "-c", script, flags=["--speak", "lines", "--ready", "line:^up$"])
            self.assert_refused(self.ask(env, 1, status=None), "exited with status 9")
            self.assert_refused(self.ask(env, 2, status=None), "exited with status 3, before it was ready; its last words: broken")

    def test_without_restart_the_service_ends_with_its_program(self):
        with self.bus() as env:
            self.bad(env, "sys.exit(6)", flags=["--restart", "never"])
            with Process(self.service_process(env)) as service:
                self.assert_refused(self.ask(env, "bad", status=None), "exited with status 6")
                self.assertTrue(service.wait_for_end())


if __name__ == "__main__":
    unittest.main()
