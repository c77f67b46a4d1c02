#!/usr/bin/env python3
"""clients.py ADDRESS PID NAME: one of the tests below, against the server with that process id. ADDRESS is a path.
Those whose name begins with "py" use the Redis client of Python."""
import os
import random
import resource
import socket
import sys
import threading
import time

sys.dont_write_bytecode = True
from resp import Closed, Connection, Error, Push, encode

ADDRESS, PID = sys.argv[1], int(sys.argv[2])


def until(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.005)


def anonymous():
    """Anonymous memory of the server, in MiB."""
    with open(f"/proc/{PID}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:")) // 1024


def descriptors():
    return len(os.listdir(f"/proc/{PID}/fd"))


class Thread(threading.Thread):
    """A thread whose exception is that of join()."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self.function, self.args, self.problem = function, args, None
        self.start()

    def run(self):
        try:
            self.function(*self.args)
        except BaseException as problem:
            self.problem = problem

    def join(self, timeout=60):
        super().join(timeout)
        if self.is_alive():
            raise SystemExit("a thread does not end")
        if self.problem:
            raise self.problem


def client(**options):
    try:
        import redis
    except ImportError:
        raise SystemExit("this needs Python's redis")

    return redis.Redis(unix_socket_path=ADDRESS, **options)


def py_basics():
    r = client(decode_responses=True)
    assert r.ping() and r.set("k", "wörld") and r.get("k") == "wörld"
    assert client().get("k") == "wörld".encode()
    assert r.set("k", "x", nx=True) is None and r.set("k", "x", xx=True, get=True) == "wörld"
    assert r.set("t", "v", px=100000) and 99 <= r.ttl("t") <= 100 and r.persist("t") and r.ttl("t") == -1
    assert r.mset({"a": 1, "b": 2}) and r.mget("a", "none", "b") == ["1", None, "2"] and r.msetnx({"a": 5, "z": 1}) is False
    assert r.incr("a", 41) == 42 and r.decr("a") == 41 and r.incrbyfloat("a", 0.5) == 41.5
    assert r.append("k", "yz") == 3 and r.getrange("k", 1, -1) == "yz" and r.setrange("k", 0, "ab") == 3 and r.strlen("k") == 3
    assert r.exists("a", "b", "none") == 2 and r.delete("a", "b", "none") == 2 and r.unlink("k") == 1
    assert r.rename("t", "u") and r.type("u") == "string" and r.copy("u", "w") and r.getdel("w") == "v" and r.dbsize() == 1
    assert r.expire("u", 50, gt=True) is False and r.expire("u", 50) and r.expiretime("u") > time.time()
    assert r.getex("u", ex=10) == "v" and r.client_setname("me") and r.client_getname() == "me" and r.client_id() > 0
    assert any(c["name"] == "me" for c in r.client_list()) and "redis_version" in r.info() and len(r.time()) == 2
    assert "get" in r.command() and r.config_get("nosuch*") == {} and r.flushdb() and r.keys("*") == []
    try:
        r.incr("u", "x")
    except Exception as problem:
        assert "not an integer" in str(problem), problem
    else:
        raise AssertionError("an increment by x")


def py_pipeline():
    r = client()
    with r.pipeline(transaction=False) as p:
        for i in range(2000):
            p.set(f"p{i}", i).get(f"p{i}").incr(f"p{i}")
        got = p.execute()
    assert got == [x for i in range(2000) for x in (True, str(i).encode(), i + 1)]
    with r.pipeline() as p:  # MULTI and EXEC; the one that fails does not undo the others
        got = p.set("a", "x").incr("a").set("b", 2).get("b").execute(raise_on_error=False)
    assert got[0] and "not an integer" in str(got[1]) and got[2:] == [True, b"2"], got
    assert sum(1 for _ in r.scan_iter("p*", count=100)) == 2000
    assert set(r.scan_iter("p19?")) == {b"p19%d" % i for i in range(10)}


def py_watch():
    """Four threads count up one number, each by reading and writing it: WATCH lets none be lost."""

    def count():
        r = client()
        for _ in range(50):
            r.transaction(lambda p: (n := int(p.get("n") or 0), p.multi(), p.set("n", n + 1)), "n")

    for thread in [Thread(count) for _ in range(4)]:
        thread.join()
    assert client().get("n") == b"200"


def py_lock():
    """A lock with a time, as redis.lock does it; it is given back by comparing in a transaction, where that uses Lua."""
    import redis
    from redis.lock import Lock, LockError, LockNotOwnedError

    class Plain(Lock):
        def register_scripts(self):
            pass

        def do_release(self, expected_token):
            def compare(p):
                if p.get(self.name) != expected_token:
                    raise LockNotOwnedError("another one's")
                p.multi()
                p.delete(self.name)

            self.redis.transaction(compare, self.name)

    inside = []
    most = []

    def work():
        r = client()
        for _ in range(10):
            with Plain(r, "lock", timeout=10, sleep=0.001):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    for thread in [Thread(work) for _ in range(4)]:
        thread.join()
    assert len(most) == 40 and max(most) == 1
    first, second = Plain(client(), "lock", timeout=0.05), Plain(client(), "lock", timeout=10)
    assert first.acquire() and not second.acquire(blocking=False)
    assert second.acquire(blocking_timeout=5), "a lock whose time is over is free"
    try:
        first.release()
    except (LockError, redis.exceptions.WatchError):
        pass
    else:
        raise AssertionError("gave back what was another one's")
    second.release()
    assert not client().exists("lock")


def py_pubsub():
    r = client()
    try:
        r.config_set("notify-keyspace-events", "KEA")
    except Exception as problem:
        print("notify-keyspace-events:", problem)
    p = client().pubsub()
    p.psubscribe("__keyspace@0__:watched:*")
    p.subscribe("__keyevent@0__:expired")
    until(lambda: p.get_message(timeout=0.1) and p.subscribed, "the subscription")
    until(lambda: len(p.channels) == 1 and len(p.patterns) == 1, "both")
    r.set("watched:a", 1)
    r.set("other", 1)
    r.expire("watched:a", 100)
    r.delete("watched:a")
    r.set("watched:b", 1, px=20)
    got = []

    def enough():
        message = p.get_message(timeout=0.1)
        if message and message["type"].endswith("message"):
            got.append((message["channel"].decode().split(":", 1)[1], message["data"].decode()))
        return ("watched:b", "expired") in got and ("expired", "watched:b") in got

    until(enough, "the messages")
    a = [event for name, event in got if name == "watched:a"]
    assert a == ["set", "expire", "del"], got
    b = [event for name, event in got if name == "watched:b"]
    assert b[0] == "set" and b[-1] == "expired", got


def pipeline():
    """One write of 20,000 commands: every reply is that of the commands before it, in order."""
    seed = random.Random(7)
    c = Connection(ADDRESS)
    model, data, want = {}, [], []
    for i in range(20000):
        key = f"k{seed.randrange(50)}"
        kind = seed.choice(["SET", "GET", "APPEND", "DEL", "STRLEN", "MGET", "GETSET"])
        old = model.get(key)
        if kind in ("SET", "GETSET"):
            model[key] = b"%d" % i
            want.append("OK" if kind == "SET" else old)
            data.append([kind, key, str(i)])
        elif kind == "APPEND":
            model[key] = (old or b"") + b"x"
            want.append(len(model[key]))
            data.append([kind, key, "x"])
        else:
            data.append([kind, key])
            want.append({"GET": old, "DEL": int(old is not None), "STRLEN": len(old or b""), "MGET": [old]}[kind])
            if kind == "DEL":
                model.pop(key, None)
    sender = Thread(c.raw, b"".join(encode(words) for words in data))
    for number, (words, expected) in enumerate(zip(data, want)):
        got = c.read()
        assert got == expected, (number, words, expected, got)
    sender.join()
    # Arrays cut anywhere are the same requests.
    stream = b"".join(encode(words) for words in ([["SET", "cut", "x" * 300]] + [["GET", "cut"]] * 30))
    at = 0
    while at < len(stream):
        size = seed.choice([1, 2, 3, 7, 20, 100])
        c.raw(stream[at : at + size])
        at += size
    assert [c.read() for _ in range(31)] == ["OK"] + [b"x" * 300] * 30


def values():
    """Values of every size around those where the server does something else come back whole."""
    c = Connection(ADDRESS)
    for size in (0, 1, 255, 4095, 16383, 16384, 16385, 65536, 131072, 131073, 262144, 300000, 1 << 20, 5 << 20):
        value = random.Random(size).randbytes(size)
        assert c.call("SET", "v", value) == "OK", size
        assert c.call("GET", "v") == value, size
        assert c.call("STRLEN", "v") == size
        assert c.call("GETRANGE", "v", size // 2, size // 2 + 9) == value[size // 2 : size // 2 + 10], size
        assert c.call("APPEND", "v", b"end") == size + 3 and c.call("GETRANGE", "v", -4, -1) == (value + b"end")[-4:], size
    assert c.call("DEL", "v") == 1


def scan():
    """Keys that are there throughout come in every scan, whatever is written and removed beside them."""
    c = Connection(ADDRESS)
    there = {b"stay:%d" % i for i in range(3000)}
    for key in there:
        c.send("SET", key, "v")
    for key in there:
        assert c.read() == "OK"
    stop = threading.Event()

    def writer(number):
        w, r = Connection(ADDRESS), random.Random(number)
        while not stop.is_set():
            for _ in range(50):
                name = f"{r.choice(['a', 'stay:', 'z'])}go:{r.randrange(2000)}"
                w.send(*r.choice([["SET", name, "x"], ["SET", name, "x", "PX", "1"], ["DEL", name]]))
            for _ in range(50):
                w.read()

    def scanner(words):
        s = Connection(ADDRESS)
        for _ in range(4):
            got, cursor = set(), b"0"
            while True:
                cursor, keys = s.call("SCAN", cursor, *words)
                got.update(keys)
                if cursor == b"0":
                    break
            assert there <= got, (words, len(there - got), sorted(there - got)[:5])

    writers = [Thread(writer, i) for i in range(2)]
    for thread in [Thread(scanner, words) for words in ([], ["COUNT", "7"], ["COUNT", "500"], ["MATCH", "stay:*"])]:
        thread.join()
    stop.set()
    for thread in writers:
        thread.join()


def connections():
    """10,000 connections, each of which says one thing and half closes; nothing stays behind, others are served."""
    many = 10000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, many + 200) if hard != resource.RLIM_INFINITY else many + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    many = min(many, wanted - 200)
    before = descriptors()
    other = Connection(ADDRESS)
    held = []
    for number in range(many):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10)
        s.connect(ADDRESS)
        held.append(s)
        if number % 500 == 0:
            assert other.call("PING") == "PONG"
    until(lambda: descriptors() >= before + many, f"{many} connections")
    for number, s in enumerate(held):
        s.sendall(b"*2\r\n$4\r\nECHO\r\n$5\r\n%05d\r\n" % number if number % 2 else b"*2\r\n$4\r\nEC")
        s.shutdown(socket.SHUT_WR)
    start = time.monotonic()
    assert other.call("PING") == "PONG"
    assert time.monotonic() - start < 5
    answered = 0
    for number, s in enumerate(held):
        got = b""
        while data := s.recv(100):
            got += data
        assert got in (b"", b"$5\r\n%05d\r\n" % number), (number, got)
        answered += bool(got)
        s.close()
    assert answered in (0, many // 2), answered
    other.close()
    until(lambda: descriptors() <= before, "the end of the connections on the other side")
    assert Connection(ADDRESS).call("PING") == "PONG"
    print(f"{many} connections, {answered} answered behind their half close")


def slow():
    """A client that asks and does not read costs a bounded amount of memory, and nobody else's time."""
    c = Connection(ADDRESS)
    assert c.call("SET", "large", b"x" * (1 << 20)) == "OK"
    before = anonymous()
    s = Connection(ADDRESS, timeout=0.2)
    try:
        for _ in range(400):
            s.raw(encode(["GET", "large"]) * 10)
    except (TimeoutError, ConnectionError):
        pass
    worst = 0.0
    for _ in range(200):
        start = time.monotonic()
        assert c.call("GET", "none") is None
        worst = max(worst, time.monotonic() - start)
    assert worst < 2, worst
    most = anonymous() - before
    assert most < 100, f"{most} MiB for a client that does not read"
    s.socket.settimeout(10)  # it reads after all: what was asked comes in order, as far as it was not cut off
    got = 0
    try:
        while got < 20:
            assert s.read() == b"x" * (1 << 20)
            got += 1
    except Closed:
        pass
    s.close()
    print(f"{most} MiB, others waited at most {worst * 1000:.0f} ms; it got {got} replies")


