#!/usr/bin/env python3
"""table.py --server ADDRESS --as redis|cairn [--protocol 2|3] [--only TEXT] [--served] [--record] TABLE...: run the rows of
the tables against a server and show those whose reply differs. What a table looks like stands in commands.table.
--served leaves out what follows a command that the server does not know, to the next title.
--record prints the table anew with the server's replies in rows without a pattern, to be read before it is kept."""
import argparse
import re
import sys
import time

sys.dont_write_bytecode = True
from resp import Closed, Connection, encode

ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b"}


def numbers(text):
    """A number, or a sum of one and the time: now in seconds, nowms in milliseconds."""
    total = 0
    for sign, part in re.findall(r"([+-]?)\s*(\w+)", text):
        number = {"now": int(time.time()), "nowms": int(time.time() * 1000)}.get(part)
        total += (-1 if sign == "-" else 1) * (int(part) if number is None else number)
    return total


def expand(text):
    """{TEXT*COUNT} and {now+N} in a word."""
    text = re.sub(r"\{([^{}*]+)\*(\d+)\}", lambda m: m[1] * int(m[2]), text)
    return re.sub(r"\{((?:now|nowms)[+-]?\d*)\}", lambda m: str(numbers(m[1])), text)


def unescape(text):
    def one(match):
        body = match[1]
        return chr(int(body[1:], 16)) if body[0] == "x" else ESCAPES.get(body, body)

    return re.sub(r"\\(x[0-9a-fA-F]{2}|.)", one, text, flags=re.S).encode("latin-1")


def words(text):
    """The words of a command; in double quotes with escapes."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', text)
    return [unescape(expand(q)) if q or not bare else expand(bare).encode("latin-1") for q, bare in found]


class Expected:
    """What a row wants: some replies as bytes, with {A..B} for a number in that range; /REGEX/; closed; any."""

    def __init__(self, text):
        self.text = text
        self.ordered = not text.startswith("sorted")
        if not self.ordered:
            text = text[len("sorted ") :]
        self.closed = bool(re.search(r"(^| )closed$", text))
        text = re.sub(r" ?closed$", "", text)
        self.ranges = []
        self.replies = 1
        if text in ("none", ""):
            self.pattern, self.replies = re.compile(b""), 0
        elif text == "any":
            self.pattern = re.compile(b".*", re.S)
        elif text.startswith("/") and text.endswith("/"):
            self.pattern = re.compile(unescape(text[1:-1].replace("\\", "\\\\")), re.S)
        else:
            self.pattern = self._exact(text)

    def _exact(self, text):
        lines = text.split("|") if text else []
        self.replies = 0
        open_parts = 0  # elements that are still to come of arrays begun
        it = iter(lines)
        for line in it:
            if not open_parts:
                self.replies += 1
            else:
                open_parts -= 1
            head = re.match(r"([*~>%])(\d+)$", line)
            if head:
                open_parts += int(head[2]) * (2 if head[1] == "%" else 1)
            elif re.match(r"[$=!](\d+|\{.*)$", line):
                next(it)
        out = b""
        for part in re.split(r"(\{[^{}*]+\.\.[^{}*]+\})", "".join(line + "\r\n" for line in lines)):
            if part.startswith("{") and ".." in part:
                self.ranges.append(part[1:-1].split(".."))
                out += rb"(-?\d+)"
            else:
                out += re.escape(unescape(expand(part)))
        return re.compile(out)

    def holds(self, data):
        match = self.pattern.fullmatch(data)
        return bool(match) and all(
            numbers(low) <= int(got) <= numbers(high) for (low, high), got in zip(self.ranges, match.groups())
        )


def ordered(value):
    """Arrays of strings in order, so that replies in an order of the server's own can be compared."""
    if isinstance(value, list):
        return sorted(value) if all(isinstance(v, bytes) for v in value) else [ordered(v) for v in value]
    return value


def render(value):
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(render(v) for v in value)
    return b":%d\r\n" % value if isinstance(value, int) else b"$%d\r\n%b\r\n" % (len(value), value)


def show(data):
    """Bytes as a table writes them: the lines of replies parted by |, everything else escaped."""

    def quoted(text):
        text = re.sub(rb"[^ -~]|[|\\{]", lambda m: b"\\x%02x" % m[0][0], text)
        text = re.sub(rb"(.)\1{99,}", lambda m: b"{%b*%d}" % (m[1], len(m[0])), text)
        return re.sub(r" $", r"\\x20", text.decode("latin-1"))

    lines = []
    while data:
        line, end, rest = data.partition(b"\r\n")
        lines.append(quoted(line))
        size = re.fullmatch(rb"[$=](\d+)", line)
        if size and len(rest) >= int(size[1]) + 2:
            lines.append(quoted(rest[: int(size[1])]))
            rest = rest[int(size[1]) + 2 :]
        data = rest
    return "|".join(lines)


