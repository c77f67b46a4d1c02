#!/usr/bin/env python3
"""differ.py --left ADDRESS --right ADDRESS [--seeds A-B] [--steps N] [--protocol 2|3] [--connections N]: random commands
over several connections, the same to two servers; the replies must be the same. What depends on the time is compared
loosely, what has no order in order. A difference is shown as the shortest sequence that was found to show it."""
import argparse
import random
import sys
import time

sys.dont_write_bytecode = True
from resp import Connection, Error, encode

KEYS = ["a", "b", "c", "n", "m", "\x00\r\n"]
VALUES = ["", "1", "-5", "10", "0", "007", "abc", "3.5", "1e3", " 1", "9223372036854775807", "v" * 100, "\r\n\x00"]
LARGE = ["L" * 20000, "M" * 40000]
NEAR = {"TTL": 90, "PTTL": 90000, "EXPIRETIME": 90, "PEXPIRETIME": 90000}  # clocks may differ, times are hundreds of seconds apart
EXPIRING = ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT")


class Generator:
    def __init__(self, seed, connections, not_in_multi=(), watch_present=False):
        self.watch_present = watch_present
        self.random = random.Random(seed)
        self.connections = connections
        self.not_in_multi = not_in_multi
        self.multi = [False] * connections

    def key(self):
        return self.random.choice(KEYS)

    def value(self):
        return self.random.choice(VALUES if self.random.random() < 0.97 else LARGE)

    def integer(self):
        return str(self.random.choice([0, 1, 2, 5, -1, -2, 7, 30, 100, -100, 12345678901]))

    def number(self):
        return self.random.choice([self.integer(), "1.5", "-0.25", "abc", "", "1e2"])

    def keys(self):
        return [self.key() for _ in range(self.random.randint(1, 4))]

    def pairs(self):
        return [word for _ in range(self.random.randint(1, 3)) for word in (self.key(), self.value())]

    def when(self, name):
        """An amount of time for EX, PX, EXAT or PXAT: far off, gone by, or none at all."""
        base = 4102444800 if name.upper().endswith("AT") else 0
        seconds = self.random.randint(10, 9999) * 100  # never twice the same, or GT would depend on a millisecond
        if self.random.random() < 0.15:
            return self.random.choice(["0", "-1", "x", "9223372036854775807", "1.0", ""])
        return str((base + seconds) * (1000 if name.upper().startswith("P") else 1))

    def some(self, *words):
        """Each of these words now and then, in any order."""
        chosen = [word for word in words if self.random.random() < 0.3]
        self.random.shuffle(chosen)
        return chosen

    def set(self):
        words = ["SET", self.key(), self.value()]
        for word in self.some("NX", "XX", "GET", "KEEPTTL", "EX", "pxat", "nx"):
            if word in ("KEEPTTL", "EX", "pxat") and self.random.random() < 0.5:
                continue
            words += [word] if word not in ("EX", "pxat") else [word, self.when(word)]
        return words

    def getex(self):
        words = ["GETEX", self.key()]
        for word in self.some("EX", "PX", "EXAT", "PXAT", "PERSIST"):
            words += [word] if word == "PERSIST" else [word, self.when(word)]
        return words

    def expire(self):
        name = self.random.choice(EXPIRING)
        return [name, self.key(), self.when({"EXPIREAT": "EXAT", "PEXPIREAT": "PXAT", "PEXPIRE": "PX"}.get(name, "EX"))] + self.some("NX", "XX", "GT", "lt")

    def command(self):
        r, k, v, i = self.random, self.key, self.value, self.integer
        forms = [
            (8, self.set), (6, lambda: ["GET", k()]), (3, lambda: ["MGET", *self.keys()]),
            (2, lambda: ["MSET", *self.pairs()]), (2, lambda: ["MSETNX", *self.pairs()]), (1, lambda: ["SETNX", k(), v()]),
            (1, lambda: ["SETEX", k(), self.when("EX"), v()]), (1, lambda: ["PSETEX", k(), self.when("PX"), v()]),
            (1, lambda: ["GETSET", k(), v()]), (1, lambda: ["GETDEL", k()]), (2, self.getex),
            (3, lambda: ["APPEND", k(), v()]), (2, lambda: ["STRLEN", k()]), (2, lambda: ["GETRANGE", k(), i(), i()]),
            (2, lambda: ["SETRANGE", k(), r.choice(["0", "1", "5", "50", "20000", "-1", "x"]), v()]),
            (3, lambda: [r.choice(["INCR", "DECR"]), k()]), (3, lambda: [r.choice(["INCRBY", "DECRBY"]), k(), i()]),
            (2, lambda: ["INCRBYFLOAT", k(), self.number()]),
            (3, lambda: [r.choice(["DEL", "UNLINK"]), *self.keys()]), (2, lambda: [r.choice(["EXISTS", "TOUCH"]), *self.keys()]),
            (1, lambda: ["TYPE", k()]), (4, self.expire), (3, lambda: [r.choice(list(NEAR)), k()]), (1, lambda: ["PERSIST", k()]),
            (2, lambda: [r.choice(["RENAME", "RENAMENX"]), k(), k()]), (2, lambda: ["COPY", k(), k(), *self.some("REPLACE")]),
            (1, lambda: ["KEYS", r.choice(["*", "a", "[a-c]", "?", "nothing*"])]),
            (1, lambda: ["SCAN", "0", "COUNT", "1000", "MATCH", r.choice(["*", "[^a]", "n"])]), (1, lambda: ["RANDOMKEY"]),
            (3, lambda: ["MULTI"]), (4, lambda: ["EXEC"]), (1, lambda: ["DISCARD"]), (3, lambda: ["WATCH", *self.keys()]),
            (1, lambda: ["UNWATCH"]), (1, lambda: [r.choice(["PING", "ECHO"]), v()]),
            (1, lambda: r.choice([["CLIENT", "SETNAME", "x"], ["CLIENT", "GETNAME"]])),
            (0.3, lambda: ["FLUSHDB"]), (0.5, lambda: ["NOSUCH", k()]),
        ]
        words = r.choices([form for _, form in forms], [weight for weight, _ in forms])[0]()
        if r.random() < 0.03 and words[0] not in ("CLIENT", "EXEC"):  # one word too few or too many
            words = words[:-1] if r.random() < 0.5 and len(words) > 1 else words + ["extra"]
        return words

    def allowed(self, which):
        """A command that may stand where this connection is."""
        while True:
            words = self.command()
            if not self.multi[which] or words[0].upper() not in self.not_in_multi:
                break
        if words[0] == "EXEC" or words == ["DISCARD"]:  # EXEC with a word too many ends it, too
            self.multi[which] = False
        elif words == ["MULTI"]:
            self.multi[which] = True
        return words

    def step(self):
        """One connection and what it sends at once, or a key that expires before the next step."""
        which = self.random.randrange(self.connections)
        if self.random.random() < 0.02:
            return ("expire", "-", [["PEXPIRE", self.key(), "1"]])
        batch = [self.allowed(which) for _ in range(self.random.choice([1, 1, 1, 2, 3, 8]))]
        if self.watch_present:  # a key that was not there, was made and removed again may be as good as never there
            for number in reversed(range(len(batch))):
                if batch[number][0] == "WATCH":
                    batch[number:number] = [["SETNX", key, "w"] for key in batch[number][1:]]
        if self.random.random() < 0.05 and not (self.multi[which] and "DBSIZE" in self.not_in_multi):
            batch += [["EXISTS", *KEYS], ["DBSIZE"]]  # redis-server counts what has expired until somebody looks
        return ("send", which, batch)


