"""G2: a process whose identity is not proven here gets no signal; G3: names made by the library never collide."""

import json
import os
import signal
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import HANG, IPCM, Process, TidyTest, protocols  # noqa: E402

TIMED_OUT = 4


def can_unshare():
    try:
        return subprocess.run(["unshare", "-pf", "--mount-proc", "true"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


class PlantedTest(TidyTest):
    """A pid in a file is only a claim."""

    def plant(self, env, pid, name="planted"):
        for file, text in ((name, ""), (name + ".pid", str(pid))):
            with open(os.path.join(env["ROUTE"], file), "w") as opened:
                opened.write(text)

    def take_away(self, env, name="planted"):
        for file in (name, name + ".pid"):
            os.remove(os.path.join(env["ROUTE"], file))

    def test_a_process_whose_number_was_planted_is_not_signalled(self):
        with self.bus() as env:
            bystander = self.start("sleep", "1000")
            self.plant(env, bystander.pid)
            result = self.ipcm("stop", "planted", "--timeout", "1", env=env, status=TIMED_OUT)
            self.assertIn("can't be proven from here", result.err)
            result = self.ipcm("bus", "rm", "--timeout", "1", env=env, status=TIMED_OUT)
            self.assertIn("can't be proven from here", result.err)
            self.assertTrue(os.path.isdir(env["ROUTE"]), "the bus was removed")
            self.assertFalse(bystander.process.wait_for_end(0), "the bystander was ended")
            self.take_away(env)

    def test_the_number_of_a_thread_is_no_process_and_no_error(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            ready, over = threading.Event(), threading.Event()
            number = []

            def stay():
                number.append(threading.get_native_id())
                ready.set()
                over.wait(HANG)

            thread = threading.Thread(target=stay)
            thread.start()
            self.assertTrue(ready.wait(HANG))
            try:
                self.plant(env, number[0])
                self.ipcm("ps", env=env)
                self.assertEqual(self.ipcm("request", "echo", "1", env=env).out, "1\n")
                self.ipcm("bus", "rm", env=env)
            finally:
                over.set()
                thread.join()


@unittest.skipUnless(can_unshare(), "it takes `unshare -pf`, which is refused here")
class NamespaceTest(TidyTest):
    """A bus with members in several pid namespaces."""

    def inside(self, script, env, *args, status=0):
        return self.start("unshare", "-pf", "--mount-proc", "sh", "-c", script, "sh", *args, env=env,
                          stdin=subprocess.DEVNULL).finish()

    def test_a_service_outside_is_told_to_end_and_the_process_of_its_number_inside_is_not(self):
        # In the namespace, another process has the number that the service has outside.
        script = """
            echo $(($1 - 1)) > /proc/sys/kernel/ns_last_pid || exit 77
            sleep 1000 & bystander=$!; [ $bystander = $1 ] || exit 77
            ipcm --timeout 10 $2 $3; status=$?
            kill -0 $bystander && echo alive; kill -9 $bystander; exit $status"""
        for words in (("stop", "echo"), ("bus", "rm")):
            with self.subTest(words=words), self.bus() as env:
                self.ipcm("start", "echo", env=env)
                number = self.peers(env)["echo"]["pid"]
                with Process(number) as service:
                    result = self.inside(script, env, str(number), *words)
                    if result.status == 77:
                        self.skipTest("no process of that number can be made there")
                    self.assertEqual((result.out, result.status), ("alive\n", 0), result)
                    self.assertTrue(service.wait_for_end(), "the service runs on")

    def test_ps_knows_a_process_below_and_says_other_namespace_above(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            number = self.peers(env)["echo"]["pid"]
            result = self.inside("ipcm ps; ipcm --json ps", env)
            self.assertIn("other namespace", result.out)
            (row,) = json.loads(result.out.splitlines()[-1])
            self.assertEqual((row["pid"], row["other_namespace"]), (number, True))
            self.assertNotIn("memory_bytes", row)
            self.assertNotIn("age_seconds", row)

    def test_a_service_inside_is_started_beside_an_owner_outside(self):
        result = self.ipcm("session", "--", "unshare", "-pf", "--mount-proc", "sh", "-c",
                           "ipcm start echo >&2 && ipcm request echo 5")
        self.assertEqual(result.out, "5\n")

    def test_a_start_harms_no_process_whose_session_began_outside(self):
        # There, all of these processes have the session 0, as if its leader were a process that does not exist.
        script = """
            sleep 1000 & bystander=$!
            eval "$(ipcm bus new)"
            ipcm start echo --no-wait && ipcm start echo --name e2 && ipcm bus rm; status=$?
            kill -0 $bystander && echo alive; kill -9 $bystander; exit $status"""
        result = self.inside(script, None)
        self.assertEqual((result.out, result.status), ("echo\ne2\nalive\n", 0), result)

    def test_a_message_of_many_parts_crosses_namespaces(self):
        word = json.dumps("x" * 100_000)
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                self.ipcm("start", "echo", env=env)
                self.assertEqual(self.inside('ipcm request echo "$1"', env, word).out, word + "\n")

    def test_askers_of_one_number_get_their_own_answers(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                self.ipcm("start", "echo", env=env)
                words = [str(number) for number in range(20)]
                askers = [self.start("unshare", "-pf", "--mount-proc", IPCM, "request", "echo", *words,
                                     "--timeout", str(HANG), env=env, stdin=subprocess.DEVNULL)
                          for _ in range(4)]
                for asker in askers:
                    self.assertEqual(asker.finish(limit=2 * HANG).lines, words)


if __name__ == "__main__":
    unittest.main()
