//! Requests that a client may send without waiting for responses. Each is as short as its protocol allows.

/// Requests of a protocol.
pub struct Requests {
    pub name: &'static str,
    /// The server's port.
    pub port: u16,
    /// Maximum number of these requests that a parser keeps.
    pub most: usize,
    /// Approximate number of bytes that a parser holds for each request.
    pub holds: usize,
    /// Makes the request with this number.
    pub make: fn(usize) -> Vec<u8>,
}

macro_rules! requests {
    ($($name:literal, $port:literal, $most:literal, $holds:literal, $make:expr;)*) => {
        pub const REQUESTS: &[Requests] = &[$(Requests { name: $name, port: $port, most: $most, holds: $holds, make: $make },)*];
    };
}

requests! {
    "redis", 6379, 20_000, 140, |_| b"*1\r\n$1\r\nA\r\n".to_vec();
    "pgsql", 5432, 20_000, 100, |_| b"S\0\0\0\x04".to_vec();
    "pgsql queries", 5432, 20_000, 150, |_| b"Q\0\0\0\x06x\0".to_vec();
    "pgsql binds", 5432, 20_000, 150, |_| b"B\0\0\0\x0c\0\0\0\0\0\0\0\0".to_vec();
    "mysql", 3306, 4096, 300, |_| b"\x02\0\0\0\x03x".to_vec();
    "mysql pings", 3306, 4096, 300, |_| b"\x01\0\0\0\x0e".to_vec();
    "cassandra", 9042, 32_768, 200, |i| [b"\x04\0", &stream(i)[..], b"\x05\0\0\0\0"].concat();
    "cassandra queries", 9042, 32_768, 200, |i| [b"\x04\0", &stream(i)[..], b"\x07\0\0\0\x0f\0\0\0\x08select 1\0\x01\0"].concat();
    "memcache", 11211, 8192, 500, |_| b"get a\r\n".to_vec();
    "memcache binary", 11211, 8192, 500, |i| [b"\x80\0\0\x01\0\0\0\0\0\0\0\x01", &(i as u32).to_be_bytes()[..], b"\0\0\0\0\0\0\0\0a"].concat();
    "http", 80, 256, 1000, |_| b"GET / HTTP/1.1\r\n\r\n".to_vec();
    "mongodb", 27017, 1000, 400, |i| {
        [&b"\x2a\0\0\0"[..], &(i as u32 + 1).to_le_bytes(), b"\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x15\0\0\0\x10ping\0\x01\0\0\0\x02$db\0\0"].concat()
    };
    "amqp", 5672, 1024, 300, |_| b"\x01\0\x01\0\0\0\x0d\0\x32\0\x0a\0\0\x01q\0\0\0\0\0\xce".to_vec();
    "thrift", 9090, 1024, 300, |i| [b"\0\0\0\x0e\x80\x01\0\x01\0\0\0\x01p", &(i as u32).to_be_bytes()[..], b"\0"].concat();
    "nfs", 2049, 4096, 300, |i| {
        let call = [i as u32, 0, 2, 100_003, 3, 0, 0, 0, 0, 0].map(u32::to_be_bytes).concat();
        [&(0x8000_0000 | call.len() as u32).to_be_bytes()[..], &call].concat()
    };
    "dns", 53, 256, 300, |i| [b"\0\x13", &(i as u16).to_be_bytes()[..], b"\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01"].concat();
    "sip", 5060, 100, 300, |i| format!("OPTIONS sip:a SIP/2.0\r\nCall-ID: {i}\r\nCSeq: {i} OPTIONS\r\nContent-Length: 0\r\n\r\n").into_bytes();
}

/// The stream id of a request. Cassandra has 32,768 stream ids.
fn stream(number: usize) -> [u8; 2] {
    (number as u16 & 0x7fff).to_be_bytes()
}
