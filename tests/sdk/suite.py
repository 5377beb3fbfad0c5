#!/usr/bin/env python3
"""The conformance suite of the kits: suite.py [--kit NAME] [--leave-out NAME] [--protocol NAME] [--behaviour S7] [-v]

Each kit is tested as a client of the C++ service, as a service for the C++ client, and with itself; kits are also tested with
each other on ConnectionUnix. It prints the table kit × behaviour × protocol, and fails if a cell does."""

import argparse
import concurrent.futures
import os
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from behaviours import BEHAVIOURS, PAIR  # noqa: E402
from kits import kits  # noqa: E402
from world import Unsupported, World  # noqa: E402

WITH_OTHERS = ("S1", "S2", "S3", "S7", "S12")  # of two kits that are not C++


class Pair:
    """A client of one kit and a service of another, on one bus, with a judge: a client and a service in C++."""

    def __init__(self, client_kit, service_kit, judge_kit, protocol):
        self.client_kit, self.service_kit, self.judge_kit = client_kit, service_kit, judge_kit
        self.is_slow = client_kit.name in ("command", "bash") or service_kit.name == "bash"
        self.world = World(protocol)
        self._place, self._listed, self._own, self._judge = None, None, 0, None
        try:
            self.svc = self.start("svc")
            self.world.service(judge_kit.service, "judge-svc")
            self.client = self.world.client(client_kit.client, None if client_kit.name == "command" else f"{client_kit.name}-client")
        except BaseException:
            self.close()
            raise

    @property
    def judge(self):
        if self._judge is None:
            self._judge = self.world.client(self.judge_kit.client, "judge")
        return self._judge

    @property
    def place(self):
        if self._place is None:
            self._place = tempfile.TemporaryDirectory(prefix="ipcm-sdk-")
        return self._place.name

    def start(self, name, **more):
        return self.world.service(self.service_kit.service, name, **more)

    def start_seen(self, name):
        """Starts a service, and waits until the judge has seen it join. See kill_seen()."""
        self.judge.do("watch")
        self.judge.forget_events()
        service = self.start(name)
        self.judge.expect_event("join", name)
        return service

    def kill_seen(self, service):
        """Kills a service, and waits until the judge has seen it leave: if a bridge holds its place, that ends a moment later."""
        service.kill()
        service.end()
        self.judge.expect_event("leave", service.name)

    def own_service(self):
        """Returns the name of a service that has got no message yet."""
        self._own += 1
        self.start(f"own-{self._own}")
        return f"own-{self._own}"

    def listed(self):
        """Returns a client with a name of its own that has got no message yet."""
        self._own += 1
        return self.world.client(self.client_kit.client, f"listed-{self._own}")

    def close(self):
        try:
            self.world.close()
        finally:
            if self._place is not None:
                self._place.cleanup()

    def end_extras(self):
        """Ends what a behaviour has started, and left."""
        kept = self.world.services[:2]
        for service in self.world.services[2:]:
            if service.process.poll() is None:
                service.kill()
            service.end()
            service.log.close()
            if service.ready >= 0:
                os.close(service.ready)
        self.world.services = kept


class Results:
    """What became of each cell: "ok", "-", or the failure."""

    def __init__(self, is_verbose):
        self.cells, self._mutex, self._is_verbose = {}, threading.Lock(), is_verbose

    def put(self, client, service, protocol, number, result, took=0.0):
        with self._mutex:
            self.cells[client, service, protocol, number] = result
            if self._is_verbose or result not in ("ok", "-"):
                print(f"{number} {client} → {service} on {protocol}: {result} ({took:.2f} s)", flush=True)


