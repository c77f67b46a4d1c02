"""The same random calls on a mount and on an ordinary folder: same errors, same bytes, same tree.

usage: tree.py MOUNTED ORDINARY SEED COUNT [SECOND-MOUNT]
With a second mount of the same keys the calls go through either by turns.
"""
import ctypes
import errno
import os
import random
import stat
import sys

mounted, ordinary, seed, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
mounts = [mounted] + sys.argv[5:]
rnd = random.Random(seed)
libc = ctypes.CDLL(None, use_errno=True)
NAMES = ["a", "a-b", "c%", "\u00e4 x"]


def catch_up(at):
    """See at the mount AT all that was committed by now."""
    os.getxattr(at, "user.cairn.current")


def path():
    return "/".join(rnd.choice(NAMES) for _ in range(rnd.choice((1, 1, 2, 2, 3))))


def put(at, a, b, data, n):
    with open(f"{at}/{a}", "wb") as f:
        f.write(data)


def exclusive(at, a, b, data, n):
    os.close(os.open(f"{at}/{a}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def touch(at, a, b, data, n):
    os.close(os.open(f"{at}/{a}", os.O_CREAT | os.O_RDONLY, 0o640))


def append(at, a, b, data, n):
    with open(f"{at}/{a}", "ab", buffering=0) as f:
        f.write(data)
        f.write(b"+")


def patch(at, a, b, data, n):
    with open(f"{at}/{a}", "r+b") as f:
        f.seek(n)
        f.write(data)


def read(at, a, b, data, n):
    with open(f"{at}/{a}", "rb") as f:
        return f.read()


def rename2(at, a, b, data, n):
    path_a, path_b = f"{at}/{a}".encode(), f"{at}/{b}".encode()
    if libc.renameat2(-100, path_a, -100, path_b, 1):
        raise OSError(ctypes.get_errno(), "renameat2")


CALLS = {
    "put": (put, 6),
    "exclusive": (exclusive, 2),
    "append": (append, 4),
    "touch": (touch, 2),
    "patch": (patch, 4),
    "read": (read, 3),
    "truncate": (lambda at, a, b, data, n: os.truncate(f"{at}/{a}", n), 3),
    "mkdir": (lambda at, a, b, data, n: os.mkdir(f"{at}/{a}", 0o750), 6),
    "rmdir": (lambda at, a, b, data, n: os.rmdir(f"{at}/{a}"), 6),
    "unlink": (lambda at, a, b, data, n: os.unlink(f"{at}/{a}"), 4),
    "rename": (lambda at, a, b, data, n: os.rename(f"{at}/{a}", f"{at}/{b}"), 8),
    "rename without replacing": (rename2, 5),
    "symlink": (lambda at, a, b, data, n: os.symlink(b, f"{at}/{a}"), 4),
    "readlink": (lambda at, a, b, data, n: os.readlink(f"{at}/{a}"), 3),
    "chmod": (lambda at, a, b, data, n: os.chmod(f"{at}/{a}", 0o600 | n & 0o177), 2),
    "utime": (lambda at, a, b, data, n: os.utime(f"{at}/{a}", ns=(n * 10**9 + 1, n * 10**9 + 2)), 2),
    "list": (lambda at, a, b, data, n: sorted(os.listdir(f"{at}/{a}")), 3),
    "fifo": (lambda at, a, b, data, n: os.mkfifo(f"{at}/{a}"), 1),
}


def attempt(call, at, *arguments):
    try:
        return call(at, *arguments)
    except OSError as e:
        return "error " + errno.errorcode[e.errno]


def tree(at):
    found = {}
    for folder, folders, files in os.walk(at):
        for name in folders + files:
            p = os.path.join(folder, name)
            s = os.lstat(p)
            what = [stat.filemode(s.st_mode), s.st_nlink if not stat.S_ISDIR(s.st_mode) else 0]
            if stat.S_ISREG(s.st_mode):
                with open(p, "rb") as f:
                    what += [s.st_size, f.read()]
            elif stat.S_ISLNK(s.st_mode):
                what.append(os.readlink(p))
            found[os.path.relpath(p, at)] = what
    return found


done = set()
for i in range(count):
    name = rnd.choices(list(CALLS), [w for _, w in CALLS.values()])[0]
    big = rnd.random() < 0.02
    data = bytes([rnd.randrange(256)]) * (rnd.randrange(400000) if big else rnd.randrange(50))
    arguments = (path(), path(), data, rnd.randrange(300000 if big else 100))
    at = f"{ordinary}/{arguments[0]}"
    if name in ("put", "append", "patch", "read", "touch") and os.path.exists(at) and stat.S_ISFIFO(os.stat(at).st_mode):
        continue  # would wait for somebody at the other end
    want = attempt(CALLS[name][0], ordinary, *arguments)
    if len(mounts) > 1:
        catch_up(mounts[i % len(mounts)])
    got = attempt(CALLS[name][0], mounts[i % len(mounts)], *arguments)
    if not str(want).startswith("error "):
        done.add(name)
    if want != got:
        sys.exit(f"seed {seed}, call {i}: {name} {arguments[:2]} {arguments[3]}: got {got!r:.200}, want {want!r:.200}")
    if i % 100 == 99:
        catch_up(mounts[-1])
    if i % 100 == 99 and tree(ordinary) != tree(mounts[-1]):
        a, b = tree(ordinary), tree(mounts[-1])
        sys.exit(f"seed {seed}, call {i}: the trees differ: {[(k, a.get(k), b.get(k)) for k in set(a) | set(b) if a.get(k) != b.get(k)]!r:.600}")
for at in mounts:
    catch_up(at)
    if tree(at) != tree(ordinary):
        sys.exit(f"seed {seed}: the trees differ in the end")
missing = sorted(set(CALLS) - done)
if missing:
    sys.exit(f"seed {seed}: never succeeded: {missing}")
