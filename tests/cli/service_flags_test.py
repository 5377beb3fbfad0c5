"""The flags of `ipcm start`, `run` and `request` that change how a service or a client works: --expose-errors, --interval, --spin."""

import os
import re
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from support import TidyTest, command_of  # noqa: E402

DONE, ANSWERED_WITH_ERROR, USAGE = range(3)


class ServiceFlagsTest(TidyTest):
    def setUp(self):
        super().setUp()
        self.boot = os.path.join(os.environ["IPCM_TEST_CHILDREN"], "self_boot")

    def test_requesters_get_the_text_of_an_exception_only_with_expose_errors(self):
        wrong = "{}"  # the class "speaker" expects a string
        hidden = self.ipcm("run", "speaker", "--boot", self.boot, wrong, status=ANSWERED_WITH_ERROR)
        self.assertIn("Internal service error", hidden.err)
        self.assertNotIn("answered with an error: request:", hidden.err)
        shown = self.ipcm("run", "speaker", "--boot", self.boot, "--expose-errors", wrong, status=ANSWERED_WITH_ERROR)
        self.assertNotIn("Internal service error", shown.err)
        self.assertIn("'speaker' answered with an error: request:", shown.err)

    def test_expose_errors_holds_for_a_service_of_start_too(self):
        with self.bus() as env:
            self.ipcm("start", "speaker", "--boot", self.boot, "--expose-errors", "--name", "s", env=env)
            self.assert_told(self.ipcm("request", "s", "{}", env=env, status=ANSWERED_WITH_ERROR), "answered with an error: request:")

    def test_on_interval_is_called_with_interval(self):
        self.assertEqual(self.ipcm("run", "speaker", "--boot", self.boot, "--interval", "20ms", '"tick"', '"tick"').answers, ["tock", "tock"])
        with self.bus() as env:
            self.ipcm("start", "speaker", "--boot", self.boot, "--interval", "0.02", "--name", "s", env=env)
            self.assertEqual(self.ipcm("request", "s", '"tick"', env=env).answers, ["tock"])

    def test_restart_repeats_the_start_with_the_same_flags(self):
        with self.bus() as env:
            self.ipcm("start", "speaker", "--boot", self.boot, "--expose-errors", "--interval", "20ms", "--spin", "50us", "--name", "s", env=env)
            first = command_of(self.peers(env)["s"]["pid"])
            self.ipcm("restart", "s", env=env)
            again = command_of(self.peers(env)["s"]["pid"])
            for key in ("interval", "spin", "expose_error_details"):
                said = re.search(f'"{key}":[^,}}]*', first)[0]
                self.assertIn(said, again)

    def test_spin_reaches_the_service_and_requests_are_answered(self):
        with self.bus() as env:
            self.ipcm("start", "echo", "--spin", "50us", env=env)
            self.assertIn('"spin":0.00005', command_of(self.peers(env)["echo"]["pid"]).replace("5e-05", "0.00005"))
            self.assertEqual(self.ipcm("request", "echo", "1", "2", "--spin", "50us", env=env).answers, [1, 2])
        self.assertEqual(self.ipcm("run", "echo", "--spin", "1ms", "3").answers, [3])

    def test_a_wrong_span_is_an_error_that_shows_right_ones(self):
        for flag in ("--interval", "--spin"):
            for wrong in ("0", "-1", "soon", "5 s"):
                with self.subTest(flag=flag, value=wrong):
                    self.assert_told(self.ipcm("run", "echo", f"{flag}={wrong}", "1", status=USAGE), flag, "50us", wrong)
        self.assert_told(self.ipcm("run", "echo", "--spin", "2s", "1", status=USAGE), "at most 1 s")
        self.assert_told(self.ipcm("request", "echo", "1", "--spin", "2s", status=USAGE), "at most 1 s")


if __name__ == "__main__":
    unittest.main()
