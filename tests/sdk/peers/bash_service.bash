#!/usr/bin/env bash
# The service of the conformance suite, with the Bash kit.
set -uo pipefail
source "${BASH_SOURCE[0]%/*}/../../../sdk/bash/ipcm.bash"

declare -A held=() seen=() count_for=() saw_for=()  # by the number of a request that waits; `held` and `seen` by key and by peer
messages=()

# Answers the requests whose condition holds now.
note() {
  local number IFS=,
  for number in "${!count_for[@]}"; do
    ((${#messages[@]} >= count_for[$number])) || continue
    unset "count_for[$number]"
    IPCM_REQUEST=$number ipcm_reply --json "[${messages[*]}]"
  done
  for number in "${!saw_for[@]}"; do
    [[ ${seen["${saw_for[$number]% *}"]-} == "${saw_for[$number]##* }" ]] || continue
    unset "saw_for[$number]"
    IPCM_REQUEST=$number ipcm_reply --json true
  done
}

# Sets the variable of that name to the text of a member of the order, or to nothing.
take() { ipcm_member "$1" "$order" && printf -v "$1" '%s' "$IPCM_TEXT"; }

handle() {
  local order=$IPCM_CONTENT do='' text='' to='' key='' count='' peer='' kind='' content value number
  take do || { ipcm_fail 'this is no order'; return; }
  case $do in
    echo) ipcm_member value "$order" && ipcm_reply --json "$IPCM_JSON" ;;
    fail)
      take text
      ipcm_fail "$text"
      ;;
    print)
      take text
      printf '%s\n' "$text"
      printf '%s\n' "$text" >&2
      ipcm_reply --json true
      ;;
    pid) ipcm_reply --json "$$" ;;
    args)
      ipcm_member big "$IPCM_ARGS" || IPCM_TEXT=''
      ipcm_reply --json "${#IPCM_TEXT}"
      ;;
    die) kill -KILL "$$" ;;
    send)
      take to
      ipcm_member content "$order"
      ipcm_send --json "$to" "$IPCM_JSON"
      ipcm_reply --json true
      ;;
    broadcast)
      ipcm_member content "$order"
      ipcm_broadcast --json "$IPCM_JSON"
      ipcm_reply --json true
      ;;
    ask)
      take to
      ipcm_member content "$order"
      if ipcm_request --json "$to" "$IPCM_JSON"; then ipcm_reply --json "$IPCM_ANSWER_JSON"; else ipcm_fail "$IPCM_ERROR"; fi
      ;;
    hold)
      take key
      held[$key]+=" $IPCM_REQUEST"
      ipcm_later
      ;;
    release)
      take key
      ipcm_member value "$order" && value=$IPCM_JSON
      for number in ${held[$key]-}; do IPCM_REQUEST=$number ipcm_reply --json "$value"; done
      unset "held[$key]"
      ipcm_reply --json true
      ;;
    messages)
      take count
      count_for[$IPCM_REQUEST]=$count
      ipcm_later
      note
      ;;
    saw)
      take peer
      take kind
      saw_for[$IPCM_REQUEST]="$peer $kind"
      ipcm_later
      note
      ;;
    *) ipcm_fail "unknown order $do" ;;
  esac
}

on_message() {
  local broadcast=false content=$IPCM_CONTENT
  [[ -z $IPCM_BROADCAST ]] || broadcast=true
  ipcm_quote "$IPCM_FROM"
  messages+=("{\"from\":$IPCM_JSON,\"content\":$content,\"broadcast\":$broadcast}")
  note
}

on_peer() {
  seen[$1]=leave
  [[ $2 != joined ]] || seen[$1]=join
  note
}

begin() {
  [[ -n $IPCM_ARGS ]] || return 0
  if ipcm_member fail "$IPCM_ARGS"; then ipcm_fail "$IPCM_TEXT"; return; fi
  if ipcm_member gate "$IPCM_ARGS"; then : "$(<"$IPCM_TEXT")"; fi
}

ipcm_serve --start begin --message on_message --peers on_peer handle