def slow_subscriber():
    """A subscriber that does not read is cut off; the writer, and another subscriber, are not."""
    try:
        Connection(ADDRESS).call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 1")
    except (OSError, Closed):
        pass
    c = Connection(ADDRESS)
    c.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    lazy, eager = Connection(ADDRESS), Connection(ADDRESS)
    for s in (lazy, eager):
        s.send("PSUBSCRIBE", "__keyspace@0__:*")
        assert s.read()[0] == b"psubscribe"
    before = anonymous()
    seen = []

    def read():
        while True:
            message = eager.read()
            seen.append(message[2])
            if message[2].endswith(b":end"):
                return

    reader = Thread(read)
    written = 0
    deadline = time.monotonic() + 30
    name = "n" * 900

    def cut():
        try:
            data = lazy.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            return not data
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    start = time.monotonic()
    while written < 60000:
        for _ in range(100):
            c.send("SET", f"{name}{written}", "v")
            written += 1
        for _ in range(100):
            assert c.read() == "OK"
        if time.monotonic() > deadline:
            raise SystemExit("the writer is held up")
    took = time.monotonic() - start
    c.call("SET", "the:end", "v")
    reader.join()
    assert len(seen) >= written, (len(seen), written)
    lazy.socket.settimeout(5)
    got = 0
    try:
        while True:
            lazy.read()
            got += 1
            assert got <= written, "a subscriber that did not read got everything"
    except (Closed, ConnectionError):
        pass
    except TimeoutError:
        raise SystemExit("the subscriber that did not read is connected still")
    most = anonymous() - before
    print(f"{written} writes in {took:.1f} s; the lazy one got {got} messages, then the end; {most} MiB more")


