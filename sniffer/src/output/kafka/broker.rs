//! A connection to a Kafka broker: which versions of the protocol it speaks, authentication, and requests with their responses.

use super::{
    Shared,
    sasl::{self, Mechanism, Scram},
};
use crate::output::{
    Error, Peer,
    connection::{Connection, io_with_time_limit, write},
};
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslHandshakeRequest},
    protocol::{Decodable, HeaderVersion, Request, StrBytes, VersionRange, encode_request_header_into_buffer},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::io::AsyncReadExt;

/// Maximum length of a response.
const MAX_RESPONSE: usize = 16 << 20;

/// Newest versions of requests that this program uses. In newer versions topics have identifiers instead of names.
const NEWEST: &[(i16, i16)] =
    &[(kafka_protocol::messages::ApiKey::Produce as i16, 12), (kafka_protocol::messages::ApiKey::Metadata as i16, 12)];

/// An open connection to a broker.
pub(super) struct Broker {
    stream: Connection,
    /// The versions of each request that the broker speaks, by the number of the request.
    versions: BTreeMap<i16, VersionRange>,
    /// Number of the last request.
    last: i32,
    timeout: Duration,
    client_id: StrBytes,
}

impl Broker {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when a step fails.
    pub(super) async fn open(peer: &Peer, shared: &Shared) -> Result<Self, Error> {
        let stream = shared.dialer.dial(peer, None).await?;
        let client_id = StrBytes::from_string(shared.client_id.clone());
        let mut broker = Self { stream, versions: BTreeMap::new(), last: 0, timeout: shared.timeout, client_id };
        let introduced = broker.introduce(shared).await;
        introduced.map_err(|error| Error::Unreachable(error.reason().clone().prefixed(&format!("kafka {}:{}", peer.host, peer.port))))?;
        Ok(broker)
    }

