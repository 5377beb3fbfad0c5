# ipcm for Bash 5: a script is a service, or a client, on a bus of ipcm. See README.md for the functions.
#
# The coprocess `ipcm bridge` holds the place on the bus; this file reads and writes its lines of JSON (docs/bridge.md). The bridge
# writes ASCII alone, `type` as the first key and `content` as the last one, so that a line can be cut there.
#
# Only the shell that has connected reads lines: a subshell would take lines that the shell waits for. Lines that come while it waits for a
# reply are kept in _ipcm_kept. An error returns the status that the command `ipcm` has for it (docs/bridge.md), prints a sentence on
# stderr, and sets IPCM_ERROR and IPCM_KIND.

# Without words of its own, `source` shows this file the words that the script was started with: the boot arguments of a service.
_ipcm_words=("$@")
_ipcm_owner='' _ipcm_in='' _ipcm_out='' _ipcm_pid='' _ipcm_turn='' _ipcm_turn_of='' _ipcm_last=0 _ipcm_partial='' _ipcm_kept=() _ipcm_end=''
declare -A _ipcm_replies=()
_ipcm_controls=()
for _ipcm_code in {1..31}; do
  printf -v _ipcm_hex '%02x' "$_ipcm_code"
  printf -v "_ipcm_controls[$_ipcm_code]" '%b' "\\x$_ipcm_hex"
done
unset _ipcm_code _ipcm_hex

# ---- JSON

# Bash replaces in a time that grows with the square of the length, and cuts in one that grows with the length of the whole: so long texts
# are worked on in pieces, in two steps, and are left alone where nothing has to change.

