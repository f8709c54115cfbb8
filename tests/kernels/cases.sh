# Runs in the virtual machine of `cargo xtask kernels`: captures real HTTP and DNS in every way, and prints one line per case:
# CASE|name|result|capture method|HTTP events of those expected|DNS events of those expected|warnings
# A case of the kernel's own limits prints: CASE|name|result|what the program said|||

COUNT=4 # requests of each protocol, over IPv4 and over IPv6

# until SECONDS COMMAND...: waits until the command succeeds.
until_() {
    tries=$(($1 * 10)); shift
    while ! "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

client() { nsenter --net=/run/netns/client "$@"; }

# The hosts: the client in its namespace on va, the server here on vb. On both a VLAN device, 7.
hosts() {
    ip link set lo up
    ip netns add client
    ip link add va netns client type veth peer name vb
    client ip link set lo up
    client ip addr add 10.7.0.1/24 dev va; client ip addr add fd07::1/64 dev va nodad; client ip link set va up
    ip addr add 10.7.0.2/24 dev vb; ip addr add fd07::2/64 dev vb nodad; ip link set vb up
    client ip link add link va name va.7 type vlan id 7; ip link add link vb name vb.7 type vlan id 7
    client ip addr add 10.8.0.1/24 dev va.7; client ip addr add fd08::1/64 dev va.7 nodad; client ip link set va.7 up
    ip addr add 10.8.0.2/24 dev vb.7; ip addr add fd08::2/64 dev vb.7 nodad; ip link set vb.7 up
}

servers() {
    mkdir -p /srv /var/log/nginx /var/lib/nginx
    head -c 100000 /dev/zero | tr '\0' x >/srv/large
    head -c 20000000 /dev/zero >/srv/unwanted
    cat >/etc/nginx.conf <<'C'
error_log stderr; pid /run/nginx.pid; user root; events {}
http { access_log off; server { listen 80; listen [::]:80 ipv6only=on; root /srv; location /n/ { return 200 "fine\n"; } } }
C
    nginx -c /etc/nginx.conf
    dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --user=root --pid-file=/run/dnsmasq.pid --local=/test/ --host-record=www.test,192.0.2.7
    until_ 60 client curl -sf -o /dev/null http://10.7.0.2/n/0
    until_ 60 client dig +tries=1 +time=1 @10.7.0.2 www.test
}

# traffic IPv4 IPv6 [client]: the requests.
traffic() {
    v4=$1 v6=$2 from=$3
    for n in $(seq $COUNT); do
        $from curl -sS -o /dev/null "http://$v4/n/$n"
        [ "$n" = 1 ] && path=large || path=n/$n
        $from curl -sS -g -o /dev/null "http://[$v6]/$path"
        $from dig +tries=1 +time=5 @"$v4" www.test A >/dev/null
        $from dig +tries=1 +time=5 @"$v6" www.test A >/dev/null
    done
}

count() { cat /tmp/out/events* 2>/dev/null | grep -c "\"type\":\"$1\""; }
all_there() { [ "$(count http)" -ge $((COUNT * 2)) ] && [ "$(count dns)" -ge $((COUNT * 2)) ]; }
warnings() { grep -h -E '"log.level":"(warn|error)"' /tmp/log | sed 's/.*"message":"\([^"]*\).*/\1/' | cut -c1-400 | sort -u | head -3 | tr '\n|' ';/'; }
method() { grep -h -o 'capturing with [^,]*[^"]*worker' /tmp/log | head -1 | sed 's/capturing with //; s/, [0-9]* worker.*//'; }

# start DEVICE TYPE HOOK [option...]: starts the program, and waits until it captures.
start() {
    device=$1 type=$2 hook=$3; shift 3
    rm -rf /tmp/home /tmp/out; mkdir -p /tmp/home; : >/tmp/log
    $as sniffer -e -c "${config:-/etc/sniffer.yml}" --path.home /tmp/home -E "packetbeat.interfaces.device=$device" -E "packetbeat.interfaces.type=$type" \
        -E "packetbeat.interfaces.hook=$hook" "$@" >/tmp/log 2>&1 &
    pid=$!
    until_ 120 grep -q -E 'is running|Exiting' /tmp/log
    grep -q 'is running' /tmp/log
}

# finish NAME EXPECTED-METHOD: waits for the events, ends the program, and prints the case. The method is a pattern.
finish() {
    until_ 20 all_there
    kill "$pid"; wait "$pid"
    http=$(count http) dns=$(count dns) wanted=$((COUNT * 2)) result=ok
    [ "$http" = $wanted ] && [ "$dns" = $wanted ] || result=WRONG
    method | grep -q -E "$2" || result="WRONG: expected $2"
    echo "CASE|$1|$result|$(method)|$http of $wanted|$dns of $wanted|$(warnings)"
}

failed() { echo "CASE|$1|FAILED||||$(warnings) $(grep -v '^{' /tmp/log | head -3 | tr '\n|' ';/')"; }

# run NAME EXPECTED-METHOD DEVICE TYPE HOOK [option...]
run() {
    name=$1 expected=$2; shift 2
    start "$@" || { failed "$name"; return; }
    case $device in
        lo) traffic 127.0.0.1 ::1 ;;
        *) traffic ${v4:-10.7.0.2} ${v6:-fd07::2} client ;;
    esac
    finish "$name" "$expected"
}

