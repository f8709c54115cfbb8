#!/bin/bash
# Records crud.pcap and makes the crafted captures again. Needs tcpdump (as root), Java 17, Maven's repository and PyPI.
# mongo-java-server speaks OP_MSG and OP_QUERY; what it does not know (compression, exhaust) make_crafted.py makes.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "tcpdump wants root" >&2; exit 1; }
WORK=$(mktemp -d); PORT=${PORT:-27017}; VERSION=1.47.0; PIDS=()
trap 'for p in "${PIDS[@]}"; do kill "$p" 2>/dev/null || true; done; wait; rm -rf "$WORK"' EXIT
until_ready() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "not ready: $*" >&2; exit 1; }
python3 -m venv "$WORK/venv"
"$WORK/venv/bin/pip" install -q pymongo==4.7.3 cramjam zstandard
"$WORK/venv/bin/python" "$HERE/make_crafted.py"
cat >"$WORK/pom.xml" <<EOF
<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version><dependencies><dependency>
<groupId>de.bwaldvogel</groupId><artifactId>mongo-java-server</artifactId><version>$VERSION</version></dependency></dependencies></project>
EOF
mvn -q -B -f "$WORK/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$WORK/lib"
cat >"$WORK/Main.java" <<EOF
import de.bwaldvogel.mongo.*; import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
public class Main { public static void main(String[] a) throws Exception {
  new MongoServer(new MemoryBackend()).bind("127.0.0.1", Integer.parseInt(a[0])); Thread.currentThread().join(); } }
EOF
java -cp "$WORK/lib/*" "$WORK/Main.java" "$PORT" >"$WORK/server.log" 2>&1 & PIDS+=($!)
until_ready bash -c "exec 3<>/dev/tcp/127.0.0.1/$PORT"
tcpdump -Z root -i lo -U -s 0 -w "$WORK/crud.pcap" "tcp port $PORT" 2>"$WORK/tcpdump.log" & DUMP=$!; PIDS+=("$DUMP")
until_ready grep -q listening "$WORK/tcpdump.log"
"$WORK/venv/bin/python" "$HERE/client.py" "$PORT"
# What tcpdump has not written yet is in the kernel's buffer; a packet of ours after the last one tells when it is through.
bash -c "exec 3<>/dev/tcp/127.0.0.1/$PORT"; sleep 1
kill -INT "$DUMP"; wait "$DUMP" || true
mv "$WORK/crud.pcap" "$HERE/crud.pcap"
ls -l "$HERE"/*.pcap
