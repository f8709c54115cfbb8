"""What record.sh has pika do with the server: `record.py SCENE`."""
import datetime
import decimal
import logging
import sys
import time

import pika
from pika import BasicProperties as Properties

logging.disable()
SCENE = sys.argv[1]
PARAMETERS = pika.ConnectionParameters("127.0.0.1", 5672, heartbeat=1 if SCENE == "heartbeat" else 60,
                                       frame_max=4096 if SCENE == "large" else 131072)


def messages():
    """Publish, consume, get, get-empty, ack, nack, reject, bind, purge, delete, transactions."""
    with pika.BlockingConnection(PARAMETERS) as connection:
        channel = connection.channel()
        channel.exchange_declare("logs", "topic", durable=True)
        channel.exchange_declare("all", "fanout", arguments={"alternate-exchange": "logs"})
        channel.exchange_bind("all", "logs", "a.#")
        queue = channel.queue_declare("", exclusive=True, arguments={"x-max-length": 100, "x-message-ttl": 60000}).method.queue
        channel.queue_bind(queue, "all")
        channel.basic_publish("logs", "a.b", b"first", Properties(content_type="text/plain", delivery_mode=2, timestamp=1453834558, user_id="guest"))
        channel.basic_publish("logs", "a.c", b'{"n": 2}', Properties(
            content_type="application/json", priority=3, correlation_id="c", reply_to="r", expiration="60000", message_id="m", type="t", app_id="app",
            headers={"text": "x", "number": -5, "large": 1 << 40, "decimal": decimal.Decimal("-12.34"), "time": datetime.datetime(2016, 1, 26, 18, 55, 58), "yes": True, "none": None, "list": [1, "b"], "table": {"a": {"b": 1}}, "bytes": b"\x00\xff"}))
        channel.basic_publish("logs", "a.d", b"\x00\x01\xff")
        channel.basic_publish("logs", "a.e", b"")
        time.sleep(0.2)
        for _ in range(7):
            method, _, _ = channel.basic_get(queue)
            if method and method.routing_key == "a.b" and not method.redelivered:
                channel.basic_nack(method.delivery_tag, requeue=True)
            elif method and method.routing_key == "a.c":
                channel.basic_reject(method.delivery_tag, requeue=False)
            elif method:
                channel.basic_ack(method.delivery_tag)
        channel.basic_qos(prefetch_count=1)
        tag = channel.basic_consume(queue, lambda ch, m, p, b: ch.basic_ack(m.delivery_tag), consumer_tag="me")
        channel.basic_publish("all", "", b"to the consumer", Properties(content_type="text/plain"))
        connection.process_data_events(time_limit=0.5)
        channel.basic_cancel(tag)
        channel.tx_select()
        channel.basic_publish("all", "", b"in a transaction")
        channel.tx_commit()
        channel.basic_publish("all", "", b"never there")
        channel.tx_rollback()
        channel.basic_recover(requeue=True)
        channel.queue_purge(queue)
        channel.queue_unbind(queue, "all")
        channel.exchange_unbind("all", "logs", "a.#")
        channel.queue_delete(queue)
        channel.exchange_delete("all")
        channel.exchange_delete("logs")


def confirms():
    """Publisher confirms, a message that is returned, one that is refused (nack from the server), two channels at once."""
    with pika.BlockingConnection(PARAMETERS) as connection:
        channel, other = connection.channel(), connection.channel()
        channel.queue_declare("small", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        channel.confirm_delivery()
        other.queue_declare("other", auto_delete=True)
        for text in (b"kept", b"refused"):
            try:
                channel.basic_publish("", "small", text, Properties(content_type="text/plain"))
            except pika.exceptions.NackError:
                pass
        try:
            channel.basic_publish("", "nobody", b"returned", Properties(content_type="text/plain"), mandatory=True)
        except pika.exceptions.UnroutableError:
            pass
        other.basic_publish("", "other", b"unconfirmed", Properties(content_type="text/plain"))
        channel.queue_delete("small")
        other.queue_delete("other")


def large():
    """A body in several frames, published and delivered, then a small one."""
    with pika.BlockingConnection(PARAMETERS) as connection:
        channel = connection.channel()
        channel.queue_declare("large")
        channel.basic_publish("", "large", b"0123456789" * 1_500, Properties(content_type="text/plain"))
        channel.basic_publish("", "large", b"small", Properties(content_type="text/plain"))
        time.sleep(0.2)
        for _ in range(2):
            channel.basic_get("large", auto_ack=True)
        channel.queue_delete("large")


def errors():
    """A channel closed by the server (a queue that is not there), a consumer cancelled by the server, a connection refused."""
    connection = pika.BlockingConnection(PARAMETERS)
    channel = connection.channel()
    try:
        channel.queue_declare("nowhere", passive=True)
    except pika.exceptions.ChannelClosedByBroker:
        pass
    channel = connection.channel()
    channel.queue_declare("gone")
    channel.basic_consume("gone", lambda *_: None, consumer_tag="orphan")
    connection.channel().queue_delete("gone")
    connection.process_data_events(time_limit=0.3)
    connection.close()
    for parameters in (pika.ConnectionParameters("127.0.0.1", 5672, virtual_host="none"),
                       pika.ConnectionParameters("127.0.0.1", 5672, credentials=pika.PlainCredentials("guest", "wrong"))):
        try:
            pika.BlockingConnection(parameters)
        except pika.exceptions.AMQPError:
            pass


def heartbeat():
    """Heartbeats of both sides."""
    with pika.BlockingConnection(PARAMETERS) as connection:
        connection.channel()
        connection.process_data_events(time_limit=2.5)


globals()[SCENE]()
