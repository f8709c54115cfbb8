//! Tests of `ssl.*` with real handshakes, using certificates that `openssl` generates during the test.

use super::*;
use crate::config::Node;
use rustls::{ClientConnection, ServerConfig, ServerConnection, server::WebPkiClientVerifier};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
};

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    /// Generates an authority (`ca`), a server and a client certificate issued by it (`srv` for `here.example`, `cli`), a self-signed
    /// server certificate (`own`), and an unrelated authority (`other`). `None` if openssl is not installed.
    fn new(name: &str) -> Option<Self> {
        let path = std::env::temp_dir().join(format!("sniffer-tls-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let folder = Self(path);
        let script = "set -e
            new='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'
            for ca in ca other; do $new -subj /CN=$ca -keyout $ca.key -out $ca.pem; done
            for end in srv cli; do $new -subj /CN=$end -addext subjectAltName=DNS:here.example -addext basicConstraints=critical,CA:FALSE \
                -CA ca.pem -CAkey ca.key -keyout $end.key -out $end.pem; done
            $new -subj /CN=own -addext subjectAltName=DNS:here.example -keyout own.key -out own.pem
            openssl x509 -in ca.pem -outform der -out ca.der";
        let made = Command::new("sh").args(["-c", script]).current_dir(&folder.0).output();
        if made.as_ref().is_ok_and(|made| made.status.success()) {
            return Some(folder);
        }
        println!("SKIPPED: openssl is not installed, or cannot make the certificates");
        None
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

fn options(yaml: &str) -> Result<Options, String> {
    Node::parse(yaml).unwrap().read().map_err(|e| e.to_string())
}

/// Performs a handshake with a server that presents the certificate `server`. If `ask` is set, the server requires a client certificate.
fn handshake(folder: &Folder, server: &str, ask: bool, name: &str, yaml: &str) -> Result<(), String> {
    let config = client(&options(yaml)?, true)?;
    let mut chain = certificates(&folder.file(&format!("{server}.pem"))).unwrap();
    if server == "srv" {
        chain.extend(certificates(&folder.file("ca.pem")).unwrap());
    }
    let key = private_key(&folder.file(&format!("{server}.key")), None).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = if ask {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&folder.file("ca.pem")).unwrap());
        builder.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listening.local_addr().unwrap();
    let server_config = Arc::new(builder.with_single_cert(chain, key).unwrap());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listening.accept().unwrap();
        let mut tls = ServerConnection::new(server_config).unwrap();
        let mut tls = rustls::Stream::new(&mut tls, &mut stream);
        let _ = tls.write_all(b"hello").and_then(|()| tls.flush());
        let _ = tls.read(&mut [0]);
    });
    let mut stream = TcpStream::connect(address).unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut text = [0; 5];
    let read = rustls::Stream::new(&mut tls, &mut stream).read_exact(&mut text).map_err(|e| e.to_string());
    drop(stream);
    serving.join().unwrap();
    read.map(|()| assert_eq!(&text, b"hello"))
}

#[test]
fn which_servers_are_trusted() {
    let Some(folder) = Folder::new("trust") else { return };
    let (ca, other, own) = (folder.file("ca.pem"), folder.file("other.pem"), folder.file("own.pem"));
    let fingerprint: String = Sha256::digest(std::fs::read(folder.file("ca.der")).unwrap()).iter().map(|b| format!("{b:02X}")).collect();
    let pin = |file: &str| base64::engine::general_purpose::STANDARD.encode(key_digest(&certificates(file).unwrap()[0]).unwrap());
    let inline = std::fs::read_to_string(&ca).unwrap().replace('\n', "\\n");
    let (right, wrong) = ("here.example", "elsewhere.example");
    for (server, name, yaml, good) in [
        ("srv", right, format!("{{certificate_authorities: {ca}}}"), true),
        ("srv", right, format!("{{certificate_authorities: [\"{inline}\"]}}"), true),
        ("srv", right, format!("{{certificate_authorities: [{other}, {ca}], verification_mode: strict}}"), true),
        ("srv", wrong, format!("{{certificate_authorities: {ca}}}"), false),
        ("srv", wrong, format!("{{certificate_authorities: {ca}, verification_mode: certificate}}"), true),
        ("srv", right, format!("{{certificate_authorities: {other}, verification_mode: certificate}}"), false),
        ("srv", wrong, "{verification_mode: none}".into(), true),
        ("srv", right, "{}".into(), false),
        ("srv", right, format!("{{ca_trusted_fingerprint: '{fingerprint}'}}"), true),
        ("srv", right, format!("{{ca_trusted_fingerprint: '{}'}}", "0".repeat(64)), false),
        ("srv", right, format!("{{certificate_authorities: {ca}, ca_sha256: '{}'}}", pin(&ca)), true),
        ("srv", right, format!("{{certificate_authorities: {ca}, ca_sha256: '{}'}}", pin(&other)), false),
        ("own", right, format!("{{certificate_authorities: {own}}}"), true),
        ("own", wrong, format!("{{certificate_authorities: {own}}}"), false),
        ("own", right, format!("{{certificate_authorities: {ca}}}"), false),
        (
            "srv",
            right,
            format!(
                "{{certificate_authorities: {ca}, supported_protocols: [TLSv1.2], cipher_suites: [ECDHE-ECDSA-AES-128-GCM-SHA256], curve_types: [P-256]}}"
            ),
            true,
        ),
    ] {
        let result = handshake(&folder, server, false, name, &yaml);
        assert_eq!(result.is_ok(), good, "{server} as {name} with {yaml}: {result:?}");
    }
}