def tracking():
    """A cache that believes CLIENT TRACKING is right: what it holds is the newest value as soon as nobody writes."""
    keys = [f"t{i}" for i in range(20)]
    stop = threading.Event()
    problems = []

    def writer(number):
        w, r = Connection(ADDRESS), random.Random(number)
        for i in range(1500):
            w.call(*r.choice([["SET", r.choice(keys), f"{number}-{i}"], ["DEL", r.choice(keys)], ["APPEND", r.choice(keys), "x"]]))

    def cached(seed):
        c, cache, r = Connection(ADDRESS, 3), {}, random.Random(seed)
        assert c.call("CLIENT", "TRACKING", "ON") == "OK"

        def invalidate(push):
            if push[0] == b"invalidate":
                for key in push[1] or list(cache):
                    cache.pop(key.decode() if push[1] else key, None)

        def ask(*words):
            c.send(*words)
            while isinstance(got := c.read(), Push):
                invalidate(got)
            return got

        while not stop.is_set():
            key = r.choice(keys)
            if key not in cache:
                cache[key] = ask("GET", key)
            elif r.random() < 0.1:
                ask("PING")
        plain = Connection(ADDRESS)
        deadline = time.monotonic() + 5

        def stale():
            ask("PING")
            return {key: (value, plain.call("GET", key)) for key, value in cache.items() if plain.call("GET", key) != value}

        while stale() and time.monotonic() < deadline:
            time.sleep(0.01)
        problems.extend(stale().items())

    readers = [Thread(cached, i) for i in range(3)]
    for thread in [Thread(writer, i) for i in range(2)]:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert not problems, problems


