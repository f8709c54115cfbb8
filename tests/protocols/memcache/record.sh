#!/bin/bash
# Records the captures of this folder anew: record.sh [NAME...]  (text meta binary udp; all without a name)
# Needs memcached, tcpdump and python3, and the right to capture on the loopback interface.
set -euo pipefail
cd "$(dirname "$0")"
PORT=${PORT:-21211}
for tool in memcached tcpdump python3; do
  command -v "$tool" >/dev/null || { echo "$tool is not installed" >&2; exit 1; }
done
work=$(mktemp -d)
pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; rm -rf "$work"' EXIT
tcp() { (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; }
wait_for() { for _ in $(seq 100); do "$@" && return 0; sleep 0.1; done; echo "not ready: $*" >&2; return 1; }
for name in "${@:-text meta binary udp}"; do for name in $name; do
  user=(); [ "$(id -u)" != 0 ] || user=(-u nobody)
  memcached -l 127.0.0.1 -p "$PORT" -U "$PORT" -m 16 "${user[@]}" >"$work/memcached.log" 2>&1 &
  server=$!; pids+=("$server")
  wait_for tcp
  tcpdump -i lo -U --immediate-mode -w "$work/all.pcap" "port $PORT" 2>"$work/tcpdump.log" &
  dump=$!; pids+=("$dump")
  wait_for grep -q 'listening on' "$work/tcpdump.log" || { cat "$work/tcpdump.log" >&2; exit 1; }
  python3 client.py "$name" "$PORT"
  sleep 0.3
  kill -INT "$dump"; wait "$dump" || true
  kill "$server"; wait "$server" || true
  cp "$work/all.pcap" "$name.pcap"
  echo "$name.pcap: $(stat -c %s "$name.pcap") bytes"
done; done
