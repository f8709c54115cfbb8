#!/bin/bash
# Records the captures in this folder: PostgreSQL on loopback in a temporary folder, psql, pgbench, and drivers from PyPI (psycopg, asyncpg).
# Needs initdb, postgres, psql, pgbench, tcpdump, openssl and python3 on the PATH, and the right to capture (root; the server then runs as nobody).
#   record.sh [NAME...]   all captures, or those named
set -euo pipefail
OUT=$(cd "$(dirname "$0")" && pwd)
PORT=${PORT:-25432}
W=$(mktemp -d /tmp/pgsql-record.XXXXXX)
UNROOT=()
[ "$(id -u)" != 0 ] || { UNROOT=(setpriv --reuid=65534 --regid=65534 --clear-groups -- env HOME=/nonexistent); chown nobody "$W"; chmod 755 "$W"; }
[ "$(id -u)" = 0 ] || { echo "capturing needs root" >&2; exit 1; }
SERVER= DUMP=
cleanup() { [ -z "${KEEP:-}" ] || cat "$W"/*.log; [ -z "$DUMP" ] || kill "$DUMP" 2>/dev/null || true; [ -z "$SERVER" ] || { kill -INT "$SERVER" 2>/dev/null; wait "$SERVER" 2>/dev/null; } || true; rm -rf "$W"; }
trap cleanup EXIT

"${UNROOT[@]}" initdb -D "$W/data" -U postgres -A trust --no-sync -E UTF8 --locale=C >"$W/initdb.log"
"${UNROOT[@]}" openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost -keyout "$W/data/server.key" -out "$W/data/server.crt" 2>/dev/null
"${UNROOT[@]}" chmod 600 "$W/data/server.key"
"${UNROOT[@]}" postgres -D "$W/data" -p "$PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories="$W" -c fsync=off -c shared_buffers=16MB -c ssl=on \
  -c timezone=UTC >"$W/server.log" 2>&1 &
SERVER=$!
export PGHOST=127.0.0.1 PGPORT=$PORT PGUSER=postgres PGDATABASE=postgres PGSSLMODE=disable PGGSSENCMODE=disable PSQLRC=/dev/null PSQL_HISTORY=/dev/null
for _ in $(seq 100); do psql -qc 'select 1' >/dev/null 2>&1 && break; sleep 0.1; done
psql -qc 'create table t(id serial primary key, a text, b text); create table big(x int, y text)' >/dev/null
python3 -m venv "$W/py"
"$W/py/bin/pip" install -q 'psycopg[binary]' asyncpg

# The server moved to its usual port in the file, so that the default configuration reads it.
start() { tcpdump -i lo -U --immediate-mode -s 0 -w "$W/raw.pcap" "tcp port $PORT" 2>"$W/tcpdump.log" & DUMP=$!
  for _ in $(seq 100); do grep -q listening "$W/tcpdump.log" && return; sleep 0.05; done; echo "tcpdump did not start" >&2; exit 1; }
finish() { sleep 0.5; kill -INT "$DUMP"; wait "$DUMP" || true; DUMP=
  python3 "$OUT/port.py" "$W/raw.pcap" "$OUT/$1.pcap" "$PORT" 5432; echo "$1: $(stat -c %s "$OUT/$1.pcap") bytes"; }
wanted() { [ ${#NAMES[@]} = 0 ] || [[ " ${NAMES[*]} " == *" $1 "* ]]; }
NAMES=("$@")

if wanted simple; then start
  psql -q >"$W/psql.log" 2>&1 <<'SQL' || true
insert into t(a, b) values ('x', null), ('a,b', 'say "hi"'), (E'two\nlines', ' space');
select a, b from t order by id;
select ';' as semicolon \; select 2 as two \; -- a comment; with one
create function f() returns int language sql begin atomic select 1; end \; select f();
do $$ begin raise notice 'noticed; really'; end $$;
select 1 \; selec 2 \; select 3;
select 1/0 \; select 3;
;
begin;
declare c binary cursor for select 1::int4 as n, 'x'::text as t;
fetch c;
commit;
listen ch;
notify ch, 'payload';
select 1 where false;
SQL
  finish simple; fi

if wanted copy; then start
  seq 1 1000 | sed 's/$/\tsome text/' >"$W/rows"
  psql -q >"$W/psql.log" 2>&1 <<SQL || true
\copy big from '$W/rows'
copy (select * from big order by x limit 300) to stdout;
copy big(x) from stdin;
1
not a number
\.
select count(*) from big;
SQL
  finish copy; fi

if wanted prepared; then start
  printf '\\set n random(1, 10)\nselect :n + 1 as sum;\ninsert into t(a) values (:n);\n' >"$W/script"
  pgbench -n -M prepared -t 3 -f "$W/script" >"$W/pgbench.log" 2>&1
  finish prepared; fi

if wanted binary; then start
  "$W/py/bin/python" "$OUT/clients.py" asyncpg; finish binary; fi

if wanted pipeline; then start
  "$W/py/bin/python" "$OUT/clients.py" psycopg; finish pipeline; fi

if wanted cancel; then start
  "$W/py/bin/python" "$OUT/clients.py" cancel; finish cancel; fi

if wanted ssl; then start
  PGSSLMODE=require psql -qc 'select 1' >/dev/null; finish ssl; fi
