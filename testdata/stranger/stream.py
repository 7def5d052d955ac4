"""What a caller waits for: the answer of a task, and a stream."""
import collections, threading
import wire as w
from conn import TaskError


class Future:
    __slots__ = ("ev", "status", "data", "size", "sub", "payload", "on_done", "offset", "tid", "retry_after")

    def __init__(self, on_done=None):
        self.ev, self.status, self.data, self.size, self.on_done, self.offset = None, None, None, 0, on_done, 0
        self.sub = self.payload = None
        if on_done is None:
            self.ev = threading.Event()

    def set(self, status, data):
        self.status, self.data = status, data
        if self.ev:
            self.ev.set()
        else:
            self.on_done(self)

    def result(self, timeout=None):
        if not self.ev.wait(timeout):
            raise TimeoutError("no answer")
        if self.status != w.OK:
            raise TaskError(self.status, self.data)
        return self.data


class Stream:
    """One stream. shape 1: iterate it; 2: write(), then finish(); 3: both."""

    def __init__(self, lane, sid, shape, credit_out, credit_in):
        self.lane, self.id, self.shape = lane, sid, shape
        self.credit_out = credit_out      # what we may send
        self.credit_in = credit_in        # what the gateway may send
        self.owed = 0                     # consumed and not given back yet
        self.start_in = credit_in
        self.q = collections.deque()
        self.ended = False                # our end
        self.status = None                # the gateway's
        self.data = b""
        self.aborted = False

    def write(self, data, ident=0, timeout=None):
        lane = self.lane
        with lane.cond:
            if not lane.cond.wait_for(lambda: self.credit_out > 0 and lane.may_send() or self.status is not None or lane.dead, timeout):
                raise TimeoutError("no credit")
            if self.status is not None or lane.dead:
                return False
            self.credit_out -= len(data) + w.CHUNK_HEAD
            if lane.credit is not None:
                lane.credit -= len(data) + w.CHUNK_HEAD
            lane.put(w.frame(w.CHUNKS, w.chunks([(self.id, ident, data)])))
            return True

    def end(self):
        with self.lane.cond:
            if self.status is None and not self.ended and not self.lane.dead:
                self.ended = True
                self.lane.put(w.frame(w.END, w.end(self.id)))

    def abort(self, status=w.CANCELED):
        with self.lane.cond:
            if self.status is None and not self.aborted and not self.lane.dead:
                self.aborted = True
                self.lane.put(w.frame(w.ABORT, w.abort(self.id, status)))

    def read(self, timeout=None):
        """(ident, data), or None at the end"""
        lane = self.lane
        with lane.cond:
            if not lane.cond.wait_for(lambda: self.q or self.status is not None, timeout):
                raise TimeoutError("no chunk")
            if not self.q:
                return None
            ident, data = self.q.popleft()
            self.owed += len(data) + w.CHUNK_HEAD
            if self.status is None and not lane.dead and self.owed * 2 >= self.start_in:
                n, self.owed = self.owed, 0
                self.credit_in += n
                lane.put(w.frame(w.CREDIT, w.credit([(self.id, n)])))
            return ident, data

    def __iter__(self):
        while True:
            c = self.read()
            if c is None:
                if self.status != w.OK:
                    raise TaskError(self.status, self.data)
                return
            yield c

    def finish(self, timeout=None):
        """our end, then the gateway's: the answer of a send"""
        self.end()
        return self.wait(timeout)

    def wait(self, timeout=None):
        with self.lane.cond:
            if not self.lane.cond.wait_for(lambda: self.status is not None, timeout):
                raise TimeoutError("no end")
        if self.status != w.OK:
            raise TaskError(self.status, self.data)
        return self.data
