//! Options of the whole program, and of the queue.

use super::super::{Group, Setting, default, example, needed};

pub(super) const GROUPS: &[Group] = &[
    Group {
        page: "general",
        title: "The whole program",
        section: "",
        about: "Names, tags and fields of all documents, and limits of the program.",
        lists: &[("", GENERAL)],
    },
    Group {
        page: "general",
        title: "Folders and the keystore",
        section: "",
        about: "Relative paths in other options are relative to these folders. The flags `--path.home` and so on override them.",
        lists: &[("", PATHS)],
    },
    Group {
        page: "general",
        title: "Reading the configuration again",
        section: "reload",
        about: "Which options can change without a restart is said at each option.",
        lists: &[("", RELOAD)],
    },
    Group {
        page: "general",
        title: "System calls",
        section: "seccomp",
        about: "The kernel refuses system calls that the program does not need.",
        lists: &[("", SECCOMP)],
    },
    Group {
        page: "queue",
        title: "The queue in memory",
        section: "queue.mem",
        about: "Events wait here until the output has delivered them. There is one queue, this one or the one on disk; an output can have its \
                own section `queue` instead.",
        lists: &[("", MEMORY_QUEUE)],
    },
    Group {
        page: "queue",
        title: "The queue on disk",
        section: "queue.disk",
        about: "Keeps events over restarts. `max_size` must be set.",
        lists: &[("", DISK_QUEUE)],
    },
];

const GENERAL: &[Setting] = &[
    example("name", "gateway-1", "The value of `agent.name` and `host.name`; without it the host's name."),
    default("tags", "[]", "Tags of every document."),
    default("fields", "{}", "Fields of every document, below `fields`."),
    default("fields_under_root", "false", "Puts `fields` at the top of the document instead of below `fields`."),
    default("max_procs", "0", "Number of cores to use for capture; 0: all."),
    default("timestamp.precision", "millisecond", "Digits of times in documents: `millisecond`, `microsecond` or `nanosecond`."),
    example(
        "memory.max",
        "256MB",
        "Most memory that traffic can make the program hold, without the rings of `buffer_size_mb`; at least 32MB. Without it: 256MB, or \
         64MB for each worker if that is more. Not in Packetbeat.",
    ),
    default("packetbeat.ignore_outgoing", "false", "Leaves out transactions that this host requests from others."),
    default("packetbeat.shutdown_timeout", "0s", "How long the program waits at its end for the output to take the events that wait."),
    default(
        "packetbeat.publish_timeout",
        "0s",
        "With `compatibility: strict`, and a capture file read at top speed: time-outs up to this one expire at the end of the file.",
    ),
    default(
        "packetbeat.compatibility",
        "corrected",
        "How capture files are read: `corrected` gives what live capture gives, `strict` what Packetbeat gives. Not in Packetbeat.",
    ),
    default("instrumentation.enabled", "false", "Only `false` is accepted: the program sends no traces of itself to an APM server."),
];

const PATHS: &[Setting] = &[
    example("path.home", "/usr/share/sniffer", "The home folder; without it the folder of the program."),
    example("path.config", "/etc/sniffer", "The folder of configuration files; without it `path.home`."),
    example("path.data", "/var/lib/sniffer", "The folder of data that is kept between runs; without it `data` in `path.home`."),
    example("path.logs", "/var/log/sniffer", "The folder of log files; without it `logs` in `path.home`."),
    example(
        "keystore.path",
        "/var/lib/sniffer/packetbeat.keystore",
        "The file with secrets, which the configuration uses as `${NAME}`; without it `packetbeat.keystore` in `path.data`.",
    ),
];

const RELOAD: &[Setting] = &[
    default("enabled", "false", "SIGHUP and changed files make the program read its configuration again. Not in Packetbeat."),
    default("period", "10s", "Time between two looks at the files. Not in Packetbeat."),
];

const SECCOMP: &[Setting] = &[
    default("enabled", "true", "Filters system calls."),
    default(
        "default_action",
        "errno",
        "What happens at a call that no entry of `syscalls` names: `errno`, `kill_thread`, `trap` and so on.",
    ),
    example(
        "syscalls",
        "[{action: allow, names: [read, write, close]}]",
        "Replaces the program's own list. Each entry has an `action` and the `names` of system calls.",
    ),
];

const MEMORY_QUEUE: &[Setting] = &[
    default("enabled", "true", "`false`: the section has no effect."),
    default("events", "3200", "Most events that wait."),
    default("bytes", "64MiB", "Most bytes of the events that wait. Not in Packetbeat."),
    default("flush.min_events", "1600", "A batch with this many events is handed to the output at once."),
    default("flush.timeout", "10s", "A smaller batch is handed to the output after this time."),
];

const DISK_QUEUE: &[Setting] = &[
    needed("max_size", "10GB", "Most bytes on disk, at least 10MB; 0: no limit."),
    default("enabled", "true", "`false`: the section has no effect."),
    example("path", "/var/lib/sniffer/diskqueue", "The folder of the queue; without it `diskqueue` in `path.data`."),
    example("segment_size", "1GB", "A file with this many bytes gets no more events; without it a tenth of `max_size`."),
    default("read_ahead", "512", "Most events that are read before the output wants them."),
    default("write_ahead", "2048", "Accepted without effect: events are written when they are published."),
    default("retry_interval", "1s", "The wait after a failed write; it doubles at each failure."),
    default("max_retry_interval", "30s", "The longest wait after a failed write."),
];
