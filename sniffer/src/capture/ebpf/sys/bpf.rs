//! `bpf(2)`. Layouts and numbers come from aya's bindings of the kernel's `include/uapi/linux/bpf.h`.

use crate::capture::filter::ebpf::Insn;
use aya_obj::generated::{
    BPF_F_XDP_HAS_FRAGS, bpf_attach_type, bpf_attr, bpf_cmd, bpf_map_type,
    bpf_prog_type::{self, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_XDP},
};
use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The type as which the kernel verifies a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramKind {
    /// The program type.
    pub kind: bpf_prog_type,
    /// The expected attach type. All programs of a jump table must have the same. `None` where the kernel ignores it.
    pub attach: Option<bpf_attach_type>,
    /// `BPF_F_*` flags.
    pub flags: u32,
}

/// An XDP program, with the flags that aya uses.
pub const XDP: ProgramKind = ProgramKind { kind: BPF_PROG_TYPE_XDP, attach: Some(bpf_attach_type::BPF_XDP), flags: BPF_F_XDP_HAS_FRAGS };
/// A TC program.
pub const TC: ProgramKind = ProgramKind { kind: BPF_PROG_TYPE_SCHED_CLS, attach: None, flags: 0 };
/// A filter for packet sockets.
pub const SOCKET_FILTER: ProgramKind = ProgramKind { kind: BPF_PROG_TYPE_SOCKET_FILTER, attach: None, flags: 0 };

/// Size of the buffer for the verifier's log, in bytes.
const VERIFIER_LOG: usize = 1 << 20;

/// Attributes with every byte zero.
fn attributes() -> bpf_attr {
    // SAFETY: a union of plain numbers, for which all bytes zero are valid. The kernel requires zeros in unused fields.
    unsafe { mem::zeroed() }
}

/// # Safety
/// Every pointer in `attributes` must be valid for what `command` reads or writes through it.
unsafe fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: the kernel accesses at most the size that is passed. The caller guarantees the pointers in the
    // attributes.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command as i32, &raw mut *attributes, size_of::<bpf_attr>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done as i32) }
}

