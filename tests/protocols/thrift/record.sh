#!/bin/bash
# Records binary.pcap, compact.pcap, framed.pcap and header.pcap: server and client of Apache Thrift's Python library on loopback.
# Needs root (tcpdump does), and the Debian packages thrift-compiler python3-thrift tcpdump. Stops all it started.
set -eu
[ "$(id -u)" = 0 ] || { echo "needs root: tcpdump does" >&2; exit 1; }
cd "$(dirname "$0")"
out=$PWD work=$(mktemp -d)
pids=()
finish() { for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$work"; }
trap finish EXIT
until_true() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "in vain: $*" >&2; exit 1; }

thrift --gen py -out "$work" calculator.thrift
export PYTHONPATH=$work
port=19090
for how in binary compact framed header; do
  tcpdump -i lo --immediate-mode -U -Z root -w "$out/$how.pcap" "tcp port $port" 2> "$work/tcpdump" & dump=$!; pids+=($dump)
  until_true grep -q listening "$work/tcpdump"
  /usr/bin/python3 talk.py server "$how" "$port" > "$work/server" 2>&1 & server=$!; pids+=($server)
  until_true grep -q ready "$work/server"
  sleep 0.3
  /usr/bin/python3 talk.py client "$how" "$port"
  sleep 0.5; kill "$dump" "$server"; wait "$dump" "$server" 2>/dev/null || true
  port=$((port + 1))
done