# ipcm_quote TEXT: sets IPCM_JSON to the JSON string of a text.
ipcm_quote() {
  local LC_ALL=C IFS='' text=$1 quote='"' slash='\' code hex
  if [[ $text != *[$'\x01'-$'\x1f'\"\\]* ]]; then
    IPCM_JSON=$quote$text$quote
    return
  fi
  if ((${#text} > 4096)); then
    local at size=2048 out=()
    ((${#text} <= 65536)) || size=65536
    for ((at = 0; at < ${#text}; at += size)); do
      ipcm_quote "${text:at:size}"
      out+=("${IPCM_JSON:1:-1}")
    done
    IPCM_JSON=$quote${out[*]}$quote
    return
  fi
  text=${text//"$slash"/"$slash$slash"}
  text=${text//"$quote"/"$slash$quote"}
  if [[ $text == *[$'\x01'-$'\x1f']* ]]; then
    for code in {1..31}; do
      [[ $text == *"${_ipcm_controls[code]}"* ]] || continue
      printf -v hex '%su%04x' "$slash" "$code"
      text=${text//"${_ipcm_controls[code]}"/"$hex"}
    done
  fi
  IPCM_JSON=$quote$text$quote
}

# Sets _ipcm_character to the UTF-8 of a code point. A half of a pair alone, and NUL, which no variable can hold, become U+FFFD.
_ipcm_utf8() {
  local code=$1 bytes hex
  ((code == 0 || (code >= 0xd800 && code < 0xe000))) && code=$((0xfffd))
  if ((code < 0x80)); then
    bytes=("$code")
  elif ((code < 0x800)); then
    bytes=($((0xc0 | code >> 6)) $((0x80 | code & 63)))
  elif ((code < 0x10000)); then
    bytes=($((0xe0 | code >> 12)) $((0x80 | code >> 6 & 63)) $((0x80 | code & 63)))
  else
    bytes=($((0xf0 | code >> 18)) $((0x80 | code >> 12 & 63)) $((0x80 | code >> 6 & 63)) $((0x80 | code & 63)))
  fi
  printf -v hex '\\x%02x' "${bytes[@]}"
  printf -v _ipcm_character '%b' "$hex"
}

# ipcm_unquote JSON: sets IPCM_TEXT to the text of a JSON string; any other value stays JSON. Always succeeds.
ipcm_unquote() {
  local LC_ALL=C
  IPCM_TEXT=$1
  [[ $1 == '"'* ]] || return 0
  IPCM_TEXT=${1:1:-1}
  _ipcm_unescape
}

# Resolves the escapes of IPCM_TEXT. No piece of a long text ends inside an escape, or between the halves of a character.
_ipcm_unescape() {
  local text=$IPCM_TEXT slash='\' IFS=''
  [[ $text == *"$slash"* ]] || return 0
  if ((${#text} > 4096)); then
    local at piece masked last out=() half='\\u[dD][89abAB]..$'
    for ((at = 0; at < ${#text}; at += ${#piece})); do
      piece=${text:at:2048}
      masked=${piece//"$slash$slash"/..}
      if ((${#piece} == 2048)) && [[ ${masked:2036} == *"$slash"* ]]; then
        last=${masked%"$slash"*}
        [[ ! $last =~ $half ]] || last=${last:0:-6}
        piece=${piece:0:${#last}}
      fi
      IPCM_TEXT=$piece
      _ipcm_unescape
      out+=("$IPCM_TEXT")
    done
    IPCM_TEXT=${out[*]}
    return 0
  fi
  # `\-` is no escape of JSON: it stands for a backslash until the other escapes are gone.
  text=${text//"$slash$slash"/"$slash-"}
  text=${text//"$slash/"//}
  text=${text//"$slash\""/\"}
  text=${text//"${slash}n"/$'\n'}
  text=${text//"${slash}t"/$'\t'}
  text=${text//"${slash}r"/$'\r'}
  text=${text//"${slash}b"/$'\b'}
  text=${text//"${slash}f"/$'\f'}
  local pair='\\u[dD]([89abAB]..)\\u[dD]([c-fC-F]..)' one='\\u(....)' escape
  while [[ $text == *"${slash}u"* && $text =~ $pair ]]; do
    escape=${BASH_REMATCH[0]}
    _ipcm_utf8 $((0x10000 + ((0xd${BASH_REMATCH[1]} - 0xd800) << 10) + 0xd${BASH_REMATCH[2]} - 0xdc00))
    text=${text//"$escape"/"$_ipcm_character"}
  done
  while [[ $text == *"${slash}u"* && $text =~ $one ]]; do  # once for each different character
    escape=${BASH_REMATCH[0]}
    _ipcm_utf8 $((16#${BASH_REMATCH[1]}))
    [[ $_ipcm_character != "$slash" ]] || _ipcm_character="$slash-"
    text=${text//"$escape"/"$_ipcm_character"}
  done
  IPCM_TEXT=${text//"$slash-"/"$slash"}
}

# Moves the string at the begin of _ipcm_rest to IPCM_JSON.
_ipcm_take_string() {
  local at=1 piece plain slash='\'
  while piece=${_ipcm_rest:at:65536} && [[ -n $piece ]]; do
    if [[ $piece != *[\"\\]* ]]; then
      ((at += ${#piece}))
      continue
    fi
    piece=${piece:0:4096}
    plain=${piece//"$slash$slash"/..}
    ((${#piece} < 2)) || [[ $plain != *"$slash" ]] || plain=${plain:0:-1}  # this escape goes on in the next piece
    plain=${plain//"$slash\""/..}
    piece=$plain
    [[ $plain != *\"* ]] || piece=${plain%%\"*}
    ((at += ${#piece}))
    ((${#piece} == ${#plain})) || break
  done
  IPCM_JSON=${_ipcm_rest:0:at}'"' _ipcm_rest=${_ipcm_rest:at+1}
}

# Moves the value at the begin of _ipcm_rest, which is valid JSON, to IPCM_JSON, and removes blanks around it.
_ipcm_take_value() {
  local depth=0 out='' piece
  _ipcm_skip_blanks
  while :; do
    case $_ipcm_rest in
      '"'*)
        _ipcm_take_string
        out+=$IPCM_JSON
        ;;
      [[{]*) ((++depth)); out+=${_ipcm_rest:0:1} _ipcm_rest=${_ipcm_rest:1} ;;
      []}]*)
        ((depth > 0)) || break
        ((depth--)) || :
        out+=${_ipcm_rest:0:1} _ipcm_rest=${_ipcm_rest:1}
        ;;
      '') break ;;
      *)
        if ((depth == 0)); then piece=${_ipcm_rest%%[],\}$' \t\r\n']*}; else piece=${_ipcm_rest%%[][\{\}\"]*}; fi
        out+=$piece _ipcm_rest=${_ipcm_rest:${#piece}}
        ;;
    esac
    ((depth > 0)) || break
  done
  IPCM_JSON=$out
  _ipcm_skip_blanks
}
_ipcm_skip_blanks() { while [[ $_ipcm_rest == [$' \t\r\n']* ]]; do _ipcm_rest=${_ipcm_rest:1}; done; }

# ipcm_member KEY JSON: sets IPCM_JSON to the value of a key of an object, and IPCM_TEXT to its text. Returns 1 if there is none.
ipcm_member() {
  local LC_ALL=C _ipcm_rest=$2 key=$1
  _ipcm_skip_blanks
  [[ $_ipcm_rest == '{'* ]] || return 1
  _ipcm_rest=${_ipcm_rest:1}
  _ipcm_skip_blanks
  while [[ $_ipcm_rest == '"'* ]]; do
    _ipcm_take_string
    ipcm_unquote "$IPCM_JSON"
    _ipcm_skip_blanks
    _ipcm_rest=${_ipcm_rest:1}  # the colon
    _ipcm_take_value
    if [[ $IPCM_TEXT == "$key" ]]; then
      ipcm_unquote "$IPCM_JSON"
      return 0
    fi
    _ipcm_rest=${_ipcm_rest:1}  # the comma
    _ipcm_skip_blanks
  done
  return 1
}

# ipcm_elements JSON: sets the array IPCM_ELEMENTS to the elements of an array, each as JSON. Returns 1 if it is none.
ipcm_elements() {
  local LC_ALL=C _ipcm_rest=$1
  IPCM_ELEMENTS=()
  _ipcm_skip_blanks
  [[ $_ipcm_rest == '['* ]] || return 1
  _ipcm_rest=${_ipcm_rest:1}
  _ipcm_skip_blanks
  while [[ -n $_ipcm_rest && $_ipcm_rest != ']'* ]]; do
    _ipcm_take_value
    IPCM_ELEMENTS+=("$IPCM_JSON")
    [[ $_ipcm_rest == ','* ]] || break
    _ipcm_rest=${_ipcm_rest:1}
  done
}

# ---- errors

# Sets the error, prints it, and returns its status.
_ipcm_refuse() {  # STATUS KIND WORDS
  IPCM_KIND=$2 IPCM_ERROR=$3
  printf 'ipcm: %s\n' "$3" >&2
  return "$1"
}

# The same for an `error` line of the bridge.
_ipcm_refuse_line() {
  local LC_ALL=C text=${1#*'"error":"'} kind=system status=5
  text=${text%'","kind":'*}
  [[ $1 =~ ,\"kind\":\"([a-z]+)\" ]] && kind=${BASH_REMATCH[1]}
  [[ $1 =~ ,\"status\":([0-9]+)\}$ ]] && status=${BASH_REMATCH[1]}
  ipcm_unquote "\"$text\""
  _ipcm_refuse "$status" "$kind" "$IPCM_TEXT"
}

# ---- the bridge

_ipcm_digits() { [[ $1 =~ ^[0-9]+$ ]]; }

# Starts the bridge with these words. With IPCM_INFO set by the caller, on that bus.
_ipcm_open() {
  [[ -z $_ipcm_pid ]] || { _ipcm_refuse 2 usage 'this shell is on a bus already; call ipcm_leave first' || return; }
  local command=${IPCM_COMMAND:-ipcm} stdin stdout read write
  command -v "$command" >/dev/null || { _ipcm_refuse 5 system "the command '$command' was not found; set PATH or IPCM_COMMAND" || return; }
  # A write to a bridge that has ended is an error here, and not the end of the script. Children do not inherit a trap.
  [[ -n $(trap -p PIPE) ]] || trap : PIPE
  exec {stdin}<&0 {stdout}>&1
  # Bash closes the pipes of a coprocess as soon as it notices its end; so it begins only when this shell has copies of them. The bridge
  # keeps the stdin and stdout of the script: the boot contract concerns them.
  coproc _IPCM {
    read -r _
    exec {read}<&0 {write}>&1 <&"$stdin" >&"$stdout" {stdin}<&- {stdout}>&-
    exec "$command" bridge --fds "$read,$write" --lengths "$@"
  }
  exec {_ipcm_in}<&"${_IPCM[0]}" {_ipcm_out}>&"${_IPCM[1]}" {stdin}<&- {stdout}>&-
  read=${_IPCM[0]} write=${_IPCM[1]}
  exec {read}<&- {write}>&-
  exec {_ipcm_turn}<> <(:)
  printf . >&"$_ipcm_turn"
  _ipcm_pid=$_IPCM_PID _ipcm_owner=$BASHPID _ipcm_end='' _ipcm_partial='' _ipcm_kept=() _ipcm_replies=()
  _ipcm_write ''
}

# Writes a line. Fails if the bridge has ended; the next read tells why. A long line takes several writes: a token in a pipe keeps those of
# subshells apart. One that was killed has kept the token, and a trap may run while this shell has it: neither may stop the service.
_ipcm_write() {
  local token='' status=0
  if [[ $_ipcm_turn_of != "$BASHPID" ]]; then
    local _ipcm_turn_of=$BASHPID
    IFS= read -r -N 1 -t 5 -u "$_ipcm_turn" token || token=.
  fi
  printf '%s\n' "$1" >&"$_ipcm_out" 2>/dev/null || status=1
  [[ -z $token ]] || printf '%s' "$token" >&"$_ipcm_turn"
  return "$status"
}

# Reads a line into _ipcm_line. Returns 1 at the end, and 4 after the limit (seconds; empty: none). Bash reads a line from a pipe byte by
# byte, and a number of bytes in blocks: so the bridge tells how long a long line is.
_ipcm_read() {
  local LC_ALL=C status=0
  IFS= read -r ${1:+-t "$1"} -u "$_ipcm_in" _ipcm_line || status=$?
  _ipcm_line=$_ipcm_partial$_ipcm_line _ipcm_partial=''
  if ((status == 0)); then
    [[ $_ipcm_line =~ ^\{\"type\":\"length\",\"bytes\":([0-9]+)\}$ ]] || return 0
    IFS= read -r -N "$((BASH_REMATCH[1] + 1))" -u "$_ipcm_in" _ipcm_line || return 1
    _ipcm_line=${_ipcm_line:0:-1}
    return 0
  fi
  ((status > 128)) || return 1
  _ipcm_partial=$_ipcm_line
  return 4
}

# Closes the pipes.
_ipcm_close() {
  [[ -n $_ipcm_pid ]] || return 0
  local pid=$_ipcm_pid
  _ipcm_pid='' _ipcm_owner=''
  exec {_ipcm_in}<&- {_ipcm_out}>&- {_ipcm_turn}>&-
  # The bridge of a service that was launched waits for the end of this process.
  [[ -n ${_ipcm_launched-} ]] || wait "$pid" 2>/dev/null || :
}

_ipcm_need_bus() {
  [[ -n $_ipcm_owner ]] || { _ipcm_refuse 2 usage 'this shell is on no bus; call ipcm_connect first' || return; }
  [[ $_ipcm_owner == "$BASHPID" ]] ||
    _ipcm_refuse 2 usage "${FUNCNAME[2]:-this call} must not run in a subshell such as \$(…) or a pipeline; it sets variables"
}

# Reads until one line is the reply to the operation `id`, and sets _ipcm_line to it. Keeps the others.
_ipcm_reply_of() {
  local LC_ALL=C id=$1 key
  while [[ ! -v "_ipcm_replies[$id]" ]]; do
    if ! _ipcm_read ''; then
      _ipcm_refuse 3 bus "the bridge to the bus has ended${_ipcm_end:+: $_ipcm_end}" || return
    fi
    _ipcm_sort
  done
  _ipcm_line=${_ipcm_replies[$id]}
  unset "_ipcm_replies[$id]"
}

# Puts a line that was read where it belongs.
_ipcm_sort() {
  local head=${_ipcm_line:0:200}
  if [[ $head =~ ^\{\"type\":\"(response|done|error)\",\"id\":\"?(a?[0-9]+)\"?[,}] ]]; then
    if [[ ${BASH_REMATCH[2]} == a* ]]; then
      [[ ${BASH_REMATCH[1]} == done ]] || _ipcm_answer_failed "${BASH_REMATCH[2]#a}"
    else
      _ipcm_replies[${BASH_REMATCH[2]}]=$_ipcm_line
    fi
  elif [[ $head == '{"type":"'@(done|error)'","id":"p'* ]]; then
    _ipcm_kept+=("$_ipcm_line")  # of ipcm_post
  elif [[ $head == '{"type":"end"'* ]]; then
    ipcm_member why "$_ipcm_line" && _ipcm_end=$IPCM_TEXT
    _ipcm_kept+=("$_ipcm_line")
  elif [[ $head == '{"type":"'@(request|message|peers)'"'* ]]; then
    _ipcm_kept+=("$_ipcm_line")
  fi  # else a line of a later version, or an error of a line without id
}

# The bridge could not send an answer: the requester gets the reason.
_ipcm_answer_failed() {
  [[ $_ipcm_line != *'"kind":"gone"'* ]] || return 0  # the requester has left
  local IPCM_REQUEST=$1
  _ipcm_refuse_line "$_ipcm_line" || :
  _ipcm_refuse_request "the answer could not be sent: $IPCM_ERROR"
}

# Answers the request with an error, without a reply of the bridge.
_ipcm_refuse_request() {
  ipcm_quote "$1"
  _ipcm_write "{\"op\":\"error\",\"request\":$IPCM_REQUEST,\"error\":$IPCM_JSON}" || :
}

# Performs an operation: its members without `id`. Sets _ipcm_line to the reply.
_ipcm_perform() {
  local id=$((++_ipcm_last))
  _ipcm_write "{\"id\":$id,$1}" || :
  _ipcm_reply_of "$id" || return
  [[ $_ipcm_line != '{"type":"error"'* ]] || _ipcm_refuse_line "$_ipcm_line"
}

# Reads the options --json and --timeout S, and then `count` words, into the caller's `timeout`, `words` and IPCM_JSON: the last word, as JSON.
_ipcm_content() {
  local count=$1 as_text=1
  shift
  while [[ ${1-} == --?* ]]; do
    case $1 in
      --json) as_text='' ;;
      --timeout)
        [[ ${2-} =~ ^[0-9]*\.?[0-9]+$ ]] || { _ipcm_refuse 2 usage "--timeout needs a number of seconds, found '${2-}'" || return; }
        timeout=$2
        [[ $timeout != .* ]] || timeout=0$timeout
        shift
        ;;
      --) shift; break ;;
      *) break ;;
    esac
    shift
  done
  (($# == count)) || { _ipcm_refuse 2 usage "${FUNCNAME[1]} needs $count words after its options, found $#" || return; }
  words=("$@")
  IPCM_JSON=${words[-1]}
  if [[ -n $as_text ]]; then
    ipcm_quote "$IPCM_JSON"
  elif [[ $IPCM_JSON == *[$'\r\n']* ]]; then
    IPCM_JSON=${IPCM_JSON//[$'\r\n']/ }
  fi
}

# Cuts the content of _ipcm_line into IPCM_CONTENT (JSON) and IPCM_TEXT, and its sender into IPCM_FROM.
_ipcm_cut() {
  local LC_ALL=C begin=${_ipcm_line:0:8192} head from='"from":"(([^"\\]|\\.)*)"'
  head=${begin%%,\"content\":*}
  ((${#head} < ${#begin})) || head=${begin%%,\"bytes\":*}
  IPCM_CONTENT=${_ipcm_line:${#head}+1}
  IPCM_CONTENT=${IPCM_CONTENT#*:}
  IPCM_CONTENT=${IPCM_CONTENT:0:-1}
  IPCM_FROM='' IPCM_BROADCAST=''
  [[ $head != *'"broadcast":true'* ]] || IPCM_BROADCAST=1
  if [[ $head =~ $from ]]; then
    ipcm_unquote "\"${BASH_REMATCH[1]}\""
    IPCM_FROM=$IPCM_TEXT
  fi
  ipcm_unquote "$IPCM_CONTENT"
}

# Sets the arrays IPCM_JOINED and IPCM_LEFT from a `peers` line.
_ipcm_cut_peers() {
  local LC_ALL=C _ipcm_rest=${_ipcm_line#*'"delta":{'}
  IPCM_JOINED=() IPCM_LEFT=()
  while [[ $_ipcm_rest == '"'* ]]; do
    _ipcm_take_string
    ipcm_unquote "$IPCM_JSON"
    if [[ $_ipcm_rest == :-* ]]; then IPCM_LEFT+=("$IPCM_TEXT"); else IPCM_JOINED+=("$IPCM_TEXT"); fi
    _ipcm_rest=${_ipcm_rest#:}
    _ipcm_take_value
    _ipcm_rest=${_ipcm_rest#,}
  done
}

# Reads the first line of the bridge.
_ipcm_join() {
  if ! _ipcm_read ''; then
    _ipcm_close
    _ipcm_refuse 3 bus 'the bridge has ended before it had joined the bus' || return
  fi
  if [[ $_ipcm_line != '{"type":"joined"'* ]]; then
    _ipcm_close
    _ipcm_refuse_line "$_ipcm_line" || return
  fi
  ipcm_member name "$_ipcm_line" && IPCM_NAME=$IPCM_TEXT
  ipcm_member bus "$_ipcm_line" && IPCM_BUS=$IPCM_TEXT
}

# ---- members of a bus

# ipcm_connect [--as NAME] [--bus INFO] [--reconnect]: joins the bus of --bus or $IPCM_INFO. Sets IPCM_NAME and IPCM_BUS.
ipcm_connect() {
  local words=() info=${IPCM_INFO-}
  while (($#)); do
    case $1 in
      --as) words+=(--as "${2-}"); shift ;;
      --bus) info=${2-}; shift ;;
      --reconnect) words+=(--reconnect) ;;
      *) _ipcm_refuse 2 usage "ipcm_connect does not know '$1'; it knows --as, --bus and --reconnect" || return ;;
    esac
    shift || { _ipcm_refuse 2 usage 'an option of ipcm_connect lacks its value' || return; }
  done
  IPCM_INFO=$info _ipcm_open "${words[@]}" || return
  _ipcm_join
}

# ipcm_leave: leaves the bus.
ipcm_leave() {
  [[ -n $_ipcm_pid ]] || return 0
  _ipcm_need_bus || return
  _ipcm_write '{"op":"leave"}' || :
  while _ipcm_read ''; do :; done
  _ipcm_close
}

# ipcm_ask [--json] [--timeout S] TO CONTENT: sends a request, and sets IPCM_ID. The content is text, or with --json JSON.
ipcm_ask() {
  local timeout='' words to
  _ipcm_need_bus || return
  _ipcm_content 2 "$@" || return
  local content=$IPCM_JSON
  ipcm_quote "${words[0]}"
  IPCM_ID=$((++_ipcm_last))
  _ipcm_write "{\"id\":$IPCM_ID,\"op\":\"request\",\"to\":$IPCM_JSON,${timeout:+\"timeout\":$timeout,}\"content\":$content}" || :
}

# ipcm_await [ID]: waits for the answer to a request (default: $IPCM_ID). Sets IPCM_ANSWER (text, if it is a string) and IPCM_ANSWER_JSON.
ipcm_await() {
  _ipcm_need_bus || return
  local from=${IPCM_FROM-} content=${IPCM_CONTENT-} broadcast=${IPCM_BROADCAST-}
  IPCM_ANSWER='' IPCM_ANSWER_JSON=''
  _ipcm_reply_of "${1:-$IPCM_ID}" || return
  [[ $_ipcm_line != '{"type":"error"'* ]] || { _ipcm_refuse_line "$_ipcm_line" || return; }
  _ipcm_cut
  IPCM_ANSWER=$IPCM_TEXT IPCM_ANSWER_JSON=$IPCM_CONTENT
  IPCM_FROM=$from IPCM_CONTENT=$content IPCM_BROADCAST=$broadcast  # of the request that a handler is answering
}

# ipcm_request [--json] [--timeout S] TO CONTENT: ipcm_ask and ipcm_await.
ipcm_request() {
  ipcm_ask "$@" || return
  ipcm_await
}

# ipcm_send [--json] TO CONTENT: sends a message.
ipcm_send() {
  local timeout='' words
  _ipcm_need_bus || return
  _ipcm_content 2 "$@" || return
  local content=$IPCM_JSON
  ipcm_quote "${words[0]}"
  _ipcm_perform "\"op\":\"send\",\"to\":$IPCM_JSON,\"content\":$content"
}

# ipcm_broadcast [--json] CONTENT: sends a message to all others.
ipcm_broadcast() {
  local timeout='' words
  _ipcm_need_bus || return
  _ipcm_content 1 "$@" || return
  _ipcm_perform "\"op\":\"broadcast\",\"content\":$IPCM_JSON"
}

# ipcm_peers: sets the array IPCM_PEERS to the names of the others.
ipcm_peers() {
  _ipcm_need_bus || return
  _ipcm_perform '"op":"peers"' || return
  IPCM_PEERS=()
  local name
  ipcm_member peers "$_ipcm_line" && ipcm_elements "$IPCM_JSON"
  for name in "${IPCM_ELEMENTS[@]}"; do
    ipcm_unquote "$name"
    IPCM_PEERS+=("$IPCM_TEXT")
  done
}

# ipcm_watch: from now on, ipcm_receive tells of peers that join or leave.
ipcm_watch() { _ipcm_need_bus && _ipcm_perform '"op":"watch"'; }

# ipcm_suspend [SECONDS]: leaves a durable bus, which keeps messages for this name. ipcm_reconnect: joins again.
ipcm_suspend() { _ipcm_need_bus && _ipcm_perform "\"op\":\"suspend\"${1:+,\"expires\":$1}"; }
ipcm_reconnect() { _ipcm_need_bus && _ipcm_perform '"op":"reconnect"'; }

# ipcm_post TEXT: a subshell gives this text, of at most 800 bytes as JSON, to the shell that is on the bus: an event of ipcm_receive.
ipcm_post() {
  [[ -n $_ipcm_pid ]] || { _ipcm_refuse 2 usage 'this shell is on no bus; call ipcm_connect first' || return; }
  ipcm_quote "${1-}"
  # The bridge repeats an id, of at most 1024 bytes, in the reply, and only that.
  ((${#IPCM_JSON} <= 802)) || { _ipcm_refuse 2 usage "ipcm_post takes a text of at most 800 bytes as JSON, found ${#IPCM_JSON}" || return; }
  _ipcm_write "{\"id\":\"p${IPCM_JSON:1},\"op\":\"peers\"}"
}

# ipcm_receive [--timeout S] [--answers]: waits for the next event. Sets IPCM_EVENT: `message`, with IPCM_FROM, IPCM_TEXT, IPCM_CONTENT (JSON)
# and IPCM_BROADCAST (empty: it is none); `peers`, with the arrays IPCM_JOINED and IPCM_LEFT; `post`, with IPCM_TEXT; with --answers also
# `answer`: ipcm_await "$IPCM_ID" takes the answer to this request without waiting. Returns 3 at the end of the bus, 4 after the limit.
ipcm_receive() {
  local limit='' status answers='' id
  _ipcm_need_bus || return
  while (($#)); do
    case $1 in
      --answers) answers=1 ;;
      *)
        [[ $1 == --timeout && ${2-} =~ ^[0-9]*\.?[0-9]+$ ]] ||
          { _ipcm_refuse 2 usage "ipcm_receive knows only --timeout SECONDS and --answers, found '$*'" || return; }
        limit=$2
        shift
        ;;
    esac
    shift
  done
  while ((${#_ipcm_kept[@]} == 0)); do
    if [[ -n $answers ]]; then
      for id in "${!_ipcm_replies[@]}"; do
        IPCM_EVENT=answer IPCM_ID=$id
        return 0
      done
    fi
    status=0
    _ipcm_read "$limit" || status=$?
    case $status in
      0) _ipcm_sort ;;
      4) IPCM_EVENT='' IPCM_KIND=timeout IPCM_ERROR="no message has come within $limit s"; return 4 ;;
      *) _ipcm_refuse 3 bus "the bridge to the bus has ended${_ipcm_end:+: $_ipcm_end}" || return ;;
    esac
  done
  _ipcm_line=${_ipcm_kept[0]} _ipcm_kept=("${_ipcm_kept[@]:1}")
  case $_ipcm_line in
    '{"type":"message"'*)
      IPCM_EVENT=message
      _ipcm_cut
      ;;
    '{"type":"peers"'*)
      IPCM_EVENT=peers
      _ipcm_cut_peers
      ;;
    '{"type":"done"'* | '{"type":"error"'*)
      IPCM_EVENT=post
      ipcm_member id "$_ipcm_line"
      IPCM_TEXT=${IPCM_TEXT:1}
      ;;
    '{"type":"request"'*)
      IPCM_EVENT=request
      [[ $_ipcm_line =~ ^\{\"type\":\"request\",\"request\":([0-9]+) ]]
      IPCM_REQUEST=${BASH_REMATCH[1]}
      _ipcm_cut
      ;;
    *)
      IPCM_EVENT=end
      IPCM_KIND=bus IPCM_ERROR="the bus was left: $_ipcm_end"
      return 3
      ;;
  esac
}

# ---- services

# ipcm_reply [--json] CONTENT: answers the request $IPCM_REQUEST.
ipcm_reply() {
  local timeout='' words
  _ipcm_content 1 "$@" || return
  _ipcm_write "{\"id\":\"a$IPCM_REQUEST\",\"op\":\"answer\",\"request\":$IPCM_REQUEST,\"content\":$IPCM_JSON}" || return
  _ipcm_answered=1
}

# ipcm_fail REASON: answers the request with an error; in a start function, the start fails for this reason. Returns 1.
ipcm_fail() {
  ipcm_quote "${1:-the service gave no reason}"
  if [[ -n ${IPCM_REQUEST-} ]]; then
    _ipcm_write "{\"id\":\"a$IPCM_REQUEST\",\"op\":\"error\",\"request\":$IPCM_REQUEST,\"error\":$IPCM_JSON}" || :
    _ipcm_answered=1
  else
    _ipcm_write "{\"op\":\"fail\",\"error\":$IPCM_JSON}" || :
    _ipcm_failed=1
  fi
  return 1
}

# ipcm_later: the handler answers this request later: IPCM_REQUEST=NUMBER ipcm_reply …
ipcm_later() { _ipcm_answered=1; }

# ipcm_end [STATUS]: the service leaves after this handler, and ipcm_serve returns this status.
ipcm_end() { [[ -z $_ipcm_pid ]] || _ipcm_write "{\"op\":\"leave\",\"status\":${1:-0}}" || :; }

# Whether a launcher has started this script (docs/boot.md).
_ipcm_is_boot() {
  local word
  [[ $# == 1 && $1 == '{'* ]] && return
  for word; do [[ $word != --@(ready|params)-fd* ]] || return 0; done
  return 1
}

# Closes the descriptors of the boot contract, which the bridge has now, except those of the streams, and removes their variables.
_ipcm_close_boot() {
  local fd next='' word
  for word in "${_ipcm_words[@]}" "--ready-fd=${IPCM_LEASH_FD-}"; do
    fd=${next:+$word} next=''
    [[ $word != --@(ready|params)-fd ]] || next=1
    [[ $word != --@(ready|params)-fd=* ]] || fd=${word#*=}
    if _ipcm_digits "$fd" && ((fd > 2)); then exec {fd}>&-; fi
  done
  _ipcm_stderr=${IPCM_STDERR_FD-} _ipcm_log=${IPCM_LOG_FD-}
  unset IPCM_LEASH_FD IPCM_STDERR_FD IPCM_LOG_FD IPCM_ORIG_IO_FDS IPCM_PARAMS_WHOLE
}

# Until the service is ready, its streams are a pipe to the launcher; from then on they are its log, or its own stderr.
_ipcm_take_streams() {
  local fd streams stream
  if [[ $_ipcm_log =~ ^([0-9]+)((,[0-9]+)*)$ ]]; then
    fd=${BASH_REMATCH[1]} streams=${BASH_REMATCH[2]}
    for stream in ${streams//,/ }; do eval "exec $stream>&$fd"; done
    exec {fd}>&-
  fi
  if _ipcm_digits "$_ipcm_stderr"; then
    fd=$_ipcm_stderr
    eval "exec 2>&$fd"
    exec {fd}>&-
  fi
}

# ipcm_serve [--name NAME] [--message F] [--peers F] [--start F] [--stop F] HANDLER: makes this script a service until it ends, and returns
# its exit status. HANDLER gets the text of each request as $1; see README.md.
ipcm_serve() {
  local name=${0##*/} message='' peers='' start='' stop='' handler option status=0
  name=${name%.*sh}
  while [[ ${1-} == --?* ]]; do
    case $1 in
      --name | --message | --peers | --start | --stop) option=${1#--} ;;
      *) _ipcm_refuse 2 usage "ipcm_serve does not know '$1'" || return ;;
    esac
    (($# >= 2)) || { _ipcm_refuse 2 usage "$1 of ipcm_serve lacks its value" || return; }
    printf -v "$option" '%s' "$2"
    shift 2
  done
  (($# <= 1)) || { _ipcm_refuse 2 usage "ipcm_serve needs one handler, found '$*'" || return; }
  handler=${1-}
  for option in "$handler" "$message" "$peers" "$start" "$stop"; do
    [[ -z $option ]] || declare -F "$option" >/dev/null || { _ipcm_refuse 2 usage "ipcm_serve: there is no function '$option'" || return; }
  done
  IPCM_REQUEST='' IPCM_CLASS='' IPCM_ARGS='' _ipcm_failed='' _ipcm_stderr='' _ipcm_log=''
  # Without a token: `read` can't be used in a trap that interrupts a `read`.
  # A shell runs a trap while it waits for a line, or after the command that it runs.
  trap '_ipcm_turn_of=$BASHPID ipcm_end 0' TERM
  if _ipcm_is_boot "${_ipcm_words[@]}"; then
    _ipcm_launched=1
    _ipcm_open --serve -- "${_ipcm_words[@]}" || return
    _ipcm_close_boot
  else
    _ipcm_open --serve --name "$name" || return
  fi
  _ipcm_begin "$start" "$peers" || status=$?
  ((status)) || _ipcm_answer_all
  _ipcm_finish "$stop"
}

# The start: joins, calls the start function, and is ready.
_ipcm_begin() {
  _ipcm_read '' || return
  if [[ $_ipcm_line != '{"type":"joined"'* ]]; then
    _ipcm_kept=("$_ipcm_line")
    return 1
  fi
  local line=$_ipcm_line start_status=0
  ipcm_member name "$line" && IPCM_NAME=$IPCM_TEXT
  ipcm_member bus "$line" && IPCM_BUS=$IPCM_TEXT
  ipcm_member class "$line" && IPCM_CLASS=$IPCM_TEXT
  ipcm_member args "$line" && IPCM_ARGS=$IPCM_JSON
  [[ -z $1 ]] || "$1" || start_status=$?
  if [[ -n $_ipcm_failed ]] || ((start_status)); then
    [[ -n $_ipcm_failed ]] || ipcm_fail "the function $1 returned $start_status" || :
    return 1
  fi
  [[ -z $2 ]] || _ipcm_perform '"op":"watch"' || return
  _ipcm_take_streams
  _ipcm_perform '"op":"ready"'
}

# Calls the handlers, one after the other, until the end. Uses the variables of ipcm_serve.
_ipcm_answer_all() {
  local peer status
  while ipcm_receive 2>/dev/null; do
    case $IPCM_EVENT in
      request)
        _ipcm_answered='' status=0
        if [[ -z $handler ]]; then
          ipcm_fail "service '$IPCM_NAME' takes no requests" || :
        else
          "$handler" "$IPCM_TEXT" || status=$?
        fi
        if [[ -z $_ipcm_answered ]]; then
          # A subshell of the handler may have answered: then the bridge refuses this, without effect.
          if ((status)); then _ipcm_refuse_request "the handler failed with status $status"; else _ipcm_refuse_request 'the handler gave no answer'; fi
        fi
        IPCM_REQUEST=''
        ;;
      message) [[ -z $message ]] || "$message" "$IPCM_TEXT" || : ;;
      peers)
        local joined=("${IPCM_JOINED[@]}") left=("${IPCM_LEFT[@]}")
        for peer in "${joined[@]}"; do "$peers" "$peer" joined || :; done
        for peer in "${left[@]}"; do "$peers" "$peer" left || :; done
        ;;
    esac
  done
}

# The end: reads what is left, calls the stop function, and returns the exit status of the service.
_ipcm_finish() {
  local line='' status=70
  # The bridge of a service that could not join has told why on stderr.
  [[ ! $_ipcm_line =~ ^\{\"type\":\"error\".*\"status\":([0-9]+)\}$ ]] || status=${BASH_REMATCH[1]}
  while [[ $_ipcm_line != '{"type":"end"'* ]] && _ipcm_read ''; do
    [[ $_ipcm_line == '{"type":"error"'* ]] || continue
    line=$_ipcm_line
    ipcm_end 70  # a start whose failure could not be told, such as one for a reason that is no UTF-8
  done
  if [[ $_ipcm_line == '{"type":"end"'* && $_ipcm_line =~ \"status\":([0-9]+)\}$ ]]; then
    status=${BASH_REMATCH[1]}
  elif [[ -n $line ]]; then
    _ipcm_refuse_line "$line" || status=$?
  fi
  [[ -z $1 ]] || "$1" || :
  _ipcm_close
  trap - TERM
  return "$status"
}