def loosely(words, one, other):
    """Whether two replies to a command are as good as the same."""
    name = words[0].upper()
    if name == "GETEX" and None in (one, other):  # of a key that is not there, whether or not the time is one
        return True
    if isinstance(one, Error) or isinstance(other, Error):
        return one == other
    if name in NEAR and isinstance(one, int) and isinstance(other, int):
        return one == other if min(one, other) < 0 else abs(one - other) <= NEAR[name]
    if name == "KEYS" and isinstance(one, list) and isinstance(other, list):
        return sorted(one) == sorted(other)
    if name == "SCAN" and isinstance(one, list) and isinstance(other, list):
        return one[0] == other[0] and sorted(one[1]) == sorted(other[1])
    if name == "RANDOMKEY":
        return (one is None) == (other is None)
    return one == other


class Pair:
    """The same connections to both servers, emptied first, and one more to let keys expire."""

    def __init__(self, options):
        addresses = (options.left, options.right)
        self.sides = [[Connection(at, options.protocol) for _ in range(options.connections)] for at in addresses]
        self.lookers = [Connection(at) for at in addresses]
        self.queued = [[] for _ in range(options.connections)]
        for looker in self.lookers:
            looker.call("FLUSHALL")

    def close(self):
        for connection in sum(self.sides, self.lookers):
            connection.close()

    def same(self, which, words, one, other):
        name = words[0].upper()
        queued = self.queued[which]
        if one == "QUEUED" and other == "QUEUED":
            queued.append(words)
            return True
        if name == "EXEC" and isinstance(one, list) and isinstance(other, list):
            held = len(one) == len(other) == len(queued) and all(loosely(*each) for each in zip(queued, one, other))
        else:
            held = loosely(words, one, other)
        if name in ("EXEC", "DISCARD"):
            queued.clear()
        return held

    def run(self, step):
        """None, or (command, reply, other reply)."""
        kind, which, batch = step
        if kind == "expire":
            replies = [looker.call(*[word.encode("latin-1") for word in batch[0]]) for looker in self.lookers]
            for looker in self.lookers:  # until it is gone; and redis-server looks after the others
                deadline = time.monotonic() + 10
                while looker.call("EXISTS", batch[0][1].encode("latin-1")) and time.monotonic() < deadline:
                    time.sleep(0.002)
                looker.call("EXISTS", *[key.encode("latin-1") for key in KEYS])
            return None if replies[0] == replies[1] else (batch[0], *(repr(each).encode() for each in replies))
        data = b"".join(encode([word.encode("latin-1") for word in words]) for words in batch)
        for side in self.sides:
            side[which].raw(data)
        for words in batch:
            (one, raw), (other, other_raw) = (side[which].read_both() for side in self.sides)
            if not self.same(which, words, one, other):
                return words, raw, other_raw
        return None


