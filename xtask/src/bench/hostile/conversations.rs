//! The cases of `bench hostile linear`: messages of each protocol that grow byte by byte. To add a case, add an entry
//! to [`CASES`].

/// The order of segments, and the distribution of the bytes over connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One connection, in the order of sequence numbers.
    AsSent,
    /// One connection; the segments of each block are in reverse order.
    Reversed,
    /// One connection; the segments of each block are in pseudorandom order.
    Mixed,
    /// Many short connections, each with the first bytes of the data.
    Connections,
}

/// A conversation in which one direction is sent in segments of one byte.
pub struct Case {
    pub name: &'static str,
    /// The server's port. It is [`SHARED`] if all protocols share one port.
    pub port: u16,
    /// Data that the client sends first, in one segment. The server's response then comes in segments of one byte. If `request` is empty,
    /// the client's data comes in segments of one byte.
    pub request: &'static [u8],
    pub order: Order,
    /// Makes the data that is sent in segments of one byte, with about the given number of bytes.
    pub make: fn(usize) -> Vec<u8>,
}

impl Case {
    /// The configuration: every protocol on its own port, or all of them on the port [`SHARED`] if the case uses that port. The options let
    /// the protocols analyse as much as possible.
    pub fn config(&self) -> String {
        let mut config = "output.discard: {enabled: true}\npacketbeat.protocols:\n".to_owned();
        for (name, port, options) in PROTOCOLS {
            let port = if self.port == SHARED { SHARED } else { *port };
            config += &format!("  - {{type: {name}, ports: [{port}]{options}}}\n");
        }
        config
    }
}

/// The port of cases in which all protocols share a port.
pub const SHARED: u16 = 1;

/// Name, port and options of each protocol.
const PROTOCOLS: &[(&str, u16, &str)] = &[
    ("amqp", 5672, ""),
    ("cassandra", 9042, ""),
    ("dns", 53, ""),
    ("http", 80, ", send_request: true, send_response: true, include_body_for: [\"text/show\"]"),
    ("memcache", 11211, ""),
    ("mysql", 3306, ""),
    ("pgsql", 5432, ""),
    ("redis", 6379, ""),
    ("thrift", 9090, ""),
    ("mongodb", 27017, ""),
    ("nfs", 2049, ""),
    ("tls", 443, ""),
    ("sip", 5060, ""),
];

/// The case with which the other cases are compared: an HTTP body that is skipped.
pub const BODY: Case = Case {
    name: "HTTP body, skipped",
    port: 80,
    request: b"",
    order: Order::AsSent,
    make: |n| filled(b"POST / HTTP/1.1\r\nContent-Type: image/png\r\nContent-Length: 1000000000\r\n\r\n", b"x", n),
};

macro_rules! cases {
    ($($name:literal, $port:expr, $request:expr, $order:ident, $make:expr;)*) => {
        pub const CASES: &[Case] = &[$(Case { name: $name, port: $port, request: $request, order: Order::$order, make: $make },)*];
    };
}

/// A request without a body.
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// The protocol header of AMQP, with which a connection begins.
const AMQP: &[u8] = b"AMQP\0\0\x09\x01";

