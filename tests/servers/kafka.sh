#!/usr/bin/env bash
# A real Kafka broker on loopback, from the official jars at Maven Central. Listeners: plain text at PORT, SASL over TLS at PORT + 1 (user
# `sender`, password `a secret`; the certificate of the authority is FOLDER/ca.pem), the controller at PORT + 2. Batches of more than 20 kB
# are refused.
#
#   kafka.sh start FOLDER PORT [OWNER]   installs it into FOLDER where it is not there yet, starts it, waits until it is ready;
#                                        when the process OWNER is gone, it is stopped and FOLDER removed
#   kafka.sh stop FOLDER                 kills it; its data stay
#   kafka.sh remove FOLDER               kills it and removes FOLDER
set -euo pipefail
version=4.3.1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
verb=${1:?start, stop or remove} folder=${2:?a folder}
lib=$folder/lib pid=$folder/pid log=$folder/server.log properties=$folder/server.properties
java=$(dirname "$(readlink -f "$(command -v javac)")")/java

fail() { echo "kafka.sh: $*" >&2; exit 1; }

# One that has ended counts as gone even where nobody collects it, as in containers without an init.
alive() { [ -f "$pid" ] && grep -q '^State:[[:space:]]*[^ZX]' "/proc/$(cat "$pid")/status" 2>/dev/null; }

install() {
  [ ! -f "$folder/installed" ] || return 0
  echo "getting Kafka $version (once) from Maven Central"
  mkdir -p "$lib"
  {
    echo '<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version><dependencies>'
    for artifact in org.apache.kafka:kafka_2.13:$version org.apache.kafka:kafka-tools:$version \
      org.apache.logging.log4j:log4j-slf4j-impl:2.25.1; do
      IFS=: read -r group name number <<<"$artifact"
      echo "<dependency><groupId>$group</groupId><artifactId>$name</artifactId><version>$number</version></dependency>"
    done
    echo '</dependencies></project>'
  } >"$lib/pom.xml"
  mvn --quiet --batch-mode --strict-checksums -Dstyle.color=never -f "$lib/pom.xml" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$lib" </dev/null ||
    fail "Maven could not get Kafka $version, which these tests need; above is why (mirrors and proxies: ~/.m2/settings.xml)"
  (
    cd "$folder"
    new='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'
    $new -subj /CN=ca -keyout ca.key -out ca.pem
    $new -subj /CN=broker -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE -CA ca.pem -CAkey ca.key \
      -keyout broker.key -out broker.crt
    cat broker.key broker.crt >broker.pem
  ) 2>/dev/null
  cat >"$properties" <<Y
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 2))
listeners=PLAINTEXT://127.0.0.1:$port,SASL_SSL://127.0.0.1:$((port + 1)),CONTROLLER://127.0.0.1:$((port + 2))
advertised.listeners=PLAINTEXT://127.0.0.1:$port,SASL_SSL://127.0.0.1:$((port + 1))
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_sender="a secret";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=$folder/broker.pem
log.dirs=$folder/logs
num.partitions=3
message.max.bytes=20000
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.cleaner.dedupe.buffer.size=8388608
log.flush.interval.messages=1
Y
  "$java" -cp "$lib/*" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qk -c "$properties" \
    --add-scram 'SCRAM-SHA-256=[name=sender,password=a secret]' --add-scram 'SCRAM-SHA-512=[name=sender,password=a secret]' \
    >"$folder/format.log" 2>&1 || { cat "$folder/format.log" >&2; fail "the storage could not be formatted"; }
  touch "$folder/installed"
}

start() {
  local port=${1:?a port} owner=${2:-} since=$SECONDS
  mkdir -p "$folder"
  install
  alive && return
  : >"$log"
  setsid "$java" -Xms192m -Xmx192m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.level=INFO -cp "$lib/*" kafka.Kafka "$properties" \
    >>"$log" 2>&1 </dev/null &
  echo $! >"$pid"
  if [ -n "$owner" ]; then
    (tail --pid="$owner" -f /dev/null; "$here/kafka.sh" remove "$folder") >/dev/null 2>&1 </dev/null &
  fi
  until grep -q 'Kafka Server started' "$log"; do
    alive || { tail -20 "$log" >&2; fail "Kafka ended; above is what it said"; }
    [ $((SECONDS - since)) -lt 180 ] || { tail -20 "$log" >&2; fail "Kafka is not ready after 180 s; above is what it said"; }
    sleep 0.1
  done
  echo "Kafka $version is ready after $((SECONDS - since)) s"
}

stop() {
  alive || return 0
  kill -KILL -- "-$(cat "$pid")" 2>/dev/null || true
  while alive; do sleep 0.05; done
  rm -f "$pid"
  echo "Kafka killed"
}

case $verb in
start) start "${@:3}" ;;
stop) stop ;;
remove) stop; rm -rf "$folder" ;;
*) fail "$verb: start, stop and remove are known" ;;
esac
