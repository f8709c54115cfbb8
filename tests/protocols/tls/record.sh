#!/bin/bash
# Records the captures of this folder again: openssl s_server and s_client, nginx and curl on loopback. As root, for tcpdump.
# record.sh [FOLDER]: into FOLDER, else beside this script.
set -eu
[ "$(id -u)" = 0 ] || { echo "record.sh: tcpdump needs root"; exit 1; }
HERE=$(cd "$(dirname "$0")" && pwd)
OUT=${1:-$HERE}
W=$(mktemp -d)
PORT=${PORT:-24433}
PIDS=
trap 'for p in $PIDS; do kill "$p" 2>/dev/null || true; done; rm -rf "$W"' EXIT
cd "$W"

# A chain of three, with much in the names; a client's certificate.
openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/C=AT/O=Test+O=Other/CN=Root, the" -keyout root.key -out root.pem 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/C=AT/O=Test/OU=One/OU=Two/CN=Middle" -keyout ca.key -out ca.csr 2>/dev/null
printf 'basicConstraints=critical,CA:true\n' > ca.ext
openssl x509 -req -in ca.csr -CA root.pem -CAkey root.key -days 3650 -set_serial 0x0abc -extfile ca.ext -out ca.pem 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj "/C=AT/ST=Wien/L=Wien/street=Gasse 1/postalCode=1010/O=Test/CN=www.example.test/emailAddress=a@example.test" -keyout k.pem -out s.csr 2>/dev/null
printf 'subjectAltName=DNS:www.example.test,DNS:*.example.test,email:a@example.test,IP:127.0.0.1,IP:::1\n' > s.ext
openssl x509 -req -in s.csr -CA ca.pem -CAkey ca.key -days 3650 -set_serial 0x1234567890abcdef -extfile s.ext -out s.pem 2>/dev/null
cat ca.pem root.pem > chain.pem
printf 'V\t350101000000Z\t\t1234567890ABCDEF\tunknown\t/CN=www.example.test\n' > index.txt
openssl ocsp -index index.txt -CA ca.pem -rsigner ca.pem -rkey ca.key -issuer ca.pem -cert s.pem -respout ocsp.der >/dev/null 2>&1
openssl req -x509 -newkey ed25519 -nodes -days 3650 -subj "/CN=client" -keyout ck.pem -out c.pem 2>/dev/null

ready() { for _ in $(seq 100); do (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.1; done; echo "no server on $1"; exit 1; }
# capture NAME PORT: until `done_`
capture() {
  : > tcpdump.log
  tcpdump -i lo --immediate-mode -U -s 0 -w "$OUT/$1.pcap" "tcp port $2" 2>>tcpdump.log &
  DUMP=$!
  PIDS="$PIDS $DUMP"
  for _ in $(seq 100); do grep -q listening tcpdump.log && return; sleep 0.05; done
}
done_() { sleep 0.7; kill -INT "$DUMP"; wait "$DUMP" || true; ended "$DUMP"; }
serve() { # PORT options: waits before the capture begins
  local port=$1; shift
  openssl s_server -accept "127.0.0.1:$port" -cert s.pem -key k.pem -cert_chain chain.pem "$@" >"server$port.log" 2>&1 &
  SERVER=$!
  PIDS="$PIDS $SERVER"
  ready "$port"
}
ended() { PIDS=${PIDS/ $1/}; }
stop() { kill "$SERVER" 2>/dev/null || true; wait "$SERVER" 2>/dev/null || true; ended "$SERVER"; }
client() { local port=$1; shift; (sleep 0.4) | timeout 5 openssl s_client -connect "127.0.0.1:$port" -servername www.example.test "$@" >client.log 2>&1 || true; }

P=$PORT
serve $P -www -tls1_2 -alpn h2 -status_file ocsp.der; capture tls12 $P; client $P -alpn h2,http/1.1 -status; done_; stop
P=$((P + 1)); serve $P -www; capture tls13 $P; client $P -alpn http/1.1; done_; stop
P=$((P + 1)); serve $P -www -tls1_2; capture resumed12 $P
client $P -sess_out t12; client $P -sess_in t12; client $P -no_ticket -sess_out i12; client $P -no_ticket -sess_in i12; done_; stop
P=$((P + 1)); serve $P -www -tls1_3; capture resumed13 $P; (printf 'GET / HTTP/1.0\r\n\r\n'; sleep 0.5) | openssl s_client -connect 127.0.0.1:$P -sess_out t13 >/dev/null 2>&1 || true; client $P -sess_in t13; done_; stop
P=$((P + 1)); serve $P -www -tls1_3 -groups P-384; capture retry $P; client $P -groups X25519:P-384; done_; stop
P=$((P + 1)); serve $P -www -tls1_2 -CAfile c.pem -Verify 1; capture client-certificate $P
client $P -cert c.pem -key ck.pem; client $P; done_; stop
P=$((P + 1)); serve $P -www -cipher ECDHE+AESGCM; capture alerts $P
client $P -tls1_2 -cipher AES128-SHA; client $P -tls1_2 -CAfile c.pem -verify_return_error; client $P -tls1_3 -CAfile c.pem -verify_return_error; done_; stop

P=$((P + 1)); serve $P -www; capture split $P
client $P -max_send_frag 512 -alpn "http/1.1,$(seq -s, -f 'protocol-%g' 1 60)"; done_; stop

# STARTTLS: a mail server that speaks just enough.
P=$((P + 1))
python3 - $P >mail.log 2>&1 <<'PY' &
import socket, ssl, sys
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain("s.pem", "k.pem")
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen()
while True:
    k, _ = s.accept()
    try:
        k.sendall(b"220 mail.example.test ESMTP\r\n"); f = k.makefile("rb")
        for line in f:
            if line.upper().startswith(b"EHLO"): k.sendall(b"250-mail.example.test\r\n250 STARTTLS\r\n")
            if line.upper().startswith(b"STARTTLS"):
                k.sendall(b"220 Go ahead\r\n"); t = c.wrap_socket(k, server_side=True); t.sendall(b"250 hello\r\n"); t.recv(100); t.close(); break
    except OSError: pass
    k.close()
PY
PIDS="$PIDS $!"; ready $P; capture starttls $P; client $P -starttls smtp; done_

# nginx and curl.
P=$((P + 1))
cat > nginx.conf <<N
pid $W/nginx.pid; error_log $W/error.log; daemon off; master_process off; events {}
http { access_log off; server { listen 127.0.0.1:$P ssl http2; ssl_certificate $W/s.pem; ssl_certificate_key $W/k.pem; location / { return 200 "hello\n"; } } }
N
nginx -c "$W/nginx.conf" >nginx.log 2>&1 & PIDS="$PIDS $!"
ready $P; capture nginx-curl $P
curl -sk --resolve www.example.test:$P:127.0.0.1 https://www.example.test:$P/ >/dev/null
curl -sk --tls-max 1.2 --http1.1 --resolve www.example.test:$P:127.0.0.1 https://www.example.test:$P/ >/dev/null; done_
ls -l "$OUT"/*.pcap
