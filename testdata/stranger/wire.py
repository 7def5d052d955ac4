"""shoal's wire format, version 1: bytes <-> values, no I/O and no state.

Written from the comment in proto/doc.go alone. Every decoder is strict: what breaks the specification raises Malformed.
"""
import hashlib, hmac, struct

HEADER = struct.Struct("<IBBH")
U16 = struct.Struct("<H")
U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")
MAGIC = b"SHOL"
HANDSHAKE_LIMIT = 4096

HELLO, WELCOME, GOODBYE, ACK, PING, PONG, DRAIN = range(1, 8)
TASKS, RESULTS, CANCEL, OPEN, CHUNKS, CREDIT, END, ABORT = range(0x10, 0x18)
KIND_NAMES = {HELLO: "hello", WELCOME: "welcome", GOODBYE: "goodbye", ACK: "ack", PING: "ping", PONG: "pong",
              DRAIN: "drain", TASKS: "tasks", RESULTS: "results", CANCEL: "cancel", OPEN: "open", CHUNKS: "chunks",
              CREDIT: "credit", END: "end", ABORT: "abort"}
FROM_GATEWAY = {WELCOME, GOODBYE, ACK, PING, PONG, DRAIN, RESULTS, CHUNKS, CREDIT, END}
FROM_CLIENT = {HELLO, GOODBYE, ACK, PING, PONG, TASKS, CANCEL, OPEN, CHUNKS, CREDIT, END, ABORT}

WITH_FIELDS = {TASKS, RESULTS, OPEN, END}

SKIPPABLE, FIELDS, MORE = 1, 8, 16      # flags of a frame, beside bits 1 and 2
COMP_NONE, COMP_S2, COMP_ZSTD, COMP_BAD = 0, 1, 2, 3
FEATURE_S2, FEATURE_ZSTD = 1, 2

RESUME = 1                      # flag of hello
RESUMED, DRAINING_FLAG = 1, 2   # flags of welcome
EXT_BEGUN, EXT_KEY, EXT_PROOF, EXT_CREDENTIAL, EXT_RETRY_AFTER, EXT_SUCCESSOR, EXT_CREDIT = range(1, 8)
EXT_CRITICAL = 0x8000
FIELD_RETRY_AFTER, FIELD_METADATA, FIELD_KEY, FIELD_CLASS = 5, 16, 17, 18
FIELDS_LIMIT = 4096
WHOLE_LANE = (1 << 32) - 1

DONE, FULL, BYE_DRAINING, BYE_VERSION, NOT_ALLOWED, MALFORMED, IDLE, SUPERSEDED, SLOW, INTERNAL = range(10)
CODES = ["done", "full", "draining", "version", "not allowed", "malformed", "idle", "superseded", "slow", "internal"]
STATUSES = ["ok", "failed", "panicked", "timeout", "canceled", "busy", "draining", "unknown subroutine",
            "unknown task", "lost", "not allowed"]
OK, FAILED, PANICKED, TIMEOUT, CANCELED, BUSY, DRAINING, UNKNOWN_SUBROUTINE, UNKNOWN_TASK, LOST, ST_NOT_ALLOWED = range(11)
SHAPE_STREAM, SHAPE_SEND, SHAPE_DUPLEX = 1, 2, 3
MAX_DEADLINE = 1 << 42
MAX_CREDIT = 1 << 40
CHUNK_HEAD = 16


class Malformed(Exception):
    pass


class NotAllowed(Exception):
    """A critical extension that we do not know."""


# ---------------------------------------------------------------- frames

def frame(kind, payload=b"", flags=0):
    return HEADER.pack(len(payload), kind, flags, 0) + payload


def header(buf, limit):
    """length, kind, flags of the header at the start of buf (8 bytes)."""
    length, kind, flags, reserved = HEADER.unpack_from(buf)
    if reserved:
        raise Malformed("reserved %#x" % reserved)
    if flags & ~31 or flags >> 1 & 3 == COMP_BAD:
        raise Malformed("flags %#x" % flags)
    if kind == 0:
        raise Malformed("kind 0")
    if kind < 0x10 and flags & ~SKIPPABLE:
        raise Malformed("control frame with flags %#x" % flags)
    if flags & FIELDS and kind in KIND_NAMES and kind not in WITH_FIELDS:
        raise Malformed("fields in a frame of kind %#x" % kind)
    if flags & MORE and length == 0:
        raise Malformed("a part without a byte")
    if length > limit:
        raise Malformed("frame of %d above the limit %d" % (length, limit))
    return length, kind, flags


