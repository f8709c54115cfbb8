//! Records the commands of processes.

use crate::{
    maps::{BINPRM_FILENAME, COMMAND, COMMANDS, MM_ARG_END, MM_ARG_START, TASK_MM},
    tasks,
};
use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user},
};
use sniffer_common::process::{MAX_ARGUMENTS, MAX_EXECUTABLE, ProcessKey};

/// The process of `task`, which is the current one, has executed the program of a `struct linux_binprm`.
#[inline(always)]
pub fn executed(task: u64, program: u64) {
    let Some(command) = COMMAND.get_ptr_mut(0) else { return };
    let filename: u64 = tasks::field(program, &BINPRM_FILENAME);
    let memory: u64 = tasks::field(task, &TASK_MM);
    let (from, until): (u64, u64) = (tasks::field(memory, &MM_ARG_START), tasks::field(memory, &MM_ARG_END));
    // SAFETY: the pointer is to the value of this CPU in a per-CPU array, which no other program uses meanwhile. The helpers get the
    // lengths of its arrays and write no more bytes.
    unsafe {
        let length = bpf_probe_read_kernel_str((&raw mut (*command).executable).cast(), MAX_EXECUTABLE as u32, filename as *const _);
        (*command).executable_len = if length > 0 { length as u32 } else { 0 };
        // The kernel leaves the arguments in whole pages. What follows them is the environment, which is not recorded.
        let length = until.wrapping_sub(from).min(MAX_ARGUMENTS as u64) as u32;
        let copied = bpf_probe_read_user((&raw mut (*command).arguments).cast(), length, from as *const _);
        (*command).arguments_len = if copied == 0 { length } else { 0 };
        let key = ProcessKey { start: tasks::start(task), pid: tasks::pid(), reserved: 0 };
        let _ = COMMANDS.insert(&key, &*command, BPF_ANY.into());
    }
}
