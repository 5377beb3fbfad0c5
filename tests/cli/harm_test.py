"""G1, G5, G6: a path that is no bus is refused and not changed; an error does not look like an empty bus; leftovers are removed."""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from support import HANG, IPCM, Process, TidyTest, protocols  # noqa: E402

GONE = 3
FILES = {"JSONFile": ".json", "SQLite": ".sqlite"}  # protocols whose bus is one file, and how its name ends


def directory_protocols():
    return [protocol for protocol in protocols() if protocol not in FILES]


def state_of(path):
    """Returns the state of all files below a path: names, kinds, modes, contents."""
    found = {}
    for where, directories, files in os.walk(path):
        for name in directories + files + ["."]:
            full = os.path.join(where, name)
            status = os.lstat(full)
            content = open(full, "rb").read() if name in files and os.path.isfile(full) and not os.path.islink(full) else None
            found[full] = (status.st_mode, status.st_ino, content)
    return found


def dead_pid():
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


class DirectoryWatch:
    """Waits until a name exists. It does not poll: the kernel reports each new name."""

    def __init__(self, path):
        self.path = path
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_CLOEXEC)
        libc.inotify_add_watch(self.fd, path.encode(), 0x100 | 0x80)  # IN_CREATE, IN_MOVED_TO

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def await_name(self, name):
        while not os.path.exists(os.path.join(self.path, name)):
            if not select.select([self.fd], [], [], HANG)[0]:
                raise AssertionError(f"{name} does not come")
            os.read(self.fd, 65536)


class NoBusTest(TidyTest):
    """A directory or a file that is no bus."""

    VERBS = (["bus", "rm"], ["bus", "info"], ["ps"], ["request", "e", "1"], ["send", "e", "1"], ["broadcast", "1"], ["stop", "e"],
             ["stop", "--all"])

    def home(self):
        home = os.path.join(self.work, "home")
        os.makedirs(home + "/documents/deep")
        os.chmod(home, 0o700)
        with open(home + "/documents/deep/thesis", "w") as file:
            file.write("precious")
        with open(home + "/.bashrc", "w") as file:
            file.write("precious")
        return home

    def assert_untouched(self, path, info):
        before = state_of(self.work)
        for words in self.VERBS:
            with self.subTest(info=info, words=words):
                result = self.ipcm("--bus", info, *words, status=GONE)
                self.assert_told(result, path)
                self.assertEqual(state_of(self.work), before)
        self.ipcm("--bus", info, "start", "echo", status=None)
        self.assertEqual(state_of(self.work), before)

    def test_every_verb_refuses_a_directory_of_the_user(self):
        home = self.home()
        self.assert_untouched(home, home)
        for protocol in directory_protocols():
            self.assert_untouched(home, json.dumps([protocol, "JSON", home]))

    def test_a_mark_that_was_copied_into_a_directory_makes_it_no_bus(self):
        home = self.home()
        with self.bus() as env:
            with open(env["ROUTE"] + "/.info") as mark, open(home + "/.info", "w") as copy:
                copy.write(mark.read())
            for info in (home, json.dumps(["ConnectionUnix", "JSON", home])):
                before = state_of(home)
                self.ipcm("bus", "rm", info, status=GONE)
                self.assertEqual(state_of(home), before)
        before = state_of(home)
        self.ipcm("bus", "rm", home, status=GONE)  # even after the bus that it names was removed
        self.assertEqual(state_of(home), before)

    def test_every_verb_refuses_a_document_or_file_of_the_user(self):
        route = os.path.join(self.work, "project.json")
        with open(route, "w") as file:
            json.dump({"name": "my project", "clients": ["a"], "messages": {}}, file)
        for protocol in FILES:
            self.assert_untouched(route, json.dumps([protocol, "JSON", route]))
            self.assert_told(self.ipcm("bus", "new", "--protocol", protocol, "--route", route, status=GONE), route)
        self.assertEqual(os.listdir(self.work), ["project.json"])

    def test_the_places_of_everybody_are_refused(self):
        for place in ("/", "/tmp", os.path.expanduser("~"), "."):
            for words in (["bus", "rm", json.dumps(["ConnectionUnix", "JSON", place])], ["bus", "new", "--route", place]):
                if place == "." and words[1] == "new":
                    continue
                with self.subTest(words=words):
                    self.ipcm(*words, status=GONE)

    def test_a_route_has_to_be_empty_and_private(self):
        home = self.home()
        shared = os.path.join(self.work, "shared")
        os.mkdir(shared)
        before = state_of(home)
        for protocol in directory_protocols():
            self.assert_told(self.ipcm("bus", "new", "--protocol", protocol, "--route", home, status=GONE), home)
            for mode in (0o777, 0o1777, 0o770, 0o755):
                os.chmod(shared, mode)
                self.assert_told(self.ipcm("bus", "new", "--protocol", protocol, "--route", shared, status=GONE), shared)
        self.assertEqual(state_of(home), before)
        self.assertEqual(os.listdir(shared), [])

    def test_a_directory_that_was_given_stays_and_is_empty_again(self):
        given = os.path.join(self.work, "given")
        os.mkdir(given, 0o700)
        for protocol in directory_protocols():
            with self.subTest(protocol=protocol):
                inode = os.stat(given).st_ino
                info = json.dumps(json.loads(self.ipcm("--json", "bus", "new", "--protocol", protocol, "--route", given).out)["info"])
                env = dict(self.env, IPCM_INFO=info)
                self.ipcm("start", "echo", env=env)
                self.assertEqual(self.ipcm("request", "echo", "1", env=env).out, "1\n")
                self.ipcm("bus", "rm", env=env)
                self.assertEqual((os.stat(given).st_ino, os.listdir(given)), (inode, []))

    def test_a_file_that_was_given_stays_and_is_empty_again(self):
        for protocol in FILES:
            with self.subTest(protocol=protocol):
                given = os.path.join(self.work, "given" + FILES[protocol])
                os.close(os.open(given, os.O_CREAT | os.O_WRONLY, 0o600))
                info = json.dumps(json.loads(self.ipcm("--json", "bus", "new", "--protocol", protocol, "--route", given).out)["info"])
                env = dict(self.env, IPCM_INFO=info)
                self.ipcm("start", "echo", env=env)
                self.assertEqual(self.ipcm("request", "echo", "1", env=env).out, "1\n")
                self.ipcm("bus", "rm", env=env)
                self.assertEqual((os.path.getsize(given), sorted(os.listdir(self.work))), (0, [os.path.basename(given)]))
                os.unlink(given)

    def test_a_bus_that_is_there_can_be_given(self):
        running = self.start(IPCM, "session", "--", "sh", "-c", 'echo "$IPCM_INFO"; read line')
        route = json.loads(running.read_line())[2]
        self.assertIn(route, self.ipcm("bus", "new", "--route", route).out)
        running.write("end\n")
        running.finish()
        self.assertFalse(os.path.exists(route))

    def test_what_somebody_else_put_into_a_bus_stays_and_is_told(self):
        with self.bus() as env:
            with open(env["ROUTE"] + "/notes.txt", "w") as file:
                file.write("precious")
            self.assertIn("notes.txt", self.ipcm("bus", "rm", env=env, status=GONE).err)
            self.assertEqual(os.listdir(env["ROUTE"]), ["notes.txt"])
            os.unlink(env["ROUTE"] + "/notes.txt")
            os.rmdir(env["ROUTE"])

    def test_a_link_in_the_place_of_a_bus_is_not_followed_by_those_who_list(self):
        home = self.home()
        pid = dead_pid()
        with open(f"{home}/x.pid", "w") as file:
            file.write(str(pid))
        os.mkfifo(f"{home}/x")
        os.symlink(home, f"{self.tmp}/ipcm-{pid}-abcdef")
        os.symlink(home, f"{self.tmp}/.ipcm-{pid}-abcdef.json.ipcm")
        before = state_of(home)
        for words in (["bus", "ls"], ["bus", "gc"]):
            self.assertNotIn("abcdef", self.ipcm(*words).out)
        self.assertEqual(state_of(home), before)
        for name in os.listdir(self.tmp):
            os.unlink(os.path.join(self.tmp, name))