def expand(kind, flags, payload, limit, features):
    comp = flags >> 1 & 3
    if comp == COMP_NONE:
        return payload
    if kind < 0x10:
        raise Malformed("compressed control frame")
    if comp == COMP_S2 and not features & FEATURE_S2 or comp == COMP_ZSTD and not features & FEATURE_ZSTD:
        raise Malformed("compression that was not agreed")
    if len(payload) < 4:
        raise Malformed("compressed payload of %d bytes" % len(payload))
    size = U32.unpack_from(payload)[0]
    if size > limit:
        raise Malformed("expands to %d, above the limit" % size)
    if size > 1024 * len(payload):
        raise Malformed("%d bytes expand to %d" % (len(payload), size))
    if comp == COMP_ZSTD:
        raise Malformed("zstd: this client does not offer it")
    import s2
    out = s2.decode(payload[4:], size)
    if len(out) != size:
        raise Malformed("expands to %d, said %d" % (len(out), size))
    return out


# ---------------------------------------------------------------- handshake

_HELLO = struct.Struct("<4sHHIII16sHHQQ")
_WELCOME = struct.Struct("<4sHHIIIIIQI16sQ")
assert _HELLO.size == 56 and _WELCOME.size == 64


def pack_extensions(exts):
    return b"".join(struct.pack("<HH", t, len(v)) + v for t, v in exts)


def parse_extensions(b):
    """Extensions, and fields: [(type, value)], types in ascending order."""
    out, i, last = [], 0, -1
    while i < len(b):
        if len(b) - i < 4:
            raise Malformed("extension cut short")
        t, n = struct.unpack_from("<HH", b, i)
        i += 4
        if len(b) - i < n:
            raise Malformed("extension beyond its payload")
        if t <= last:
            raise Malformed("extension %#x after %#x" % (t, last))
        out.append((t, b[i:i + n]))
        i, last = i + n, t
    return out


# type: the lengths that its value may have
IN_HELLO = {EXT_BEGUN: (8, 8), EXT_PROOF: (32, 32), EXT_CREDENTIAL: (1, 2048), EXT_CREDIT: (4, 4)}
IN_WELCOME = {EXT_KEY: (32, 32), EXT_CREDIT: (4, 4)}
IN_GOODBYE = {EXT_RETRY_AFTER: (4, 4), EXT_SUCCESSOR: (1, 255)}


def check_extensions(exts, table, critical=True):
    for t, v in exts:
        if t in table:
            least, most = table[t]
            if not least <= len(v) <= most:
                raise Malformed("extension %d of %d bytes" % (t, len(v)))
            if t == EXT_CREDIT and not any(v):
                raise Malformed("credit 0 for the lane")
        elif t & EXT_CRITICAL and critical:
            raise NotAllowed("extension %#x" % t)
    return dict(exts)


def proof(key, session, lane, received, clock, begun, credential=b""):
    m = session + struct.pack("<HQQQ", lane, received, clock, begun) + hashlib.sha256(credential).digest()
    return hmac.new(key, m, hashlib.sha256).digest()


def hello(session=bytes(16), lane=0, clock=0, resume=False, received=0, features=0, limit=1 << 20, credit=1 << 18,
          lowest=1, highest=1, flags=None, extensions=(), magic=MAGIC):
    if flags is None:
        flags = RESUME if resume else 0
    return _HELLO.pack(magic, lowest, highest, features, limit, credit, session, lane, flags, received,
                       clock) + pack_extensions(extensions)


def parse_hello(b):
    if len(b) < 56:
        raise Malformed("hello of %d bytes" % len(b))
    names = ("magic", "lowest", "highest", "features", "limit", "credit", "session", "lane", "flags", "received", "clock")
    h = dict(zip(names, _HELLO.unpack_from(b)))
    if h["magic"] != MAGIC:
        raise Malformed("magic")
    h["extensions"] = parse_extensions(b[56:])
    e = check_extensions(h["extensions"], IN_HELLO)
    session, resume = any(h["session"]), h["flags"] & RESUME
    if (EXT_BEGUN in e) != (EXT_PROOF in e) or resume and EXT_PROOF not in e or EXT_PROOF in e and not session:
        raise Malformed("hello: begun and proof")
    if h["clock"] > MAX_DEADLINE or not session and h["lane"] or not resume and h["received"] or h["limit"] < 4096:
        raise Malformed("hello: clock, lane, received or limit")
    return h


def welcome(version=1, flags=0, features=0, limit=1 << 22, credit=1 << 16, window=1024, streams=64, window_bytes=1 << 24,
            idle=30000, life=bytes(16), received=0, extensions=(), magic=MAGIC):
    return _WELCOME.pack(magic, version, flags, features, limit, credit, window, streams, window_bytes, idle, life,
                         received) + pack_extensions(extensions)


