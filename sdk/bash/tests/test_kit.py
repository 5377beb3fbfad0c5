#!/usr/bin/env python3
"""The kit for Bash. Each test runs a script in a session of its own, and ends with it: a hang is killed with its whole session."""

import json
import os
import pathlib
import select
import signal
import subprocess
import tempfile
import unittest

KIT = pathlib.Path(__file__).resolve().parent.parent
HANG = 30 * int(os.environ.get("IPCM_TEST_PATIENCE", "1"))  # seconds; only ends a hang
UP = 'handle() { echo stray; [[ $1 != bad ]] || { ipcm_fail "no luck"; return; }; [[ $1 != odd ]] || return 7; [[ $1 != mute ]] || return 0; ipcm_reply "${1^^}"; }\n'


class KitTest(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="ipcm-bash-")
        self.addCleanup(place.cleanup)
        self.place = pathlib.Path(place.name)
        ipcm, boot = os.environ["IPCM_TEST_IPCM"], os.environ["IPCM_TEST_BOOT"]
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("IPCM_") or name == "IPCM_DRIVERS"}
        self.env.update(PATH=os.pathsep.join((os.path.dirname(ipcm), os.path.dirname(boot), str(KIT), self.env["PATH"])), XDG_RUNTIME_DIR=place.name)

    def script(self, name, text):
        path = self.place / name
        path.write_text("#!/usr/bin/env bash\nset -euo pipefail\nsource ipcm.bash\n" + text, encoding="utf-8")
        path.chmod(0o700)

    def run_words(self, *words):
        process = subprocess.Popen(words, cwd=self.place, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            out, err = process.communicate(timeout=HANG)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            self.fail(f"it hung; stdout: {out}, stderr: {err}")
        return out.decode("utf-8"), err.decode("utf-8", "replace")

    def session(self, shell):
        """Runs shell commands on a bus of their own. Returns the lines of stdout, and stderr."""
        out, err = self.run_words("ipcm", "session", "--", "bash", "-c", shell)
        return out.splitlines(), err

    def with_up(self, client):
        """Runs a client script beside the service `up`."""
        self.script("up", UP + "ipcm_serve handle\n")
        self.script("client", client)
        lines, err = self.session("ipcm start up --boot ./up >/dev/null && ./client")
        return lines, err

    def test_every_text_survives_json_in_both_directions(self):
        text = "".join(chr(code) for code in range(1, 128)) + '\\n"\\u0041\\\\ü€\u2028😀'
        self.script("s", 'ipcm_quote "$(<text)"; printf "%s" "$IPCM_JSON" >json; ipcm_unquote "$(<ascii)"; printf "%s" "$IPCM_TEXT" >back\n')
        # The prefixes move the ends of pieces through the escapes, of which the longest is a pair of halves.
        for given in (text, "", "x", text * 40, *("x" * (2030 + more) + "😀\\\"\u0001" * 900 for more in range(20))):
            (self.place / "text").write_bytes(given.encode())
            (self.place / "ascii").write_text(json.dumps(given))
            self.run_words("bash", "s")
            self.assertEqual(json.loads((self.place / "json").read_bytes()), given)
            self.assertEqual((self.place / "back").read_bytes().decode(), given)

    def test_a_long_content_with_escapes_passes_a_service_unchanged(self):
        text = 'a "b" \\\\ ü😀\n' * 1000 + "x" * (1 << 18)
        self.script("up", 'handle() { ipcm_member value "$IPCM_CONTENT"\n'
                    '[[ $IPCM_TEXT == "$(<text)" ]] || ipcm_fail other; ipcm_reply "$IPCM_TEXT"; }\nipcm_serve handle\n')
        self.script("client", """ipcm_connect
text=$(<text); ipcm_quote "$text"
ipcm_request --json up "{\\"value\\":$IPCM_JSON}"
[[ $IPCM_ANSWER == "$text" ]] && echo "the same"
""")
        (self.place / "text").write_text(text, encoding="utf-8")
        lines, err = self.session("ipcm start up --boot ./up && ./client")
        self.assertEqual(lines, ["up", "the same"], err)

    def test_members_and_elements_of_json_are_found(self):
        value = '{ "a\\"b" : [1, {"c":"]}"}, "x,y" ] , "n":-1.5e3,"t":true}'
        self.script("s", f"""v='{value}'
ipcm_member 'a"b' "$v"; echo "$IPCM_JSON"; ipcm_elements "$IPCM_JSON"; printf '<%s>' "${{IPCM_ELEMENTS[@]}}"; echo
ipcm_member n "$v"; echo "$IPCM_JSON"; ipcm_member t "$v"; echo "$IPCM_TEXT"; ipcm_member c "$v" || echo none; ipcm_elements '[]'; echo "${{#IPCM_ELEMENTS[@]}}"
""")
        out, _ = self.run_words("bash", "s")
        lines = out.splitlines()
        self.assertEqual(json.loads(lines[0]), [1, {"c": "]}"}, "x,y"])
        self.assertEqual(lines[1:], ['<1><{"c":"]}"}><"x,y">', "-1.5e3", "true", "none", "0"])

    def test_a_service_answers_and_its_errors_reach_the_requester(self):
        lines, err = self.with_up("""ipcm_connect
ipcm_request up $'tab\\t "q" \\\\'; echo "$IPCM_ANSWER"
for word in bad odd mute; do ipcm_request up "$word" || echo "$? $IPCM_KIND $IPCM_ERROR"; done
ipcm_request up again; echo "$IPCM_ANSWER $IPCM_ANSWER_JSON"
ipcm logs up | sort -u
ipcm_leave
""")
        self.assertEqual(lines, ['TAB\t "Q" \\', "1 answer no luck", "1 answer the handler failed with status 7", "1 answer the handler gave no answer",
                                 'AGAIN "AGAIN"', "stray"], err)

    def test_each_failure_of_a_request_has_its_status(self):
        self.script("hold", "handle() { ipcm_later; }\nipcm_serve handle\n")
        lines, err = self.with_up("""ipcm start hold --boot ./hold >/dev/null
ipcm_connect
ipcm_request --timeout 0.05 hold x || echo "$? $IPCM_KIND"
ipcm_request nobody x || echo "$? $IPCM_KIND"
ipcm_request --json up '{"a":' || echo "$? $IPCM_KIND"
ipcm_request up || echo "$? $IPCM_KIND"
answer=$(ipcm_request up x) || echo "$? subshell"
ipcm_ask up one; first=$IPCM_ID; ipcm_ask up two
ipcm_await; echo "$IPCM_ANSWER"; ipcm_await "$first"; echo "$IPCM_ANSWER"
""")
        self.assertEqual(lines, ["4 timeout", "3 gone", "2 usage", "2 usage", "2 subshell", "TWO", "ONE"], err)

    def test_an_answer_that_is_no_json_is_an_error_of_the_request(self):
        self.script("broken", "handle() { ipcm_reply --json '{'; }\nipcm_serve handle\n")
        lines, err = self.session("ipcm start broken --boot ./broken && ipcm request broken 1; echo $?")
        self.assertEqual(lines, ["broken", "1"])
        self.assertIn("the answer could not be sent", err)

    def test_a_request_is_answered_later_and_a_subshell_may_answer(self):
        self.script("odd", """held=
handle() {
  case $1 in
    hold) held=$IPCM_REQUEST; ipcm_later ;;
    go) ipcm_reply went; IPCM_REQUEST=$held ipcm_reply released ;;
    *) printf '%s\\n' "$1" | { read -r line; ipcm_reply "<$line>"; } ;;
  esac
}
ipcm_serve handle
""")
        self.script("client", """ipcm_connect
ipcm_ask odd hold; held=$IPCM_ID
ipcm_request odd x; echo "$IPCM_ANSWER"
ipcm_request odd go; echo "$IPCM_ANSWER"
ipcm_await "$held"; echo "$IPCM_ANSWER"
""")
        lines, err = self.session("ipcm start odd --boot ./odd && ./client")
        self.assertEqual(lines, ["odd", "<x>", "went", "released"], err)

    def test_a_client_waits_for_answers_for_messages_and_for_what_subshells_post(self):
        lines, err = self.with_up("""ipcm_connect --as me
( ipcm_post 'from "a" subshell' )
ipcm_ask up one; first=$IPCM_ID
ipcm_ask nobody two
ipcm_send me three
seen=()
for _ in 1 2 3 4; do
  ipcm_receive --timeout 20 --answers
  case $IPCM_EVENT in
    answer)
      id=$IPCM_ID
      if ipcm_await "$id"; then seen+=("$((id - first)) $IPCM_ANSWER"); else seen+=("$((id - first)) $IPCM_KIND"); fi
      ;;
    *) seen+=("$IPCM_EVENT $IPCM_TEXT") ;;
  esac
done
printf '%s\\n' "${seen[@]}" | sort
ipcm_post "$(printf '%801s' x)" || echo "$? $IPCM_KIND"
""")
        self.assertEqual(lines, ["0 ONE", "1 gone", "message three", 'post from "a" subshell', "2 usage"], err)

    def test_long_lines_of_subshells_do_not_mix_with_those_of_the_shell(self):
        lines, err = self.with_up("""ipcm_connect
printf -v text '%100000s' x
for _ in 1 2 3; do for _ in {1..50}; do ipcm_post "$BASHPID"; done & done
for _ in {1..10}; do ipcm_request up "$text"; [[ ${#IPCM_ANSWER} == 100000 ]] || echo "a short answer"; done
posts=0
until ((posts == 150)); do ipcm_receive --timeout 20; [[ $IPCM_EVENT == post ]] && ((++posts)); done
echo "$posts"
""")
        self.assertEqual(lines, ["150"], err)

    def test_messages_broadcasts_and_peers_arrive(self):
        self.script("relay", """on_message() { ipcm_send "$IPCM_FROM" "got $1 ${IPCM_BROADCAST:-directly}"; }
on_peer() { [[ $1 != guest || $2 != joined ]] || ipcm_broadcast --json '{"seen":"guest"}'; }
ipcm_serve --message on_message --peers on_peer
""")
        self.script("client", """ipcm_connect --as me
ipcm_send relay 'a "b"'; ipcm_receive; echo "$IPCM_EVENT $IPCM_FROM $IPCM_TEXT"
ipcm_broadcast all; ipcm_receive; echo "$IPCM_TEXT"
ipcm_request relay x 2>&1 || :
ipcm_peers; echo "${IPCM_PEERS[@]}"
ipcm_watch
ipcm start echo --name guest
joined='' seen_by=''
until [[ $joined == guest && -n $seen_by ]]; do
  ipcm_receive
  case $IPCM_EVENT in
    peers) [[ " ${IPCM_JOINED[*]} " != *" guest "* ]] || joined=guest ;;  # `ipcm start` itself joins and leaves, too
    message) seen_by=$IPCM_FROM$IPCM_BROADCAST; ipcm_member seen "$IPCM_CONTENT"; seen_by+=$IPCM_TEXT ;;
  esac
done
echo "$joined $seen_by"
status=0
until ((status)); do ipcm_receive --timeout 0.05 || status=$?; done
echo "status $status"
ipcm_leave
""")
        lines, err = self.session("ipcm start relay --boot ./relay && ./client")
        self.assertEqual(lines, ["relay", 'message relay got a "b" directly', "got all 1", "ipcm: service 'relay' takes no requests", "relay", "guest",
                                 "guest relay1guest", "status 4"], err)

    def test_the_start_has_arguments_and_a_failure_gives_its_reason(self):
        self.script("picky", """begin() { ipcm_member word "$IPCM_ARGS" || ipcm_fail "no word was given"; word=$IPCM_TEXT; }
handle() { ipcm_reply "$IPCM_NAME $IPCM_CLASS $word"; }
finish() { echo over; }
ipcm_serve --start begin --stop finish handle
""")
        lines, err = self.session("""ipcm start picky --boot ./picky --args '{}'; echo $?
ipcm start picky --name p --boot ./picky --args '{"word":"yes"}'; ipcm request p 1; ipcm stop p""")
        self.assertEqual(lines, ["5", "p", '"p picky yes"'])
        self.assertIn("no word was given", err)

    def test_sigterm_ends_a_service_with_status_0_also_one_that_was_started_by_hand(self):
        self.script("up", UP + "ipcm_serve --name mine handle\n")
        lines, err = self.session('./up & ipcm wait mine --for ready >/dev/null; ipcm request mine \'"x"\'; kill $!; wait $!; echo $?')
        self.assertEqual(lines, ["stray", '"X"', "0"], err)
        lines, err = self.session("""ipcm start up --boot ./up; pid=$(ipcm --json ps | sed 's/.*"pid":\\([0-9]*\\).*/\\1/')
ipcm kill up; ipcm wait up --for gone; ipcm logs up""")
        self.assertEqual(lines[0], "up", err)

    def test_a_service_ends_with_the_session_that_has_started_it(self):
        self.script("up", UP + "finish() { echo over >over; }\nipcm_serve --stop finish handle\n")
        # The session waits for the place of the service on the bus, and not for the end of the script.
        over = self.place / "over"
        os.mkfifo(over)
        told = os.open(over, os.O_RDWR)
        self.addCleanup(os.close, told)
        self.session("ipcm start up --boot ./up")
        self.assertTrue(select.select([told], [], [], HANG)[0])
        self.assertEqual(os.read(told, 100), b"over\n")


if __name__ == "__main__":
    unittest.main()