def run_pair(client_kit, service_kit, judge_kit, protocol, wanted, results):
    pair = None
    for number, of, name, function in wanted:
        key = (client_kit.name, service_kit.name, protocol, number)
        if {number, f"{number} on {protocol}"} & {*client_kit.without, *client_kit.client_without, *service_kit.without}:
            results.put(*key, "-")
            continue
        begin = time.monotonic()
        try:
            if pair is None:
                pair = Pair(client_kit, service_kit, judge_kit, protocol)
            function(pair)
            result = "ok"
        except Unsupported:
            result = "-"
        except Exception:
            result = f"{name}\n{traceback.format_exc()}"
            if pair is not None:
                result += "".join(f"--- log of {service.name}\n{service.text()[-2000:]}" for service in pair.world.services)
        results.put(*key, result, time.monotonic() - begin)
        if pair is not None:
            pair.end_extras()
        if result not in ("ok", "-") and pair is not None:
            pair.close()
            pair = None
    if pair is not None:
        pair.close()


def jobs_of(arguments):
    """Returns the pairs to run, each with its behaviours."""
    all_kits = [kit for kit in kits() if not kit.why_not and kit.name not in (arguments.leave_out or ())]
    judge = all_kits[0]
    for protocol in judge.protocols:
        if arguments.protocol and protocol not in arguments.protocol:
            continue
        own = [one for one in BEHAVIOURS if (not arguments.behaviour or one[0] in arguments.behaviour)
               and (not one[3].protocols or protocol in one[3].protocols)]
        pairs_only = [one for one in own if one[1] == PAIR]
        here = [kit for kit in all_kits if protocol in kit.protocols]
        for kit in here:
            if arguments.kit and kit.name not in arguments.kit:
                continue
            if kit.service:
                yield judge, kit, judge, protocol, own
            if kit is not judge and kit.client:
                yield kit, judge, judge, protocol, pairs_only
        if protocol != "ConnectionUnix":
            continue
        for client in here[1:]:
            for service in here[1:]:
                if client.client and service.service and (not arguments.kit or {client.name, service.name} & set(arguments.kit)):
                    yield client, service, judge, protocol, [one for one in pairs_only if client is service or one[0] in WITH_OTHERS]


def print_table(results):
    """Prints a line for each kit and protocol: as a service, as a client, and with the other kits."""
    rows = {}
    for (client, service, protocol, number), result in results.cells.items():
        rows.setdefault((protocol, client, service), {})[number] = "ok" if result == "ok" else "-" if result == "-" else "FAIL"
    numbers = [one[0] for one in BEHAVIOURS]
    print()
    for number, _, name, _ in BEHAVIOURS:
        print(f"{number:>4}  {name}")
    print()
    width = max(len(f"{client} → {service}") for _, client, service in rows)
    print(f"{'protocol':<15} {'client → service':<{width}} " + " ".join(f"{number[1:]:>2}" for number in numbers))
    for (protocol, client, service), cells in sorted(rows.items()):
        marks = " ".join({"ok": " +", "-": " -", "FAIL": " !", None: "  "}[cells.get(number)] for number in numbers)
        print(f"{protocol:<15} {f'{client} → {service}':<{width}} {marks}")
    counts = [sum(row == kind for cells in rows.values() for row in cells.values()) for kind in ("ok", "-", "FAIL")]
    print(f"\n+ {counts[0]} passed, - {counts[1]} not offered by the kit, ! {counts[2]} failed")
    return counts[2]


def main():
    parser = argparse.ArgumentParser()
    for word in ("--kit", "--leave-out", "--protocol", "--behaviour"):
        parser.add_argument(word, action="append")
    parser.add_argument("-v", action="store_true")
    arguments = parser.parse_args()
    results, begin = Results(arguments.v), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        work = [pool.submit(run_pair, *job, results) for job in jobs_of(arguments)]
        errors = [one.exception() for one in work]
    for error in filter(None, errors):
        traceback.print_exception(type(error), error, error.__traceback__)
    for kit in kits():
        if kit.why_not:
            print(f"kit {kit.name} was left out: {kit.why_not}")
            continue
        for number, reason in [*kit.without.items(), *kit.client_without.items()]:
            print(f"kit {kit.name} does not have {number}: {reason}")
    failed = print_table(results) if results.cells else 1
    print(f"{time.monotonic() - begin:.1f} s")
    return 1 if failed or any(errors) else 0


if __name__ == "__main__":
    sys.exit(main())
