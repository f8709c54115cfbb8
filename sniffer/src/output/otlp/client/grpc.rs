//! One call of gRPC: a length-prefixed message in an HTTP/2 request, and the status in the trailers of the response.

use super::{Answer, Compression, Failed, Signal, gzip, quoted};
use crate::output::{Error, Reason, http::with_causes};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http_body_util::{BodyExt as _, Limited};
use prost::Message;
use reqwest::{
    Body, RequestBuilder,
    header::{CONTENT_TYPE, HeaderMap},
};
use std::time::Duration;

/// Maximum number of bytes of a response.
const MAX_ANSWER: usize = 4 << 20;

/// Bytes in front of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Status codes that have a meaning here. <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>
mod code {
    pub(super) const OK: u32 = 0;
    pub(super) const UNKNOWN: u32 = 2;
    pub(super) const INVALID_ARGUMENT: u32 = 3;
    pub(super) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(super) const UNIMPLEMENTED: u32 = 12;
    pub(super) const INTERNAL: u32 = 13;
}

/// `google.rpc.Status`: an error of a server. The HTTP responses of collectors have it, too.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    /// The text of the server.
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`: a message with the URL of its type.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Sends the message with `request` and reads the response.
pub(super) async fn export(request: RequestBuilder, signal: Signal, message: &[u8], compression: Compression) -> Result<Answer, Failed> {
    let (is_compressed, message) = match compression {
        Compression::Gzip => (1, gzip(message)?),
        Compression::None => (0, message.to_vec()),
    };
    let length = u32::try_from(message.len()).map_err(|_| Error::TooLarge("longer than a message of gRPC can be".into()))?;
    let body = [&[is_compressed], &length.to_be_bytes()[..], &message].concat();
    let sent = body.len();
    let mut request = request.header(CONTENT_TYPE, "application/grpc").header("te", "trailers");
    if is_compressed == 1 {
        request = request.header("grpc-encoding", "gzip");
    }
    let response = request.body(body).send().await.map_err(|error| {
        let why = with_causes(&error).into();
        if error.is_connect() { Error::Unreachable(why) } else { Error::Broken(why) }
    })?;
    let (status, headers) = (response.status(), response.headers().clone());
    if !status.is_success() {
        return Err(Error::Unreachable(format!("{}: {status}", signal.name()).into()).into());
    }
    let collected = Limited::new(Body::from(response), MAX_ANSWER).collect().await;
    let collected = collected.map_err(|error| Error::Broken(with_causes(&*error).into()))?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    // A response without a message has the status in its headers.
    let of_call = if trailers.contains_key("grpc-status") { &trailers } else { &headers };
    let code = of_call.get("grpc-status").and_then(|code| code.to_str().ok()?.parse().ok());
    match code {
        Some(code::OK) => {
            let message = collected.to_bytes().get(PREFIX..).unwrap_or_default().to_vec();
            Ok(Answer { message, sent })
        }
        Some(code) => Err(failed(signal, code, of_call)),
        None => {
            Err(Error::Broken("the response has no `grpc-status`: the server does not speak gRPC, or the response was cut off".into())
                .into())
        }
    }
}

fn failed(signal: Signal, code: u32, headers: &HeaderMap) -> Failed {
    let text = headers.get("grpc-message").map(|text| percent_encoding::percent_decode(text.as_bytes()).collect::<Vec<u8>>());
    let text = quoted(&text.unwrap_or_default());
    // Servers have no code of their own for a message that is longer than they accept.
    let is_too_large = code == code::RESOURCE_EXHAUSTED && text.contains("larger than max");
    let why = Reason::with_detail(format!("{}: gRPC status {code}", signal.name()), text);
    let error = match code {
        // A collector answers with these codes if one of its parts refuses the content for good.
        code::UNKNOWN | code::INVALID_ARGUMENT | code::INTERNAL => Error::Refused(why),
        _ if is_too_large => Error::TooLarge(why),
        // The events are not the cause: the server is overloaded, another program answered, or credentials are wrong.
        _ => Error::Unreachable(why),
    };
    Failed { error, retry_after: retry_after(headers), is_unknown: code == code::UNIMPLEMENTED }
}

/// The wait that the server asks for, in the details of its status.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let encoded = headers.get("grpc-status-details-bin")?.to_str().ok()?;
    let status = Status::decode(&*STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?).ok()?;
    let info = status.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let Delay { seconds, nanos } = RetryInfo::decode(&*info.value).ok()?.retry_delay?;
    Some(Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?))
}
