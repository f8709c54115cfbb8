//! What the path of a cgroup says about a process: the container and the systemd service that it belongs to.
//!
//! Container runtimes and systemd name cgroups after the things that they contain; there is no other source that covers all runtimes and
//! needs no connection to one of them. Paths come from `/proc/PID/cgroup` (cgroups(7)).

/// What the cgroup of a process says about the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// The id of the container, or its name where the runtime names cgroups after names (systemd-nspawn, lxc). Empty: no container.
    pub container: String,
    /// The name of the systemd service, without `.service`. Empty: no service.
    pub service: String,
}

/// Number of hexadecimal digits of the ids of docker, containerd, cri-o and podman.
const ID: usize = 64;
/// Number of hexadecimal digits of a task of AWS Fargate.
const TASK: usize = 32;

impl Cgroup {
    /// Reads the text of `/proc/PID/cgroup`: a line per hierarchy. Container and service come from the first hierarchies that have them.
    pub fn of(text: &str) -> Self {
        let mut found = Self::default();
        for path in text.lines().filter_map(|line| line.splitn(3, ':').nth(2)) {
            let Self { container, service } = Self::of_path(path);
            if found.container.is_empty() && !container.is_empty() {
                // A service of another hierarchy may be that of the container's runtime.
                found = Self { container, service };
            } else if found.container.is_empty() && found.service.is_empty() {
                found.service = service;
            }
        }
        found
    }

    /// Reads the path of one cgroup. Of nested containers, the innermost counts. A service counts only if it is not outside the container:
    /// that is the service of the container's runtime.
    pub fn of_path(path: &str) -> Self {
        let mut found = Self::default();
        let mut before = "";
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if let Some(container) = container(before, part) {
                found = Self { container, service: String::new() };
            } else if let Some(service) = part.strip_suffix(".service")
                // The manager of a user's services contains everything that the user runs.
                && !service.starts_with("user@")
                && !service.is_empty()
            {
                found.service = unescaped(service);
            }
            before = part;
        }
        found
    }
}

/// The container that a part of a path stands for. `before` is the part in front of it.
fn container(before: &str, part: &str) -> Option<String> {
    if ["crio-conmon-", "libpod-conmon-"].iter().any(|prefix| part.starts_with(prefix)) {
        // The process that supervises a container of podman or cri-o. It is not in the container.
        return None;
    }
    if let Some(id) = hexadecimal(part) {
        return Some(id);
    }
    let scope = part.strip_suffix(".scope").unwrap_or(part);
    let nspawn = || part.strip_suffix(".service")?.strip_prefix("systemd-nspawn@");
    // libvirt registers virtual machines like containers.
    let machine = || scope.strip_prefix("machine-").filter(|name| part != scope && !unescaped(name).starts_with("qemu-"));
    if let Some(name) = machine().or_else(nspawn).filter(|name| !name.is_empty()) {
        return Some(unescaped(name));
    }
    let lxc = match before {
        "lxc" | "lxc.payload" => Some(part),
        _ => part.strip_prefix("lxc.payload."),
    };
    if let Some(name) = lxc.filter(|name| !name.is_empty()) {
        return Some(name.to_owned());
    }
    // AWS Fargate: /ecs/TASK/TASK-NUMBER.
    let (task, number) = part.split_once('-')?;
    let is_task = before == task && is_hexadecimal(task, TASK) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_task.then(|| part.to_owned())
}

/// The id in the name of a cgroup of docker, containerd, cri-o or podman: 64 hexadecimal digits, alone or after a prefix such as
/// `docker-`, `cri-containerd-`, `crio-`, `libpod-` or `kubepods-…:cri-containerd:`, and before a suffix such as `.scope`.
fn hexadecimal(part: &str) -> Option<String> {
    let mut words = part.split(|c: char| !c.is_ascii_alphanumeric());
    words.find(|word| is_hexadecimal(word, ID)).map(str::to_owned)
}

