#!/usr/bin/env bash
# Records ping.pcap: ping over a veth between two network namespaces. Needs root, ping and tcpdump.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "needs root: it makes network namespaces" >&2; exit 1; }
work=$(mktemp -d); a=record$$a; b=record$$b
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; ip netns del $a; ip netns del $b; rm -rf "$work"' EXIT
ip netns add $a; ip netns add $b
ip -n $a link add v0 type veth peer name v0 netns $b
ip -n $a addr add 192.0.2.1/24 dev v0; ip -n $b addr add 192.0.2.2/24 dev v0
ip -n $a addr add 2001:db8::1/64 dev v0 nodad; ip -n $b addr add 2001:db8::2/64 dev v0 nodad
ip -n $a link set v0 up; ip -n $b link set v0 up
in_a() { ip netns exec $a "$@"; }
until in_a ping -q -c 1 -W 1 2001:db8::2 > /dev/null; do :; done
in_a tcpdump -q -i v0 -U -w "$work/out.pcap" 'icmp or (icmp6 and (ip6[40] = 128 or ip6[40] = 129 or ip6[40] = 1))' 2> "$work/log" &
dump=$!
until grep -q 'listening on' "$work/log"; do sleep 0.1; done
in_a ping -q -c 2 -i 0.2 192.0.2.2 > /dev/null
in_a ping -q -c 2 -i 0.2 2001:db8::2 > /dev/null
in_a ping -q -c 1 -W 1 192.0.2.99 > /dev/null || true     # nobody there
in_a bash -c 'echo x > /dev/udp/192.0.2.2/9' || true      # port unreachable
in_a bash -c 'echo x > /dev/udp/2001:db8::2/9' || true
sleep 1; kill $dump; wait $dump || true
cp "$work/out.pcap" "$here/ping.pcap"