hosts
servers
echo "KERNEL|$(uname -r)"
as= tcx='tcx|clsact'
# XDP needs Linux 5.18.
xdp="XDP in, ($tcx|tc)" xdp_lo=XDP
[ "$(printf '5.18\n%s\n' "$(uname -r)" | sort -V | head -1)" = 5.18 ] || xdp=$tcx xdp_lo=$tcx

# Every type and hook.
run "ebpf auto" "$tcx" vb ebpf auto
run "ebpf xdp" "$xdp" vb ebpf xdp
run "ebpf tc" "$tcx" vb ebpf tc
tc qdisc show dev vb | grep -q clsact && echo "CASE|the qdisc is removed|WRONG||||"
run "ebpf socket" "socket filter" vb ebpf socket
run "af_packet" af_packet vb af_packet auto
run "pcap" pcap vb pcap auto
run "auto, any" "socket filter" any auto auto
run "auto, any, flows" "socket filter" any auto auto -E packetbeat.flows.timeout=30s
grep -q 'cannot count flows' /tmp/log && echo "CASE|auto, any, flows counted in the kernel|WRONG||||"
run "af_packet, any" af_packet any af_packet auto
run "pcap, any" pcap any pcap auto
# Bodies that nobody wants stay in the kernel.
for hook in xdp tc socket; do
    start vb ebpf $hook
    client curl -sS -o /dev/null http://10.7.0.2/unwanted -o /dev/null http://10.7.0.2/n/1
    traffic 10.7.0.2 fd07::2 client
    until_ 20 [ "$(count http)" -ge $((COUNT * 2 + 2)) ]
    kill "$pid"; wait "$pid"
    shunted=$(grep -h -o '"shunted":[0-9]*' /tmp/log | tail -1)
    bodies=$(cat /tmp/out/events* | grep -c '"bytes":20000000')
    result=ok; { [ -n "$shunted" ] && [ "$bodies" = 1 ]; } || result="WRONG: $shunted, $bodies bodies"
    echo "CASE|ebpf $hook, shunts|$result|$(method)|||$(warnings)"
done

run "auto, lo" "socket filter" lo auto auto
run "ebpf xdp, lo" "$xdp_lo" lo ebpf xdp
run "ebpf tc, lo" "$tcx" lo ebpf tc

# A VLAN trunk with default settings.
v4=10.8.0.2 v6=fd08::2
for way in "auto auto" "ebpf xdp" "ebpf socket" "af_packet auto" "pcap auto"; do
    run "VLAN, $way" . vb $way
done
v4= v6=

# All protocols in one classic program, which old kernels limit to 20 kB.
config=/etc/all-protocols.yml
run "af_packet, any, all protocols" af_packet any af_packet auto
config=

# Locked memory is limited, and the limit cannot be raised.
ulimit -l 64
as="setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource"
if start vb ebpf tc; then
    traffic 10.7.0.2 fd07::2 client
    finish "memlock 64 kB" .
elif grep -q -i 'memlock\|locked memory' /tmp/log; then
    echo "CASE|memlock 64 kB|ok|$(warnings)|||"
else
    failed "memlock 64 kB"
fi
as=

# Other programs' filters and qdiscs, and killed runs, where programs are attached through clsact.
start vb ebpf tc; method >/tmp/method; kill "$pid"; wait "$pid"
if grep -q clsact /tmp/method; then
    programs() { tc filter show dev vb "$1" | grep -c sniffer-; }

    tc qdisc add dev vb clsact
    tc filter add dev vb ingress matchall action pass
    tc filter add dev vb egress matchall action pass
    run "clsact, matchall earlier" clsact vb ebpf tc
    tc qdisc del dev vb clsact

    start vb ebpf tc
    tc filter add dev vb ingress matchall action pass
    traffic 10.7.0.2 fd07::2 client
    finish "clsact, matchall later" clsact
    tc qdisc del dev vb clsact

    tc qdisc add dev vb clsact
    tc filter add dev vb ingress pref 1 matchall action pass
    run "clsact, first priority taken" "socket filter" vb ebpf tc
    tc qdisc del dev vb clsact

    tc qdisc add dev vb ingress
    run "ingress qdisc" "socket filter" vb ebpf tc
    tc qdisc del dev vb ingress

    start vb ebpf tc; kill -9 "$pid"; wait "$pid" 2>/dev/null
    left=$(programs ingress)
    start vb ebpf tc
    [ "$left" = 1 ] && [ "$(programs ingress)$(programs egress)" = 11 ] || echo "CASE|clsact, after kill -9|WRONG: $left and $(programs ingress) programs||||"
    traffic 10.7.0.2 fd07::2 client
    finish "clsact, after kill -9" clsact
    tc qdisc show dev vb | grep -q clsact && echo "CASE|clsact, after kill -9|WRONG: the qdisc stays||||"

    start vb ebpf tc
    tc qdisc del dev vb clsact
    until_ 10 grep -q 'attached again' /tmp/log
    traffic 10.7.0.2 fd07::2 client
    finish "clsact, deleted while running" clsact
fi
