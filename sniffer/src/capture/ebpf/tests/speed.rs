//! Measures the cost of capture.
#![allow(unsafe_code)] // reads the CPU time of a thread

use super::*;

/// Packets per second through each hook, and CPU time per packet of the reader and of the sender (whose CPU runs the
/// hook). The sender calls only `sendto`, and so sets the rate.
#[test]
#[ignore = "a measurement: cargo test --release -p sniffer --lib capture::ebpf::tests::speed::speed -- --ignored --nocapture"]
fn speed() {
    in_a_network("speed", || {
        const COUNT: u32 = 400_000;
        let thread_cpu = || {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: the kernel only writes to `time`, which lives for the call.
            unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
            time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
        };
        for payload in [22, 1458] {
            for every in [1, 100] {
                for hook in [None, Some(HookSetting::Xdp), Some(HookSetting::Tc), Some(HookSetting::Socket)] {
                    let interface = |hook| Interface { workers: Some(1), buffer_size_mb: 24, ..on("vb", hook) };
                    let opened = hook.map(|hook| open(&interface(hook), &wanted(false)).unwrap());
                    let (mut sources, control) = opened.unzip();
                    let sources = sources.get_or_insert_default();
                    let sender = Sender::new("va");
                    let (hit, miss) = (udp(&[], 7, WANTED, payload), udp(&[], 7, OTHER, payload));
                    let sender = thread::spawn(move || {
                        let (start, cpu) = (Instant::now(), thread_cpu());
                        for n in 0..COUNT {
                            sender.send(if n % every == 0 { &hit } else { &miss });
                        }
                        (start.elapsed(), thread_cpu() - cpu)
                    });
                    let (mut frames, mut bytes, cpu) = (0u64, 0, thread_cpu());
                    while !sender.is_finished() {
                        for source in &mut *sources {
                            let _ = source.poll(Duration::from_millis(10), &mut |frame| {
                                frames += 1;
                                bytes += frame.data.len();
                            });
                        }
                        if sources.is_empty() {
                            thread::sleep(Duration::from_millis(10));
                        }
                    }
                    for source in &mut *sources {
                        while source.poll(Duration::from_millis(30), &mut |_| frames += 1).unwrap() != Polled::Idle {}
                    }
                    let cpu = thread_cpu() - cpu;
                    let (took, sending) = sender.join().unwrap();
                    let stats = control.map(|control| stats(sources, control.as_ref())).unwrap_or_default();
                    println!(
                        "{:4} bytes, 1 of {every:3}, {hook:?}: {:.0} packets/s, sender {} ns/packet, reader {} ns/match, {frames} read, {} lost of {}",
                        payload + 42,
                        f64::from(COUNT) / took.as_secs_f64(),
                        sending / u64::from(COUNT),
                        cpu / frames.max(1),
                        stats.lost,
                        stats.seen
                    );
                }
            }
        }
    });
}