/// # Safety
/// The requirements of [`bpf`] apply. In addition, `command` must return a new descriptor.
unsafe fn bpf_fd(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the caller guarantees what `bpf` needs. The kernel has just created the descriptor, so nothing else owns it.
    unsafe { bpf(command, attributes).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// How often a program is passed to the verifier if signals interrupt it.
const LOAD_ATTEMPTS: u32 = 5;

/// Loads a program. If the verifier refuses it, the error message ends with the last lines of its log.
pub fn load(kind: ProgramKind, insns: &[Insn], name: &str) -> io::Result<OwnedFd> {
    let attempt = |log: &mut [u8]| {
        let mut attributes = attributes();
        // SAFETY: the union member that BPF_PROG_LOAD reads; all its bytes are zero.
        let load = unsafe { &mut attributes.__bindgen_anon_3 };
        load.prog_type = kind.kind as u32;
        load.insn_cnt = insns.len() as u32;
        load.insns = insns.as_ptr() as u64;
        load.license = c"GPL".as_ptr() as u64;
        if !log.is_empty() {
            load.log_level = 1;
            load.log_size = log.len() as u32;
            load.log_buf = log.as_mut_ptr() as u64;
        }
        load.prog_flags = kind.flags;
        load.expected_attach_type = kind.attach.map_or(0, |attach| attach as u32);
        // The last byte stays zero to end the name.
        for (place, byte) in load.prog_name.iter_mut().take(15).zip(name.bytes()) {
            *place = byte as libc::c_char;
        }
        // The verifier returns EAGAIN when a signal arrives while it runs (`do_check` in kernel/bpf/verifier.c).
        let mut left = LOAD_ATTEMPTS;
        loop {
            left -= 1;
            // SAFETY: instructions, licence and log live until the call returns.
            match unsafe { bpf_fd(bpf_cmd::BPF_PROG_LOAD, &mut attributes) } {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && left > 0 => {}
                done => return done,
            }
        }
    };
    match attempt(&mut []) {
        Err(error) if !matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
            let mut log = vec![0; VERIFIER_LOG];
            let _ = attempt(&mut log);
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
            let text = String::from_utf8_lossy(log.get(..end).unwrap_or_default()).into_owned();
            let tail: Vec<&str> = text.trim_end().lines().rev().take(12).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            Err(io::Error::new(error.kind(), format!("{error}: {}", tail.join("\n"))))
        }
        done => done,
    }
}

fn create_map(kind: bpf_map_type, key_size: u32, value_size: u32, max_entries: u32) -> io::Result<OwnedFd> {
    let mut attributes = attributes();
    // SAFETY: the union member that BPF_MAP_CREATE reads; all its bytes are zero.
    let create = unsafe { &mut attributes.__bindgen_anon_1 };
    (create.map_type, create.key_size, create.value_size, create.max_entries) = (kind as u32, key_size, value_size, max_entries);
    // SAFETY: the call takes no pointers.
    unsafe { bpf_fd(bpf_cmd::BPF_MAP_CREATE, &mut attributes) }
}

/// Makes a jump table (`BPF_MAP_TYPE_PROG_ARRAY`).
pub fn prog_array(entries: u32) -> io::Result<OwnedFd> {
    create_map(bpf_map_type::BPF_MAP_TYPE_PROG_ARRAY, 4, 4, entries)
}

/// Makes a ring buffer. `bytes` must be a power of two and at least a page.
pub fn ring_buffer(bytes: u32) -> io::Result<OwnedFd> {
    create_map(bpf_map_type::BPF_MAP_TYPE_RINGBUF, 0, 0, bytes)
}

/// Enters a program in a jump table, or a map in an array of maps. The previous entry is replaced atomically.
pub fn set_slot(table: BorrowedFd<'_>, slot: u32, program: BorrowedFd<'_>) -> io::Result<()> {
    let value = program.as_raw_fd();
    let mut attributes = attributes();
    // SAFETY: the union member that BPF_MAP_UPDATE_ELEM reads; all its bytes are zero.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    (element.map_fd, element.key) = (table.as_raw_fd() as u32, &raw const slot as u64);
    element.__bindgen_anon_1.value = &raw const value as u64;
    // SAFETY: key and value are four bytes each, as these tables require, and live until the call returns.
    unsafe { bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

/// Empties a slot of a jump table.
pub fn clear_slot(table: BorrowedFd<'_>, slot: u32) -> io::Result<()> {
    let mut attributes = attributes();
    // SAFETY: the union member that BPF_MAP_DELETE_ELEM reads; all its bytes are zero.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    (element.map_fd, element.key) = (table.as_raw_fd() as u32, &raw const slot as u64);
    // SAFETY: the key is four bytes and lives until the call returns.
    match unsafe { bpf(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut attributes) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Reads entries of a hash map into `keys` and `values`, from `cursor` on (`None`: the beginning). Returns their number, and
/// the cursor for the next call; `None` when there are no further entries. Entries that are inserted or deleted meanwhile
/// may be missing.
///
/// # Errors
/// `ENOSPC` when more entries have the same hash than fit into `keys`.
pub fn lookup_batch<K: FromBytes + IntoBytes, V: FromBytes + IntoBytes>(
    map: BorrowedFd<'_>,
    cursor: Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, Option<u32>)> {
    let (from, mut next) = (cursor.unwrap_or_default(), 0_u32);
    let mut attributes = attributes();
    // SAFETY: the union member that BPF_MAP_LOOKUP_BATCH reads; all its bytes are zero.
    let batch = unsafe { &mut attributes.batch };
    batch.in_batch = if cursor.is_some() { &raw const from as u64 } else { 0 };
    batch.out_batch = &raw mut next as u64;
    (batch.keys, batch.values) = (keys.as_mut_ptr() as u64, values.as_mut_ptr() as u64);
    batch.count = u32::try_from(keys.len().min(values.len())).unwrap_or(u32::MAX);
    batch.map_fd = map.as_raw_fd() as u32;
    // SAFETY: the kernel writes `count` keys and values of the map's sizes, which the callers' types have; any bytes are
    // valid for these types.
    let done = unsafe { bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attributes) };
    // SAFETY: the union member that the kernel has written to.
    let count = unsafe { attributes.batch.count } as usize;
    match done {
        Ok(_) => Ok((count, Some(next))),
        // The end of the map. The entries before it were read.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((count, None)),
        Err(error) => Err(error),
    }
}

/// Deletes an entry of a hash map, if it exists.
pub fn delete<K: IntoBytes + Immutable>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let mut attributes = attributes();
    // SAFETY: the union member that BPF_MAP_DELETE_ELEM reads; all its bytes are zero.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    (element.map_fd, element.key) = (map.as_raw_fd() as u32, &raw const *key as u64);
    // SAFETY: the key has the map's key size and lives until the call returns.
    match unsafe { bpf(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut attributes) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Sets an entry of a hash map or an array.
pub fn set<K: IntoBytes + Immutable, V: IntoBytes + Immutable>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    let mut attributes = attributes();
    // SAFETY: the union member that BPF_MAP_UPDATE_ELEM reads; all its bytes are zero.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    (element.map_fd, element.key) = (map.as_raw_fd() as u32, &raw const *key as u64);
    element.__bindgen_anon_1.value = &raw const *value as u64;
    // SAFETY: key and value have the map's sizes and live until the call returns.
    unsafe { bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

/// Runs a program `repeat` times on a frame. Returns its return value and the nanoseconds per run.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<(u32, u32)> {
    let mut attributes = attributes();
    // SAFETY: the union member that BPF_PROG_TEST_RUN reads; all its bytes are zero.
    let test = unsafe { &mut attributes.test };
    test.prog_fd = program.as_raw_fd() as u32;
    (test.data_size_in, test.data_in, test.repeat) = (frame.len() as u32, frame.as_ptr() as u64, repeat);
    // SAFETY: the frame lives until the call returns, and nothing is written to it.
    unsafe { bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attributes)? };
    // SAFETY: the union member that the kernel has written its result to.
    let test = unsafe { attributes.test };
    Ok((test.retval, test.duration))
}
