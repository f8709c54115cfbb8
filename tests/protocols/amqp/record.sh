#!/bin/bash
# Records the captures in this folder again: ./record.sh [SCENE...]
# Needs rabbitmq-server, tcpdump, and a python3 with pika ($PYTHON); root, because all of it runs in a network namespace of its own.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3} server=/usr/lib/rabbitmq/bin/rabbitmq-server
[ "$(id -u)" = 0 ] || { echo "takes root: it makes a network namespace" >&2; exit 2; }
[ -x $server ] || { echo "rabbitmq-server is missing" >&2; exit 2; }
command -v tcpdump >/dev/null || { echo "tcpdump is missing" >&2; exit 2; }
"$python" -c 'import pika' 2>/dev/null || { echo "$python has no pika; set PYTHON" >&2; exit 2; }
if [ -z "${IN_NAMESPACE:-}" ]; then IN_NAMESPACE=1 exec unshare -n -- "$0" "$@"; fi
ip link set lo up
work=$(mktemp -d "${TMPDIR:-/var/tmp}/amqp-record.XXXXXX"); chmod 755 "$work"; started=()
finish() { for p in "${started[@]}"; do kill "$p" 2>/dev/null && wait "$p" 2>/dev/null || true; done; rm -rf "$work"; }
trap finish EXIT
await() { for ((i = 0; i < 600; i++)); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "not ready: $*" >&2; tail -5 "$work"/*.log >&2; exit 1; }

unroot=(setpriv --reuid=65534 --regid=65534 --clear-groups -- env HOME="$work/home")
mkdir "$work/home"; echo '[].' >"$work/home/plugins"; chown -R nobody: "$work/home"
"${unroot[@]}" epmd -address 127.0.0.1 >"$work/epmd.log" 2>&1 & started+=($!)
await bash -c 'exec 3<>/dev/tcp/127.0.0.1/4369'
"${unroot[@]}" RABBITMQ_NODENAME=t@localhost RABBITMQ_MNESIA_BASE="$work/home/mnesia" RABBITMQ_LOG_BASE="$work/home/log" RABBITMQ_LOGS=- \
  RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE="$work/home/none" \
  RABBITMQ_ENABLED_PLUGINS_FILE="$work/home/plugins" ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='+S 1:1 +sbwt none' \
  $server >"$work/server.log" 2>&1 & started+=($!)
await grep -q 'Server startup complete' "$work/server.log"

for scene in "${@:-messages confirms large errors heartbeat}"; do for name in $scene; do
  tcpdump -i lo --immediate-mode -B 16384 -U -s 0 -w "$work/$name.pcap" 'tcp port 5672' 2>"$work/tcpdump.log" & dump=$!; started+=($dump)
  await grep -q listening "$work/tcpdump.log"
  "$python" "$here/record.py" "$name"
  sleep 0.5; kill $dump; wait $dump || true
  cp "$work/$name.pcap" "$here/$name.pcap"; : >"$work/tcpdump.log"
done; done
