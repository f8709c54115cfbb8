"""Both ends of the recordings: talk.py server|client HOW PORT. record.sh runs it."""
import sys

from calculator import Calculator
from calculator.ttypes import Bad, Work
from thrift.protocol import TBinaryProtocol, TCompactProtocol, THeaderProtocol
from thrift.server import TServer
from thrift.transport import TSocket, TTransport

role, how, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
BUFFERED, FRAMED = TTransport.TBufferedTransportFactory(), TTransport.TFramedTransportFactory()
transport, protocol = {
    "binary": (BUFFERED, TBinaryProtocol.TBinaryProtocolFactory()),
    "compact": (BUFFERED, TCompactProtocol.TCompactProtocolFactory()),
    "framed": (FRAMED, TBinaryProtocol.TBinaryProtocolFactory()),
    "header": (TTransport.TTransportFactoryBase(), THeaderProtocol.THeaderProtocolFactory()),
}[how]


class Handler:
    def ping(self):
        pass

    def add(self, left, right):
        return left + right

    def calculate(self, log, work):
        if work.right == 0:
            raise Bad(4, "no number")
        return work.left // work.right

    def echo(self, values, flags, bytes, number):
        return values

    def zip(self):
        pass


if role == "server":
    server = TServer.TSimpleServer(Calculator.Processor(Handler()), TSocket.TServerSocket("127.0.0.1", port), transport, protocol)
    print("ready", flush=True)
    server.serve()
else:
    socket = TSocket.TSocket("127.0.0.1", port)
    carrier = transport.getTransport(socket)
    client = Calculator.Client(protocol.getProtocol(carrier))
    carrier.open()
    client.ping()
    client.add(-1, 2**31 - 1)
    client.calculate(1, Work(-9, 2, 'with "quotes"\n'))
    try:
        client.calculate(2, Work(1, 0))
    except Bad:
        pass
    client.echo({"a": list(range(20)), "b": []}, {True}, b"\xff\x00", -1.5)
    client.echo({"long": [1]}, set(), b"x" * 300, 1e21)
    client.zip()
    client.add(3, 4)
    carrier.close()