    async fn introduce(&mut self, shared: &Shared) -> Result<(), Error> {
        // Every broker since 0.10 speaks version 0.
        let versions = self.exchange::<ApiVersionsRequest>(&ApiVersionsRequest::default(), 0).await?;
        let ApiVersionsResponse { error_code, api_keys, .. } = versions;
        succeeded("ApiVersions", error_code)?;
        self.versions = api_keys.iter().map(|key| (key.api_key, VersionRange { min: key.min_version, max: key.max_version })).collect();
        let Some((mechanism, user, password)) = &shared.sasl else { return Ok(()) };
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism.name()));
        let answer = self.request(&handshake).await?;
        if answer.error_code != 0 {
            let known: Vec<&str> = answer.mechanisms.iter().map(StrBytes::as_str).collect();
            let why = format!("the broker does not accept {}; it accepts {}", mechanism.name(), known.join(", "));
            return Err(Error::Unreachable(why.into()));
        }
        self.authenticate(*mechanism, user, password).await
    }

    async fn authenticate(&mut self, mechanism: Mechanism, user: &str, password: &str) -> Result<(), Error> {
        let refused = |why: String| Error::Unreachable(format!("authentication: {why}").into());
        let Some(scram) = Scram::new(mechanism, user, password).map_err(refused)? else {
            return self.token(sasl::plain(user, password)).await.map(drop);
        };
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
        let challenge = text(self.token(scram.first().into_bytes()).await?);
        let proof = scram.answer(&challenge).map_err(refused)?;
        let last = text(self.token(proof.message.clone().into_bytes()).await?);
        proof.verify(&last).map_err(refused)
    }

    /// Sends a message of the SASL mechanism and returns the broker's message.
    async fn token(&mut self, bytes: Vec<u8>) -> Result<Bytes, Error> {
        let answer = self.request(&SaslAuthenticateRequest::default().with_auth_bytes(bytes.into())).await?;
        if answer.error_code == 0 {
            return Ok(answer.auth_bytes);
        }
        let text = answer.error_message.map(|text| text.as_str().to_owned()).unwrap_or_default();
        Err(Error::Unreachable(format!("authentication: {} {text}", name(answer.error_code)).trim_end().into()))
    }

    /// The newest version of a request that both the broker and this program support.
    fn version<R: Request>(&self) -> Result<i16, Error> {
        let newest = NEWEST.iter().find(|(key, _)| *key == R::KEY).map_or(i16::MAX, |(_, version)| *version);
        let ours = VersionRange { min: R::VERSIONS.min, max: R::VERSIONS.max.min(newest) };
        let both = self.versions.get(&R::KEY).map(|theirs| theirs.intersect(&ours)).filter(|both| !both.is_empty());
        both.map(|both| both.max).ok_or_else(|| Error::Unreachable("the broker is too old; Kafka 0.11 or newer is needed".into()))
    }

    /// Sends a request and reads the response.
    ///
    /// # Errors
    /// [`Error::Broken`] when the connection fails. The connection can no longer be used then.
    pub(super) async fn request<R: Request>(&mut self, request: &R) -> Result<R::Response, Error> {
        let version = self.version::<R>()?;
        self.exchange(request, version).await
    }

    async fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, Error> {
        self.write(request, version).await?;
        self.response::<R>(version).await
    }

    /// Writes a request without waiting for the response. Returns the version for [`Self::response`], and the number of bytes.
    pub(super) async fn send<R: Request>(&mut self, request: &R) -> Result<(i16, usize), Error> {
        let version = self.version::<R>()?;
        self.write(request, version).await.map(|length| (version, length))
    }

    async fn write<R: Request>(&mut self, request: &R, version: i16) -> Result<usize, Error> {
        let invalid = |error: &dyn std::fmt::Display| Error::Refused(format!("writing the request: {error}").into());
        self.last = self.last.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.last)
            .with_client_id(Some(self.client_id.clone()));
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&[0; 4]);
        encode_request_header_into_buffer(&mut bytes, &header).map_err(|e| invalid(&e))?;
        request.encode(&mut bytes, version).map_err(|e| invalid(&e))?;
        let length = u32::try_from(bytes.len() - 4).map_err(|e| Error::TooLarge(e.to_string().into()))?;
        if let Some(field) = bytes.get_mut(..4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        write(&mut self.stream, &bytes, self.timeout).await?;
        Ok(bytes.len())
    }

    /// Reads the response to the request that was written last.
    pub(super) async fn response<R: Request>(&mut self, version: i16) -> Result<R::Response, Error> {
        let invalid = |error: &dyn std::fmt::Display| Error::Broken(format!("this is not a response of Kafka: {error}").into());
        let length = io_with_time_limit(self.timeout, "reading the response", self.stream.read_u32()).await? as usize;
        if length > MAX_RESPONSE {
            return Err(invalid(&format_args!("{length} bytes")));
        }
        let mut bytes = vec![0; length];
        io_with_time_limit(self.timeout, "reading the response", self.stream.read_exact(&mut bytes)).await?;
        let mut bytes = Bytes::from(bytes);
        let header = ResponseHeader::decode(&mut bytes, R::Response::header_version(version)).map_err(|e| invalid(&e))?;
        if header.correlation_id != self.last {
            return Err(invalid(&"it belongs to another request"));
        }
        let response = R::Response::decode(&mut bytes, version).map_err(|e| invalid(&e))?;
        if bytes.has_remaining() { Err(invalid(&"it is longer than expected")) } else { Ok(response) }
    }

    /// Whether the broker has closed the connection, for example because it was idle.
    pub(super) async fn is_closed(&mut self) -> bool {
        crate::output::connection::is_closed(&mut self.stream).await
    }
}

/// The name of an error of the protocol.
pub(super) fn name(code: i16) -> String {
    ResponseError::try_from_code(code).map_or_else(|| format!("error {code}"), |error| error.to_string())
}

fn succeeded(what: &str, code: i16) -> Result<(), Error> {
    if code == 0 { Ok(()) } else { Err(Error::Unreachable(format!("{what}: {}", name(code)).into())) }
}
