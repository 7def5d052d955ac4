"""The golden frames of testdata/frames, decoded with wire.py, encoded again and compared; and testdata/session.txt, followed as
both sides would."""
import os, re, sys
import s2
import wire as w

TESTDATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DIR = os.path.join(TESTDATA, "frames")


def read(path):
    hexes = ""
    for line in open(path):
        hexes += re.sub(r"\s", "", line.split("#", 1)[0])
    return bytes.fromhex(hexes)


def again(kind, p):
    """payload -> value -> payload"""
    if kind == w.HELLO:
        h = w.parse_hello(p)
        return h, w.hello(h["session"], h["lane"], h["clock"], received=h["received"], features=h["features"],
                          limit=h["limit"], credit=h["credit"], lowest=h["lowest"], highest=h["highest"],
                          flags=h["flags"], extensions=h["extensions"])
    if kind == w.WELCOME:
        v = w.parse_welcome(p)
        return v, w.welcome(**v)
    if kind == w.GOODBYE:
        v = w.parse_goodbye(p)
        return v, w.goodbye(*v)
    if kind == w.ACK:
        v = w.parse_ack(p)
        return v, w.ack(v)
    if kind not in w.KIND_NAMES:
        return p, p
    if kind in (w.PING, w.PONG):
        return w.parse_ping(p), p
    if kind == w.DRAIN:
        v = w.parse_drain(p)
        return v, w.U32.pack(v)
    if kind == w.TASKS:
        d, n, e = w.parse_tasks(p)
        return (d, n, e), w.tasks(n, e, d)
    if kind == w.RESULTS:
        v = w.parse_results(p)
        for _, s, b in v:
            if s:
                e = w.parse_error(b)
                assert e is None or w.error(*e) == b
                print("      error:", e)
        return v, w.results(v)
    if kind == w.CANCEL:
        v = w.parse_cancel(p)
        return v, w.cancel(v)
    if kind == w.OPEN:
        s, d, shape, n, a = w.parse_open(p)
        return (s, d, shape, n, a), w.open_(s, shape, n, a, d)
    if kind == w.CHUNKS:
        v = w.parse_chunks(p)
        return v, w.chunks(v)
    if kind == w.CREDIT:
        v = w.parse_credit(p)
        return v, w.credit(v)
    if kind == w.END:
        v = w.parse_end(p)
        return v, w.end(*v)
    if kind == w.ABORT:
        v = w.parse_abort(p)
        return v, w.abort(*v)
    raise AssertionError(kind)


bad = n = 0
parts = {}
for name in sorted(os.listdir(DIR)):
    if not name.endswith(".hex"):
        continue
    raw = read(os.path.join(DIR, name))
    length, kind, flags = w.header(raw, 4 << 20)
    assert len(raw) == 8 + length, name
    payload = raw[8:]
    n += 1
    try:
        plain = w.expand(kind, flags, payload, 4 << 20, w.FEATURE_S2 | w.FEATURE_ZSTD)
    except w.Malformed as e:
        print("SKIP %-14s %s" % (name, e))
        continue
    if "-part." in name or "-rest." in name:
        parts[name] = payload
        if flags & w.MORE:
            assert "-part." in name
        continue
    fields, rest = w.cut_fields(kind, flags, plain) if kind in w.WITH_FIELDS else ({}, plain)
    value, back = again(kind, rest)
    back = w.pack_fields(sorted(fields.items())) + back
    same = back == plain
    bad += not same
    print("%s %-22s %-8s %s %s" % ("ok  " if same else "BAD ", name, w.KIND_NAMES.get(kind, "later"), fields or "", value))
    if flags & 6:
        b2 = w.compressed(kind, plain, w.COMP_S2, s2.encode(plain))
        l2, k2, f2 = w.header(b2, 4 << 20)
        assert w.expand(k2, f2, b2[8:], 4 << 20, 3) == plain
print("parts:", w.parse_tasks(parts["tasks-part.hex"] + parts["tasks-rest.hex"]))


def session(path):
    """Follows the recorded session: counts, proofs, parts."""
    key = begun = hello = half = None
    got = {">": 0, "<": 0}      # bytes of the lane's two sequences, as the other side has them
    ends = {">": {0}, "<": {0}}
    frames = 0
    for line in open(path):
        words = line.split("#")[0].split()
        if not words or words[0] in ("connect", "cut"):
            half = None
            continue
        side, raw = words[0], bytes.fromhex(words[1])
        while raw:
            length, kind, flags = w.header(raw, 4 << 20)
            if len(raw) < 8 + length:
                break       # the connection breaks here
            p, size, raw = raw[8:8 + length], 8 + length, raw[8 + length:]
            frames += 1
            if kind == w.HELLO:
                hello = w.parse_hello(p)
                e = dict(hello["extensions"])
                if hello["flags"] & w.RESUME:
                    assert e[w.EXT_BEGUN] == w.U64.pack(begun)
                    assert e[w.EXT_PROOF] == w.proof(key, hello["session"], hello["lane"], hello["received"], hello["clock"], begun)
                    assert hello["received"] in ends["<"], "not between two frames"
                    got["<"] = hello["received"]
            elif kind == w.WELCOME:
                wl = w.parse_welcome(p)
                if wl["flags"] & w.RESUMED:
                    assert wl["received"] == got[">"], (wl["received"], got)
                else:
                    key, begun = dict(wl["extensions"])[w.EXT_KEY], hello["clock"]
            elif kind == w.ACK:
                assert w.parse_ack(p) == got[">" if side == "<" else "<"]
            elif kind >= 0x10:
                got[side] += size
                ends[side].add(got[side])
                p = (half or b"") + p
                half = p if flags & w.MORE else None
                if half is None:
                    _, p = w.cut_fields(kind, flags, p) if kind in w.WITH_FIELDS else ({}, p)
                    assert again(kind, p)[1] == p
    return frames


print("session: %d frames" % session(os.path.join(TESTDATA, "session.txt")))
print(n, "golden frames,", bad, "bad")
sys.exit(bad > 0)
