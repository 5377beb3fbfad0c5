#!/usr/bin/env bash
# The client of the conformance suite, with the Bash kit: bash_client.bash INFO. A subshell reads the orders, and posts them to this shell,
# which waits for orders, answers and messages at the same time.
set -uo pipefail
source "${BASH_SOURCE[0]%/*}/../../../sdk/bash/ipcm.bash"

declare -A tag_of=() text_of=()  # by the number of a request: the tag of its order, and the text of a large one

tell() { printf '{"tag":%s,"ok":%s}\n' "$1" "$2"; }

tell_error() {
  local kind
  case $IPCM_KIND in
    answer) kind=RemoteError ;;
    gone) kind=PeerGone ;;
    timeout) kind=Timeout ;;
    usage | protocol) kind=UsageError ;;
    *) kind=BusError ;;
  esac
  ipcm_quote "$IPCM_ERROR"
  printf '{"tag":%s,"error":"%s","text":%s}\n' "$1" "$kind" "$IPCM_JSON"
}

# Sets the variable of that name to the text of a member of the order, or to nothing.
take() { ipcm_member "$1" "$order" && printf -v "$1" '%s' "$IPCM_TEXT"; }

list_peers() {
  local name names=()
  ipcm_peers || return
  while IFS= read -r name; do
    [[ -n $name ]] || continue
    ipcm_quote "$name"
    names+=("$IPCM_JSON")
  done < <(printf '%s\n' "${IPCM_PEERS[@]}" | LC_ALL=C sort)
  local IFS=,
  IPCM_JSON="[${names[*]}]"
}

obey() {
  local order=$1 tag='' op='' to='' name='' timeout='' size='' options=()
  take tag
  take op
  take to
  case $op in
    connect)
      take name
      ipcm_connect ${name:+--as "$name"} --bus "$info" 2>/dev/null || { tell_error "$tag"; return; }
      ipcm_quote "$IPCM_NAME"
      tell "$tag" "$IPCM_JSON"
      ;;
    request)
      take timeout && options=(--timeout "$timeout")
      ipcm_member content "$order"
      ipcm_ask --json "${options[@]}" "$to" "$IPCM_JSON" || { tell_error "$tag"; return; }
      tag_of[$IPCM_ID]=$tag
      ;;
    large)
      take size
      printf -v text_of[new] '0123456789abcdef%.0s' {1..4096}
      while ((${#text_of[new]} < size)); do text_of[new]+=${text_of[new]}; done
      ipcm_ask --json "$to" "{\"do\":\"echo\",\"value\":\"${text_of[new]}\"}" || { tell_error "$tag"; return; }
      tag_of[$IPCM_ID]=$tag text_of[$IPCM_ID]=${text_of[new]}
      unset "text_of[new]"
      ;;
    send)
      ipcm_member content "$order"
      ipcm_send --json "$to" "$IPCM_JSON" 2>/dev/null || { tell_error "$tag"; return; }
      tell "$tag" true
      ;;
    broadcast)
      ipcm_member content "$order"
      ipcm_broadcast --json "$IPCM_JSON" 2>/dev/null || { tell_error "$tag"; return; }
      tell "$tag" true
      ;;
    peers)
      list_peers || { tell_error "$tag"; return; }
      tell "$tag" "$IPCM_JSON"
      ;;
    watch)
      ipcm_watch || { tell_error "$tag"; return; }
      tell "$tag" true
      ;;
    leave)
      ipcm_leave
      tell "$tag" true
      kill "$reader"
      exit 0
      ;;
    *) printf '{"tag":%s,"error":"unsupported","text":"%s"}\n' "$tag" "$op" ;;
  esac
}

take_answer() {
  local id=$IPCM_ID tag=${tag_of[$IPCM_ID]}
  unset "tag_of[$id]"
  if ! ipcm_await "$id" 2>/dev/null; then
    tell_error "$tag"
  elif [[ ! -v "text_of[$id]" ]]; then
    tell "$tag" "$IPCM_ANSWER_JSON"
  elif [[ $IPCM_ANSWER == "${text_of[$id]}" ]]; then
    tell "$tag" true
  else
    tell "$tag" false
  fi
  unset "text_of[$id]"
}

tell_message() {
  local broadcast=false
  [[ -z $IPCM_BROADCAST ]] || broadcast=true
  ipcm_quote "$IPCM_FROM"
  printf '{"message":{"from":%s,"content":%s,"broadcast":%s}}\n' "$IPCM_JSON" "$IPCM_CONTENT" "$broadcast"
}

tell_peers() {
  local peer
  for peer in "${IPCM_JOINED[@]}"; do
    ipcm_quote "$peer"
    printf '{"event":"join","peer":%s}\n' "$IPCM_JSON"
  done
  for peer in "${IPCM_LEFT[@]}"; do
    ipcm_quote "$peer"
    printf '{"event":"leave","peer":%s}\n' "$IPCM_JSON"
  done
}

info=$1
IFS= read -r line || exit 0
obey "$line"
while IFS= read -r line; do ipcm_post "$line"; done <&0 >/dev/null &
reader=$!
while ipcm_receive --answers 2>/dev/null; do
  case $IPCM_EVENT in
    post) obey "$IPCM_TEXT" ;;
    answer) take_answer ;;
    message) tell_message ;;
    peers) tell_peers ;;
  esac
done
kill "$reader"
