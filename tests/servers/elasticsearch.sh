#!/usr/bin/env bash
# A real Elasticsearch on loopback: the official distribution for integration tests, from Maven Central, with a plugin of ours for the
# requests that it leaves out (es-plugin/Gaps.java). HTTP with basic auth: user elastic, password changeme.
#
#   elasticsearch.sh start FOLDER PORT [OWNER]   installs it into FOLDER where it is not there yet, starts it, waits until it answers;
#                                                when the process OWNER is gone, it is stopped and FOLDER removed
#   elasticsearch.sh stop FOLDER                 stops it; its data stay
#   elasticsearch.sh remove FOLDER               stops it and removes FOLDER
set -euo pipefail
version=8.19.21
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
verb=${1:?start, stop or remove} folder=${2:?a folder}
home=$folder/elasticsearch-$version node=$folder/node pid=$folder/pid log=$folder/server.log
jdk=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")

fail() { echo "elasticsearch.sh: $*" >&2; exit 1; }

# One that has ended counts as gone even where nobody collects it, as in containers without an init.
alive() { [ -f "$pid" ] && grep -q '^State:[[:space:]]*[^ZX]' "/proc/$(cat "$pid")/status" 2>/dev/null; }

install() {
  [ ! -f "$folder/installed" ] || return 0
  echo "getting Elasticsearch $version (110 MB, once) from Maven Central"
  mvn --quiet --batch-mode --strict-checksums -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    -Dartifact=org.elasticsearch.distribution.integ-test-zip:elasticsearch:$version:zip -DoutputDirectory="$folder" </dev/null ||
    fail "Maven could not get Elasticsearch $version, which these tests need; above is why (mirrors and proxies: ~/.m2/settings.xml)"
  unzip -q -o "$folder/elasticsearch-$version.zip" -d "$folder"
  rm "$folder/elasticsearch-$version.zip"

  local plugin=$home/plugins/gaps
  mkdir -p "$plugin" "$folder/classes"
  "$jdk/bin/javac" -nowarn --release 17 -cp "$home/lib/*:$home/modules/x-pack-core/*" -d "$folder/classes" "$here/es-plugin/Gaps.java" ||
    fail "the plugin does not compile with $jdk; a JDK 17 or newer is needed"
  "$jdk/bin/jar" cf "$plugin/gaps.jar" -C "$folder/classes" .
  printf '%s\n' name=gaps description=gaps version=1 java.version=17 elasticsearch.version=$version classname=gaps.Gaps \
    extended.plugins=x-pack-core >"$plugin/plugin-descriptor.properties"

  mkdir -p "$node"/{conf/jvm.options.d,data,logs,tmp}
  cp "$home"/config/{log4j2.properties,roles.yml,role_mapping.yml,users,users_roles} "$node/conf/"
  # Small, and quick to start rather than quick later.
  printf '%s\n' -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-AlwaysPreTouch -Xms256m -Xmx256m '-Djava.io.tmpdir=${ES_TMPDIR}' \
    >"$node/conf/jvm.options"
  "${environment[@]}" "$home/bin/elasticsearch-keystore" create >/dev/null
  echo changeme | "${environment[@]}" "$home/bin/elasticsearch-keystore" add --stdin bootstrap.password >/dev/null
  touch "$folder/installed"
}

start() {
  local port=${1:?a port} owner=${2:-}
  mkdir -p "$folder"
  chmod 755 "$folder"
  environment=(env ES_JAVA_HOME="$jdk" ES_PATH_CONF="$node/conf" ES_TMPDIR="$node/tmp")
  install
  alive && return
  cat >"$node/conf/elasticsearch.yml" <<Y
cluster.name: sniffer-tests
node.name: one
path: {data: $node/data, logs: $node/logs}
http.port: $port
transport.port: 0
network.host: 127.0.0.1
discovery.type: single-node
cluster.routing.allocation.disk.threshold_enabled: false
xpack.security.enabled: true
Y
  # It refuses root.
  local as=()
  if [ "$(id -u)" = 0 ]; then
    chown -R nobody: "$node"
    as=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups -- env HOME=/nonexistent)
  fi
  setsid "${as[@]}" "${environment[@]}" "$home/bin/elasticsearch" >>"$log" 2>&1 </dev/null &
  echo $! >"$pid"
  if [ -n "$owner" ]; then
    (tail --pid="$owner" -f /dev/null; "$here/elasticsearch.sh" remove "$folder") >/dev/null 2>&1 </dev/null &
  fi
  local since=$SECONDS
  until curl -fsS -m 5 -u elastic:changeme "http://127.0.0.1:$port/_cluster/health?wait_for_status=yellow&timeout=1s" >/dev/null 2>&1; do
    alive || { tail -20 "$log" >&2; fail "Elasticsearch ended; above is what it said"; }
    [ $((SECONDS - since)) -lt 180 ] || { tail -20 "$log" >&2; fail "Elasticsearch does not answer after 180 s; above is what it said"; }
    sleep 0.2
  done
  echo "Elasticsearch $version answers after $((SECONDS - since)) s"
}

stop() {
  alive || return 0
  local process i
  process=$(cat "$pid")
  kill "$process" 2>/dev/null || true
  for ((i = 0; i < 300; i++)); do
    alive || break
    sleep 0.1
  done
  # What is left of it, its children included: setsid made them one process group.
  kill -KILL -- "-$process" 2>/dev/null || true
  rm -f "$pid"
  echo "Elasticsearch stopped"
}

case $verb in
start) start "${@:3}" ;;
stop) stop ;;
remove) stop; rm -rf "$folder" ;;
*) fail "$verb: start, stop and remove are known" ;;
esac
