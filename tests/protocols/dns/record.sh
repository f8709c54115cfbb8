#!/usr/bin/env bash
# Records dnsmasq.pcap: dnsmasq and dig over loopback, in a network namespace of their own. Needs root, dnsmasq, dig and tcpdump.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "needs root: it makes a network namespace" >&2; exit 1; }
work=$(mktemp -d); ns=record$$
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; ip netns del $ns; rm -rf "$work"' EXIT
ip netns add $ns; ip -n $ns link set lo up
in_ns() { ip netns exec $ns "$@"; }
in_ns dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --user=root --pid-file="$work/pid" \
  --auth-zone=example.test --auth-server=ns.example.test,127.0.0.1 --listen-address=127.0.0.1 --bind-interfaces \
  --host-record=www.example.test,192.0.2.1,2001:db8::1 --cname=web.example.test,www.example.test --mx-host=example.test,mail.example.test,10 \
  --txt-record=example.test,'v=spf1 -all','two "words"' --srv-host=_sip._udp.example.test,www.example.test,5060,1,2 \
  --caa-record=example.test,0,issue,ca.example.test --naptr-record=example.test,100,10,S,SIP+D2U,,_sip._udp.example.test \
  --dns-rr=odd.example.test,65280,0102ff --ptr-record=1.2.0.192.in-addr.arpa,www.example.test &
ask() { in_ns dig @127.0.0.1 +tries=1 +time=2 "$@" > /dev/null; }
until ask www.example.test; do sleep 0.1; done
in_ns tcpdump -q -i lo -U -w "$work/out.pcap" 'port 53' 2> "$work/log" &
dump=$!
until grep -q 'listening on' "$work/log"; do sleep 0.1; done
for type in A AAAA; do ask www.example.test $type; done
ask web.example.test A +noedns
for type in MX TXT CAA NAPTR SOA NS ANY; do ask example.test $type; done
ask _sip._udp.example.test SRV
ask odd.example.test TYPE65280
ask -x 192.0.2.1
ask missing.example.test A +dnssec
ask www.example.test A +tcp
ask www.example.test CH TXT +cookie=0102030405060708 +subnet=192.0.2.0/24 || true
sleep 1; kill $dump; wait $dump || true
cp "$work/out.pcap" "$here/dnsmasq.pcap"
