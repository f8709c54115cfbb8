#!/bin/bash
# Records the captures in this folder again: ./record.sh [NAME...]
# Needs mariadb-server, tcpdump, mvn, java, for mysql8_* go; records on loopback, which takes root or CAP_NET_RAW.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for tool in mariadbd mariadb-install-db tcpdump mvn java; do command -v $tool >/dev/null || { echo "$tool is missing" >&2; exit 2; }; done
work=$(mktemp -d "${TMPDIR:-/var/tmp}/mysql-record.XXXXXX"); chmod 755 "$work"
jars=${JARS:-$work/jars}; MARIA=23306 MYSQL8=23307; started=()
unroot=(); [ "$(id -u)" != 0 ] || unroot=(setpriv --reuid=65534 --regid=65534 --clear-groups -- env HOME=/nonexistent)
finish() { for p in "${started[@]}"; do kill "$p" 2>/dev/null && wait "$p" 2>/dev/null || true; done; rm -rf "$work"; }
trap finish EXIT
await() { for ((i = 0; i < 300; i++)); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "not ready: $*" >&2; exit 1; }

if [ ! -e "$jars/.done" ]; then
  mkdir -p "$jars"
  cat >"$jars/pom.xml" <<'POM'
<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version><dependencies>
<dependency><groupId>com.mysql</groupId><artifactId>mysql-connector-j</artifactId><version>9.1.0</version></dependency>
<dependency><groupId>org.mariadb.jdbc</groupId><artifactId>mariadb-java-client</artifactId><version>3.5.1</version></dependency>
</dependencies></project>
POM
  mvn -q -B -f "$jars/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars"
  touch "$jars/.done"
fi

maria() {
  [ -z "${maria_up:-}" ] || return 0; maria_up=1
  mkdir "$work/maria"; [ "$(id -u)" != 0 ] || chown nobody: "$work/maria"
  "${unroot[@]}" mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db --datadir="$work/maria/data" >"$work/install.log" 2>&1
  "${unroot[@]}" mariadbd --no-defaults --datadir="$work/maria/data" --port=$MARIA --bind-address=127.0.0.1 --socket="$work/maria/s.sock" --pid-file="$work/maria/pid" \
    --skip-log-bin --innodb-buffer-pool-size=16M --innodb-log-file-size=4M --performance-schema=OFF --skip-name-resolve --local-infile=1 >"$work/maria.log" 2>&1 &
  started+=($!)
  await mariadb-admin --no-defaults -h127.0.0.1 -P$MARIA -uroot ping
  mariadb --no-defaults -h127.0.0.1 -P$MARIA -uroot -e "create database t; create user t@'%' identified by 't'; grant all on *.* to t@'%'"
}
mysql8() { # go-mysql-server, which says that it is 8.0.31; sources in gms/
  [ -z "${mysql8_up:-}" ] || return 0; mysql8_up=1
  GMS=${GMS:-$work/gms}
  [ -x "$GMS" ] || (cd "$here/gms" && CGO_ENABLED=0 go build -o "$GMS" .)
  "$GMS" -bind 127.0.0.1:$MYSQL8 >"$work/mysql8.log" 2>&1 & started+=($!)
  await bash -c "exec 3<>/dev/tcp/127.0.0.1/$MYSQL8"
}
record() { # NAME PORT COMMAND...
  name=$1 port=$2; shift 2
  tcpdump -i lo --immediate-mode -B 16384 -U -s 0 -w "$work/$name.pcap" "tcp port $port" 2>"$work/tcpdump.log" & dump=$!; started+=($dump)
  await grep -q listening "$work/tcpdump.log"
  "$@"
  sleep 1; kill $dump; wait $dump || true
  cp "$work/$name.pcap" "$here/$name.pcap"; : >"$work/tcpdump.log"
}
cli() { mariadb --no-defaults -h127.0.0.1 -P$MARIA -ut -pt --ssl=0 --local-infile=1 --force "$@" >"$work/cli.log" 2>&1 || cat "$work/cli.log" >&2; }
java_scene() { java -cp "$jars/*" "$here/Record.java" "$1" "$2"; }

printf '1,one\n2,two\n3,"three, and more"\n' >"$work/rows.csv"
cat >"$work/cli.sql" <<SQL
create table c (id int auto_increment primary key, word varchar(30), at datetime default '2024-02-29 12:34:56');
insert into c (word) values ('first'), ('second'), (null);
select * from c;
load data local infile '$work/rows.csv' into table c fields terminated by ',' optionally enclosed by '"' (@x, word);
select x.id, y.word from c x join mysql.db y2 right join c y on x.id = y.id limit 12;
selec nonsense;
use mysql;
select count(*) as n from user;
use t;
select id, repeat('0123456789', 30) as text from c;
alter table c add index w (word);
drop table c;
SQL
all=(mariadb_cli mariadb_compressed mariadb_connector_j mariadb_connector mysql8_connector_j mysql8_tls)
for scene in "${@:-${all[@]}}"; do
  case $scene in
  mariadb_cli) maria; record $scene $MARIA cli t -e "source $work/cli.sql" ;;
  mariadb_compressed) maria; record $scene $MARIA cli --compress t -e "source $work/cli.sql" ;;
  mariadb_connector_j) maria; record $scene $MARIA java_scene "jdbc:mysql://127.0.0.1:$MARIA/t?user=t&password=t&sslMode=DISABLED&allowMultiQueries=true&useServerPrepStmts=true&useCursorFetch=true" text,prepared,batch,several ;;
  mariadb_connector) maria; record $scene $MARIA java_scene "jdbc:mariadb://127.0.0.1:$MARIA/t?user=t&password=t&sslMode=disable&allowMultiQueries=true&useServerPrepStmts=true&useBulkStmts=true&permitRedirect=false" text,prepared,batch,several ;;
  mysql8_connector_j) mysql8; record $scene $MYSQL8 java_scene "jdbc:mysql://127.0.0.1:$MYSQL8/t?user=n&password=n&sslMode=DISABLED&allowMultiQueries=true&useServerPrepStmts=true" text,prepared ;;
  mysql8_tls) mysql8; record $scene $MYSQL8 java_scene "jdbc:mysql://127.0.0.1:$MYSQL8/t?user=t&password=t&sslMode=REQUIRED" text ;;
  *) echo "unknown: $scene (known: ${all[*]})" >&2; exit 2 ;;
  esac
done
ls -l "$here"/*.pcap
