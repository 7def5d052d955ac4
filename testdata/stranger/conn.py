"""A connection that can be cut, and the errors of the client."""
import socket, struct
import wire as w


class Error(Exception):
    pass


class TaskError(Error):
    def __init__(self, status, data=b""):
        self.status, self.name, self.data = status, w.STATUSES[status], data
        self.code, self.text, self.details = 0, "", b""
        if data:
            self.code, self.text, self.details = w.parse_error(data)
        super().__init__("%s (code %d): %s" % (self.name, self.code, self.text))


class LaneGone(Error):
    """The lane ended: a goodbye, or a gateway that is not there."""


class Cut(OSError):
    pass


class Saw:
    """Resets a connection after so many bytes sent or received. tx, rx: functions that give the next budget, or None."""

    def __init__(self, tx=lambda: None, rx=lambda: None):
        self.tx, self.rx = tx, rx


class Conn:
    """A socket, and the saw that cuts it."""

    def __init__(self, addr, saw=None):
        if addr.startswith("unix://"):
            self.s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.s.connect(addr[7:])
        else:
            host, port = addr.split("://")[1].rsplit(":", 1)
            self.s = socket.create_connection((host.strip("[]"), int(port)), timeout=10)
            self.s.settimeout(None)
            self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.saw = saw
        self.tx = saw.tx() if saw else None
        self.rx = saw.rx() if saw else None
        self.buf = b""

    def send(self, data):
        if self.tx is not None:
            n = min(len(data), self.tx)
            self.s.sendall(data[:n])
            self.tx -= n
            if self.tx == 0:
                self.cut()
            return
        self.s.sendall(data)

    def recv(self):
        n = 1 << 16
        if self.rx is not None:
            n = min(n, self.rx)
        b = self.s.recv(n)
        if self.rx is not None:
            self.rx -= len(b)
            if self.rx <= 0:
                self.pending_cut = True
        return b

    pending_cut = False

    def cut(self):
        try:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.close()
        raise Cut("cut by the saw")

    def read_frame(self, limit):
        """kind, flags, payload as sent"""
        while len(self.buf) < 8:
            self._more()
        n, kind, flags = w.header(self.buf, limit)
        while len(self.buf) < 8 + n:
            self._more()
        p, self.buf = self.buf[8:8 + n], self.buf[8 + n:]
        return kind, flags, p

    def _more(self):
        if self.pending_cut:
            self.cut()
        b = self.recv()
        if not b:
            raise ConnectionError("closed by the gateway")
        self.buf += b

    def close(self):
        try:
            self.s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.s.close()
