#!/usr/bin/env bash
# Records udp.pcap, tcp.pcap and register.pcap: sipp calling itself over loopback, in a network namespace of its own. Needs root, sipp
# (sip-tester) and tcpdump.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "needs root: it makes a network namespace" >&2; exit 1; }
work=$(mktemp -d); ns=record$$
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; ip netns del $ns; rm -rf "$work"' EXIT
ip netns add $ns; ip -n $ns link set lo up
export TERM=dumb
cd "$work"
# sipp draws a screen and reads the keyboard unless told otherwise; it ends by itself after so many calls.
sipp_() { ip netns exec $ns timeout -s KILL 30 sipp -nostdin -i 127.0.0.1 "$@" < /dev/null > "$work/sipp.$1.out" 2>&1; }
record() {
  local name=$1 transport=$2 server=$3 client=$4 calls=$5
  ip netns exec $ns tcpdump -q -i lo -U -w "$work/$name.pcap" 'port 5060' < /dev/null 2> "$work/$name.log" &
  local dump=$!
  until grep -q 'listening on' "$work/$name.log"; do sleep 0.1; done
  sipp_ $server -t "$transport" -p 5060 -m "$calls" & local answering=$!
  until ip netns exec $ns ss -Hlnut "sport = :5060" | grep -q .; do sleep 0.1; done
  sipp_ $client -t "$transport" -p 5061 -m "$calls" -r 10 -d 200 -s alice 127.0.0.1:5060
  wait $answering || true
  sleep 0.5; kill $dump; wait $dump || true
  cp "$work/$name.pcap" "$here/$name.pcap"
}
record udp u1 '-sn uas' '-sn uac' 2
record tcp t1 '-sn uas' '-sn uac' 2
record register u1 "-sf $here/registrar.xml" "-sf $here/register.xml -au alice -ap secret" 1
