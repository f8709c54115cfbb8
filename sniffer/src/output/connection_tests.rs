//! Tests of connections: through a SOCKS5 proxy, with time limits, and closed ones.

use super::*;
use crate::{config::Node, opening::testing::opening};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

fn dialer(yaml: &str) -> Result<Dialer, String> {
    Dialer::read(&opening(&Node::parse(yaml).unwrap()), false, Duration::from_secs(5)).map_err(|e| e.to_string())
}

async fn listener() -> (TcpListener, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Peer { host: "127.0.0.1".into(), port })
}

/// A SOCKS5 server (RFC 1928, RFC 1929) for one connection. Returns the request's address as bytes, and the bytes that
/// the client sent after the request.
async fn socks(listener: TcpListener, password: bool, code: u8) -> (Vec<u8>, Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.unwrap();
    let mut methods = vec![0; head[1].into()];
    stream.read_exact(&mut methods).await.unwrap();
    stream.write_all(&[5, if password { 2 } else { 0 }]).await.unwrap();
    if password {
        let mut all = [0; 5];
        stream.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"\x01\x01u\x01p");
        stream.write_all(&[1, 0]).await.unwrap();
    }
    let mut request = [0; 5];
    stream.read_exact(&mut request).await.unwrap();
    assert_eq!(request[..3], [5, 1, 0]);
    let length = if request[3] == 3 { usize::from(request[4]) + 2 } else { 5 };
    let mut address = vec![0; length];
    stream.read_exact(&mut address).await.unwrap();
    stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    let mut sent = Vec::new();
    let _ = stream.read_to_end(&mut sent).await;
    ([&request[3..], &address].concat(), sent)
}

#[tokio::test]
async fn through_a_proxy_that_resolves_the_name_or_not() {
    let to = Peer { host: "localhost".into(), port: 6379 };
    for (more, user, resolved) in [("", "", false), ("", "u:p@", false), (", proxy_use_local_resolver: true", "", true)] {
        let (listener, peer) = listener().await;
        let proxy = tokio::spawn(socks(listener, !user.is_empty(), 0));
        let dialer = dialer(&format!("{{proxy_url: 'socks5://{user}127.0.0.1:{}'{more}}}", peer.port)).unwrap();
        assert_eq!(dialer.peer(), Some(peer));
        let mut stream = dialer.dial(&to, None).await.unwrap();
        write(&mut stream, b"hello", Duration::from_secs(5)).await.unwrap();
        drop(stream);
        let (address, sent) = proxy.await.unwrap();
        assert_eq!(sent, b"hello");
        let by_name = [&b"\x03\x09localhost"[..], &6379u16.to_be_bytes()].concat();
        assert_eq!(address == by_name, !resolved, "{address:?}");
    }
    let (listener, peer) = listener().await;
    tokio::spawn(socks(listener, false, 5));
    let error = dialer(&format!("{{proxy_url: 'socks5://127.0.0.1:{}'}}", peer.port)).unwrap().dial(&to, None).await.err().unwrap();
    assert!(error.to_string().starts_with("localhost:6379: connecting: SOCKS5 proxy: "), "{error}");
    let error = dialer("{proxy_url: 'http://u:secret@p'}").map(drop).unwrap_err();
    assert!(error.contains("only socks5://") && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn time_limits_and_closed_connections() {
    let (listener, peer) = listener().await;
    let plain = dialer("{}").unwrap();
    let mut open = plain.dial(&peer, None).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    assert!(!is_closed(&mut open).await);
    let never = io_with_time_limit(Duration::from_millis(10), "reading", open.read_u8()).await.unwrap_err();
    assert_eq!(never, Error::Broken("reading: no progress within `timeout`".into()));
    drop(accepted);
    io_with_time_limit(Duration::from_secs(5), "reading", open.read_u8()).await.unwrap_err();
    assert!(is_closed(&mut open).await);
    let encrypted =
        Dialer::read(&opening(&Node::parse("{ssl: {verification_mode: none}}").unwrap()), false, Duration::from_millis(50)).unwrap();
    let error = encrypted.dial(&peer, None).await.err().unwrap();
    assert!(error.to_string().ends_with("no connection within `timeout`"), "the handshake has the same limit: {error}");
    assert!(encrypted.dial(&peer, Some(false)).await.is_ok(), "the scheme of the host decides");
    drop(listener);
    let error = plain.dial(&peer, None).await.err().unwrap();
    assert!(matches!(&error, Error::Unreachable(why) if why.summary.contains("Connection refused")), "{error}");
}
