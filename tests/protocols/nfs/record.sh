#!/bin/bash
# Records v3.pcap and v4.pcap from nfs-ganesha on loopback with the clients of libnfs-utils. Needs root, and the Debian packages
# nfs-ganesha nfs-ganesha-vfs rpcbind libnfs-utils tcpdump. Stops all it started.
set -eu
[ "$(id -u)" = 0 ] || { echo "needs root: ganesha and tcpdump do" >&2; exit 1; }
cd "$(dirname "$0")"
out=$PWD port=12049 work=$(mktemp -d)
pids=()
finish() { for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$work"; }
trap finish EXIT
until_true() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "in vain: $*" >&2; exit 1; }

[ -e /etc/mtab ] || ln -s /proc/self/mounts /etc/mtab # ganesha aborts without it
mkdir -p "$work/export" "$work/rec/v4recov" "$work/rec/v4old" /run/rpcbind
echo hello > "$work/export/a.txt"
chmod 755 "$work"; chmod 777 "$work/export"
cat > "$work/ganesha.conf" <<CONF
NFS_CORE_PARAM { NFS_Port = $port; MNT_Port = $((port + 1)); Bind_addr = 127.0.0.1; Protocols = 3,4; Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; }
NFSv4 { Graceless = true; RecoveryRoot = $work/rec; Minor_Versions = 0,1,2; }
EXPORT_DEFAULTS { SecType = sys; }
EXPORT { Export_Id = 1; Path = $work/export; Pseudo = /x; Access_Type = RW; Squash = No_Root_Squash; Transports = TCP; Protocols = 3,4; FSAL { Name = VFS; } }
CONF
if ! pgrep -x rpcbind >/dev/null; then
  rm -f /run/rpcbind.sock # left behind by one that was killed
  unshare -n rpcbind -f -w & pids+=($!) # in a network namespace of its own: it would listen everywhere
  until_true test -S /run/rpcbind.sock
  sleep 0.2
fi
ganesha.nfsd -F -L STDERR -N EVENT -f "$work/ganesha.conf" -p "$work/pid" 2> "$work/log" & pids+=($!)
v3="nfs://127.0.0.1$work/export?version=3&nfsport=$port&mountport=$((port + 1))"
until_true nfs-ls "$v3"
record() { # NAME, then the commands
  tcpdump -i lo --immediate-mode -U -s 400 -Z root -w "$out/$1" "tcp port $port" 2> "$work/tcpdump" & local dump=$!; pids+=($dump)
  until_true grep -q listening "$work/tcpdump"
  shift; "$@" || true
  sleep 0.5; kill "$dump"; wait "$dump" 2>/dev/null || true
}
head -c 20000 /dev/zero > "$work/large"
of3() { nfs-ls "$v3"; nfs-cat "${v3/export/export/a.txt}"; nfs-cp "$work/large" "${v3/export/export/b}"; nfs-cat "${v3/export/export/none}"; }
v4="nfs://127.0.0.1/x?version=4&nfsport=$port"
of4() { nfs-ls "$v4"; nfs-cat "${v4/\/x/\/x/a.txt}"; nfs-cp "$work/large" "${v4/\/x/\/x/c}"; nfs-cat "${v4/\/x/\/x/none}"; }
record v3.pcap of3
record v4.pcap of4
