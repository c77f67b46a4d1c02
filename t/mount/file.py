"""Random reads, writes, truncations, mappings, syncs and closes of one file, against bytes in memory.

usage: file.py SEED COUNT MOUNT...      with several mounts of the same keys, each opening takes another one
"""
import mmap
import os
import random
import sys

seed, count, mounts = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
rnd = random.Random(seed)
model, fd, opened, appending = bytearray(), None, 0, False
LIMIT = 300000


def catch_up(at):
    """See at the mount AT all that was committed by now."""
    os.getxattr(at, "user.cairn.current")


def fill(n):
    return bytes([rnd.randrange(1, 256)]) * n


def write_model(at, data):
    if at > len(model):
        model.extend(bytes(at - len(model)))
    model[at : at + len(data)] = data


def size_model(n):
    if n > len(model):
        model.extend(bytes(n - len(model)))
    del model[n:]


def check(what, got, want):
    if got != want:
        at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        sys.exit(f"seed {seed}, call {i}: {what}: {len(got)} bytes, want {len(want)}, they differ at {at}")


if os.path.exists(mounts[0] + "/file"):
    os.unlink(mounts[0] + "/file")
for i in range(count):
    if fd is None:
        name = mounts[opened % len(mounts)] + "/file"
        opened += 1
        catch_up(os.path.dirname(name))
        flags = rnd.choice([0, 0, 0, 0, os.O_TRUNC, os.O_APPEND])
        appending = flags == os.O_APPEND
        fd = os.open(name, os.O_RDWR | os.O_CREAT | flags, 0o600)
        untouched = flags == os.O_TRUNC  # then it is emptied a moment after the close, if nothing is written
        if untouched:
            model.clear()
        check("opened", os.pread(fd, LIMIT * 2, 0), bytes(model))
    call = rnd.choice(["read", "read", "write", "write", "write", "truncate", "map", "sync", "close", "path"])
    at, n = rnd.randrange(LIMIT), rnd.randrange(1, rnd.choice([100, 5000, 100000]))
    untouched = untouched and call in ("read", "close")
    if call == "read":
        check("read", os.pread(fd, n, at), bytes(model[at : at + n]))
    elif call == "write":
        data = fill(n)
        os.pwrite(fd, data, at) if not appending else os.write(fd, data)
        write_model(len(model) if appending else at, data)
        if len(model) > LIMIT * 2:
            os.ftruncate(fd, 10)
            size_model(10)
    elif call == "truncate":
        os.ftruncate(fd, at)
        size_model(at)
    elif call == "path":
        os.truncate(name, at)
        size_model(at)
    elif call == "map" and not appending and model:
        with mmap.mmap(fd, 0) as m:
            at %= len(model)
            check("mapped", m[at : at + n], bytes(model[at : at + n]))
            data = fill(min(n, len(model) - at))
            m[at : at + len(data)] = data
            write_model(at, data)
    elif call == "sync":
        os.fsync(fd)
    elif call == "close":
        if untouched:
            os.fsync(fd)
        os.close(fd)
        fd = None
    if fd is not None and os.fstat(fd).st_size != len(model):
        sys.exit(f"seed {seed}, call {i}: after {call} the size is {os.fstat(fd).st_size}, want {len(model)}")
if fd is not None:
    os.close(fd)
for at in mounts:
    catch_up(at)
    with open(at + "/file", "rb") as f:
        check("in the end", f.read(), bytes(model))