def parse_welcome(b):
    if len(b) < 64:
        raise Malformed("welcome of %d bytes" % len(b))
    names = ("magic", "version", "flags", "features", "limit", "credit", "window", "streams", "window_bytes", "idle",
             "life", "received")
    w = dict(zip(names, _WELCOME.unpack_from(b)))
    if w["magic"] != MAGIC:
        raise Malformed("magic")
    if w["limit"] < 4096 or w["idle"] == 0:
        raise Malformed("welcome: limit %(limit)d idle %(idle)d" % w)
    if w["received"] and not w["flags"] & RESUMED:
        raise Malformed("received %(received)d, and not resumed" % w)
    w["extensions"] = parse_extensions(b[64:])
    check_extensions(w["extensions"], IN_WELCOME)
    return w


def goodbye(code, text="", extensions=()):
    t = text.encode()
    return struct.pack("<HH", code, len(t)) + t + pack_extensions(extensions)


def parse_goodbye(b):
    """code, text, extensions"""
    if len(b) < 4:
        raise Malformed("goodbye of %d bytes" % len(b))
    code, n = struct.unpack_from("<HH", b)
    if len(b) - 4 < n:
        raise Malformed("goodbye's text beyond its payload")
    exts = parse_extensions(b[4 + n:])
    check_extensions(exts, IN_GOODBYE, critical=False)
    return code, b[4:4 + n].decode("utf-8", "replace"), exts


# ---------------------------------------------------------------- fields

def pack_fields(fields):
    b = pack_extensions(fields)
    return U16.pack(len(b)) + b if b else b""


def metadata(pairs):
    """The value of the field."""
    return b"".join(bytes([len(k)]) + k + U16.pack(len(v)) + v for k, v in sorted(pairs.items()))


def parse_metadata(b):
    pairs, i, last = {}, 0, b""
    while i < len(b):
        n = b[i]
        if n == 0 or len(b) < i + 1 + n + 2:
            raise Malformed("key of metadata")
        k, i = b[i + 1:i + 1 + n], i + 1 + n
        size = U16.unpack_from(b, i)[0]
        if len(b) < i + 2 + size or k <= last:
            raise Malformed("value of metadata, or the order of keys")
        pairs[k], i, last = b[i + 2:i + 2 + size], i + 2 + size, k
    if not pairs:
        raise Malformed("metadata without a pair")
    return pairs


KNOWN_FIELDS = {TASKS: {FIELD_METADATA, FIELD_KEY, FIELD_CLASS}, OPEN: {FIELD_METADATA, FIELD_KEY, FIELD_CLASS},
                RESULTS: {FIELD_RETRY_AFTER, FIELD_METADATA}, END: {FIELD_RETRY_AFTER, FIELD_METADATA}}


def cut_fields(kind, flags, payload):
    """fields and the rest of a payload, which is whole and expanded"""
    if not flags & FIELDS:
        return {}, payload
    if len(payload) < 2:
        raise Malformed("fields of %d bytes" % len(payload))
    n = U16.unpack_from(payload)[0]
    if not 1 <= n <= FIELDS_LIMIT or n > len(payload) - 2:
        raise Malformed("fields of %d bytes" % n)
    fields = dict(parse_extensions(payload[2:2 + n]))
    for t, v in fields.items():
        if t in KNOWN_FIELDS[kind]:
            if t == FIELD_METADATA:
                parse_metadata(v)
            elif t == FIELD_RETRY_AFTER and len(v) != 4 or t == FIELD_KEY and not 1 <= len(v) <= 64 or \
                    t == FIELD_CLASS and (len(v) != 1 or v[0] > 2):
                raise Malformed("field %d" % t)
        elif t & EXT_CRITICAL:
            raise Malformed("field %#x is not known here" % t)
    return fields, payload[2 + n:]


# ---------------------------------------------------------------- small control frames

def ack(received):
    return U64.pack(received)


def parse_ack(b):
    if len(b) != 8:
        raise Malformed("ack of %d bytes" % len(b))
    return U64.unpack(b)[0]


def parse_ping(b):
    if len(b) > 1024:
        raise Malformed("ping of %d bytes" % len(b))
    return b


def parse_drain(b):
    if len(b) != 4:
        raise Malformed("drain of %d bytes" % len(b))
    return U32.unpack(b)[0]


# ---------------------------------------------------------------- tasks

def _name(name):
    name = name.encode() if isinstance(name, str) else name
    if not 1 <= len(name) <= 255:
        raise ValueError("name of %d bytes" % len(name))
    return bytes([len(name)]) + name


def tasks(name, entries, deadline=0):
    return U64.pack(deadline) + _name(name) + b"".join(struct.pack("<II", i, len(b)) + b for i, b in entries)


