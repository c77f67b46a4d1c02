"""The Redis protocol as the tests speak it: a connection that sends words or bytes and reads replies, both as values
and as the very bytes that came. An address is HOST:PORT or a path; a reply that does not come ends in TimeoutError."""
import socket


class Closed(Exception):
    """The server closed the connection."""


class Error(Exception):
    """An error reply, as a value."""

    def __eq__(self, other):
        return isinstance(other, Error) and self.args == other.args

    def __hash__(self):
        return hash(self.args)


class Push(list):
    """A message that nobody asked for (RESP3)."""


def encode(words):
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        if not isinstance(word, bytes):
            word = str(word).encode("utf-8", "surrogateescape")
        out.append(b"$%d\r\n%b\r\n" % (len(word), word))
    return b"".join(out)


class Connection:
    def __init__(self, address, protocol=2, timeout=10):
        if "/" in address:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        else:
            host, port = address.rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.at = 0
        self.protocol = protocol
        if protocol == 3:
            hello = self.call("HELLO", "3")
            if isinstance(hello, Error):
                raise hello

    def close(self):
        self.socket.close()

    def raw(self, data):
        self.socket.sendall(data)

    def send(self, *words):
        self.raw(encode(words))

    def call(self, *words):
        self.send(*words)
        return self.read()

    def _more(self):
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            raise Closed()
        self.buffer += data

    def _line(self):
        while True:
            end = self.buffer.find(b"\r\n", self.at)
            if end >= 0:
                line = self.buffer[self.at : end]
                self.at = end + 2
                return line
            self._more()

    def _value(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode("latin-1")
        if kind == b"-":
            return Error(rest.decode("latin-1"))
        if kind in b":(":
            return int(rest)
        if kind in b"$=!":
            if int(rest) < 0:
                return None
            end = self.at + int(rest) + 2
            while len(self.buffer) < end:
                self._more()
            body = self.buffer[self.at : end - 2]
            if self.buffer[end - 2 : end] != b"\r\n":
                raise ValueError("no CRLF behind %r" % body[-20:])
            self.at = end
            return body
        if kind in b"*~>":
            if int(rest) < 0:
                return None
            values = [self._value() for _ in range(int(rest))]
            return Push(values) if kind == b">" else values
        if kind == b"%":
            return {str(self._value()): self._value() for _ in range(int(rest))}
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        raise ValueError("not the beginning of a reply: %r" % line)

    def read(self):
        """The next reply, as a value."""
        return self.read_both()[0]

    def read_both(self):
        """The next reply, as a value and as bytes."""
        self.at = 0
        value = self._value()
        data, self.buffer = self.buffer[: self.at], self.buffer[self.at :]
        return value, data

    def quiet(self, seconds=0.0):
        """Whether nothing is there to read, waiting for that long."""
        if self.buffer:
            return False
        timeout = self.socket.gettimeout()
        self.socket.settimeout(max(seconds, 0.001))
        try:
            self._more()
            return False
        except (TimeoutError, BlockingIOError):
            return True
        finally:
            self.socket.settimeout(timeout)
