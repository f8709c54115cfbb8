#!/usr/bin/env bash
# Records udhcpc.pcap and dhclient.pcap: dnsmasq gives addresses to two clients over a veth between two network namespaces. Needs root,
# dnsmasq, udhcpc (busybox), dhclient (isc-dhcp-client) and tcpdump.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "needs root: it makes network namespaces" >&2; exit 1; }
work=$(mktemp -d); a=record$$a; b=record$$b
trap 'status=$?; [ $status = 0 ] || tail -n 20 "$work"/*.out "$work"/*.log >&2; kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; ip netns del $a; ip netns del $b; rm -rf "$work"' EXIT
ip netns add $a; ip netns add $b
ip -n $a link add v0 type veth peer name v0 netns $b
ip -n $a link set v0 address 02:00:00:00:00:01; ip -n $b link set v0 address 02:00:00:00:00:02
ip -n $a addr add 192.0.2.1/24 dev v0
ip -n $a link set lo up; ip -n $a link set v0 up; ip -n $b link set lo up; ip -n $b link set v0 up
in_b() { ip netns exec $b timeout -s KILL 30 "$@" < /dev/null; }
ip netns exec $a dnsmasq --keep-in-foreground --log-facility=- --conf-file=/dev/null --no-resolv --no-hosts --user=root --pid-file="$work/pid" --port=0 \
  --interface=v0 --bind-interfaces --dhcp-authoritative --dhcp-leasefile="$work/leases" --no-ping \
  --dhcp-range=192.0.2.100,192.0.2.110,255.255.255.0,1h --domain=example.test --dhcp-boot=boot.img,server,192.0.2.1 \
  --dhcp-option=option:router,192.0.2.1,192.0.2.254 --dhcp-option=option:dns-server,192.0.2.53,192.0.2.54 \
  --dhcp-option=option:ntp-server,192.0.2.123 --dhcp-option-force=4,192.0.2.37 --dhcp-option-force=option:time-offset,3600 \
  < /dev/null > "$work/dnsmasq.log" 2>&1 & server=$!
until grep -q 'DHCP, sockets bound' "$work/dnsmasq.log"; do kill -0 $server || { cat "$work/dnsmasq.log" >&2; exit 1; }; sleep 0.1; done
start() {
  ip netns exec $b tcpdump --immediate-mode -q -i v0 -U -w "$work/$1.pcap" 'udp port 67 or udp port 68' < /dev/null 2> "$work/$1.log" &
  dump=$!
  until grep -q 'listening on' "$work/$1.log"; do sleep 0.1; done
}
finish() { sleep 1; kill $dump; wait $dump || true; cp "$work/$1.pcap" "$here/$1.pcap"; }

# What a client does with a lease: the address is set, so that the second client can send from it when it gives it back.
cat > "$work/script" <<'SCRIPT'
#!/bin/sh
[ "$1" != bound ] || ip addr add "$ip/$mask" dev "$interface"
SCRIPT
chmod 755 "$work/script"
start udhcpc
in_b udhcpc -f -q -n -i v0 -s "$work/script" -x hostname:client -r 192.0.2.105 -O 4 -O ntpsrv > "$work/udhcpc.out" 2>&1
finish udhcpc
ip -n $b addr flush dev v0

# A lease from another network, which the server refuses; then a new one, given back in the end.
cat > "$work/client.leases" <<'LEASES'
lease {
  interface "v0";
  fixed-address 198.51.100.7;
  option subnet-mask 255.255.255.0;
  option dhcp-server-identifier 198.51.100.1;
  renew never;
  rebind never;
  expire never;
}
LEASES
cat > "$work/client.conf" <<'CONF'
send host-name "second";
send vendor-class-identifier "record";
request subnet-mask, broadcast-address, time-offset, time-servers, routers, domain-name, domain-name-servers, host-name, ntp-servers;
timeout 20;
CONF
cat > "$work/script" <<'SCRIPT'
#!/bin/sh
[ "$reason" != BOUND ] || ip addr add "$new_ip_address/24" dev "$interface"
SCRIPT
dhclient_() { in_b dhclient "$@" -4 -v -cf "$work/client.conf" -lf "$work/client.leases" -pf "$work/client.pid" -sf "$work/script" v0 >> "$work/dhclient.out" 2>&1; }
start dhclient
dhclient_ -1
dhclient_ -r
finish dhclient
