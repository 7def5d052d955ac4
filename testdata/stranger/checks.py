"""What the client can do, against a gateway: checks.py BINARY starts one with `server --demo` and the table of testdata."""
import hashlib, json, os, random, signal, subprocess, sys, tempfile, threading, time
import s2
import wire as w
from conn import LaneGone, Saw, TaskError
from shoal import Swarm
from stream import Future

TESTDATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
failed = []


def check(what, ok, seen=""):
    print("%s %s  %s" % ("ok  " if ok else "BAD ", what, str(seen)[:150]), flush=True)
    if not ok:
        failed.append(what)


def status_of(call):
    try:
        call()
        return w.OK
    except TaskError as e:
        return e.status


def calls(s):
    l = s.lanes[0]
    check("call", s.call("square", b"12") == b"144")
    got = sorted(int(f.result(30)) for f in l.submit("square", [b"%d" % i for i in range(16)]))
    check("batch of 16", got == [i * i for i in range(16)], got)
    for what, sub, arg, status in (("unknown subroutine", "nope", b"", w.UNKNOWN_SUBROUTINE),
                                   ("unknown task", "table", b"no:such", w.UNKNOWN_TASK),
                                   ("bad argument", "square", b"x", w.FAILED), ("wrong shape", "sensor", b"", w.FAILED)):
        check(what, status_of(lambda: s.call(sub, arg)) == status)
    check("deadline", status_of(lambda: s.call("table", b"137.72.95.0:foo", timeout=0.1)) == w.TIMEOUT)
    check("deadline long past", status_of(lambda: l.submit("square", [b"3"], deadline=1)[0].result(30)) == w.TIMEOUT)
    check("deadline 2^42", l.submit("square", [b"3"], deadline=w.MAX_DEADLINE)[0].result(30) == b"9")
    futures = l.submit("table", [b"137.72.95.%d:foo" % i for i in range(4)])
    l.cancel(futures[:2])
    got = [status_of(lambda: f.result(30)) for f in futures]
    check("cancel", got == [w.CANCELED, w.CANCELED, w.OK, w.OK], got)
    check("ping", l.ping(30) >= 0)


def fields_and_parts(s):
    l = s.lanes[0]
    meta = (w.FIELD_METADATA, w.metadata({b"trace": b"abc", b"a": b""}))
    f = l.submit("square", [b"5"], fields=[meta, (w.FIELD_KEY, b"once"), (w.FIELD_CLASS, b"\2"), (0x777, b"later")])
    check("fields", f[0].result(30) == b"25")
    f = l.submit("square", [b"5"], fields=[(0x8777, b"")])[0]
    try:
        f.result(30)
        check("a critical field that the gateway does not know", False)
    except TaskError as e:
        check("a critical field that the gateway does not know", (e.status, e.code) == (w.ST_NOT_ALLOWED, 4), e)
    s.part = 3
    check("a task in parts of 3 bytes", s.call("square", b"11") == b"121")
    s.part = 1 << 16
    with l.cond:
        l.control.append(w.frame(0x0e, b"new", w.SKIPPABLE))
        l.put(w.frame(0x40, b"newer", w.SKIPPABLE))
        l.put(w.frame(w.RESULTS, b"not mine to send", w.SKIPPABLE))
    check("unknown frames that are skippable", s.call("square", b"5") == b"25")


def builtins(s):
    names = {x["name"]: x["shape"] for x in json.loads(s.call("shoal.list"))}
    check("shoal.list", names.get("square") == "call" and names.get("sensor") == "stream" and names.get("store") == "send", names)
    stats = json.loads(s.call("shoal.stats"))
    check("shoal.stats", all(k in stats for k in ("Handlers", "Running", "Held", "Queued", "Streams", "Tasks", "Panics", "Workers")), stats)
    check("shoal.stop is not for clients", status_of(lambda: s.call("shoal.stop")) == w.ST_NOT_ALLOWED)


def streams(s):
    got = list(s.stream("sensor", b'{"count":5,"interval_ms":1,"size":0}'))
    check("stream", len(got) == 5, got[:2])
    got = list(s.stream("sensor", b'{"count":100,"interval_ms":1,"size":5000}'))
    check("stream beyond its credit", len(got) == 100)
    body = os.urandom(2 << 20)
    st = s.send("store")
    for i in range(0, len(body), 50000):
        st.write(body[i:i + 50000], i)
    answer = json.loads(st.finish(30))
    check("send", answer.get("sha256") == hashlib.sha256(body).hexdigest(), answer)
    st = s.duplex("echo")
    chunks = [os.urandom(1000 + i) for i in range(300)]

    def feed():
        for i, c in enumerate(chunks):
            st.write(c, i - 100)
        st.end()
    feeder = threading.Thread(target=feed)
    feeder.start()
    got = list(st)
    feeder.join()
    check("duplex, idents and bytes", got == [(i - 100, c) for i, c in enumerate(chunks)], len(got))
    for status in (w.CANCELED, w.TIMEOUT):
        st = s.stream("car_motion")
        st.read(30)
        st.abort(status)
        while st.read(30):
            pass
        check("abort with %s" % w.STATUSES[status], st.status == status, w.STATUSES[st.status])
    for what, sub, shape, status in (("stream of unknown", "nope", 1, w.UNKNOWN_SUBROUTINE), ("stream of a call", "square", 1, w.FAILED),
                                     ("send of a stream", "sensor", 2, w.FAILED)):
        st = s.lanes[0].open(shape, sub)
        check(what, status_of(lambda: st.wait(30)) == status)