class LeftoversTest(TidyTest):
    """Leftovers of a killed command."""

    def test_gc_collects_what_a_killed_maker_left(self):
        pid = dead_pid()
        routes = [f"{self.tmp}/ipcm-{pid}-{letters}" for letters in ("aaaaaa", "bbbbbb", "cccccc")]
        for route in routes:
            os.mkdir(route, 0o700)
        for name in (".owner.x7Gh2aQw", "..info.pend"):
            open(f"{routes[1]}/{name}", "w").close()
        open(f"{routes[2]}/.owner", "w").close()
        for suffix in FILES.values():
            route = f"{self.tmp}/ipcm-{pid}-dddddd{suffix}"
            os.close(os.open(route, os.O_CREAT | os.O_WRONLY, 0o600))
            os.mkdir(f"{self.tmp}/.ipcm-{pid}-eeeeee{suffix}.ipcm", 0o700)  # its file was removed
            open(f"{self.tmp}/.ipcm-{pid}-eeeeee{suffix}.ipcm/.owner", "w").close()
            routes += [route, f"{self.tmp}/ipcm-{pid}-eeeeee{suffix}"]
        self.assertEqual(sorted(self.ipcm("bus", "gc").lines), sorted(routes))
        self.assertEqual(os.listdir(self.tmp), [])

    def test_gc_leaves_alone_what_is_not_proven_to_be_left(self):
        dead, alive = dead_pid(), os.getpid()
        names = {f"ipcm-{alive}-aaaaaa": None,       # its maker lives
                 f"ipcm-{dead}-bbbbbb": "notes",     # with something in it
                 f"ipcm-{dead}-ccccc": None,         # not named as ours
                 f"PerlIPCManager-{dead}-dddddd": None,
                 "projects": None}
        for name, file in names.items():
            os.mkdir(f"{self.tmp}/{name}", 0o700)
            if file:
                open(f"{self.tmp}/{name}/{file}", "w").close()
        before = state_of(self.tmp)
        self.assertEqual(self.ipcm("bus", "gc").out, "")
        self.assertEqual(state_of(self.tmp), before)
        for name, file in names.items():
            if file:
                os.unlink(f"{self.tmp}/{name}/{file}")
            os.rmdir(f"{self.tmp}/{name}")

    def test_gc_goes_on_with_a_removal_that_was_cut_off(self):
        with self.bus() as env:
            os.rename(env["ROUTE"] + "/.info", env["ROUTE"] + "/.info.closed")
            open(env["ROUTE"] + "/x.stats", "w").close()
            self.assertEqual(self.ipcm("bus", "gc").lines, [env["ROUTE"]])
            self.assertFalse(os.path.exists(env["ROUTE"]))

    def cut_off(self, env):
        os.rename(env["ROUTE"] + "/.info", env["ROUTE"] + "/.info.closed")

    def test_a_removal_that_was_cut_off_hides_no_other_bus(self):
        with self.bus() as half, self.bus() as other:
            self.cut_off(half)
            listed = {one["route"]: one for one in json.loads(self.ipcm("--json", "bus", "ls").out)}
            self.assertEqual(listed[half["ROUTE"]]["owner"], "being removed")
            self.assertEqual(listed[other["ROUTE"]]["owner"], "none")
            self.assertEqual(self.ipcm("bus", "gc").lines, [half["ROUTE"]])
            self.assertTrue(os.path.exists(other["ROUTE"]))

    def test_rm_goes_on_with_a_removal_that_was_cut_off(self):
        for peers in ([], ["echo"]):
            with self.subTest(peers=peers), self.bus() as env:
                for name in peers:
                    self.ipcm("start", name, env=env)
                self.cut_off(env)
                self.ipcm("bus", "rm", env=env)
                self.assertFalse(os.path.exists(env["ROUTE"]))
                self.await_no_children()

    def test_rm_waits_for_a_peer_that_has_left_its_place_but_not_its_lock(self):
        with self.bus() as env:
            path = env["ROUTE"] + "/.x.lock"
            with open(path, "w") as lock:
                fcntl.lockf(lock, fcntl.LOCK_EX)
                with DirectoryWatch(env["ROUTE"]) as watch:
                    running = self.start(IPCM, "bus", "rm", env=env, stdin=subprocess.DEVNULL)
                    watch.await_name(".info.closed")
                os.unlink(path)
            result = running.finish()
            self.assertEqual(result.status, 0, result)
            self.assertFalse(os.path.exists(env["ROUTE"]))

    def test_with_few_descriptors_a_run_leaves_nothing(self):
        for limit in range(3, 40):
            with self.subTest(limit=limit):
                self.sh('ulimit -n "$1"; exec "$2" run echo 1', str(limit), IPCM, status=None)
                self.await_no_children()
                self.assertEqual(os.listdir(self.tmp), [])


