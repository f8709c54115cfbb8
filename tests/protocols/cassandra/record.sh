#!/bin/bash
# Records the captures of this folder again: a real Cassandra on loopback, its driver, tcpdump.
#
#   LIB=folder PYTHON=python3 tests/protocols/cassandra/record.sh [name…]
#
# LIB: the runtime jars of org.apache.cassandra:cassandra-all:5.0.9 with ch.qos.logback:logback-classic, as
#   mvn dependency:copy-dependencies gives them. PYTHON: one that has cassandra-driver 3.30, lz4 and python-snappy (PyPI).
# Needs JDK 17, tcpdump, and to be root (tcpdump on lo).
set -eu
[ "$(id -u)" = 0 ] || { echo "record.sh: tcpdump needs to be root" >&2; exit 1; }
HERE=$(cd "$(dirname "$0")" && pwd)
LIB=${LIB:?the folder with the jars of Cassandra} PYTHON=${PYTHON:-python3}
PORT=9042 STORAGE=17042 JMX=17043
JAVA=${JAVA17:-$(ls -d /usr/lib/jvm/java-17-openjdk-* | head -1)}/bin/java
D=$(mktemp -d); SERVER= DUMP=
trap '[ -z "$DUMP" ] || kill "$DUMP" 2>/dev/null || :; [ -z "$SERVER" ] || { kill "$SERVER"; wait "$SERVER" 2>/dev/null || :; }; rm -rf "$D"' EXIT

cat > "$D/cassandra.yaml" <<Y
cluster_name: t
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_disk_access_mode: legacy
endpoint_snitch: SimpleSnitch
seed_provider: [{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{seeds: "127.0.0.1:$STORAGE"}]}]
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
storage_port: $STORAGE
native_transport_port: $PORT
data_file_directories: [$D/data]
commitlog_directory: $D/commitlog
saved_caches_directory: $D/saved_caches
hints_directory: $D/hints
cdc_raw_directory: $D/cdc
auto_snapshot: false
Y
cat > "$D/logback.xml" <<Y
<configuration><appender name="S" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%-5level %logger{0} %msg%n</pattern></encoder></appender><root level="INFO"><appender-ref ref="S"/></root></configuration>
Y
OPENED=()
for o in java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.rmi/sun.rmi.transport.tcp java.sql/java.sql java.base/java.lang.ref jdk.unsupported/sun.misc java.management/sun.management; do OPENED+=(--add-exports "$o=ALL-UNNAMED"); done
for o in java.base/java.lang java.base/java.lang.module java.base/java.lang.reflect java.base/java.math java.base/java.nio java.base/java.io java.base/java.net java.base/java.util java.base/java.util.concurrent java.base/java.util.concurrent.atomic java.base/java.util.concurrent.locks java.base/java.security java.base/java.time java.base/jdk.internal.loader java.base/jdk.internal.ref java.base/jdk.internal.reflect java.base/jdk.internal.math java.base/jdk.internal.module java.base/jdk.internal.util jdk.management/com.sun.management.internal jdk.management.jfr/jdk.management.jfr java.base/sun.nio.ch java.rmi/sun.rmi.transport.tcp; do OPENED+=(--add-opens "$o=ALL-UNNAMED"); done

# Waits until CMD succeeds, as long as process $1 lives: await PID SECONDS CMD…
await() { local pid=$1 tries=$(($2 * 10)); shift 2; until "$@" >/dev/null 2>&1; do
  kill -0 "$pid" 2>/dev/null && ((tries-- > 0)) || { echo "record.sh: not ready: $*" >&2; tail -20 "$D"/*.log >&2; return 1; }; sleep 0.1; done; }

"$JAVA" -Xms256m -Xmx256m -Xss512k -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djdk.attach.allowAttachSelf=true -Dio.netty.tryReflectionSetAccessible=true "${OPENED[@]}" \
  -javaagent:"$(ls "$LIB"/jamm-*.jar)" -Dcassandra.config="file://$D/cassandra.yaml" -Dlogback.configurationFile="$D/logback.xml" -Dcassandra.storagedir="$D" -Dcassandra.logdir="$D" \
  -Dcassandra-foreground=yes -Dcassandra.jmx.local.port=$JMX -Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.superuser_setup_delay_ms=0 -Dcassandra.ring_delay_ms=100 -Dcassandra.skip_sync=true \
  -cp "$LIB/*" org.apache.cassandra.service.CassandraDaemon > "$D/cassandra.log" 2>&1 &
SERVER=$!
await $SERVER 180 grep -q 'Starting listening for CQL clients' "$D/cassandra.log"

[ $# -gt 0 ] || set -- v3_snappy v4_lz4 v5 v5_lz4 errors out_of_order
"$PYTHON" "$HERE/record.py" prepare
for name; do
  tcpdump -i lo --immediate-mode -s 0 -U -w "$D/$name.pcap" "tcp port $PORT" 2> "$D/tcpdump.log" & DUMP=$!
  await $DUMP 10 grep -q 'listening on' "$D/tcpdump.log"
  "$PYTHON" "$HERE/record.py" "$name"
  sleep 0.5; kill -INT $DUMP; wait $DUMP || :; DUMP=
  mv "$D/$name.pcap" "$HERE/$name.pcap"
done
