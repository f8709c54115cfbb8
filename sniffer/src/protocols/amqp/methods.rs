//! The table of the methods of AMQP 0-9-1 and RabbitMQ's extensions: their senders, responses and arguments.
//!
//! <https://www.rabbitmq.com/resources/specs/amqp0-9-1.extended.xml>

/// The side that sends a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentBy {
    Client,
    Server,
    Either,
}

/// The role of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A request; the response is a method of the same class with one of these ids.
    Request(&'static [u16]),
    /// A response to a request.
    Response,
    /// A method without a response.
    NoResponse,
    /// A method that carries a message: a content header and a body follow.
    Message,
    /// A known method that is not reported.
    Unreported,
}

/// An argument of a method.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// Reserved bytes.
    Reserved(usize),
    /// A short string.
    Short(&'static str),
    /// A short string that is shown if it is not empty.
    NotEmpty(&'static str),
    /// The type of an exchange; an empty one means `direct`.
    ExchangeType,
    /// A long string.
    Long(&'static str),
    /// A long string that is not shown, because it contains a secret.
    Secret,
    U8(&'static str),
    U16(&'static str),
    U32(&'static str),
    U64(&'static str),
    /// Up to eight bits in one byte, the lowest first; bits with an empty name are not shown.
    Bits(&'static [&'static str]),
    /// A field table.
    Table(&'static str),
    /// The table `arguments`, shown with `parse_arguments`.
    Arguments,
}

/// A method of AMQP, with the information that events need.
#[derive(Debug)]
pub struct Method {
    /// The value of `event.action`, in the form `amqp.class.method`.
    pub action: &'static str,
    pub class: u16,
    pub id: u16,
    pub by: SentBy,
    pub role: Role,
    pub args: &'static [Arg],
    /// The arguments shown after the name in `request`.
    pub text: &'static [&'static str],
    /// Whether the method is not reported with `hide_connection_information`.
    pub hidden: bool,
}

impl Method {
    /// The name in the form `class.method`.
    pub fn name(&self) -> &'static str {
        self.action.strip_prefix("amqp.").unwrap_or(self.action)
    }

    /// Whether this is connection.close or channel.close.
    pub fn closes(&self) -> bool {
        matches!((self.class, self.id), CONNECTION_CLOSE | (20, 40))
    }
}

/// Class and id of connection.close.
pub const CONNECTION_CLOSE: (u16, u16) = (10, 50);
/// Class and id of basic.return.
pub const BASIC_RETURN: (u16, u16) = (60, 50);
/// Class and id of basic.reject.
pub const BASIC_REJECT: (u16, u16) = (60, 90);
/// Class and id of basic.get-ok.
pub const BASIC_GET_OK: (u16, u16) = (60, 71);
/// Class and id of basic.get-empty.
pub const BASIC_GET_EMPTY: (u16, u16) = (60, 72);

macro_rules! methods {
    ($($class:literal $id:literal $name:literal $by:ident $role:expr, $args:expr, $text:expr, $hidden:expr;)*) => {
        /// The method with these numbers.
        pub fn method(class: u16, id: u16) -> Option<&'static Method> {
            Some(match (class, id) {
                $(($class, $id) => {
                    const METHOD: &Method = &Method {
                        action: concat!("amqp.", $name), class: $class, id: $id, by: SentBy::$by, role: $role, args: $args, text: $text, hidden: $hidden,
                    };
                    METHOD
                })*
                _ => return None,
            })
        }
    };
}

use Arg::{Arguments, Bits, ExchangeType, Long, NotEmpty, Reserved, Secret, Short, Table, U8, U16, U32, U64};
use Role::{Message, NoResponse, Request, Response, Unreported};

const CLOSE: &[Arg] = &[U16("reply-code"), Short("reply-text"), U16("class-id"), U16("method-id")];
const TICKET: Arg = Reserved(2);
const BINDING: &[Arg] = &[TICKET, Short("destination"), Short("source"), Short("routing-key"), Bits(&["no-wait"]), Arguments];
const QUEUE_COUNT: &[Arg] = &[U32("message-count")];

#[rustfmt::skip]
methods! {
    10 10 "connection.start" Server Request(&[11]), &[U8("version-major"), U8("version-minor"), Table("server-properties"), Long("mechanisms"), Long("locales")], &[], true;
    10 11 "connection.start-ok" Client Response, &[Table("client-properties"), Short("mechanism"), Secret, Short("locale")], &[], true;
    10 20 "connection.secure" Server Unreported, &[], &[], true;
    10 21 "connection.secure-ok" Client Unreported, &[], &[], true;
    10 30 "connection.tune" Server Request(&[31]), &[], &[], true;
    10 31 "connection.tune-ok" Client Response, &[U16("channel-max"), U32("frame-max"), U16("heartbeat")], &[], true;
    10 40 "connection.open" Client Request(&[41]), &[Short("virtual-host")], &[], true;
    10 41 "connection.open-ok" Server Response, &[], &[], true;
    10 50 "connection.close" Either Request(&[51]), CLOSE, &[], false;
    10 51 "connection.close-ok" Either Response, &[], &[], false;
    10 60 "connection.blocked" Server Unreported, &[], &[], true;
    10 61 "connection.unblocked" Server Unreported, &[], &[], true;
    10 70 "connection.update-secret" Client Unreported, &[], &[], true;
    10 71 "connection.update-secret-ok" Server Unreported, &[], &[], true;
    20 10 "channel.open" Client Request(&[11]), &[], &[], true;
    20 11 "channel.open-ok" Server Response, &[], &[], true;
    20 20 "channel.flow" Either Request(&[21]), &[], &[], true;
    20 21 "channel.flow-ok" Either Response, &[Bits(&["active"])], &[], true;
    20 40 "channel.close" Either Request(&[41]), CLOSE, &[], false;
    20 41 "channel.close-ok" Either Response, &[], &[], false;
    40 10 "exchange.declare" Client Request(&[11]), &[TICKET, Short("exchange"), ExchangeType, Bits(&["passive", "durable", "", "", "no-wait"]), Arguments], &["exchange"], false;
    40 11 "exchange.declare-ok" Server Response, &[], &[], false;
    40 20 "exchange.delete" Client Request(&[21]), &[TICKET, Short("exchange"), Bits(&["if-unused", "no-wait"])], &["exchange"], false;
    40 21 "exchange.delete-ok" Server Response, &[], &[], false;
    40 30 "exchange.bind" Client Request(&[31]), BINDING, &["source", "destination"], false;
    40 31 "exchange.bind-ok" Server Response, &[], &[], false;
    40 40 "exchange.unbind" Client Request(&[51]), BINDING, &["source", "destination"], false;
    40 51 "exchange.unbind-ok" Server Response, &[], &[], false;
    50 10 "queue.declare" Client Request(&[11]), &[TICKET, Short("queue"), Bits(&["passive", "durable", "exclusive", "auto-delete", "no-wait"]), Arguments], &["queue"], false;
    50 11 "queue.declare-ok" Server Response, &[Short("queue"), U32("message-count"), U32("consumer-count")], &[], false;
    50 20 "queue.bind" Client Request(&[21]), &[TICKET, Short("queue"), NotEmpty("exchange"), Short("routing-key"), Bits(&["no-wait"]), Arguments], &["queue", "exchange"], false;
    50 21 "queue.bind-ok" Server Response, &[], &[], false;
    50 30 "queue.purge" Client Request(&[31]), &[TICKET, Short("queue"), Bits(&["no-wait"])], &["queue"], false;
    50 31 "queue.purge-ok" Server Response, QUEUE_COUNT, &[], false;
    50 40 "queue.delete" Client Request(&[41]), &[TICKET, Short("queue"), Bits(&["if-unused", "if-empty", "no-wait"])], &["queue"], false;
    50 41 "queue.delete-ok" Server Response, QUEUE_COUNT, &[], false;
    50 50 "queue.unbind" Client Request(&[51]), &[TICKET, Short("queue"), NotEmpty("exchange"), Short("routing-key"), Arguments], &["queue", "exchange"], false;
    50 51 "queue.unbind-ok" Server Response, &[], &[], false;
    60 10 "basic.qos" Client Request(&[11]), &[U32("prefetch-size"), U16("prefetch-count"), Bits(&["global"])], &[], true;
    60 11 "basic.qos-ok" Server Response, &[], &[], true;
    60 20 "basic.consume" Client Request(&[21]), &[TICKET, Short("queue"), Short("consumer-tag"), Bits(&["no-local", "no-ack", "exclusive", "no-wait"]), Arguments], &["queue"], false;
    60 21 "basic.consume-ok" Server Response, &[Short("consumer-tag")], &[], false;
    60 30 "basic.cancel" Either Request(&[31]), &[Short("consumer-tag"), Bits(&["no-wait"])], &["consumer-tag"], false;
    60 31 "basic.cancel-ok" Either Response, &[Short("consumer-tag")], &[], false;
    60 40 "basic.publish" Client Message, &[TICKET, NotEmpty("exchange"), Short("routing-key"), Bits(&["mandatory", "immediate"])], &[], false;
    60 50 "basic.return" Server Message, &[U16("reply-code"), Short("reply-text"), Short("exchange"), Short("routing-key")], &[], false;
    60 60 "basic.deliver" Server Message, &[Short("consumer-tag"), U64("delivery-tag"), Bits(&["redelivered"]), NotEmpty("exchange"), Short("routing-key")], &[], false;
    60 70 "basic.get" Client Request(&[71, 72]), &[TICKET, Short("queue"), Bits(&["no-ack"])], &["queue"], false;
    60 71 "basic.get-ok" Server Message, &[U64("delivery-tag"), Bits(&["redelivered"]), NotEmpty("exchange"), Short("routing-key"), U32("message-count")], &[], false;
    60 72 "basic.get-empty" Server Response, &[], &[], false;
    60 80 "basic.ack" Either NoResponse, &[U64("delivery-tag"), Bits(&["multiple"])], &[], false;
    60 90 "basic.reject" Client NoResponse, &[U64("delivery-tag"), Bits(&["multiple"])], &["delivery-tag"], false;
    60 100 "basic.recover-async" Client Unreported, &[], &[], false;
    60 110 "basic.recover" Client Request(&[111]), &[Bits(&["requeue"])], &[], false;
    60 111 "basic.recover-ok" Server Response, &[], &[], false;
    60 120 "basic.nack" Either NoResponse, &[U64("delivery-tag"), Bits(&["multiple", "requeue"])], &[], false;
    85 10 "confirm.select" Client Request(&[11]), &[Bits(&["no-wait"])], &[], false;
    85 11 "confirm.select-ok" Server Response, &[], &[], false;
    90 10 "tx.select" Client Request(&[11]), &[], &[], false;
    90 11 "tx.select-ok" Server Response, &[], &[], false;
    90 20 "tx.commit" Client Request(&[21]), &[], &[], false;
    90 21 "tx.commit-ok" Server Response, &[], &[], false;
    90 30 "tx.rollback" Client Request(&[31]), &[], &[], false;
    90 31 "tx.rollback-ok" Server Response, &[], &[], false;
}
