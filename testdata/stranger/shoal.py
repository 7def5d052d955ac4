"""A client of shoal's protocol, Python's standard library alone, written from proto/doc.go.

    with Swarm("tcp://127.0.0.1:1857", lanes=2) as s:
        print(s.call("square", b"12"))
        for task, status, answer in s.map("table", [b"137.72.95.0:foo"], batch=16): ...
        for ident, data in s.stream("sensor", b'{"count":3}'): ...
"""
import os, queue
import wire as w
from conn import LaneGone
from lane import Lane


class Swarm:
    def __init__(self, addr, lanes=1, session=None, credit=1 << 16, limit=1 << 20, features=0, saw=None, patience=10,
                 extensions=(), credential=b"", part=1 << 16, ack_every=Lane.ACK_EVERY, max_window=1 << 20, retry_codes=(w.FULL,)):
        self.addrs = [addr] if isinstance(addr, str) else addr
        self.session = os.urandom(16) if session is None else session
        self.credit, self.limit, self.features, self.saw, self.patience = credit, limit, features, saw, patience
        self.credential, self.part = credential, part
        self.extensions, self.ack_every, self.max_window, self.retry_codes = extensions, ack_every, max_window, retry_codes
        self.lanes = [Lane(self, i) for i in range(lanes)]
        for l in self.lanes:
            l.ready.wait()
            if l.dead:
                raise LaneGone(-1, l.dead)
        self.turn = 0

    def pick_addr(self):
        return self.addrs[0]

    def pick(self):
        return min((l for l in self.lanes if not l.dead), key=lambda l: len(l.tasks))

    def deadline(self, seconds):
        return Lane.now() + int(seconds * 1000)

    def call(self, name, data=b"", timeout=None):
        return self.pick().submit(name, [data], self.deadline(timeout) if timeout else 0)[0].result()

    def map(self, name, payloads, batch=16, in_flight=1024, timeout=None):
        """(payload, status, data) as they finish"""
        done = queue.SimpleQueue()
        flying, buf = 0, []
        for p in payloads:
            buf.append(p)
            if len(buf) == batch:
                while flying >= in_flight:
                    f = done.get()
                    flying -= 1
                    yield f.payload, f.status, f.data
                self.pick().submit(name, buf, self.deadline(timeout) if timeout else 0, done.put)
                flying += len(buf)
                buf = []
        if buf:
            self.pick().submit(name, buf, self.deadline(timeout) if timeout else 0, done.put)
            flying += len(buf)
        while flying:
            f = done.get()
            flying -= 1
            yield f.payload, f.status, f.data

    def stream(self, name, argument=b"", timeout=None):
        return self.pick().open(w.SHAPE_STREAM, name, argument, self.deadline(timeout) if timeout else 0)

    def send(self, name, argument=b"", timeout=None):
        return self.pick().open(w.SHAPE_SEND, name, argument, self.deadline(timeout) if timeout else 0)

    def duplex(self, name, argument=b"", timeout=None):
        return self.pick().open(w.SHAPE_DUPLEX, name, argument, self.deadline(timeout) if timeout else 0)

    def close(self):
        for l in self.lanes:
            l.close()

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()
