//! Commands of the system call `bpf(2)`. Layouts and numbers come from aya's bindings of the kernel's
//! `include/uapi/linux/bpf.h`.

use crate::capture::filter::ebpf::Insn;
use aya_obj::generated::{
    BPF_F_XDP_HAS_FRAGS, bpf_attach_type, bpf_attr, bpf_cmd, bpf_map_type,
    bpf_prog_type::{self, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_XDP},
};
use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The program type and flags with which a program is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramKind {
    /// The program type.
    pub kind: bpf_prog_type,
    /// The expected attach type, which must be the same for all programs of a jump table. `None` where the kernel ignores
    /// it.
    pub attach: Option<bpf_attach_type>,
    /// Flags for loading, of the form `BPF_F_*`.
    pub flags: u32,
}

/// An XDP program, with the same flags as the programs that aya loads.
pub const XDP: ProgramKind = ProgramKind { kind: BPF_PROG_TYPE_XDP, attach: Some(bpf_attach_type::BPF_XDP), flags: BPF_F_XDP_HAS_FRAGS };
/// A TC program.
pub const TC: ProgramKind = ProgramKind { kind: BPF_PROG_TYPE_SCHED_CLS, attach: None, flags: 0 };
/// A filter for packet sockets.
pub const SOCKET_FILTER: ProgramKind = ProgramKind { kind: BPF_PROG_TYPE_SOCKET_FILTER, attach: None, flags: 0 };

/// Size of the buffer for the verifier's log, in bytes.
const VERIFIER_LOG: usize = 1 << 20;

/// Attributes of which every byte is zero.
fn attributes() -> bpf_attr {
    // SAFETY: `bpf_attr` is a union of integers and structs of integers, for which all bytes zero are valid. The kernel requires zeros in
    // unused fields.
    unsafe { mem::zeroed() }
}

/// Calls `bpf(2)` and returns its result.
///
/// # Safety
/// Every pointer in `attributes` must be valid for the bytes that `command` reads or writes through the pointer.
unsafe fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: the kernel accesses at most the size that is passed. The caller guarantees the pointers in the
    // attributes.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command as i32, &raw mut *attributes, size_of::<bpf_attr>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done as i32) }
}