class Run:
    def __init__(self, options):
        self.options = options
        self.connections = {}
        self.failed = self.held = self.left_out = 0
        self.unknown = False

    def connection(self, name):
        if name not in self.connections:
            self.connections[name] = Connection(self.options.server, self.options.protocol)
        return self.connections[name]

    def section(self):
        self.unknown = False
        for connection in self.connections.values():
            connection.close()
        self.connections = {}
        connection = Connection(self.options.server)
        connection.call("FLUSHALL")
        connection.close()

    def ask(self, name, command, expected):
        """What came back, as far as the row wants it."""
        connection = self.connection(name)
        data = b""
        try:
            if command.startswith("until "):
                return self.until(connection, words(command[6:]), expected)
            if command.startswith("raw "):
                connection.raw(b"".join(words(command[4:])))
            elif command:
                connection.raw(encode(words(command)))
            for _ in range(expected.replies):
                value, one = connection.read_both()
                data += render(ordered(value)) if not expected.ordered and isinstance(value, list) else one
            if expected.closed:
                return data + (b"and it was not closed" if connection.quiet(5) else b"and more came")
        except Closed:
            return data if expected.closed else data + b"(closed)"
        except ConnectionError:
            return data if expected.closed else data + b"(reset)"
        except TimeoutError:
            return data + b"(nothing more came)"
        return data

    def until(self, connection, command, expected):
        """The reply, as soon as it is the one that is wanted."""
        deadline = time.monotonic() + 10
        while True:
            connection.raw(encode(command))
            data = connection.read_both()[1]
            if expected.holds(data) or time.monotonic() > deadline:
                return data
            time.sleep(0.005)

    def drained(self, name):
        connection = self.connections[name]
        try:
            quiet = connection.quiet(0.05)
        except (Closed, ConnectionError):
            quiet = True
        connection.buffer = b""
        return quiet

    def row(self, where, mark, name, command, reply):
        if mark and self.options.server_kind not in mark.split(","):
            return
        if self.unknown:
            self.left_out += 1
            return
        expected = Expected(reply)
        got = self.ask(name, command, expected)
        if expected.holds(got):
            self.held += 1
            return
        if self.options.served and b"-ERR unknown command" in got:
            self.unknown = True
            self.left_out += 1
            print(f"{where}: {command}: not served", flush=True)
            return
        self.failed += 1
        if name in self.connections:  # what came too much is not to fail the next row
            while not self.drained(name):
                pass
        print(f"{where}: {command}\n   expected {reply}\n   got      {show(got)}", flush=True)


def rows(path):
    """Each line: its text, and for a row (mark, connection, command, replies)."""
    with open(path, encoding="latin-1") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if not line.strip() or line.startswith(("#", "==")):
                yield number, line, None
                continue
            columns = re.split(r"\t+", line)
            mark, name, command = re.match(r"(?:\[([\w,]+)\] ?)?(?:(\d+)> ?)?(.*)", columns[0]).groups()
            yield number, line, (mark, name or "1", command, columns[1:])


def record(options, path):
    """Print the table with what the server answers, in both protocols."""
    runs = {2: Run(options), 3: None}
    for protocol in (2, 3):
        runs[protocol] = Run(argparse.Namespace(**{**vars(options), "protocol": protocol}))
    answers = {}
    for protocol, run in runs.items():
        for number, line, row in rows(path):
            if row is None:
                if line.startswith("=="):
                    run.section()
                continue
            mark, name, command, replies = row
            if mark and "redis" not in mark.split(","):
                continue
            sample = replies[min(protocol - 2, len(replies) - 1)] if replies else "+x"
            sample = "sorted +x" if sample == "sorted" else sample
            got = run.ask(name, command, Expected(sample))
            special = re.search(r"\{.*\.\.|^/|^any|closed$|^none$", sample)
            prefix = "sorted " if sample.startswith("sorted") else ""
            answers[number, protocol] = sample if special else prefix + show(got)
    for number, line, row in rows(path):
        if row is None or (number, 2) not in answers:
            print(line)
            continue
        command = re.split(r"\t+", line)[0]
        two, three = answers[number, 2], answers[number, 3]
        tabs = "\t" * max(1, 5 - len(command) // 8)
        print(command + tabs + two + ("" if two == three else "\t" + three))


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--as", dest="server_kind", choices=("redis", "cairn"), required=True)
    parser.add_argument("--protocol", type=int, choices=(2, 3), default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--served", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("tables", nargs="+")
    options = parser.parse_args()
    run = Run(options)
    for path in options.tables:
        if options.record:
            record(options, path)
            continue
        wanted = False
        for number, line, row in rows(path):
            if line.startswith("=="):
                wanted = options.only in line
                if wanted:
                    run.section()
            if row and wanted:
                mark, name, command, replies = row
                if not replies:
                    raise SystemExit(f"{path}:{number}: a row without a reply")
                reply = replies[min(options.protocol - 2, len(replies) - 1)]
                run.row(f"{path.rsplit('/', 1)[-1]}:{number}", mark, name, command, reply)
    if not options.record:
        print(f"{run.held} rows hold, {run.failed} do not" + (f", {run.left_out} were left out" if run.left_out else ""))
    return 1 if run.failed or not (run.held or options.record) else 0


sys.exit(main())
