"""The numbered behaviours of the conformance suite.

Each is a function of a Pair: `client` is a running client, `svc` a running service of the kits under test, `world` their
bus. A behaviour of the service alone gets the same and starts services of its own; it runs once for each service."""

import os
import select
import signal
import subprocess
import sys

from world import HANG, Failure, Service, expect, fails, same

PAIR, SERVICE = "pair", "service"
BEHAVIOURS = []


def behaviour(of=PAIR, protocols=None):
    """`protocols`: the behaviour is tested on these alone; None: on all."""
    def register(function):
        function.protocols = protocols
        number = len(BEHAVIOURS) + 1
        BEHAVIOURS.append((f"S{number}", of, function.__name__.replace("_", " "), function))
        return function
    return register


# ---- requests and answers


@behaviour()
def answers_a_request(pair):
    same(pair.client.ask("svc", "echo", value={"a": [1, "b", None, True]}), {"a": [1, "b", None, True]})
    same(pair.client.ask("svc", "echo", value=""), "")


@behaviour()
def an_error_of_the_handler_reaches_the_requester(pair):
    expect("no such user" in fails("RemoteError", lambda: pair.client.ask("svc", "fail", text="no such user")), "the text is lost")
    same(pair.client.ask("svc", "echo", value=1), 1)


@behaviour()
def carries_1_MiB_both_ways(pair):
    same(pair.client.do("large", to="svc", size=1 << 20), True)


# On the other protocols it would test the medium, as tests/contract does; the kits have the same `ipcm bridge` there, and S3 is enough for it.
@behaviour(protocols=("ConnectionUnix",))
def carries_16_MiB_both_ways(pair):
    same(pair.client.do("large", to="svc", size=16 << 20), True)


@behaviour()
def carries_any_Unicode_text(pair):
    value = "a\u0000b\u0001\n\t\"\\/\u007f\u0080ü€\u2028\ufffd\U0001F600 \\ud800"
    same(pair.client.ask("svc", "echo", value={value: value}), {value: value})


@behaviour()
def carries_numbers_and_nesting(pair):
    numbers = [0, -1, 2 ** 53 - 1, -(2 ** 53) + 1, 0.1, -2.5e-300, 1.7976931348623157e308, True, None]
    same(pair.client.ask("svc", "echo", value=numbers), numbers)
    deep = 1
    for _ in range(200):
        deep = [deep]
    same(pair.client.ask("svc", "echo", value=deep), deep)


@behaviour()
def answers_come_in_any_order(pair):
    held = pair.client.begin_ask("svc", "hold", key="order")
    count = 10 if pair.is_slow else 50  # the command needs a process for each
    others = [pair.client.begin_ask("svc", "echo", value=number) for number in range(count)]
    same([pair.client.answer(tag) for tag in others], list(range(count)))
    expect(not pair.client.has_answer(held), "a held request was answered")
    pair.client.ask("svc", "release", key="order", value="late")
    same(pair.client.answer(held), "late")


@behaviour()
def a_deadline_ends_a_request_and_its_late_answer_is_ignored(pair):
    fails("Timeout", lambda: pair.client.ask("svc", "hold", key="deadline", timeout=0.05))
    pair.client.ask("svc", "release", key="deadline", value="too late")
    same(pair.client.ask("svc", "echo", value="next"), "next")


@behaviour()
def a_flood_of_requests_is_answered_completely(pair):
    if pair.is_slow:
        count = 20  # the command needs a process for each
    else:
        count = 200 if pair.world.protocol == "JSONFile" else 2000  # each message writes the whole JSONFile again
    tags = [pair.client.begin_ask("svc", "echo", value=number) for number in range(count)]
    same([pair.client.answer(tag) for tag in tags], list(range(count)))


@behaviour()
def a_service_asks_another_while_it_answers(pair):
    same(pair.client.ask("svc", "ask", to="judge-svc", content={"do": "echo", "value": "through"}), "through")


# ---- the end of peers


@behaviour()
def a_request_to_nobody_fails_at_once(pair):
    expect("nobody" in fails("PeerGone", lambda: pair.client.ask("nobody", "echo")), "the error does not name the peer")


@behaviour()
def the_death_of_a_peer_ends_its_requests(pair):
    victim = pair.start("victim")
    held = pair.client.begin_ask("victim", "hold", key="for ever")
    same(pair.client.ask("victim", "echo", value=1), 1)
    victim.kill()
    victim.process.wait(HANG)  # IPC::Manager takes a process that nobody has waited for to be alive
    fails("PeerGone", lambda: pair.client.answer(held))


@behaviour()
def a_successor_under_the_same_name_is_found(pair):
    for _ in range(2):
        victim = pair.start_seen("victim")
        same(pair.client.ask("victim", "pid"), victim.process.pid)
        pair.kill_seen(victim)


# ---- messages and peers


@behaviour()
def general_messages_arrive_in_order(pair):
    name = pair.own_service()
    for number in range(20):
        pair.client.do("send", to=name, content={"number": number})
    got = pair.client.ask(name, "messages", count=20)
    same([one["content"] for one in got], [{"number": number} for number in range(20)])
    expect(pair.client.name in (True, got[0]["from"]), "the sender is another one")
    expect(not got[0]["broadcast"], "it is no broadcast")


@behaviour()
def a_service_sends_to_a_client(pair):
    listed = pair.listed()
    pair.client.ask("svc", "send", to=listed.name, content=["hello"])
    got = listed.messages.get(timeout=HANG)
    same((got["from"], got["content"], bool(got["broadcast"])), ("svc", ["hello"], False))