/// Calls `bpf(2)` with a command that returns a new descriptor.
///
/// # Safety
/// The requirements of [`bpf`] apply. In addition, `command` must return a new descriptor.
unsafe fn bpf_fd(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the caller guarantees the requirements. The kernel has just created the descriptor, so nothing else owns it.
    unsafe { bpf(command, attributes).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// Maximum number of attempts to load a program, if signals interrupt the verifier.
const LOAD_ATTEMPTS: u32 = 5;

/// Loads a program. If the verifier refuses it, the error message ends with the last lines of its log.
pub fn load(kind: ProgramKind, insns: &[Insn], name: &str) -> io::Result<OwnedFd> {
    let load_with = |log: &mut [u8]| {
        let mut attributes = attributes();
        // SAFETY: all bytes of the union are zero, which is a valid value of every member. BPF_PROG_LOAD reads this member.
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
        // Byte 16 stays zero and ends the name.
        for (place, byte) in load.prog_name.iter_mut().take(15).zip(name.bytes()) {
            *place = byte as libc::c_char;
        }
        // The verifier returns EAGAIN when a signal arrives while it runs (`do_check` in kernel/bpf/verifier.c).
        let mut left = LOAD_ATTEMPTS;
        loop {
            left -= 1;
            // SAFETY: the attributes point to instructions, licence and log, which live until the call returns.
            match unsafe { bpf_fd(bpf_cmd::BPF_PROG_LOAD, &mut attributes) } {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && left > 0 => {}
                done => return done,
            }
        }
    };
    match load_with(&mut []) {
        Err(error) if !matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
            let mut log = vec![0; VERIFIER_LOG];
            let _ = load_with(&mut log);
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
    // SAFETY: all bytes of the union are zero, which is a valid value of every member. BPF_MAP_CREATE reads this member.
    let create = unsafe { &mut attributes.__bindgen_anon_1 };
    (create.map_type, create.key_size, create.value_size, create.max_entries) = (kind as u32, key_size, value_size, max_entries);
    // SAFETY: the attributes of this command have no pointers.
    unsafe { bpf_fd(bpf_cmd::BPF_MAP_CREATE, &mut attributes) }
}

/// Creates a jump table (`BPF_MAP_TYPE_PROG_ARRAY`).
pub fn prog_array(entries: u32) -> io::Result<OwnedFd> {
    create_map(bpf_map_type::BPF_MAP_TYPE_PROG_ARRAY, 4, 4, entries)
}

/// Creates an array with one entry that has the value `bytes`.
pub fn table(bytes: &[u8]) -> io::Result<OwnedFd> {
    let len = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let map = create_map(bpf_map_type::BPF_MAP_TYPE_ARRAY, 4, len, 1)?;
    set(map.as_fd(), &0_u32, bytes)?;
    Ok(map)
}

/// Creates a ring buffer. `bytes` must be a power of two and at least a page.
pub fn ring_buffer(bytes: u32) -> io::Result<OwnedFd> {
    create_map(bpf_map_type::BPF_MAP_TYPE_RINGBUF, 0, 0, bytes)
}

/// Sets a slot of a jump table to a program, or a slot of an array of maps to a map. The previous entry is replaced
/// atomically.
pub fn set_slot(table: BorrowedFd<'_>, slot: u32, program: BorrowedFd<'_>) -> io::Result<()> {
    let value = program.as_raw_fd();
    let mut attributes = attributes();
    // SAFETY: all bytes of the union are zero, which is a valid value of every member. BPF_MAP_UPDATE_ELEM reads this member.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    (element.map_fd, element.key) = (table.as_raw_fd() as u32, &raw const slot as u64);
    element.__bindgen_anon_1.value = &raw const value as u64;
    // SAFETY: key and value are four bytes each, as these tables require, and live until the call returns.
    unsafe { bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

/// Empties a slot of a jump table.
pub fn clear_slot(table: BorrowedFd<'_>, slot: u32) -> io::Result<()> {
    let mut attributes = attributes();
    // SAFETY: all bytes of the union are zero, which is a valid value of every member. BPF_MAP_DELETE_ELEM reads this member.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    (element.map_fd, element.key) = (table.as_raw_fd() as u32, &raw const slot as u64);
    // SAFETY: the attributes point to the key, which has four bytes as this table requires and lives until the call returns.
    match unsafe { bpf(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut attributes) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Reads entries of a hash map into `keys` and `values`. The function starts at `cursor`, or at the beginning if `cursor` is `None`. It
/// returns the number of entries, and the cursor for the next call or `None` at the end of the map. Entries that are inserted or deleted
/// during the calls may be missing.
///
/// # Errors
/// `ENOSPC` if a bucket of the hash map has more entries than fit into `keys`.
pub fn lookup_batch<K: FromBytes + IntoBytes, V: FromBytes + IntoBytes>(
    map: BorrowedFd<'_>,
    cursor: Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, Option<u32>)> {
    let (from, mut next) = (cursor.unwrap_or_default(), 0_u32);
    let mut attributes = attributes();
    // SAFETY: all bytes of the union are zero, which is a valid value of every member. BPF_MAP_LOOKUP_BATCH reads this member.
    let batch = unsafe { &mut attributes.batch };
    batch.in_batch = if cursor.is_some() { &raw const from as u64 } else { 0 };
    batch.out_batch = &raw mut next as u64;
    (batch.keys, batch.values) = (keys.as_mut_ptr() as u64, values.as_mut_ptr() as u64);
    batch.count = u32::try_from(keys.len().min(values.len())).unwrap_or(u32::MAX);
    batch.map_fd = map.as_raw_fd() as u32;
    // SAFETY: the kernel writes at most `count` keys and values. The callers' types have the sizes of the map's keys and values, and any
    // bytes are valid for these types. The buffers live until the call returns.
    let done = unsafe { bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attributes) };
    // SAFETY: this function set this member and the kernel wrote to it, so all its bytes are initialised; it consists of integers.
    let count = unsafe { attributes.batch.count } as usize;
    match done {
        Ok(_) => Ok((count, Some(next))),
        // The iteration has reached the end of the map. `count` says how many entries this last call read.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((count, None)),
        Err(error) => Err(error),
    }
}

/// Deletes the entry of a hash map with this key, if there is one.
pub fn delete<K: IntoBytes + Immutable>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let mut attributes = attributes();
    // SAFETY: all bytes of the union are zero, which is a valid value of every member. BPF_MAP_DELETE_ELEM reads this member.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    (element.map_fd, element.key) = (map.as_raw_fd() as u32, &raw const *key as u64);
    // SAFETY: the key has the map's key size and lives until the call returns.
    match unsafe { bpf(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut attributes) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Reads an entry of a hash map; `None` if there is none.
pub fn lookup<K: IntoBytes + Immutable, V: FromBytes + IntoBytes>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    let mut value = V::new_zeroed();
    let mut attributes = attributes();
    // SAFETY: all bytes of the union are zero, which is a valid value of every member. BPF_MAP_LOOKUP_ELEM reads this member.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    (element.map_fd, element.key) = (map.as_raw_fd() as u32, &raw const *key as u64);
    element.__bindgen_anon_1.value = &raw mut value as u64;
    // SAFETY: key and value have the map's sizes and live until the call returns; any bytes are a valid value.
    match unsafe { bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attributes) } {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        done => done.map(|_| Some(value)),
    }
}

/// Sets an entry of a hash map or an array.
pub fn set<K: IntoBytes + Immutable, V: IntoBytes + Immutable + ?Sized>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    let mut attributes = attributes();
    // SAFETY: all bytes of the union are zero, which is a valid value of every member. BPF_MAP_UPDATE_ELEM reads this member.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    (element.map_fd, element.key) = (map.as_raw_fd() as u32, &raw const *key as u64);
    element.__bindgen_anon_1.value = value.as_bytes().as_ptr() as u64;
    // SAFETY: key and value have the map's sizes and live until the call returns.
    unsafe { bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

/// Runs a program `repeat` times on a frame. Returns the program's return value and the average nanoseconds of a run.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<(u32, u32)> {
    let mut attributes = attributes();
    // SAFETY: all bytes of the union are zero, which is a valid value of every member. BPF_PROG_TEST_RUN reads this member.
    let test = unsafe { &mut attributes.test };
    test.prog_fd = program.as_raw_fd() as u32;
    (test.data_size_in, test.data_in, test.repeat) = (frame.len() as u32, frame.as_ptr() as u64, repeat);
    // SAFETY: the frame lives until the call returns. The kernel writes no output, because the attributes have no output buffer.
    unsafe { bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attributes)? };
    // SAFETY: this function set this member and the kernel wrote its result there, so all its bytes are initialised; it consists of
    // integers.
    let test = unsafe { attributes.test };
    Ok((test.retval, test.duration))
}