def parse_tasks(b):
    if len(b) < 10:
        raise Malformed("tasks of %d bytes" % len(b))
    deadline, n = struct.unpack_from("<QB", b)
    if deadline > MAX_DEADLINE or n == 0 or len(b) < 9 + n:
        raise Malformed("tasks: deadline or name")
    name, i, out = b[9:9 + n], 9 + n, []
    while i < len(b):
        if len(b) - i < 8:
            raise Malformed("task cut short")
        tid, size = struct.unpack_from("<II", b, i)
        i += 8
        if len(b) - i < size:
            raise Malformed("task beyond its payload")
        out.append((tid, b[i:i + size]))
        i += size
    if not out:
        raise Malformed("tasks without a task")
    return deadline, name, out


def results(entries):
    return b"".join(struct.pack("<IBI", i, s, len(b)) + b for i, s, b in entries)


def _status(s):
    if s == LOST or s > 10:
        raise Malformed("status %d" % s)


def parse_results(b):
    i, out = 0, []
    while i < len(b):
        if len(b) - i < 9:
            raise Malformed("result cut short")
        tid, status, size = struct.unpack_from("<IBI", b, i)
        _status(status)
        i += 9
        if len(b) - i < size:
            raise Malformed("result beyond its payload")
        out.append((tid, status, b[i:i + size]))
        i += size
    if not out:
        raise Malformed("results without a result")
    return out


def cancel(ids):
    return b"".join(U32.pack(i) for i in ids)


def parse_cancel(b):
    if not b or len(b) % 4:
        raise Malformed("cancel of %d bytes" % len(b))
    return [x[0] for x in U32.iter_unpack(b)]


def error(code, text="", details=b""):
    t = text.encode()
    return struct.pack("<HH", code, len(t)) + t + details


def parse_error(b):
    """code, text, details of the bytes of a result that is not ok; None when there are none."""
    if not b:
        return None
    if len(b) < 4:
        raise Malformed("error of %d bytes" % len(b))
    code, n = struct.unpack_from("<HH", b)
    if len(b) < 4 + n:
        raise Malformed("error's text beyond its payload")
    return code, b[4:4 + n].decode("utf-8", "replace"), b[4 + n:]


# ---------------------------------------------------------------- streams

def open_(stream, shape, name, argument=b"", deadline=0):
    return struct.pack("<IQB", stream, deadline, shape) + _name(name) + argument


def parse_open(b):
    if len(b) < 15:
        raise Malformed("open of %d bytes" % len(b))
    stream, deadline, shape, n = struct.unpack_from("<IQBB", b)
    if deadline > MAX_DEADLINE or not 1 <= shape <= 3 or n == 0 or len(b) < 14 + n:
        raise Malformed("open")
    return stream, deadline, shape, b[14:14 + n], b[14 + n:]


def chunks(entries):
    return b"".join(struct.pack("<IqI", s, ident, len(b)) + b for s, ident, b in entries)


def parse_chunks(b):
    i, out = 0, []
    while i < len(b):
        if len(b) - i < 16:
            raise Malformed("chunk cut short")
        stream, ident, size = struct.unpack_from("<IqI", b, i)
        i += 16
        if len(b) - i < size:
            raise Malformed("chunk beyond its payload")
        out.append((stream, ident, b[i:i + size]))
        i += size
    if not out:
        raise Malformed("chunks without a chunk")
    return out


def credit(entries):
    return b"".join(struct.pack("<II", s, n) for s, n in entries)


def parse_credit(b):
    if not b or len(b) % 8:
        raise Malformed("credit of %d bytes" % len(b))
    return list(struct.iter_unpack("<II", b))


def end(stream, status=OK, data=b""):
    return struct.pack("<IB", stream, status) + data


def parse_end(b):
    if len(b) < 5:
        raise Malformed("end of %d bytes" % len(b))
    stream, status = struct.unpack_from("<IB", b)
    _status(status)
    return stream, status, b[5:]


def abort(stream, status=CANCELED):
    return struct.pack("<IB", stream, status)


def parse_abort(b):
    if len(b) != 5:
        raise Malformed("abort of %d bytes" % len(b))
    stream, status = struct.unpack("<IB", b)
    if status not in (TIMEOUT, CANCELED):
        raise Malformed("abort with status %d" % status)
    return stream, status


def compressed(kind, payload, comp, body, flags=0):
    """A frame with the given compressed body."""
    return frame(kind, U32.pack(len(payload)) + body, flags | comp << 1)


def parts(whole, size):
    """The parts of a frame, each with at most size bytes of payload."""
    n, kind, flags, _ = HEADER.unpack_from(whole)
    payload, out = whole[8:], []
    while len(payload) > size:
        out.append(frame(kind, payload[:size], flags | MORE))
        payload = payload[size:]
    return out + [frame(kind, payload, flags)]
