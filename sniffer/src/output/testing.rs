//! What the fake servers of several tests share.

use std::sync::{Arc, Mutex};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What a fake server was asked, in order.
pub type Log<A> = Arc<Mutex<Vec<A>>>;

/// A server on loopback that keeps what it was asked. It ends when the value is dropped.
pub struct Fake<A> {
    pub port: u16,
    asked: Log<A>,
    accepting: JoinHandle<()>,
}

impl<A: Clone + Send + 'static> Fake<A> {
    /// Starts the server. `serve` serves one connection, whose number counts from 0, and adds to the log.
    pub async fn listen<F>(serve: impl Fn(TcpStream, usize, Log<A>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Log::default());
        let log = asked.clone();
        let accepting = tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(serve(stream, connection, log.clone()));
            }
        });
        Self { port, asked, accepting }
    }

    pub fn asked(&self) -> Vec<A> {
        self.asked.lock().unwrap().clone()
    }
}

impl<A> Drop for Fake<A> {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Reads the next request from a connection: the request line with the headers, and the body. `buffer` keeps what was read of later
/// requests. `None` when the client has closed the connection.
pub async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap();
    let headers = head.to_lowercase();
    let length: usize = headers.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    while buffer.len() < head_end + length {
        stream.read_buf(buffer).await.unwrap();
    }
    Some((head, buffer.drain(..head_end + length).skip(head_end).collect()))
}
