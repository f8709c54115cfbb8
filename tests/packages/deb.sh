#!/bin/sh
# Installs a package into a fresh system, runs the service as its unit says, upgrades, removes and purges it.
#
# usage: deb.sh OLD.deb NEW.deb, as root, in mount and network namespaces of its own (`unshare --mount --net`)
#
# The fresh system has the programs of this one in /usr (with a layer above them for what is installed), but /etc, /var and the database of
# dpkg of its own.
set -eu

old=$(realpath "$1") new=$(realpath "$2")
fail() { echo "deb test: $*" >&2; exit 1; }
step() { echo "deb test: $*"; }

# --- the fresh system -------------------------------------------------------------------------------------------------------------------
base=$(mktemp -d)
server='' service=''
finish() {
    for process in $server $service; do kill "$process" 2>/dev/null || true; done
    # The mounts are in this mount namespace and vanish with it; the folder is outside.
    umount -R "$base" 2>/dev/null || umount -l "$base" || true
    rmdir "$base" 2>/dev/null || true
}
trap finish EXIT
mount --make-rprivate /
mount -t tmpfs tmpfs "$base"
root=$base/root
mkdir -p "$base/upper" "$base/work" "$root/usr" "$root/etc" "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/tmp" "$root/root" \
    "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$root/var/log" "$root/var/tmp"
mount -t overlay overlay -o "lowerdir=/usr,upperdir=$base/upper,workdir=$base/work" "$root/usr"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
for folder in bin sbin lib lib64; do
    [ ! -e "/$folder" ] || ln -s "usr/$folder" "$root/$folder"
done
cp /etc/ld.so.cache "$root/etc/"
cp -a /etc/alternatives "$root/etc/"
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files\n' >"$root/etc/nsswitch.conf"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
# Of the installed packages the fresh system has those that this one depends on.
depends=$(dpkg-deb --field "$new" Depends | tr ',|' '\n\n' | sed 's/(.*//; s/ //g')
for package in $depends; do
    dpkg-query --status "$package" 2>/dev/null | grep -v '^\(Pre-\)\?Depends:\|^Recommends:\|^Conffiles:\|^ /' || true
    echo
done >"$root/var/lib/dpkg/status"
inside() { chroot "$root" env PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DPKG_MAINTSCRIPT_DEBUG= "$@"; }
install_deb() {
    cp "$1" "$root/tmp/package.deb"
    inside dpkg --install /tmp/package.deb >"$base/dpkg.log" 2>&1 || { cat "$base/dpkg.log" >&2; fail "dpkg --install of $1 failed"; }
}
ip link set lo up

# --- installation -----------------------------------------------------------------------------------------------------------------------
step "install $(basename "$old")"
install_deb "$old"
grep -q '^sniffer:' "$root/etc/passwd" || fail "the user sniffer was not made"
for group in sniffer sniffer-view; do
    grep -q "^$group:" "$root/etc/group" || fail "the group $group was not made"
done
state() { inside stat -c '%U:%G %a' "$1"; }
expect() { [ "$1" = "$2" ] || fail "$3: expected '$2', got '$1'"; }
expect "$(state /etc/sniffer/sniffer.yml)" 'root:sniffer 640' /etc/sniffer/sniffer.yml
inside cat /etc/sniffer/sniffer.reference.yml | grep -q '^#output.kafka.topic: ' || fail "the reference is not beside the configuration"
expect "$(state /var/lib/sniffer)" 'sniffer:sniffer 750' /var/lib/sniffer
expect "$(state /var/log/sniffer)" 'sniffer:sniffer 750' /var/log/sniffer
inside dpkg --verify sniffer || fail "files differ from those in the package"
inside /usr/bin/sniffer test config -c /etc/sniffer/sniffer.yml --path.home /usr/share/sniffer >/dev/null ||
    fail "the configuration in the package is refused"