@behaviour()
def a_broadcast_reaches_all_others(pair):
    listed, name = pair.listed(), pair.own_service()
    listed.do("broadcast", content="to all")
    same([one for one in pair.judge.ask(name, "messages", count=1)], [{"from": listed.name, "content": "to all", "broadcast": True}])
    pair.judge.ask(name, "broadcast", content="back")
    got = listed.messages.get(timeout=HANG)
    same((got["from"], got["content"], bool(got["broadcast"])), (name, "back", True))
    expect(listed.messages.empty(), "the sender of a broadcast got it, too")


@behaviour()
def lists_the_peers(pair):
    names = pair.client.do("peers")
    expect({"svc", "judge-svc"} <= set(names) and names == sorted(names), f"found {names}")
    expect(pair.client.name not in names, "it lists itself")


@behaviour()
def a_client_sees_peers_join_leave_and_die(pair):
    pair.client.do("watch")
    guest = pair.start("guest")
    pair.client.expect_event("join", "guest")
    guest.kill(signal.SIGTERM)
    pair.client.expect_event("leave", "guest")
    guest = pair.start("guest")
    pair.client.expect_event("join", "guest")
    guest.kill()
    pair.client.expect_event("leave", "guest")


# ---- services


@behaviour(SERVICE)
def a_service_sees_peers_join_and_leave(pair):
    guest = pair.world.client(pair.judge_kit.client, "guest")
    same(pair.judge.ask("svc", "saw", peer="guest", kind="join"), True)
    guest.leave()
    same(pair.judge.ask("svc", "saw", peer="guest", kind="leave"), True)


@behaviour(SERVICE)
def terminate_ends_it_with_status_0_and_nothing_left(pair):
    service = pair.start("victim")
    pair.judge.do("send", to="victim", content={"terminate": 1})
    same(service.end(), 0)
    pair.world.await_no_files("victim")


@behaviour(SERVICE)
def SIGTERM_ends_it_with_status_0_and_nothing_left(pair):
    service = pair.start("victim")
    service.kill(signal.SIGTERM)
    same(service.end(), 0)
    pair.world.await_no_files("victim")


@behaviour(SERVICE)
def it_ends_when_its_launcher_is_killed(pair):
    launcher = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    service = pair.start("victim", leash=launcher.pid)
    launcher.kill()
    same(service.end(), 0)
    launcher.wait()
    launcher.stdin.close()
    pair.world.await_no_files("victim")


@behaviour(SERVICE)
def a_failure_of_the_start_gives_its_reason(pair):
    service = pair.start("victim", args={"fail": "no database here"}, wait=False)
    service.await_ready()
    expect(not service.is_ready() and "no database here" in service.told and '"ready":' in service.told.replace(" ", ""),
           f"it told {service.told!r}")
    expect('"phase":"start"' in service.told.replace(" ", ""), "it had joined the bus, and does not say so")
    same(service.end(), 70)
    pair.world.await_no_files("victim", has_died=True)


@behaviour(SERVICE)
def bad_parameters_are_refused_with_their_key(pair):
    info = pair.world.info
    for params, word in ((f'{{"ipcm":1,"name":"x","class":"conformance","ipcm_info":{info},"intervall":1}}', "intervall"),
                         (f'{{"ipcm":1,"class":"conformance","ipcm_info":{info}}}', "name"), ("[1", "parameters")):
        service = pair.start("victim", params=params, wait=False)
        service.await_ready()
        expect(not service.is_ready() and word in service.told, f"it told {service.told!r}")
        same(service.end(), 64)


@behaviour(SERVICE)
def a_stray_print_goes_to_the_log_alone(pair):
    service = pair.start("victim")
    same(pair.judge.ask("victim", "print", text="a stray line"), True)
    same(pair.judge.ask("victim", "echo", value=1), 1)
    same(service.text().count("a stray line"), 2)


@behaviour(SERVICE)
def a_second_service_of_the_same_name_is_refused(pair):
    first = pair.start("victim")
    second = pair.start("victim", wait=False)
    second.await_ready()
    expect(not second.is_ready() and "victim" in second.told, f"it told {second.told!r}")
    same(second.end(), 69)
    same(pair.judge.ask("victim", "pid"), first.process.pid)


@behaviour(SERVICE)
def requests_before_ready_are_held(pair):
    gate = os.path.join(pair.place, "gate")
    os.mkfifo(gate)
    pair.judge.do("watch")
    service = pair.start("gated", args={"gate": gate}, wait=False)
    pair.judge.expect_event("join", "gated")
    tag = pair.judge.begin_ask("gated", "echo", value="early")
    expect(not select.select([service.ready], [], [], 0)[0], "it is ready too early")
    with open(gate, "w") as file:
        file.write("go")
    service.await_ready()
    expect(service.is_ready(), service.told)
    same(pair.judge.answer(tag), "early")


@behaviour(SERVICE)
def large_arguments_come_through_a_descriptor(pair):
    pair.start("victim", args={"big": "x" * 300_000})
    same(pair.judge.ask("victim", "args"), 300_000)


@behaviour(SERVICE)
def SIGKILL_leaves_nothing_once_others_have_looked(pair):
    service = pair.start_seen("victim")
    same(pair.judge.ask("victim", "echo", value=1), 1)
    pair.kill_seen(service)
    expect("victim" not in pair.judge.do("peers"), "it is still listed")
    if pair.world.protocol in ("MessageFiles", "JSONFile", "SQLite"):
        return  # the bus keeps the last message for a successor: the reader died before it acknowledged
    pair.world.await_no_files("victim", has_died=True)


@behaviour(SERVICE)
def the_name_of_a_dead_service_is_free_at_once(pair):
    pair.kill_seen(pair.start_seen("victim"))
    again = pair.start("victim")
    same(pair.judge.ask("victim", "pid"), again.process.pid)
    try:
        pair.judge.ask("victim", "die")
    except Failure as failure:
        same(failure.kind, "PeerGone")
