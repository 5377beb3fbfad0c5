"""`ipcm ps`: the state of the members of a bus and of their processes."""

import os
import signal
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from support import Process, TidyTest, protocols  # noqa: E402


class PsTest(TidyTest):
    def test_a_service_that_a_signal_has_stopped_is_shown_as_stopped_until_it_goes_on(self):
        for protocol in protocols():
            with self.subTest(protocol=protocol), self.bus("--protocol", protocol) as env:
                self.ipcm("start", "echo", env=env)
                pid = self.peers(env)["echo"]["pid"]
                with Process(pid) as process:
                    process.signal(signal.SIGSTOP)
                    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)  # this process has adopted it
                    stopped = self.peers(env)["echo"]
                    self.assertEqual((stopped["state"], stopped["bus_state"], stopped["process"]), ("stopped", "active", "stopped"))
                    _, row = self.ipcm("ps", env=env).lines
                    self.assertEqual(row.split()[3], "stopped")
                    process.signal(signal.SIGCONT)
                    os.waitid(os.P_PID, pid, os.WCONTINUED | os.WNOWAIT)
                running = self.peers(env)["echo"]
                self.assertEqual((running["state"], running["process"], running["proven"]), ("active", "running", True))

    def test_the_processor_time_of_a_service_is_the_one_that_the_kernel_counts(self):
        def counted(pid):
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            self.ipcm("request", "echo", *["1"] * 3000, env=env)
            pid = self.peers(env)["echo"]["pid"]
            before = counted(pid)
            shown = self.peers(env)["echo"]
            self.assertGreater(before, 0)
            self.assertLessEqual(before, shown["cpu_seconds"])
            self.assertLessEqual(shown["cpu_seconds"], counted(pid))
            self.assertGreater(shown["memory_bytes"], 0)


if __name__ == "__main__":
    unittest.main()
