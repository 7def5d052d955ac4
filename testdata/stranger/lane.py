"""One lane of a swarm: what outlives the connections that carry it.

A lane has a reader and a writer thread. The writer sends control frames first and then the lane's byte sequence from
wherever the gateway's count says; so coming back after a cut is nothing but setting that position.
"""
import collections, os, random, threading, time
import wire as w
from conn import Conn, LaneGone
from stream import Future, Stream


class Lane:
    KEEP = 4 << 20          # unacknowledged bytes that we keep before a caller waits
    ACK_EVERY = 32 << 10

    def __init__(self, swarm, number):
        self.swarm, self.number = swarm, number
        self.cond = threading.Condition(threading.RLock())
        self.kept = collections.deque()     # frames not acknowledged
        self.base = 0                       # offset of kept[0]
        self.total = 0                      # bytes appended
        self.pos = 0                        # next byte for this connection
        self.next = 0                       # index in kept of the frame at pos
        self.received = 0
        self.told = 0
        self.control = collections.deque()
        self.begun = self.key = None
        self.credit = None                  # what we may send on all streams together; None: no bound
        self.parts = None                   # kind, flags and payload of a frame that comes in parts
        self.clock_last = 0
        self.conn = None
        self.epoch = 0
        self.dead = None
        self.lost_lane = 0                  # how often the gateway did not know us
        self.cuts = self.hellos = self.resumed = self.dropped_welcome = 0
        self.tasks = {}
        self.bytes_out = 0
        self.free = collections.deque()
        self.streams = {}
        self.sfree = collections.deque()
        self.pings = {}
        self.draining = None
        self.bye = None
        self.w = None
        self.closing = False
        self.skipped = 0
        self.last_tx = time.monotonic()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True, name="lane%d" % number)
        self.thread.start()

    # ------------------------------------------------------------ clock

    @staticmethod
    def now():
        return time.monotonic_ns() // 1000000

    # ------------------------------------------------------------ connection

    def _run(self):
        wait = 0.002
        since = time.monotonic()
        while not self.closing and not self.dead:
            try:
                conn = self._connect()
            except (w.Malformed, w.NotAllowed) as e:
                return self._die("%s: %s" % (type(e).__name__, e))
            except OSError as e:
                if time.monotonic() - since > self.swarm.patience:
                    return self._die("no gateway: %s" % e)
                time.sleep(wait * random.uniform(0.5, 1))
                wait = min(wait * 2, 1)
                continue
            except LaneGone as e:
                asked = self.bye[2].get(w.EXT_RETRY_AFTER)
                if asked:
                    time.sleep(min(10, w.U32.unpack(asked)[0] / 1000))
                if e.args[0] in self.swarm.retry_codes and time.monotonic() - since < self.swarm.patience:
                    time.sleep(wait)
                    wait = min(wait * 2, 1)
                    continue
                return self._die(e.args[1])
            wait = 0.002
            try:
                self._read(conn)
            except OSError as e:
                with self.cond:
                    self.cuts += 1
                    self.last_error = e
            except (w.Malformed, w.NotAllowed) as e:
                try:
                    conn.s.sendall(w.frame(w.GOODBYE, w.goodbye(w.MALFORMED, str(e))))
                except OSError:
                    pass
                conn.close()
                return self._die("the gateway broke the protocol: %s" % e)
            except LaneGone as e:
                conn.close()
                if e.args[0] not in (w.IDLE, w.SUPERSEDED, w.SLOW):
                    return self._die(e.args[1])
                self.cuts += 1
            conn.close()
            with self.cond:
                self.conn = None
                self.cond.notify_all()
            since = time.monotonic()

    def _connect(self):
        conn = Conn(self.swarm.pick_addr(), self.swarm.saw)
        try:
            with self.cond:
                clock = max(self.now(), self.clock_last + 1)
                self.clock_last = clock
                resume = self.begun is not None and self.swarm.session != bytes(16)
                received = self.received if resume else 0
                self.hellos += 1
                exts = list(self.swarm.extensions)
                if self.swarm.credential:
                    exts.append((w.EXT_CREDENTIAL, self.swarm.credential))
                if self.key:
                    exts += [(w.EXT_BEGUN, w.U64.pack(self.begun)), (w.EXT_PROOF, w.proof(
                        self.key, self.swarm.session, self.number, received, clock, self.begun, self.swarm.credential))]
                exts.sort()
                h = w.hello(self.swarm.session, self.number, clock, resume, received, self.swarm.features,
                            self.swarm.limit, self.swarm.credit, extensions=exts)
            conn.send(w.frame(w.HELLO, h))
            kind, flags, p = conn.read_frame(w.HANDSHAKE_LIMIT)
            if kind == w.GOODBYE:
                code, text, exts = w.parse_goodbye(p)
                self.bye = (code, text, dict(exts))
                raise LaneGone(code, "goodbye %d (%s): %s" % (code, w.CODES[min(code, 9)], text))
            if kind != w.WELCOME or flags:
                raise w.Malformed("kind %#x instead of a welcome" % kind)
            wl = w.parse_welcome(p)
            if wl["version"] != 1:
                raise w.Malformed("version %d" % wl["version"])
            if wl["features"] & ~self.swarm.features:
                raise w.Malformed("features %d" % wl["features"])
        except BaseException:
            conn.close()
            raise
        with self.cond:
            resumed = bool(wl["flags"] & w.RESUMED)
            if resumed and not resume:
                raise w.Malformed("resumed, and we did not ask for it")
            key = dict(wl["extensions"]).get(w.EXT_KEY)
            if (key is not None) != (not resumed and any(self.swarm.session)):
                raise w.Malformed("a key: %s" % (key is not None))
            if resumed:
                self.resumed += 1
                r = wl["received"]
                if r < self.base or r > self.total:
                    raise w.Malformed("received %d, not in %d..%d" % (r, self.base, self.total))
                self._acked(r)
                if self.base != r:
                    raise w.Malformed("received %d is not between two frames" % r)
                self.next, self.pos = 0, r
            else:
                if self.begun is not None:
                    self.lost_lane += 1
                    self._forget()
                self.begun, self.key = clock, key
                self.parts = None
                credit = dict(wl["extensions"]).get(w.EXT_CREDIT)
                self.credit = credit and w.U32.unpack(credit)[0]
                self.kept.clear()
                self.base = self.total = self.pos = self.next = self.received = 0
                self.w = wl
                self.free = collections.deque(range(min(wl["window"], self.swarm.max_window)))
                self.sfree = collections.deque(range(wl["streams"]))
            self.told = self.received
            self.idle = wl["idle"] / 1000
            self.control.clear()
            if wl["flags"] & w.DRAINING_FLAG:
                self.draining = self.draining or 0
            self.conn = conn
            self.epoch += 1
            epoch = self.epoch
            self.cond.notify_all()
        self.ready.set()
        threading.Thread(target=self._write, args=(conn, epoch), daemon=True).start()
        return conn

    def _forget(self):
        """The gateway does not know the lane any more: what became of the tasks is unknown, the streams are gone."""
        for f in list(self.tasks.values()):
            f.set(w.LOST, b"")
        self.tasks.clear()
        self.bytes_out = 0
        for s in self.streams.values():
            s.status, s.data = w.LOST, b""
        self.streams.clear()
        self.cond.notify_all()

    def _die(self, why):
        with self.cond:
            self.dead = why
            never = self._never_ran
            for f in list(self.tasks.values()):
                f.set(w.DRAINING if never is not None and f.offset > never else w.LOST, b"")
            self.tasks.clear()
            for s in self.streams.values():
                s.status, s.data = w.LOST, b""
            self.streams.clear()
            self.cond.notify_all()
        self.ready.set()

    _never_ran = None

    # ------------------------------------------------------------ writing

    def put(self, frame):
        """Appends a sequenced frame to the lane. Under self.cond."""
        self.kept.append(frame)
        self.total += len(frame)
        self.cond.notify_all()

    def may_send(self):
        return self.credit is None or self.credit > 0

    def _room(self):
        return self.total - self.base < self.KEEP

    def _write(self, conn, epoch):
        try:
            while True:
                with self.cond:
                    while True:
                        if self.epoch != epoch or self.conn is not conn:
                            return
                        if self.control or self.next < len(self.kept):
                            break
                        left = self.idle / 3 - (time.monotonic() - self.last_tx)
                        if left <= 0:
                            self.control.append(w.frame(w.PING, b"alive"))
                            break
                        self.cond.wait(left)
                    out = list(self.control)
                    self.control.clear()
                    if self.received > self.told:
                        out.append(self._ack())
                    size = 0
                    while self.next < len(self.kept) and size < 1 << 16:
                        f = self.kept[self.next]
                        out.append(f)
                        size += len(f)
                        self.pos += len(f)
                        self.next += 1
                    self.last_tx = time.monotonic()
                conn.send(b"".join(out))
        except OSError:
            conn.close()

    def _ack(self):
        self.told = self.received
        return w.frame(w.ACK, w.ack(self.received))

    # ------------------------------------------------------------ reading

    def _acked(self, n):
        if n > self.total:
            raise w.Malformed("ack of %d, sent %d" % (n, self.total))
        while self.kept and self.base + len(self.kept[0]) <= n:
            self.base += len(self.kept.popleft())
            if self.next:
                self.next -= 1
        self.cond.notify_all()

    def _read(self, conn):
        limit = self.swarm.limit
        while True:
            kind, flags, p = conn.read_frame(limit)
            size = 8 + len(p)
            known = kind in w.FROM_GATEWAY and kind != w.WELCOME
            if not known and not flags & w.SKIPPABLE:
                raise w.Malformed("kind %#x" % kind)
            with self.cond:
                if self.conn is not conn:
                    return
                if kind < 0x10:
                    if flags >> 1:
                        raise w.Malformed("compressed control frame")
                    self._control(kind, p) if known else self._skip()
                    continue
                flags, p, whole = self._assemble(kind, flags, p, limit)
                if whole:
                    p = w.expand(kind, flags, p, limit, self.w["features"])
                    if known:
                        self._sequenced(kind, flags, p)
                    else:
                        self._skip()
                self.received += size
                # with each burst that we write, and at the latest when so much has arrived
                if self.received - self.told >= self.swarm.ack_every or self.draining is not None:
                    self.control.append(self._ack())
                    self.cond.notify_all()

    def _assemble(self, kind, flags, p, limit):
        """flags and payload of the frame that the parts so far make, and whether it is whole"""
        more, flags = flags & w.MORE, flags & ~w.MORE
        if self.parts:
            if (kind, flags) != self.parts[:2]:
                raise w.Malformed("kind %#x, flags %#x among the parts of %#x, %#x" % ((kind, flags) + self.parts[:2]))
            p = self.parts[2] + p
            if len(p) > limit:
                raise w.Malformed("parts of %d bytes" % len(p))
        self.parts = (kind, flags, p) if more else None
        return flags, p, not more

    def _skip(self):
        self.skipped += 1

    def _control(self, kind, p):
        if kind == w.PING:
            self.control.append(self._ack())
            self.control.append(w.frame(w.PONG, w.parse_ping(p)))
            self.cond.notify_all()
        elif kind == w.PONG:
            f = self.pings.pop(bytes(p), None)
            if f:
                f.set(w.OK, p)
        elif kind == w.ACK:
            n = w.parse_ack(p)
            self.last_ack = n
            self._acked(n)
        elif kind == w.DRAIN:
            self.draining = w.parse_drain(p)
            self.control.append(self._ack())
            self.cond.notify_all()
        elif kind == w.GOODBYE:
            code, text, exts = w.parse_goodbye(p)
            self.bye = (code, text, dict(exts))
            if code == w.BYE_DRAINING:
                self._never_ran = self.base if not hasattr(self, "last_ack") else max(self.base, self.last_ack)
            raise LaneGone(code, "goodbye %d (%s): %s" % (code, w.CODES[min(code, 9)], text))

    def _sequenced(self, kind, flags, p):
        fields, p = w.cut_fields(kind, flags, p) if kind in w.WITH_FIELDS else ({}, p)
        if kind == w.RESULTS:
            for tid, status, data in w.parse_results(p):
                f = self.tasks.pop(tid, None)
                if f is None:
                    raise w.Malformed("a result for %d, which is not in use" % tid)
                self.bytes_out -= f.size
                self.free.append(tid)
                f.retry_after = w.U32.unpack(fields[w.FIELD_RETRY_AFTER])[0] if w.FIELD_RETRY_AFTER in fields else None
                f.set(status, data)
            self.cond.notify_all()
        elif kind == w.CHUNKS:
            for sid, ident, data in w.parse_chunks(p):
                s = self.streams.get(sid)
                if s is None:
                    continue
                if s.shape == w.SHAPE_SEND:
                    raise w.Malformed("a chunk for stream %d" % sid)
                if s.credit_in <= 0:
                    raise w.Malformed("a chunk without credit on stream %d" % sid)
                s.credit_in -= len(data) + w.CHUNK_HEAD
                s.q.append((ident, data))
            self.cond.notify_all()
        elif kind == w.CREDIT:
            for sid, n in w.parse_credit(p):
                s = self.streams.get(sid)
                if sid == w.WHOLE_LANE:
                    if self.credit is None:
                        raise w.Malformed("credit for the lane, which has none")
                    self.credit += n
                    continue
                if s is None:
                    continue
                if s.shape == w.SHAPE_STREAM:
                    raise w.Malformed("credit for stream %d" % sid)
                s.credit_out += n
                if s.credit_out > w.MAX_CREDIT:
                    raise w.Malformed("credit above 2^40")
            self.cond.notify_all()
        elif kind == w.END:
            sid, status, data = w.parse_end(p)
            s = self.streams.pop(sid, None)
            if s is None:
                raise w.Malformed("an end for stream %d" % sid)
            self.sfree.append(sid)
            s.status, s.data = status, data
            self.cond.notify_all()

    # ------------------------------------------------------------ for callers

    def submit(self, name, payloads, deadline=0, on_done=None, fields=()):
        """Sends the payloads as one frame, or several when the frame limit says so; a Future for each."""
        out, i = [], 0
        fields = w.pack_fields(fields)
        head = len(fields) + 9 + len(name)
        while i < len(payloads):
            with self.cond:
                need = len(payloads[i])
                if head + 8 + need > self.w["limit"]:
                    raise ValueError("a task of %d bytes is above the gateway's frame limit" % need)
                self.cond.wait_for(lambda: self.dead or self.conn is not None and self.free and self._room() and
                                   self.bytes_out + need + 8 <= self.w["window_bytes"])
                if self.dead:
                    raise LaneGone(-1, self.dead)
                entries, size = [], head
                while i < len(payloads) and self.free:
                    b = payloads[i]
                    if size + 8 + len(b) > min(self.w["limit"], 1 << 18) and entries:
                        break
                    if self.bytes_out + len(b) + 8 > self.w["window_bytes"]:
                        break
                    f = Future(on_done)
                    f.size, f.payload, f.sub = len(b) + 8, b, name
                    tid = self.free.popleft()
                    self.tasks[tid] = f
                    self.bytes_out += f.size
                    size += 8 + len(b)
                    entries.append((tid, b))
                    out.append(f)
                    f.tid = tid
                    i += 1
                frame = w.frame(w.TASKS, fields + w.tasks(name, entries, deadline), w.FIELDS if fields else 0)
                for part in w.parts(frame, self.swarm.part):
                    self.put(part)
                for f in out[-len(entries):]:
                    f.offset = self.total       # the end of its frame
        return out

    def cancel(self, futures):
        with self.cond:
            ids = [f.tid for f in futures if self.tasks.get(f.tid) is f]
            if ids:
                self.put(w.frame(w.CANCEL, w.cancel(ids)))

    def open(self, shape, name, argument=b"", deadline=0):
        with self.cond:
            self.cond.wait_for(lambda: self.dead or self.conn is not None and self.sfree and self._room())
            if self.dead:
                raise LaneGone(-1, self.dead)
            sid = self.sfree.popleft()
            s = Stream(self, sid, shape, self.w["credit"], self.swarm.credit)
            self.streams[sid] = s
            self.put(w.frame(w.OPEN, w.open_(sid, shape, name, argument, deadline)))
            return s

    def ping(self, timeout=5):
        body = os.urandom(8)
        f = Future()
        t = time.monotonic()
        with self.cond:
            self.pings[body] = f
            self.control.append(w.frame(w.PING, body))
            self.cond.notify_all()
        f.result(timeout)
        return time.monotonic() - t

    def close(self):
        with self.cond:
            self.closing = True
            conn = self.conn
            self.epoch += 1
            self.cond.notify_all()
        if conn:
            try:
                conn.s.sendall(w.frame(w.GOODBYE, w.goodbye(w.DONE)))
            except OSError:
                pass
            conn.close()
        self.thread.join(5)
        self._die("closed")