fn is_hexadecimal(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Replaces the escapes of systemd (`\x2d`, systemd.unit(5)) by the bytes that they stand for.
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("\\x") {
        let (before, escape) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        let byte = escape.get(2..4).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let length = if byte.is_some() { 4 } else { 2 };
        let kept = escape.get(..length).unwrap_or_default();
        match byte {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(kept.as_bytes()),
        }
        rest = escape.get(length..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Container and service of a path. `HEX` stands for an id of 64 digits.
    fn of(path: &str) -> (String, String) {
        let id = "0123456789abcdef".repeat(4);
        let Cgroup { container, service } = Cgroup::of_path(&path.replace("HEX", &id));
        (container.replace(&id, "HEX"), service)
    }

    #[test]
    fn containers_of_all_runtimes() {
        for (path, container) in [
            // docker, with cgroupfs, with systemd, and rootless.
            ("/docker/HEX", "HEX"),
            ("/system.slice/docker-HEX.scope", "HEX"),
            ("/docker/HEX/init.scope", "HEX"),
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-HEX.scope", "HEX"),
            // containerd and Kubernetes.
            ("/kubepods/burstable/pod69349abe-d645-11ea-9c4c-08002709c05c/HEX", "HEX"),
            ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0_1.slice/cri-containerd-HEX.scope", "HEX"),
            ("/system.slice/containerd.service/kubepods-burstable-podffe9.slice:cri-containerd:HEX", "HEX"),
            ("/default/HEX", "HEX"),
            ("/system.slice/nerdctl-HEX.scope", "HEX"),
            // cri-o and podman, and the processes that supervise their containers.
            ("/kubepods.slice/kubepods-pod1.slice/crio-HEX.scope", "HEX"),
            ("/kubepods.slice/kubepods-pod1.slice/crio-HEX.scope/container", "HEX"),
            ("/kubepods.slice/kubepods-pod1.slice/crio-conmon-HEX.scope", ""),
            ("/machine.slice/libpod-HEX.scope/container", "HEX"),
            ("/libpod_parent/libpod-HEX", "HEX"),
            ("/machine.slice/libpod-payload-HEX", "HEX"),
            ("/machine.slice/libpod-conmon-HEX.scope", ""),
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-HEX.scope/container", "HEX"),
            // systemd-nspawn, and a virtual machine.
            ("/machine.slice/machine-web\\x2d1.scope/payload/init.scope", "web-1"),
            ("/machine.slice/systemd-nspawn@web\\x2d1.service/payload", "web-1"),
            ("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator", ""),
            // lxc.
            ("/lxc/web", "web"),
            ("/lxc/101/ns/system.slice", "101"),
            ("/lxc.payload.web/init.scope", "web"),
            ("/lxc.payload/web", "web"),
            ("/lxc.monitor.web", ""),
            // AWS ECS and Fargate.
            ("/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-42", "0123456789abcdef0123456789abcdef-42"),
            ("/ecs/0123456789abcdef0123456789abcdef/HEX", "HEX"),
            // A container in a container.
            ("/docker/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff/docker/HEX", "HEX"),
            // Seen from another cgroup namespace.
            ("/../../kubepods-pod1.slice/cri-containerd-HEX.scope", "HEX"),
            // No containers.
            ("/", ""),
            ("/init.scope", ""),
            ("/user.slice/user-0.slice/session-1.scope", ""),
            ("/system.slice/docker.service", ""),
            ("/a/0123456789abcdef0123456789abcdef-1", ""),
            ("/xHEX", ""),
            ("/HEX0", ""),
            ("/machine.slice/machine-.scope", ""),
            ("/lxc.payload.", ""),
        ] {
            assert_eq!(of(path).0, container, "{path}");
        }
    }

    #[test]
    fn services() {
        for (path, container, service) in [
            ("/system.slice/nginx.service", "", "nginx"),
            ("/system.slice/system-getty.slice/getty@tty1.service", "", "getty@tty1"),
            ("/system.slice/postgresql@15-main.service", "", "postgresql@15-main"),
            ("/system.slice/a\\x2db.service/sub", "", "a-b"),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service", "", "syncthing"),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope", "", ""),
            ("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:HEX", "HEX", ""),
            ("/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service", "web", "nginx"),
            ("/docker/HEX/system.slice/nginx.service", "HEX", "nginx"),
            ("/system.slice/.service", "", ""),
        ] {
            assert_eq!(of(path), (container.to_owned(), service.to_owned()), "{path}");
        }
        assert_eq!(of("/system.slice/a\\xg\\x.service").1, "a\\xg\\x", "no escapes");
    }

    #[test]
    fn all_hierarchies_are_read() {
        let of = |text: &str| {
            let Cgroup { container, service } = Cgroup::of(text);
            (container, service)
        };
        let none = String::new();
        assert_eq!(of("0::/system.slice/nginx.service\n"), (none.clone(), "nginx".into()));
        assert_eq!(of("12:pids:/system.slice/a.service\n1:name=systemd:/lxc/web/system.slice/b.service\n"), ("web".into(), "b".into()));
        assert_eq!(of("2:cpu,cpuacct:/\n1:name=systemd:/system.slice/a.service\n0::/x\n"), (none.clone(), "a".into()));
        assert_eq!(of(""), (none.clone(), none));
    }
}