def events():
    """Keyspace events of one connection's writes come in their order, one for each."""
    c, s = Connection(ADDRESS), Connection(ADDRESS)
    c.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    s.send("PSUBSCRIBE", "__keyspace@0__:*")
    s.read()
    steps = [
        (["SET", "k", "v"], [("k", "set")]), (["GET", "k"], []), (["APPEND", "k", "x"], [("k", "append")]),
        (["SETRANGE", "k", "0", "y"], [("k", "setrange")]), (["EXPIRE", "k", "100"], [("k", "expire")]),
        (["PERSIST", "k"], [("k", "persist")]), (["INCR", "n"], [("n", "incrby")]), (["DECRBY", "n", "3"], [("n", "incrby")]),
        (["RENAME", "k", "l"], [("k", "rename_from"), ("l", "rename_to")]), (["COPY", "l", "m"], [("m", "copy_to")]),
        (["SET", "e", "v", "EX", "100"], [("e", "set"), ("e", "expire")]), (["MSET", "x", "1", "y", "2"], [("x", "set"), ("y", "set")]),
        (["DEL", "none"], []), (["SET", "x", "v", "NX"], []), (["DEL", "x", "y"], [("x", "del"), ("y", "del")]),
        (["GETDEL", "l"], [("l", "del")]), (["SET", "end", "v"], [("end", "set")]),
    ]
    for words, _ in steps:
        c.call(*words)
    want = [event for _, after in steps for event in after]
    if "cairn_version" in str(c.call("INFO", "server")):  # it has fewer words, and one event for each change
        words = {"persist": "expire", "incrby": "set"}
        want = [(key, words.get(event, event)) for key, event in want if (key, event) != ("e", "expire")]
    got = []
    while len(got) < len(want) and (not got or got[-1][0] != "end"):
        message = s.read()
        got.append((message[2].decode().split(":", 1)[1], message[3].decode()))
    assert got == want, f"\nwant {want}\ngot  {got}"


def main():
    test = globals()[sys.argv[3]]
    c = Connection(ADDRESS)
    assert c.call("FLUSHALL") == "OK"
    c.close()
    test()


main()