class ErrorsTest(TidyTest):
    """A failed listing does not look like an empty bus."""

    @contextlib.contextmanager
    def bus_with_a_service(self):
        with self.bus() as env:
            self.ipcm("start", "echo", env=env)
            with Process(self.peers(env)["echo"]["pid"]) as service:
                yield env, service

    def with_descriptors(self, limit, verb, env):
        return self.sh(f'ulimit -n "$1"; exec "$2" {verb}', str(limit), IPCM, env=env, status=None)

    def test_with_few_descriptors_nobody_takes_a_bus_for_empty(self):
        with self.bus_with_a_service() as (env, _):
            for limit in range(3, 30):
                for verb, word in (("ps", "echo"), ("bus info", "echo"), ("bus ls", env["ROUTE"])):
                    with self.subTest(verb=verb, limit=limit):
                        result = self.with_descriptors(limit, verb, env)
                        if result.status == 0:
                            self.assertIn(word, result.out, result)
        for verb in ("stop --all", "bus rm"):
            with self.bus_with_a_service() as (env, service):
                for limit in range(3, 30):
                    with self.subTest(verb=verb, limit=limit):
                        result = self.with_descriptors(limit, verb, env)
                        if result.status == 0:
                            self.assertTrue(service.wait_for_end(), f"status 0, and the service runs on\n{result}")
                            break

    def test_a_suspended_peer_is_shown_as_that(self):
        with self.bus("--protocol", "JSONFile") as env:
            with open(env["ROUTE"], "w") as file:
                json.dump({"clients": {"away": {"pid": dead_pid(), "suspend_expires_at": 4e9},
                                       "late": {"pid": dead_pid(), "suspend_expires_at": 1.5}},
                           "messages": {"away": [], "late": []}, "stats": {}}, file)
            peers = self.peers(env)
            self.assertEqual(peers["away"]["state"], "suspended")
            self.assertEqual(sorted(peers), ["away"])
            with open(env["ROUTE"]) as file:
                self.assertEqual(sorted(json.load(file)["clients"]), ["away"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