# --- the service, as its unit says ------------------------------------------------------------------------------------------------------
unit=$root/usr/lib/systemd/system/sniffer.service
setting() { sed -n "s/^$1=//p" "$unit"; }
command=$(setting ExecStart)
user=$(setting User)
list() { setting "$1" | tr 'A-Z ' 'a-z,' | sed 's/cap_/+/g'; }
[ -n "$command" ] && [ -n "$user" ] || fail "the unit has no ExecStart or no User"
(cd "$root/tmp" && exec python3 -m http.server --bind 127.0.0.1 8000 >/dev/null 2>&1) &
server=$!
events() { cat "$root"/var/lib/sniffer/events/* 2>/dev/null | grep -c "\"$1\"" || true; }

# LimitMEMLOCK; a container may not be allowed to raise it, and only old kernels need it.
ulimit -l unlimited 2>/dev/null || true

# Starts the service and sends requests until one with this path is reported.
serve() {
    granted=$(list AmbientCapabilities)
    (exec chroot "$root" setpriv --reuid "$user" --regid "$user" --init-groups --no-new-privs --inh-caps "-all,$granted" --ambient-caps "-all,$granted" \
        --bounding-set "-all,$(list CapabilityBoundingSet)" $command >"$base/service.log" 2>&1) &
    service=$!
    tries=0
    until [ "$(events "/$1")" -gt 0 ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { cat "$base/service.log" >&2; fail "no request for /$1 was reported"; }
        kill -0 $service 2>/dev/null || { cat "$base/service.log" >&2; fail "the service ended"; }
        curl --silent --output /dev/null "http://127.0.0.1:8000/$1" || true
        sleep 0.1
    done
    number=$(inside id -u "$user")
    expect "$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' /proc/$service/status)" "$number" "user of the service"
    expect "$(sed -n 's/^NoNewPrivs:\t//p' /proc/$service/status)" 1 "NoNewPrivs"
    kill -TERM $service
    wait $service || { cat "$base/service.log" >&2; fail "the service ended with an error"; }
    service=''
}

sed -i 's/^output.elasticsearch:/output.file: {path: \/var\/lib\/sniffer\/events, filename: events}\n#&/; s/^  hosts:/#&/; /add_cloud_metadata/d' \
    "$root/etc/sniffer/sniffer.yml"
step "the service sees requests as the user $user with $(setting AmbientCapabilities)"
serve first
before=$(sha256sum <"$root/etc/sniffer/sniffer.yml")
agent=$(cat "$root/var/lib/sniffer/meta.json")

# --- upgrade ----------------------------------------------------------------------------------------------------------------------------
step "upgrade to $(basename "$new")"
install_deb "$new"
expect "$(inside dpkg-query --show --showformat '${Version}' sniffer)" "$(dpkg-deb --field "$new" Version)" "version after the upgrade"
expect "$(sha256sum <"$root/etc/sniffer/sniffer.yml")" "$before" "the edited configuration after the upgrade"
expect "$(state /etc/sniffer/sniffer.yml)" 'root:sniffer 640' "/etc/sniffer/sniffer.yml after the upgrade"
[ "$(events /first)" -gt 0 ] || fail "the data is gone after the upgrade"
serve second
expect "$(cat "$root/var/lib/sniffer/meta.json")" "$agent" "the identity after the upgrade"

# --- removal ----------------------------------------------------------------------------------------------------------------------------
step "remove"
inside dpkg --remove sniffer >/dev/null 2>&1 || fail "dpkg --remove failed"
[ ! -e "$root/usr/bin/sniffer" ] || fail "the program is still there after the removal"
[ -e "$root/etc/sniffer/sniffer.yml" ] && [ -e "$root/var/lib/sniffer/meta.json" ] || fail "the removal deleted configuration or data"
step "purge"
inside dpkg --purge sniffer >/dev/null 2>&1 || fail "dpkg --purge failed"
left=$(cd "$root" && find etc var usr/share usr/lib/systemd usr/lib/sysusers.d usr/bin -path '*sniffer*' -newer "$base/upper" ! -path 'var/lib/dpkg/*' | grep -v '^var/log/dpkg.log' || true)
[ -z "$left" ] || fail "left after the purge: $left"
for folder in etc/sniffer var/lib/sniffer var/log/sniffer usr/share/doc/sniffer; do
    [ ! -e "$root/$folder" ] || fail "$folder is left after the purge"
done
step "passed"