def compression(addr):
    with Swarm(addr, features=w.FEATURE_S2) as s:
        l = s.lanes[0]
        check("S2 agreed", l.w["features"] == w.FEATURE_S2, l.w["features"])
        plain = w.tasks("square", [(l.free[0], b"11")])
        with l.cond:
            f = Future()
            l.tasks[l.free.popleft()] = f
            l.put(w.compressed(w.TASKS, plain, w.COMP_S2, s2.encode(plain)))
        check("a task in S2", f.result(30) == b"121")
        got = list(s.stream("sensor", b'{"count":20,"interval_ms":1,"size":5000}'))
        check("answers in S2", len(got) == 20)


def handshakes(addr):
    with Swarm(addr, session=bytes(16)) as s:
        check("without a session", s.call("square", b"7") == b"49")
    with Swarm(addr, extensions=[(0x777, b"seven"), (0x7000, b"")], credential=b"token") as s:
        check("unknown extensions, and a credential", s.call("square", b"7") == b"49")
    try:
        Swarm(addr, extensions=[(0x8007, b"seven")])
        check("a critical extension is refused", False)
    except LaneGone as e:
        check("a critical extension is refused", "goodbye 4" in str(e), e)


def resume(addr):
    """Every connection is cut after some bytes, sent or received: nothing is lost, nothing comes twice."""
    rng = random.Random(7)
    cutting = [True]

    def budget(least, most):
        return lambda: rng.randrange(least, most) if cutting[0] else None
    for what, saw in (("sent", Saw(tx=budget(300, 6000))), ("received", Saw(rx=budget(300, 6000))),
                      ("either", Saw(tx=budget(400, 9000), rx=budget(400, 9000)))):
        cutting[0] = True
        with Swarm(addr, lanes=2, saw=saw, patience=60) as s:
            n = 4000
            results = list(s.map("square", (b"%d" % i for i in range(n)), batch=8))
            cuts = sum(l.cuts for l in s.lanes)
            good = sorted(int(r[0]) for r in results) == list(range(n)) and all(r[1] == w.OK and int(r[2]) == int(r[0]) ** 2 for r in results)
            check("resume: %d tasks, bytes %s cut" % (n, what), good and cuts >= 5 and not any(l.lost_lane for l in s.lanes),
                  "%d results, %d cuts" % (len(results), cuts))
            st = s.stream("sensor", b'{"count":100,"interval_ms":1,"size":200}')
            got = [ident for ident, _ in st]
            check("resume: a stream, bytes %s cut" % what, len(got) == 100 and got == sorted(set(got)), len(got))
            cutting[0] = False
    # A frame of 1 MB goes through connections that die after 40 KB, in parts of 16 KB.
    cutting[0] = True
    with Swarm(addr, saw=Saw(tx=budget(40000, 40001)), part=16 << 10, patience=60) as s:
        f = s.lanes[0].submit("table", [b"no:" + b"x" * 1000000])[0]
        check("resume: a large frame in parts", status_of(lambda: f.result(120)) == w.UNKNOWN_TASK, "%d cuts" % s.lanes[0].cuts)
        cutting[0] = False


def drain(gateway, addr):
    """The gateway drains: what runs is answered, then it says goodbye 2."""
    with Swarm(addr) as s:
        l = s.lanes[0]
        f = l.submit("table", [b"137.72.95.0:foo"])[0]
        s.call("square", b"1")
        gateway.send_signal(signal.SIGINT)
        check("drain: what runs is answered", status_of(lambda: f.result(60)) in (w.OK, w.DRAINING))
        l.thread.join(60)
        check("drain: goodbye", l.bye and l.bye[0] == w.BYE_DRAINING, l.bye)
    check("the gateway ends", gateway.wait(60) == 0, gateway.returncode)


def main(binary):
    with tempfile.TemporaryDirectory() as tmp:
        ready = os.path.join(tmp, "ready")
        log = open(os.path.join(tmp, "log"), "w+")
        gateway = subprocess.Popen([binary, "server", "--listen", "tcp://127.0.0.1:0", "--ready-file", ready, "--demo", "--compress", "s2",
                                    "--table", os.path.join(TESTDATA, "table.txt")], stderr=log, stdout=log)
        try:
            until = time.monotonic() + 60
            while not (os.path.exists(ready) and open(ready).read().strip()):
                if gateway.poll() is not None or time.monotonic() > until:
                    raise SystemExit("the gateway does not start: " + open(log.name).read())
                time.sleep(0.01)
            addr = open(ready).read().split()[0]
            with Swarm(addr) as s:
                for part in (calls, fields_and_parts, builtins, streams):
                    part(s)
            for part in (compression, handshakes, resume):
                part(addr)
            drain(gateway, addr)
        finally:
            if gateway.poll() is None:
                gateway.kill()
                gateway.wait()
        if failed:
            print(open(log.name).read())
    print("%d failed" % len(failed))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