cases! {
    "HTTP body, reversed", 80, b"", Reversed, BODY.make;
    "HTTP body, mixed", 80, b"", Mixed, BODY.make;
    "HTTP target", 80, b"", AsSent, |n| filled(b"GET /", b"a", n);
    "HTTP header", 80, b"", AsSent, |n| filled(b"GET / HTTP/1.1\r\nX: ", b"a", n);
    "HTTP headers", 80, b"", AsSent, |n| filled(b"GET / HTTP/1.1\r\n", b"a:b\r\n", n);
    "HTTP heads of 60,000 bytes", 80, b"", AsSent, |n| filled(b"", &[b"GET / HTTP/1.1\r\n", &b"a:b\r\n".repeat(12_000)[..], b"\r\n"].concat(), n);
    "HTTP pipelined requests", 80, b"", AsSent, |n| filled(b"", b"GET / HTTP/1.1\r\n\r\n", n);
    "HTTP empty lines", 80, b"", AsSent, |n| filled(b"", b"\r\n", n);
    "HTTP without line ends", 80, b"", AsSent, |n| filled(b"", b"~", n);
    "HTTP chunks", 80, b"", AsSent, |n| filled(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", n);
    "HTTP chunk extension", 80, b"", AsSent, |n| filled(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x", n);
    "HTTP trailer", 80, b"", AsSent, |n| filled(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a:b\r\n", n);
    "HTTP form that is shown", 80, b"", AsSent, |n| filled(b"POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9000000\r\n\r\n", b"a=b&", n);
    "HTTP response body that is shown", 80, GET, AsSent, |n| filled(b"HTTP/1.1 200 OK\r\nContent-Type: text/show\r\nContent-Length: 9000000\r\n\r\n", b"a", n);
    "HTTP response head", 80, GET, AsSent, |n| filled(b"HTTP/1.1 200 OK\r\nX: ", b"a", n);
    "HTTP response until the end", 80, GET, AsSent, |n| filled(b"HTTP/1.1 200 OK\r\n\r\n", b"a", n);
    "memcache line", 11211, b"", AsSent, |n| filled(b"get ", b"a ", n);
    "memcache line without spaces", 11211, b"", AsSent, |n| filled(b"get ", b"a", n);
    "memcache unknown lines", 11211, b"", AsSent, |n| filled(b"", b"zz\n", n);
    "memcache no line", 11211, b"", AsSent, |n| filled(b"", b"z", n);
    "memcache value", 11211, b"", AsSent, |n| filled(b"set a 0 0 100000000\r\n", b"a", n);
    "memcache values", 11211, b"get a\r\n", AsSent, |n| filled(b"", b"VALUE a 0 1\r\na\r\n", n);
    "memcache reply line", 11211, b"get a\r\n", AsSent, |n| filled(b"VALUE ", b"a", n);
    "memcache binary value", 11211, b"", AsSent, |n| filled(b"\x80\x01\0\x01\x08\0\0\0\x7f\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", b"a", n);
    "memcache binary quiet gets", 11211, b"", AsSent, |n| filled(b"", b"\x80\x09\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0a", n);
    "Redis line", 6379, b"", AsSent, |n| filled(b"", b"A", n);
    "Redis words", 6379, b"", AsSent, |n| filled(b"", b"A ", n);
    "Redis quoted words", 6379, b"", AsSent, |n| filled(b"SET \"", b"\\n", n);
    "Redis lines", 6379, b"", AsSent, |n| filled(b"", b"A\n", n);
    "Redis bulk string", 6379, b"", AsSent, |n| filled(b"*2\r\n$3\r\nGET\r\n$100000000\r\n", b"a", n);
    "Redis array", 6379, b"", AsSent, |n| filled(b"*1000000\r\n", b"$1\r\na\r\n", n);
    "Redis arrays in arrays", 6379, b"", AsSent, |n| filled(b"", b"*1\r\n", n);
    "Redis reply line", 6379, b"*1\r\n$4\r\nPING\r\n", AsSent, |n| filled(b"+", b"a", n);
    "Redis reply array", 6379, b"*1\r\n$4\r\nPING\r\n", AsSent, |n| filled(b"*1000000\r\n", b":1\r\n", n);
    "Redis reply arrays in arrays", 6379, b"*1\r\n$4\r\nPING\r\n", AsSent, |n| filled(b"", b"*1\r\n", n);
    "SIP header", 5060, b"", AsSent, |n| filled(b"INVITE sip:a SIP/2.0\r\nCall-ID: 1\r\nX: ", b"a", n);
    "SIP headers", 5060, b"", AsSent, |n| filled(b"INVITE sip:a SIP/2.0\r\nCall-ID: 1\r\n", b"a:b\r\n", n);
    "SIP body", 5060, b"", AsSent, |n| filled(b"INVITE sip:a SIP/2.0\r\nCall-ID: 1\r\nContent-Type: application/sdp\r\nContent-Length: 9000000\r\n\r\n", b"a=b\r\n", n);
    "SIP no message", 5060, b"", AsSent, |n| filled(b"", b"x\n", n);
    "SIP no line", 5060, b"", AsSent, |n| filled(b"", b"x", n);
    "SIP empty lines", 5060, b"", AsSent, |n| filled(b"", b"\r\n", n);
    "MySQL query", 3306, b"", AsSent, |n| filled(b"\xff\xff\x7f\0\x03", b"s", n);
    "MySQL pings", 3306, b"", AsSent, |n| filled(b"", b"\x01\0\0\0\x0e", n);
    "MySQL empty packets", 3306, b"", AsSent, |n| filled(b"", b"\0\0\0\0", n);
    "MySQL columns", 3306, b"\x02\0\0\0\x03x", AsSent, |n| filled(b"\x03\0\0\x01\xfc\xff\xff", b"\x17\0\0\x02\x03def\0\0\0\x01a\0\x0c\x3f\0\x01\0\0\0\x03\0\0\0\0\0", n);
    "MySQL rows", 3306, b"\x02\0\0\0\x03x", AsSent, |n| filled(b"\x01\0\0\x01\x01\x17\0\0\x02\x03def\0\0\0\x01a\0\x0c\x3f\0\x01\0\0\0\x03\0\0\0\0\0\x05\0\0\x03\xfe\0\0\x02\0", b"\x02\0\0\x04\x011", n);
    "PostgreSQL query", 5432, b"", AsSent, |n| filled(b"Q\0\x7f\0\0", b"s", n);
    "PostgreSQL syncs", 5432, b"", AsSent, |n| filled(b"", b"S\0\0\0\x04", n);
    "PostgreSQL rows", 5432, b"Q\0\0\0\x06a\0", AsSent, |n| filled(b"T\0\0\0\x1a\0\x01a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0", b"D\0\0\0\x0b\0\x01\0\0\0\x011", n);
    "MongoDB message", 27017, b"", AsSent, |n| filled(b"\0\0\x7f\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\xea\xff\x7e\0\x02find\0\xd0\xff\x7e\0", b"a", n);
    "MongoDB small messages", 27017, b"", AsSent, |n| filled(b"", b"\x24\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x0f\0\0\0\x10ping\0\x01\0\0\0\0", n);
    "Cassandra query", 9042, b"", AsSent, |n| filled(b"\x04\0\0\x01\x07\0\x7f\0\0\0\x7e\xff\xf9", b"a", n);
    "Cassandra options", 9042, b"", AsSent, |n| filled(b"", b"\x04\0\0\x01\x05\0\0\0\0", n);
    "AMQP method", 5672, b"", AsSent, |n| filled(&[AMQP, b"\x01\0\x01\0\x7f\0\0\0\x32\0\x0a\0\0\x01q\0\0\x7e\xff\xf0"].concat(), b"\x01at\x01", n);
    "AMQP body", 5672, b"", AsSent, |n| filled(&[AMQP, b"\x01\0\x01\0\0\0\x09\0\x3c\0\x28\0\0\0\x01q\xce\x02\0\x01\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\x7f\0\0\0\0\xce"].concat(), b"\x03\0\x01\0\0\0\x01a\xce", n);
    "AMQP heartbeats", 5672, b"", AsSent, |n| filled(AMQP, b"\x08\0\0\0\0\0\0\xce", n);
    "Thrift string, framed", 9090, b"", AsSent, |n| filled(b"\0\x7f\0\0\x80\x01\0\x01\0\0\0\x04ping\0\0\0\x01\x0b\0\x01\0\x7e\xff\0", b"a", n);
    "Thrift string", 9090, b"", AsSent, |n| filled(b"\x80\x01\0\x01\0\0\0\x04ping\0\0\0\x01\x0b\0\x01\0\x7f\0\0", b"a", n);
    "Thrift fields", 9090, b"", AsSent, |n| filled(b"\x80\x01\0\x01\0\0\0\x04ping\0\0\0\x01", b"\x02\0\x01\x01", n);
    "Thrift list", 9090, b"", AsSent, |n| filled(b"\x80\x01\0\x01\0\0\0\x04ping\0\0\0\x01\x0f\0\x01\x02\0\x7f\0\0", b"\x01", n);
    "NFS record", 2049, b"", AsSent, |n| filled(&[b"\x80\x7f\0\0", CALL].concat(), b"a", n);
    "NFS fragments of one byte", 2049, b"", AsSent, |n| filled(&CALL.iter().flat_map(|byte| [0, 0, 0, 1, *byte]).collect::<Vec<_>>(), b"\0\0\0\x01a", n);
    "NFS empty fragments", 2049, b"", AsSent, |n| filled(b"", b"\0\0\0\0", n);
    "TLS handshake in records of one byte", 443, b"", AsSent, |n| filled(b"\x16\x03\x01\0\x06\x01\x01\xff\xf0\x03\x03", b"\x16\x03\x01\0\x01a", n);
    "TLS hello", 443, b"", AsSent, |n| filled(b"", &[b"\x16\x03\x01\x40\0\x01\0\x3f\xfc\x03\x03", &[b'a'; 16_378][..]].concat(), n);
    "TLS change of cipher", 443, b"", AsSent, |n| filled(b"\x16\x03\x01\0\x05\x01\0\0\x01\x03", b"\x14\x03\x03\0\x01\x01", n);
    "TLS empty records", 443, b"", AsSent, |n| filled(b"", b"\x16\x03\x01\0\0", n);
    "TLS no record", 443, b"", AsSent, |n| filled(b"", b"HELO\r\n", n);
    "TLS application data", 443, b"", AsSent, |n| filled(b"", &[b"\x17\x03\x03\x40\0", &[b'a'; 16_384][..]].concat(), n);
    "DNS over TCP", 53, b"", AsSent, |n| filled(b"", &[b"\xfd\xe8\0\x01\x81\x80\0\x01\x0f\xa0\0\0\0\0\x01a\0\0\x01\0\x01", &b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04abcd".repeat(4062)[..64_981]].concat(), n);
    "DNS short messages", 53, b"", AsSent, |n| filled(b"", b"\0\x13\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01", n);
    "DNS no message", 53, b"", AsSent, |n| filled(b"", b"\xff", n);
    "probe: HTTP target", SHARED, b"", Connections, |n| filled(b"GET /", b"a", n);
    "probe: TLS hello", SHARED, b"", Connections, |n| filled(b"\x16\x03\x01\x3f\xfc\x01\0\x3f\xf8\x03\x03", b"a", n);
    "probe: text", SHARED, b"", Connections, |n| filled(b"", b"a", n);
    "probe: zeros", SHARED, b"", Connections, |n| filled(b"", b"\0", n);
    "probe: memcache line", SHARED, b"", Connections, |n| filled(b"get ", b"a ", n);
    "probe: SIP request line", SHARED, b"", Connections, |n| filled(b"INVITE sip:", b"a", n);
}

/// An NFS call with an empty credential.
const CALL: &[u8] = b"\0\0\0\x07\0\0\0\0\0\0\0\x02\0\x01\x86\xa3\0\0\0\x03\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// `first`, followed by repetitions of `again`, cut to `length` bytes.
fn filled(first: &[u8], again: &[u8], length: usize) -> Vec<u8> {
    first.iter().chain(again.iter().cycle()).copied().take(length).collect()
}
