#!/usr/bin/env bash
# Records nginx.pcap: nginx and curl over loopback, in a network namespace of their own. Needs root, nginx, curl and tcpdump.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "needs root: it makes a network namespace" >&2; exit 1; }
work=$(mktemp -d); ns=record$$
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; ip netns del $ns; rm -rf "$work"' EXIT
ip netns add $ns; ip -n $ns link set lo up
in_ns() { ip netns exec $ns "$@"; }
mkdir -p "$work/www"; chmod 755 "$work"
printf '<html><body>%s</body></html>\n' "$(seq -s ' ' 300)" > "$work/www/index.html"
printf '{"answer": 42}\n' > "$work/www/data.json"
cat > "$work/nginx.conf" <<EOF
daemon off; pid $work/pid; error_log stderr; user root;
events {}
http {
  types { text/html html; application/json json; }
  access_log off; gzip on; gzip_min_length 100; gzip_types text/html;
  client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  server { listen 80; root $work/www; location /post { return 201 "made\n"; } location /secret { auth_basic x; auth_basic_user_file /dev/null; } }
}
EOF
in_ns nginx -c "$work/nginx.conf" &
until in_ns curl -s --max-time 5 -o /dev/null http://127.0.0.1/; do sleep 0.1; done
in_ns tcpdump -q -i lo -U -w "$work/out.pcap" 'tcp port 80' 2> "$work/log" &
dump=$!
until grep -q 'listening on' "$work/log"; do sleep 0.1; done
get() { in_ns curl -s --max-time 5 -o /dev/null "$@"; }
get http://127.0.0.1/ http://127.0.0.1/data.json 'http://127.0.0.1/missing?a=1&b=two%20words'
get --compressed -H 'Host: www.example.org' http://127.0.0.1/index.html
get -I http://127.0.0.1/ --next http://127.0.0.1/data.json
get -d 'user=me&password=secret' http://127.0.0.1/post
get -u me:secret http://127.0.0.1/secret
get -H 'Expect: 100-continue' -H 'Content-Type: text/plain' --data-binary "@$work/www/index.html" http://127.0.0.1/post
get --http1.0 http://127.0.0.1/
get -X BREW http://127.0.0.1/pot
sleep 1; kill $dump; wait $dump || true
cp "$work/out.pcap" "$here/nginx.pcap"
