#!/usr/bin/env bash
# Records resp2.pcap, resp3.pcap and inline.pcap: redis-server and its redis-cli over loopback, in a network namespace of their own. Needs
# root, redis-server, redis-cli and tcpdump.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "needs root: it makes a network namespace" >&2; exit 1; }
work=$(mktemp -d); ns=record$$
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; ip netns del $ns; rm -rf "$work"' EXIT
ip netns add $ns; ip -n $ns link set lo up
in_ns() { ip netns exec $ns timeout -s KILL 20 "$@" < /dev/null; }
cli() { in_ns redis-cli "$@" > /dev/null; }
# Without COMMAND, or redis-cli fetches the documentation of all commands when it starts.
ip netns exec $ns redis-server --rename-command COMMAND '' --port 6379 --bind 127.0.0.1 --dir "$work" --save '' --appendonly no --daemonize no < /dev/null > "$work/redis.log" &
until cli ping; do sleep 0.1; done
start() {
  ip netns exec $ns tcpdump -q -i lo -U -w "$work/$1.pcap" 'tcp port 6379' < /dev/null 2> "$work/$1.log" &
  dump=$!
  until grep -q 'listening on' "$work/$1.log"; do sleep 0.1; done
}
finish() { sleep 1; kill $dump; wait $dump || true; cp "$work/$1.pcap" "$here/$1.pcap"; }
# Commands on standard input, all on one connection.
commands() { ip netns exec $ns timeout -s KILL 20 redis-cli "$@" > /dev/null || true; }

start resp2
commands <<'COMMANDS'
SET greeting "hello world"
GET greeting
GET nobody
INCR counter
LPUSH list a b c
LRANGE list 0 -1
INCR greeting
NONSENSE a b
HSET hash field value other ""
HGETALL hash
MULTI
SET in-transaction 1
INCR in-transaction
EXEC
EVAL "return {1, {2, 'three', false}}" 0
SET binary "\x00\xff\r\n"
GET binary
COMMANDS
# Pipelined: many commands in one segment.
printf '%s\r\n' '*3' '$3' SET '$1' p '$1' 1 '*2' '$3' GET '$1' p '*2' '$4' INCR '$1' p '*1' '$4' PING | commands --pipe
# Messages and commands that nobody asked for.
ip netns exec $ns timeout 3 redis-cli subscribe news < /dev/null > /dev/null & subscriber=$!
ip netns exec $ns timeout 3 redis-cli monitor < /dev/null > /dev/null & monitor=$!
until [ "$(in_ns redis-cli publish news hello)" = 1 ] && in_ns redis-cli client list | grep -q cmd=monitor; do sleep 0.1; done
cli set watched 1
wait $subscriber $monitor || true
finish resp2

start resp3
commands -3 <<'COMMANDS'
SET a 1
HSET hash field value
HGETALL hash
SADD set x y
SMEMBERS set
ZADD sorted 1.5 one
ZSCORE sorted one
GET nobody
CLIENT TRACKING ON
GET a
SET a 2
DEBUG NONSENSE
LOLWUT VERSION 9999
PING
COMMANDS
finish resp3

start inline
ip netns exec $ns timeout -s KILL 10 bash -c '
  exec 3<> /dev/tcp/127.0.0.1/6379
  ask() { printf "%s\r\n" "$1" >&3; read -r -u 3 -t 5 line; }
  ask PING; ask "SET inline 1"; ask "INCR inline"; ask "SET \"two words\" '"'x y'"'"; ask "GET"; ask QUIT' || true
finish inline