def first_difference(options, steps):
    """(number of steps that it took, command, replies), or None."""
    pair = Pair(options)
    try:
        for number, step in enumerate(steps, 1):
            try:
                found = pair.run(step)
            except Exception as problem:  # a server that hangs up or says nothing differs, too
                found = (step[2][0], b"", repr(problem).encode())
            if found:
                return (number, *found)
    finally:
        pair.close()
    return None


def shrink(options, steps):
    """A shorter sequence that differs still: without later steps, then without any that need not be."""
    found = first_difference(options, steps)
    if not found:
        return steps, None
    steps = steps[: found[0]]
    sought = found[1:]  # the same command with the same replies: what is left out may make others differ
    size = max(1, len(steps) // 2)
    until = time.monotonic() + 20
    while size and time.monotonic() < until:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            now = first_difference(options, fewer) if fewer else None
            if now and now[1:] == sought:
                steps, found = fewer[: now[0]], now
            else:
                at += size
        size //= 2
    for number, (kind, which, batch) in enumerate(steps):  # and the commands of each batch
        at = 0
        while at < len(batch) > 1 and time.monotonic() < until:
            fewer = steps[:number] + [(kind, which, batch[:at] + batch[at + 1 :])] + steps[number + 1 :]
            now = first_difference(options, fewer)
            if now and now[0] == len(steps) and now[1:] == sought:
                batch, steps, found = batch[:at] + batch[at + 1 :], fewer, now
            else:
                at += 1
    return steps, found


def show(word):
    text = ascii(word)[1:-1]
    return text if text and " " not in text and len(text) < 60 else f'"{text[:40]}"' + (f"({len(word)})" if len(text) >= 60 else "")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--left", required=True)
    parser.add_argument("--right", required=True)
    parser.add_argument("--seeds", default="1-10")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--protocol", type=int, choices=(2, 3), default=2)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--not-in-multi", default="", help="commands that are not queued, joined by commas")
    parser.add_argument("--watch-present", action="store_true", help="WATCH only keys that are there")
    options = parser.parse_args()
    low, _, high = options.seeds.partition("-")
    commands = 0
    for seed in range(int(low), int(high or low) + 1):
        generator = Generator(seed, options.connections, options.not_in_multi.split(","), options.watch_present)
        steps = [generator.step() for _ in range(options.steps)]
        commands += sum(len(batch) for _, _, batch in steps)
        once = first_difference(options, steps)
        if not once:
            continue
        steps, found = shrink(options, steps)
        if not found:
            print(f"seed {seed}: the replies differed once, and not again: {once}")
            return 1
        print(f"seed {seed}, RESP{options.protocol}: the replies differ after {len(steps)} steps")
        for kind, which, batch in steps:
            print(f"  {which}> " + "; ".join(" ".join(show(word) for word in words) for words in batch) + (" (and expires)" if kind == "expire" else ""))
        _, words, one, other = found
        print(f"  {' '.join(show(word) for word in words)}\n    left  {ascii(one)[2:300]}\n    right {ascii(other)[2:300]}")
        return 1
    print(f"{commands} commands, the same replies")
    return 0


sys.exit(main())
