"""What the tests of the class `supervisor` share."""

import json
import signal

from support import IPCM, Process, TidyTest


def child(name, **more):
    return {"name": name, "class": "echo", **more}


def program(name, *words, ready="ready", **more):
    return {"name": name, "class": "command", "args": {"argv": list(words)}, "ready": ready, **more}


class Events:
    """The events of a supervisor, from its first one on."""

    def __init__(self, test, env, name="sup"):
        self.running = test.start(IPCM, "logs", "-f", name, env=env)

    def next(self, event, service=None):
        """Returns the next event of this kind of this service."""
        while True:
            line = self.running.read_line()
            if not line.startswith("{"):
                continue
            told = json.loads(line)
            if told["event"] == event and (service is None or told.get("service") == service):
                return told

    def close(self):
        self.running.close()


class SupervisorTest(TidyTest):
    def supervise(self, env, *services, **more):
        self.ipcm("start", "supervisor", "--name", "sup", "--args", json.dumps({"services": services, **more}), env=env)

    def follow(self, env):
        return Events(self, env)

    def ask(self, env, request, status=0):
        return self.ipcm("request", "sup", json.dumps(request), env=env, status=status)

    def status(self, env, name):
        (answer,) = self.ask(env, {"status": name}).answers
        return answer

    def up(self, env, name):
        """Waits until a child is ready, and returns its facts."""
        (answer,) = self.ask(env, {"start": name}).answers
        return answer

    def end(self, env):
        """Ends the supervisor, and returns when it has ended."""
        self.ipcm("stop", "sup", env=env)

    def events(self, env):
        log = self.ipcm("logs", "sup", env=env).out
        return [json.loads(line) for line in log.splitlines() if line.startswith("{")]

    def order(self, env, event):
        return [one["service"] for one in self.events(env) if one["event"] == event]

    def kill(self, pid):
        with Process(pid) as process:
            process.signal(signal.SIGKILL)
            self.assertTrue(process.wait_for_end())