#[test]
fn the_client_certificate_is_presented() {
    let Some(folder) = Folder::new("client") else { return };
    let ca = folder.file("ca.pem");
    let with = format!("{{certificate_authorities: {ca}, certificate: {}, key: {}}}", folder.file("cli.pem"), folder.file("cli.key"));
    assert_eq!(handshake(&folder, "srv", true, "here.example", &with), Ok(()));
    assert!(handshake(&folder, "srv", true, "here.example", &format!("{{certificate_authorities: {ca}}}")).is_err());
}

#[test]
fn wrong_settings() {
    for (yaml, expected) in [
        ("{verification_mode: loose}", "certificate"),
        ("{certificate_authorities: /no/such}", "ssl.certificate_authorities: /no/such"),
        ("{ca_trusted_fingerprint: abc}", "64 hexadecimal digits"),
        ("{ca_sha256: abc}", "ssl.ca_sha256"),
        ("{certificate: /x}", "without ssl.key"),
        ("{supported_protocols: [SSLv3]}", "not one of TLSv1.2, TLSv1.3"),
        ("{curve_types: [P-1]}", "P-256"),
        ("{certificate_authorities: \"-----BEGIN NOTHING\"}", "not PEM"),
    ] {
        let error = options(yaml).and_then(|options| client(&options, true)).map(drop).unwrap_err();
        assert!(error.contains(expected), "{yaml}: {error}");
    }
}

#[test]
fn encrypted_keys() {
    let Some(folder) = Folder::new("encrypted") else { return };
    let convert = |how: &str| {
        let script = format!("openssl pkcs8 -topk8 -in cli.key -out new.key -passout pass:'a secret' {how}");
        assert!(Command::new("sh").args(["-c", &script]).current_dir(&folder.0).output().unwrap().status.success(), "{how}");
    };
    let yaml = |more: &str| {
        let (ca, certificate, key) = (folder.file("ca.pem"), folder.file("cli.pem"), folder.file("new.key"));
        format!("{{certificate_authorities: {ca}, certificate: {certificate}, key: {key}{more}}}")
    };
    std::fs::write(folder.file("pass"), "a secret\n").unwrap();
    for how in ["-v2 aes256", "-v2 aes128 -v2prf hmacWithSHA1", "-v2 des3", "-scrypt"] {
        convert(how);
        for more in [", key_passphrase: a secret".to_owned(), format!(", key_passphrase_path: {}", folder.file("pass"))] {
            assert_eq!(handshake(&folder, "srv", true, "here.example", &yaml(&more)), Ok(()), "{how} {more}");
        }
    }
    for (more, expected) in [("", "the key is encrypted; set ssl.key_passphrase"), (", key_passphrase: x-wrong", "cannot be decrypted")] {
        let error = handshake(&folder, "srv", true, "here.example", &yaml(more)).unwrap_err();
        assert!(error.contains(expected) && !error.contains("x-wrong"), "{error}");
    }
    convert("-v1 PBE-SHA1-3DES");
    let error = handshake(&folder, "srv", true, "here.example", &yaml(", key_passphrase: a secret")).unwrap_err();
    assert!(error.contains("not PBES2"), "{error}");
    let script = "openssl rsa -in <(openssl genrsa 2048) -aes128 -passout pass:x -traditional -out new.key";
    assert!(Command::new("bash").args(["-c", script]).current_dir(&folder.0).output().unwrap().status.success());
    let error = handshake(&folder, "srv", true, "here.example", &yaml(", key_passphrase: x")).unwrap_err();
    assert!(error.contains("openssl pkcs8 -topk8"), "{error}");
}

#[test]
fn replaced_files_are_read_again() {
    let Some(folder) = Folder::new("replaced") else { return };
    let copy = |from: &str, to: &str| assert!(std::fs::copy(folder.file(from), folder.file(to)).is_ok());
    copy("ca.pem", "use-ca.pem");
    copy("cli.pem", "use.pem");
    copy("cli.key", "use.key");
    let yaml = |more: &str| {
        let files = format!("certificate: {}, key: {}", folder.file("use.pem"), folder.file("use.key"));
        format!("{{certificate_authorities: {}, {files}, {more}}}", folder.file("use-ca.pem"))
    };
    let reloading = |more: &str| Reloading::new(&options(&yaml(more)).unwrap(), true, &[b"x"]).unwrap();
    let each_time = [
        reloading("certificate_reload: {reload_interval: 0s}"),
        reloading("{restart_on_cert_change: {enabled: true, period: 0s}, certificate_reload.enabled: false}".trim_matches(['{', '}'])),
    ];
    let never = [reloading("certificate_reload: {enabled: false}"), reloading("certificate_reload: {reload_interval: 1h}")];
    let all = || each_time.iter().chain(&never);
    let before: Vec<_> = all().map(Reloading::config).collect();
    assert!(all().zip(&before).all(|(now, before)| Arc::ptr_eq(&now.config(), before)), "nothing has changed");
    copy("srv.key", "use.key");
    assert!(all().zip(&before).all(|(now, before)| Arc::ptr_eq(&now.config(), before)), "a pair that does not fit is not used");
    copy("srv.pem", "use.pem");
    copy("other.pem", "use-ca.pem");
    let changed: Vec<bool> = all().zip(&before).map(|(now, before)| !Arc::ptr_eq(&now.config(), before)).collect();
    assert_eq!(changed, [true, true, false, false]);
    assert_eq!(each_time[0].config().alpn_protocols, [b"x"]);
    std::fs::remove_file(folder.file("use.pem")).unwrap();
    let now = each_time[0].config();
    assert!(Arc::ptr_eq(&each_time[0].config(), &now), "a missing file leaves the last one");
    assert!(options("{renegotiation: sometimes}").is_err() && client(&options("{renegotiation: once}").unwrap(), false).is_err());
}
