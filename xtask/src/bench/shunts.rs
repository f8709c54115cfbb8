//! `bench shunts`: transfers 1 GB at 1 Gbit/s, over TLS and in the ways in which HTTP sends bodies. It measures how many of these bytes are
//! copied to user space, and the CPU time that this costs.

use super::{
    Scratch,
    live::{Net, Running, total_metrics},
    may_capture, measure, program,
};
use crate::Outcome;
use serde_json::Value;
use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Number of bytes of a transfer.
const BYTES: u64 = 1_000_000_000;
/// Rate of a download in bytes per second, in the form that curl expects.
const RATE: &str = "125M";
/// Pause after a transfer, in which the program empties the rings.
const SETTLE: Duration = Duration::from_millis(500);

/// A transfer.
struct Case {
    name: &'static str,
    url: &'static str,
    /// Sends the file instead of getting it.
    upload: bool,
    /// Further interface options.
    options: &'static str,
}

const CASES: &[Case] = &[
    Case { name: "TLS download", url: "https://192.0.2.2/file", upload: false, options: "" },
    Case { name: "HTTP download", url: "http://192.0.2.2/file", upload: false, options: "" },
    Case { name: "HTTP upload", url: "http://192.0.2.2/up", upload: true, options: "" },
    Case { name: "HTTP download until close", url: "http://192.0.2.2/close/file", upload: false, options: "" },
    Case { name: "HTTP download in chunks", url: "http://192.0.2.2/chunks/file", upload: false, options: "" },
    Case {
        name: "HTTP download, packets of the server only",
        url: "http://192.0.2.2/file",
        upload: false,
        options: ", bpf_filter: src port 80",
    },
];

/// Measures each transfer with and without shunts.
pub fn run(scratch: &Scratch) -> Outcome {
    if !may_capture() {
        return Ok(());
    }
    println!("Transfers of {BYTES} bytes at {RATE}B/s; \"flow bytes\" are those of both directions in the flow event.\n");
    println!("| transfer | shunt | s | CPU s | seen | copied | copied bytes | shunted | lost | flow bytes |");
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for case in CASES {
        for shunt in [true, false] {
            match measure_case(scratch, case, shunt) {
                Ok(row) => println!("| {} | {shunt} | {row} |", case.name),
                Err(error) => println!("| {} | {shunt} | {error} | | | | | | | |", case.name),
            }
        }
    }
    Ok(())
}

fn measure_case(scratch: &Scratch, case: &Case, shunt: bool) -> Result<String, String> {
    let net = Net::new()?;
    for (ns, last) in [(&net.sender, 1), (&net.receiver, 2)] {
        quietly(Command::new("ip").args(["-n", ns, "addr", "add", &format!("192.0.2.{last}/24"), "dev", "v0"]))?;
        quietly(Command::new("ip").args(["-n", ns, "link", "set", "lo", "up"]))?;
    }
    let server = start_server(scratch, &net)?;
    let out = scratch.path("out");
    let _ = fs::remove_dir_all(&out);
    let config = format!(
        "packetbeat.interfaces: {{device: v0, type: ebpf, shunt: {shunt}{}}}\npacketbeat.flows: {{timeout: 60s, period: -1s}}\n\
         packetbeat.protocols: [{{type: http, ports: [80]}}, {{type: tls, ports: [443]}}]\npacketbeat.shutdown_timeout: 5s\n\
         output.file: {{path: {}, filename: events}}\n",
        case.options,
        out.display()
    );
    let config = scratch.write("shunts.yml", config.as_bytes())?;
    let sniffer = Running::start(net.on(&net.receiver, &program()).arg("-e").arg("-c").arg(config).arg("--path.home").arg(&scratch.0))?;
    sniffer.wait_for("sniffer is running")?;
    let start = Instant::now();
    let mut curl = net.on(&net.sender, Path::new("curl"));
    if case.upload {
        curl.args(["-H", "Expect:", "-T"]).arg(scratch.path("file"));
    }
    quietly(curl.args(["-sSfk", "--http1.1", "--retry", "20", "--retry-connrefused", "--limit-rate", RATE, "-o", "/dev/null", case.url]))?;
    let seconds = start.elapsed().as_secs_f64();
    thread::sleep(SETTLE);
    let cpu = measure::cpu_so_far(sniffer.child.id()).ok_or("the program has ended")?;
    let capture = total_metrics(&sniffer.stop()?)?["capture"].clone();
    drop(server);
    let counter = |name: &str| capture[name].as_u64().unwrap_or(0);
    let [seen, copied, copied_bytes, shunted, lost] = ["seen", "copied", "copied_bytes", "shunted", "lost"].map(counter);
    let bytes = flow_bytes(&out)?;
    Ok(format!("{seconds:.1} | {cpu:.2} | {seen} | {copied} | {copied_bytes} | {shunted} | {lost} | {bytes}"))
}

/// Starts nginx, which serves a file of [`BYTES`] over HTTP and TLS, and takes uploads.
fn start_server(scratch: &Scratch, net: &Net) -> Result<Running, String> {
    let folder = &scratch.0;
    let file = File::create(folder.join("file")).and_then(|file| file.set_len(BYTES));
    file.map_err(|e| format!("{}: {e}", folder.join("file").display()))?;
    let mut openssl = Command::new("openssl");
    openssl.current_dir(folder).args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bench"]);
    quietly(openssl.args(["-keyout", "key", "-out", "cert"]))?;
    let at = folder.display();
    let conf = format!(
        "daemon off; master_process off; pid {at}/pid; error_log stderr; user root; events {{}} http {{ access_log off; client_body_temp_path {at}/b; \
         proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; server {{ listen 80; listen 81; root {at}; client_max_body_size 0; \
         location /up {{ proxy_method GET; proxy_set_body \"\"; proxy_pass http://127.0.0.1:81/nginx.conf; }} \
         location /chunks/ {{ alias {at}/; ssi on; ssi_types *; }} \
         location /close/ {{ alias {at}/; ssi on; ssi_types *; chunked_transfer_encoding off; }} }} \
         server {{ listen 443 ssl; ssl_certificate {at}/cert; ssl_certificate_key {at}/key; root {at}; }} }}"
    );
    let conf = scratch.write("nginx.conf", conf.as_bytes())?;
    Running::start(net.on(&net.receiver, Path::new("nginx")).arg("-c").arg(conf))
}

/// Runs a command without showing its output.
fn quietly(command: &mut Command) -> Outcome {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())) }
}

/// The bytes of both directions in the flow events of the folder `out`.
fn flow_bytes(out: &Path) -> Result<u64, String> {
    let files = fs::read_dir(out).map_err(|e| format!("{}: {e}", out.display()))?;
    let texts = files.flatten().map(|file| fs::read_to_string(file.path()).map_err(|e| e.to_string()));
    let mut bytes = 0;
    for text in texts.collect::<Result<Vec<_>, _>>()? {
        let flows = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|event| event["type"] == "flow");
        let both = |flow: Value| ["source", "destination"].map(|end| flow[end]["bytes"].as_u64().unwrap_or(0)).iter().sum::<u64>();
        bytes += flows.map(both).sum::<u64>();
    }
    Ok(bytes)
}
