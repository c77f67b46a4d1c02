"""What POSIX says of single calls, group by group, checked on a mount as root and as other users.

usage: posix.py FOLDER [GROUP...]      prints TAP-like lines of what fails; exit status 1 where something does
"""
import errno
import os
import socket
import stat
import sys
import time

root, wanted = sys.argv[1], sys.argv[2:]
failed, checked, group = [], 0, ""
U1, U2, U3 = 65534, 65533, 65532
TYPES = ["regular", "dir", "fifo", "block", "char", "socket", "symlink"]
NAME_MAX, PATH_MAX = 255, 4096


def check(what, good, detail=""):
    global checked
    checked += 1
    if not good:
        failed.append(f"{group}: {what} {detail}")
        print(f"not ok {group}: {what} {detail}")


def attempt(call, *arguments):
    """What CALL returns, or the name of its errno."""
    try:
        return call(*arguments)
    except OSError as e:
        return errno.errorcode[e.errno]


def as_user(uid, gids, call, *arguments):
    """The same, in a process of that user; only short results come back."""
    if isinstance(gids, int):
        gids = [gids]
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups(gids)
        os.setgid(gids[0])
        os.setuid(uid)
        os.write(w, str(attempt(call, *arguments)).encode())
        os._exit(0)
    os.close(w)
    with os.fdopen(r) as f:
        text = f.read()
    os.waitpid(pid, 0)
    return text


def expect(want, call, *arguments, what=""):
    got = attempt(call, *arguments)
    if want == 0:
        want = None
    check(what or f"{getattr(call, '__name__', 'call')}{arguments!r:.80}", got == want, f"got {got!r}, want {want!r}")


def expect_as(uid, gids, want, call, *arguments, what=""):
    got = as_user(uid, gids, call, *arguments)
    want = "None" if want == 0 else want
    check(what or f"as {uid}: {getattr(call, '__name__', 'call')}{arguments!r:.80}", got == want, f"got {got}, want {want}")


def fresh():
    """A new name of a folder of its own."""
    fresh.count += 1
    at = f"{root}/{fresh.count}"
    os.mkdir(at, 0o755)
    return at


fresh.count = 0


def make(kind, name, mode=0o644):
    if kind == "regular":
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    elif kind == "dir":
        os.mkdir(name, mode)
    elif kind == "fifo":
        os.mkfifo(name, mode)
    elif kind == "block":
        os.mknod(name, mode | stat.S_IFBLK, os.makedev(1, 2))
    elif kind == "char":
        os.mknod(name, mode | stat.S_IFCHR, os.makedev(1, 2))
    elif kind == "socket":
        s = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        os.chdir(os.path.dirname(name))
        s.bind(os.path.basename(name))
        os.chdir(here)
        s.close()
        os.chmod(name, mode)
    elif kind == "symlink":
        os.symlink("test", name)


def remove(kind, name):
    (os.rmdir if kind == "dir" else os.unlink)(name)


def mode_of(name):
    return stat.S_IMODE(os.lstat(name).st_mode)


def ctime(name):
    return os.lstat(name).st_ctime_ns


def mtime(name):
    return os.lstat(name).st_mtime_ns


def tick():
    time.sleep(0.012)


def close(fd):
    os.close(fd)


def create(name, mode=0o644, flags=os.O_CREAT | os.O_WRONLY):
    os.close(os.open(name, flags, mode))


def common_errors(call, at, relative_only=False):
    """What every call with a path says of bad paths; CALL takes the path alone."""
    create(at + "/file")
    expect("ENOTDIR", call, at + "/file/x", what="a file in the path")
    expect("ENAMETOOLONG", call, at + "/" + "n" * (NAME_MAX + 1), what="a name too long")
    expect("ENAMETOOLONG", call, at + "/" + "n/" * (PATH_MAX // 2), what="a path too long")
    expect("ENOENT", call, at + "/absent/x", what="a folder that is not there")
    os.symlink("loop2", at + "/loop1")
    os.symlink("loop1", at + "/loop2")
    expect("ELOOP", call, at + "/loop1/x", what="a loop of links")
    os.mkdir(at + "/locked", 0o755)
    os.chown(at + "/locked", U1, U1)
    os.chmod(at + "/locked", 0o644)
    expect_as(U1, U1, "EACCES", call, at + "/locked/x", what="a folder that may not be searched")


def g_chmod():
    common_errors(lambda p: os.chmod(p, 0o644), fresh())
    for kind in TYPES[:-1]:
        at = fresh()
        name = at + "/x"
        make(kind, name)
        for mode in (0o111, 0o600, 0o7777 if kind == "dir" else 0o777, 0):
            before = ctime(name)
            tick()
            os.chmod(name, mode)
            check(f"{kind}: mode {mode:o}", mode_of(name) == mode, f"is {mode_of(name):o}")
            check(f"{kind}: ctime goes on", ctime(name) > before)
        os.symlink("x", at + "/link")
        os.chmod(at + "/link", 0o640)
        check(f"{kind}: through a link", mode_of(name) == 0o640)
        os.chown(name, U1, U1)
        expect_as(U1, U1, 0, os.chmod, name, 0o444)
        expect_as(U2, U2, "EPERM", os.chmod, name, 0o666)
        check(f"{kind}: refused leaves mode", mode_of(name) == 0o444)
    at = fresh()
    os.chmod(at, 0o777)
    create(at + "/f")
    os.chown(at + "/f", U1, U2)
    expect_as(U1, U1, 0, os.chmod, at + "/f", 0o2755)
    check("set-group-id goes where the caller is not of the group", mode_of(at + "/f") == 0o755, oct(mode_of(at + "/f")))
    expect_as(U1, [U1, U2], 0, os.chmod, at + "/f", 0o2755)
    check("set-group-id stays where it is", mode_of(at + "/f") == 0o2755)
    # A write by another takes set-user-id and set-group-id away.
    for bits in (0o4777, 0o2777, 0o6777):
        os.chmod(at + "/f", bits)

        def write_once(name):
            fd = os.open(name, os.O_WRONLY)
            os.write(fd, b"x")
            got = stat.S_IMODE(os.fstat(fd).st_mode)
            os.close(fd)
            return oct(got)

        got = as_user(U3, U3, write_once, at + "/f")
        check(f"a write takes {bits:o} away", got == "0o777", got)
        check("and it is seen by its path", mode_of(at + "/f") == 0o777)
    expect_as(U1, U1, "EPERM", os.chmod, root, 0o700)


def g_chown():
    common_errors(lambda p: os.chown(p, 1, 1), fresh())
    common_errors(lambda p: os.lchown(p, 1, 1), fresh())
    for kind in TYPES:
        at = fresh()
        name = at + "/x"
        make(kind, name)
        before = ctime(name)
        tick()
        os.lchown(name, 123, 456)
        s = os.lstat(name)
        check(f"{kind}: owner", (s.st_uid, s.st_gid) == (123, 456), str((s.st_uid, s.st_gid)))
        check(f"{kind}: ctime goes on", s.st_ctime_ns > before)
        os.lchown(name, -1, 7)
        s = os.lstat(name)
        check(f"{kind}: group only", (s.st_uid, s.st_gid) == (123, 7))
        os.lchown(name, U1, U1)
        expect_as(U1, [U1, U2], 0, os.lchown, name, -1, U2, what=f"{kind}: its owner gives it to a group of theirs")
        check(f"{kind}: it has it", os.lstat(name).st_gid == U2)
        expect_as(U1, U1, "EPERM", os.lchown, name, U2, -1, what=f"{kind}: nobody gives away")
        expect_as(U1, U1, "EPERM", os.lchown, name, -1, U3, what=f"{kind}: nor to a foreign group")
        expect_as(U2, U2, "EPERM", os.lchown, name, U2, U2, what=f"{kind}: nobody takes")
        if kind == "symlink":
            make("regular", at + "/test")
            os.chown(name, 5, 6)
            check("chown follows", os.stat(at + "/test").st_uid == 5 and os.lstat(name).st_uid == U1)
    at = fresh()
    create(at + "/f")
    for bits in (0o6755, 0o4711, 0o2771):
        os.chown(at + "/f", U1, U1)
        os.chmod(at + "/f", bits)
        expect_as(U1, [U1, U2], 0, os.chown, at + "/f", -1, U2)
        check(f"chown by the owner takes {bits:o} away", mode_of(at + "/f") == bits & 0o777, oct(mode_of(at + "/f")))
    os.mkdir(at + "/d")
    os.chown(at + "/d", U1, U1)
    os.chmod(at + "/d", 0o2755)
    expect_as(U1, [U1, U2], 0, os.chown, at + "/d", -1, U2)
    check("of a folder it does not", mode_of(at + "/d") == 0o2755, oct(mode_of(at + "/d")))


def g_truncate():
    common_errors(lambda p: os.truncate(p, 0), fresh())
    at = fresh()
    name = at + "/f"
    create(name)
    for size in (1234567, 567, 0, 1):
        before = ctime(name), mtime(name)
        tick()
        os.truncate(name, size)
        check(f"size {size}", os.stat(name).st_size == size)
        check("its times go on", ctime(name) > before[0] and mtime(name) > before[1])
    with open(name, "wb") as f:
        f.write(b"abcdef")
    os.truncate(name, 3)
    os.truncate(name, 6)
    check("what was cut is zeros", open(name, "rb").read() == b"abc\0\0\0")
    expect("EISDIR", os.truncate, at, 0)
    expect("EINVAL", os.truncate, name, -1)
    expect("EFBIG", os.truncate, name, 1 << 50)
    check("refused leaves the size", os.stat(name).st_size == 6)
    os.chmod(name, 0o644)
    expect_as(U1, U1, "EACCES", os.truncate, name, 0)
    fd = os.open(name, os.O_RDWR)
    for size in (100000, 5, 0):
        before = ctime(name), mtime(name)
        tick()
        os.ftruncate(fd, size)
        check(f"through a descriptor: {size}", os.fstat(fd).st_size == size and os.stat(name).st_size == size)
        check("its times go on", os.fstat(fd).st_ctime_ns > before[0] and os.fstat(fd).st_mtime_ns > before[1])
    expect("EINVAL", os.ftruncate, fd, -1)
    expect("EFBIG", os.ftruncate, fd, 1 << 50)
    close(fd)
    fd = os.open(name, os.O_RDONLY)
    expect("EINVAL", os.ftruncate, fd, 0)
    close(fd)

    def create_and_cut(p):
        fd = os.open(p, os.O_RDWR | os.O_CREAT, 0)
        os.ftruncate(fd, 77)
        size = os.fstat(fd).st_size
        os.close(fd)
        return size

    os.chmod(at, 0o777)
    check("a file without any mode, through its first descriptor", as_user(U1, U1, create_and_cut, at + "/g") == "77")
    check("and it has that size", os.stat(at + "/g").st_size == 77)


def new_entry(call, at, kind_mode=None, umasked=True):
    """What makes a name: its owner, mode and the times of its folder."""
    os.chown(at, U1, U1)
    os.chmod(at, 0o755)
    before = ctime(at), mtime(at)
    tick()
    now = time.time_ns()
    expect_as(U1, U2, 0, call, at + "/new")
    s = os.lstat(at + "/new")
    check("owner and group are the caller's", (s.st_uid, s.st_gid) == (U1, U2), str((s.st_uid, s.st_gid)))
    check("its times are now", all(abs(x - now) < 5e9 for x in (s.st_ctime_ns, s.st_mtime_ns, s.st_atime_ns)))
    check("the folder's times go on", ctime(at) > before[0] and mtime(at) > before[1])
    if umasked:
        for umask, given, want in ((0, 0o755, 0o755), (0, 0o151, 0o151), (0o77, 0o151, 0o100), (0o501, 0o345, 0o244), (0o70, 0o345, 0o305)):
            old = os.umask(umask)
            call(at + "/u", given)
            os.umask(old)
            check(f"mode {given:o} under {umask:o}", mode_of(at + "/u") == want, oct(mode_of(at + "/u")))
            remove("dir" if os.path.isdir(at + "/u") else "file", at + "/u")
    expect("EEXIST", call, at + "/new")
    for kind in TYPES:
        make(kind, at + "/there")
        expect("EEXIST", call, at + "/there", what=f"a {kind} is there")
        remove(kind, at + "/there")
    expect_as(U3, U3, "EACCES", call, at + "/other", what="in a folder that may not be written")
    os.chown(at, U1, U3)
    os.chmod(at, 0o2777)
    expect_as(U2, U2, 0, call, at + "/inherits")
    check("a set-group-id folder gives its group", os.lstat(at + "/inherits").st_gid == U3)
    name = at + "/" + "n" * NAME_MAX
    expect(0, call, name)
    check("the longest name", os.path.lexists(name))
    remove("dir" if stat.S_ISDIR(os.lstat(name).st_mode) else "file", name)


def g_mkdir():
    common_errors(os.mkdir, fresh())
    at = fresh()
    new_entry(lambda p, m=0o755: os.mkdir(p, m), at)
    links = os.stat(at).st_nlink
    os.mkdir(at + "/sub")
    check("a folder counts its subfolders", os.stat(at).st_nlink == links + 1, str(os.stat(at).st_nlink))
    os.rmdir(at + "/sub")
    check("and not those that went", os.stat(at).st_nlink == links)
    check("a new folder has two links", os.stat(at + "/new").st_nlink == 2)


def g_mkfifo():
    common_errors(lambda p: os.mkfifo(p, 0o644), fresh())
    new_entry(lambda p, m=0o644: os.mkfifo(p, m), fresh())


def g_mknod():
    for kind in (stat.S_IFIFO, stat.S_IFBLK, stat.S_IFCHR, stat.S_IFREG):
        at = fresh()
        common_errors(lambda p: os.mknod(p, kind | 0o644, os.makedev(1, 2)), at)
        name = at + "/node"
        os.mknod(name, kind | 0o644, os.makedev(17, 300))
        s = os.lstat(name)
        check("the kind", stat.S_IFMT(s.st_mode) == kind)
        if kind in (stat.S_IFBLK, stat.S_IFCHR):
            check("the device", s.st_rdev == os.makedev(17, 300), str(s.st_rdev))
            os.chmod(at, 0o777)
            expect_as(U1, U1, "EPERM", os.mknod, at + "/mine", kind | 0o644, os.makedev(1, 2))
    new_entry(lambda p, m=0o644: os.mknod(p, m | stat.S_IFIFO), fresh())


def g_symlink():
    common_errors(lambda p: os.symlink("t", p), fresh())
    at = fresh()
    new_entry(lambda p: os.symlink("target", p), at, umasked=False)
    check("what it says", os.readlink(at + "/new") == "target")
    check("its length", os.lstat(at + "/new").st_size == 6)
    target = "t" * (PATH_MAX - 1)
    expect(0, os.symlink, target, at + "/long")
    check("the longest target", os.readlink(at + "/long") == target)
    expect("ENAMETOOLONG", os.symlink, "t" * PATH_MAX, at + "/longer")
    expect("ENOENT", os.symlink, "", at + "/empty")
    os.mkdir(at + "/d")
    os.symlink("d", at + "/to")
    create(at + "/to/f")
    check("a folder by its link", os.path.exists(at + "/d/f"))
    expect("EINVAL", os.readlink, at + "/d")


def g_open():
    at = fresh()
    common_errors(lambda p: close(os.open(p, os.O_RDONLY)), at)
    common_errors(lambda p: create(p), fresh())
    at = fresh()
    new_entry(lambda p, m=0o644: create(p, m, os.O_CREAT | os.O_EXCL | os.O_WRONLY), at)
    at = fresh()
    os.chmod(at, 0o777)
    create(at + "/f")
    os.chown(at + "/f", U1, U2)
    for mode, who in ((0o600, (U1, U1)), (0o060, (U3, U2)), (0o006, (U3, U3))):
        for shift_bits, flags in ((0o444, os.O_RDONLY), (0o222, os.O_WRONLY), (0o666, os.O_RDWR)):
            os.chmod(at + "/f", mode & shift_bits)
            expect_as(*who, 0, lambda p, f: close(os.open(p, f)), at + "/f", flags, what=f"mode {mode & shift_bits:o} flags {flags}")
            os.chmod(at + "/f", ~mode & 0o666)
            expect_as(*who, "EACCES", lambda p, f: close(os.open(p, f)), at + "/f", flags, what=f"not mode {mode:o} flags {flags}")
    os.chmod(at + "/f", 0o444)
    expect_as(U3, U3, "EACCES", lambda p: close(os.open(p, os.O_RDONLY | os.O_TRUNC)), at + "/f")
    os.chmod(at + "/f", 0o644)
    with open(at + "/f", "w") as f:
        f.write("content")
    before = ctime(at + "/f"), mtime(at + "/f")
    tick()
    close(os.open(at + "/f", os.O_WRONLY | os.O_TRUNC))
    check("O_TRUNC empties and moves the times on", os.stat(at + "/f").st_size == 0 and ctime(at + "/f") > before[0] and mtime(at + "/f") > before[1])
    tick()
    times = ctime(at), mtime(at)
    tick()
    close(os.open(at + "/f", os.O_CREAT | os.O_WRONLY, 0o600))
    check("O_CREAT of what is there leaves the folder's times", (ctime(at), mtime(at)) == times)
    expect("EEXIST", create, at + "/f", 0o644, os.O_CREAT | os.O_EXCL)
    expect("EISDIR", lambda p: close(os.open(p, os.O_WRONLY)), at)
    expect("EISDIR", lambda p: close(os.open(p, os.O_RDWR)), at)
    expect("EISDIR", lambda p: close(os.open(p, os.O_RDONLY | os.O_TRUNC)), at)
    expect("EISDIR", create, at)
    expect("ENOTDIR", lambda p: close(os.open(p, os.O_RDONLY | os.O_DIRECTORY)), at + "/f")
    os.mkfifo(at + "/p")
    expect("ENXIO", lambda p: close(os.open(p, os.O_WRONLY | os.O_NONBLOCK)), at + "/p")
    os.symlink("f", at + "/l")
    expect("ELOOP", lambda p: close(os.open(p, os.O_RDONLY | os.O_NOFOLLOW)), at + "/l")
    expect("EEXIST", create, at + "/l", 0o644, os.O_CREAT | os.O_EXCL)
    make("socket", at + "/s")
    expect("ENXIO", lambda p: close(os.open(p, os.O_RDONLY)), at + "/s")
    # A descriptor keeps what it was opened for, whatever becomes of the mode.
    fd = os.open(at + "/own", os.O_CREAT | os.O_RDWR, 0)
    os.write(fd, b"hello")
    check("a file without modes can be read and written by who made it", os.pread(fd, 9, 0) == b"hello")
    close(fd)
    fd = os.open(at + "/app", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    os.write(fd, b"one")
    os.lseek(fd, 0, 0)
    os.write(fd, b"two")
    close(fd)
    check("O_APPEND", open(at + "/app").read() == "onetwo")
    # sticky folders
    os.chmod(at, 0o1777)


def g_rename():
    common_errors(lambda p: os.rename(p, root + "/nowhere"), fresh())
    at = fresh()
    create(at + "/src")
    common_errors(lambda p: os.rename(at + "/src", p), fresh())
    for kind in TYPES:
        at = fresh()
        a, b = at + "/a", at + "/b"
        make(kind, a)
        s = os.lstat(a)
        before = ctime(at), mtime(at)
        tick()
        os.rename(a, b)
        t = os.lstat(b)
        check(f"{kind}: the same file", (s.st_ino, s.st_mode, s.st_uid) == (t.st_ino, t.st_mode, t.st_uid), str((s, t)))
        check(f"{kind}: the old name is gone", not os.path.lexists(a))
        check(f"{kind}: the folder's times go on", ctime(at) > before[0] and mtime(at) > before[1])
        os.mkdir(at + "/d")
        os.rename(b, at + "/d/c")
        check(f"{kind}: into another folder", os.path.lexists(at + "/d/c") and not os.path.lexists(b))
        if kind != "dir":
            for other in TYPES:
                make(other, at + "/t")
                want = "EISDIR" if other == "dir" else 0
                expect(want, os.rename, at + "/d/c", at + "/t", what=f"a {kind} over a {other}")
                if want == 0:
                    check("it is that one", stat.S_IFMT(os.lstat(at + "/t").st_mode) == stat.S_IFMT(s.st_mode))
                    os.rename(at + "/t", at + "/d/c")
                else:
                    os.rmdir(at + "/t")
        else:
            for other in TYPES:
                make(other, at + "/t")
                expect(0 if other == "dir" else "ENOTDIR", os.rename, at + "/d/c", at + "/t", what=f"a folder over a {other}")
                if other == "dir":
                    os.rename(at + "/t", at + "/d/c")
                else:
                    os.unlink(at + "/t")
    at = fresh()
    os.makedirs(at + "/d/e/f")
    expect("EINVAL", os.rename, at + "/d", at + "/d/e/g")
    expect("EINVAL", os.rename, at + "/d", at + "/d/e/f")
    os.makedirs(at + "/full/x")
    os.mkdir(at + "/plain")
    check("over a folder that is not empty", attempt(os.rename, at + "/plain", at + "/full") in ("ENOTEMPTY", "EEXIST"))
    check("'.' and '..'", attempt(os.rename, at + "/d/.", at + "/z") in ("EBUSY", "EINVAL") and attempt(os.rename, at + "/d/..", at + "/z") in ("EBUSY", "EINVAL", "ENOTEMPTY", "EEXIST"))
    links = os.stat(at).st_nlink
    os.rename(at + "/d/e", at + "/e")
    check("links of both folders", os.stat(at).st_nlink == links + 1 and os.stat(at + "/d").st_nlink == 2)
    # who may
    at = fresh()
    for name, owner in (("mine", U1), ("open", U1)):
        os.mkdir(f"{at}/{name}")
        os.chown(f"{at}/{name}", owner, owner)
        os.chmod(f"{at}/{name}", 0o755)
    create(at + "/mine/f")
    os.chown(at + "/mine/f", U1, U1)
    expect_as(U2, U2, "EACCES", os.rename, at + "/mine/f", at + "/open/f")
    os.chmod(at + "/open", 0o1777)
    os.chmod(at + "/mine", 0o1777)
    for target_owner, caller, want in ((U1, U1, 0), (U1, U2, "EPERM"), (U3, U3, 0), (U3, U2, "EPERM")):
        create(at + "/mine/s")
        os.chown(at + "/mine/s", target_owner, target_owner)
        expect_as(caller, caller, want, os.rename, at + "/mine/s", at + "/open/s", what=f"sticky: of {target_owner} by {caller}")
        for left in (at + "/mine/s", at + "/open/s"):
            if os.path.exists(left):
                os.unlink(left)
    create(at + "/mine/s")
    os.chown(at + "/mine/s", U2, U2)
    create(at + "/open/s")
    os.chown(at + "/open/s", U3, U3)
    expect_as(U2, U2, "EPERM", os.rename, at + "/mine/s", at + "/open/s", what="sticky: over another's")
    # moving a folder of others to another parent
    os.mkdir(at + "/from")
    os.mkdir(at + "/to")
    os.mkdir(at + "/from/d")
    for d in ("from", "to"):
        os.chmod(f"{at}/{d}", 0o777)
    check("a folder of others, which may not be written, to another parent", as_user(U1, U1, os.rename, at + "/from/d", at + "/to/d") in ("EACCES", "None"))
    create(at + "/same")
    ino = os.stat(at + "/same").st_ino
    os.rename(at + "/same", at + "/same")
    check("onto itself", os.stat(at + "/same").st_ino == ino)
    fd = os.open(at + "/over", os.O_CREAT | os.O_RDWR, 0o644)
    os.write(fd, b"old")
    os.rename(at + "/same", at + "/over")
    check("what was renamed over is read on, without a link", os.pread(fd, 9, 0) == b"old" and os.fstat(fd).st_nlink == 0)
    close(fd)


def g_rmdir():
    common_errors(os.rmdir, fresh())
    at = fresh()
    os.mkdir(at + "/d")
    before = ctime(at), mtime(at)
    tick()
    os.rmdir(at + "/d")
    check("the folder's times go on", ctime(at) > before[0] and mtime(at) > before[1])
    expect("ENOENT", os.rmdir, at + "/d")
    for kind in TYPES:
        os.mkdir(at + "/full")
        make(kind, at + "/full/x")
        check(f"a {kind} is in it", attempt(os.rmdir, at + "/full") in ("ENOTEMPTY", "EEXIST"))
        remove(kind, at + "/full/x")
        os.rmdir(at + "/full")
        if kind != "dir":
            make(kind, at + "/x")
            expect("ENOTDIR", os.rmdir, at + "/x", what=f"a {kind}")
            os.unlink(at + "/x")
    os.makedirs(at + "/a/b")
    expect("EINVAL", os.rmdir, at + "/a/b/.")
    check("'..'", attempt(os.rmdir, at + "/a/b/..") in ("ENOTEMPTY", "EEXIST"))
    expect("EBUSY" if os.path.ismount(root) else "ENOTEMPTY", os.rmdir, root)
    os.chmod(at, 0o755)
    expect_as(U1, U1, "EACCES", os.rmdir, at + "/a")
    os.chmod(at, 0o1777)
    os.mkdir(at + "/mine")
    os.chown(at + "/mine", U1, U1)
    expect_as(U2, U2, "EPERM", os.rmdir, at + "/mine", what="sticky")
    expect_as(U1, U1, 0, os.rmdir, at + "/mine")


def g_unlink():
    common_errors(os.unlink, fresh())
    for kind in TYPES:
        at = fresh()
        make(kind, at + "/x")
        if kind == "dir":
            check("a folder", attempt(os.unlink, at + "/x") in ("EISDIR", "EPERM"))
            continue
        before = ctime(at), mtime(at)
        tick()
        os.unlink(at + "/x")
        check(f"{kind}: the folder's times go on", ctime(at) > before[0] and mtime(at) > before[1])
        check(f"{kind}: gone", not os.path.lexists(at + "/x"))
        expect("ENOENT", os.unlink, at + "/x")
    at = fresh()
    fd = os.open(at + "/f", os.O_CREAT | os.O_RDWR, 0o644)
    os.write(fd, b"Hello, World!")
    os.unlink(at + "/f")
    s = os.fstat(fd)
    check("an open file without a name", s.st_nlink == 0 and s.st_size == 13 and os.pread(fd, 99, 0) == b"Hello, World!", str(s))
    os.write(fd, b"more")
    check("can still be written", os.pread(fd, 99, 0) == b"Hello, World!more")
    close(fd)
    check("and is gone", not os.path.exists(at + "/f"))
    os.chmod(at, 0o755)
    create(at + "/g")
    expect_as(U1, U1, "EACCES", os.unlink, at + "/g")
    os.chmod(at, 0o1777)
    os.chown(at + "/g", U1, U1)
    expect_as(U2, U2, "EPERM", os.unlink, at + "/g", what="sticky")
    expect_as(U1, U1, 0, os.unlink, at + "/g")


def g_link():
    at = fresh()
    create(at + "/f")
    expect("EPERM", os.link, at + "/f", at + "/g", what="there are no hard links")
    check("nothing is made", not os.path.exists(at + "/g") and os.stat(at + "/f").st_nlink == 1)
    common_errors(lambda p: os.link(p, at + "/z"), fresh())
    expect("EEXIST", os.link, at + "/f", at + "/f")


def g_utimensat():
    at = fresh()
    common_errors(lambda p: os.utime(p, (1, 2)), fresh())
    for kind in TYPES:
        name = at + "/" + kind
        make(kind, name)
        before = ctime(name)
        tick()
        os.utime(name, ns=(1000000001, 2000000002), follow_symlinks=False)
        s = os.lstat(name)
        check(f"{kind}: to the nanosecond", (s.st_atime_ns, s.st_mtime_ns) == (1000000001, 2000000002), str((s.st_atime_ns, s.st_mtime_ns)))
        check(f"{kind}: ctime goes on", s.st_ctime_ns > before)
        for when in (1 << 31, 1 << 32, 1 << 33):
            os.utime(name, (when, when), follow_symlinks=False)
            check(f"{kind}: the year 2038 and later ({when})", os.lstat(name).st_mtime == when and os.lstat(name).st_atime == when, str(os.lstat(name)))
    name = at + "/regular"
    now = time.time()
    os.utime(name)
    check("now", abs(os.stat(name).st_mtime - now) < 5 and abs(os.stat(name).st_atime - now) < 5)
    os.chmod(name, 0o644)
    os.chown(name, U1, U1)
    expect_as(U1, U1, 0, os.utime, name, (5, 6))
    expect_as(U2, U2, "EPERM", os.utime, name, (5, 6), what="times by another")
    expect_as(U2, U2, "EACCES", os.utime, name, None, what="now by another")
    os.chmod(name, 0o666)
    expect_as(U2, U2, 0, os.utime, name, None, what="now by another who may write")
    expect_as(U2, U2, "EPERM", os.utime, name, (5, 6), what="times by another who may write")


def g_posix_fallocate():
    at = fresh()
    fd = os.open(at + "/f", os.O_CREAT | os.O_RDWR, 0o644)
    os.write(fd, b"abc")
    before = ctime(at + "/f")
    tick()
    os.posix_fallocate(fd, 0, 567)
    check("it is that long", os.fstat(fd).st_size == 567 and os.stat(at + "/f").st_size == 567)
    check("ctime goes on", os.fstat(fd).st_ctime_ns > before)
    os.posix_fallocate(fd, 100, 20)
    check("never shorter", os.fstat(fd).st_size == 567 and os.pread(fd, 5, 0) == b"abc\0\0")
    close(fd)


def g_longest():
    """The longest path that there is, from the root of the mount on."""
    here, total = os.getcwd(), PATH_MAX - 1
    os.chdir(base)
    folders = ["d" * 99]
    os.mkdir(folders[0])
    while total - len(folders[-1]) > 102:
        folders.append(folders[-1] + "/" + "d" * 99)
        os.mkdir(folders[-1])
    name = folders[-1] + "/" + "f" * (total - len(folders[-1]) - 1)
    expect(0, create, name, what="a file")
    expect(0, os.chmod, name, 0o600, what="its mode")
    expect("ENAMETOOLONG", create, name + "g", what="one byte more")
    expect(0, os.rename, name, name[:-1] + "r", what="another name")
    expect(0, os.unlink, name[:-1] + "r", what="and gone")
    expect(0, os.mkfifo, name, what="a fifo")
    expect(0, os.unlink, name, what="which goes, too")
    expect(0, os.mkdir, name[:-1], what="a folder")
    expect(0, os.rmdir, name[:-1], what="which goes, too")
    for folder in reversed(folders):
        os.rmdir(folder)
    os.chdir(here)


groups = {k[2:]: v for k, v in list(globals().items()) if k.startswith("g_")}
os.umask(0)
for group in wanted or groups:
    os.makedirs(f"{root}/{group}")
    base, root = root, f"{root}/{group}"
    os.chmod(root, 0o755)
    try:
        groups[group]()
    except OSError as e:
        import traceback

        check("it went through", False, "".join(traceback.format_tb(e.__traceback__)[-2:]) + str(e))
    root = base
print(f"{checked} checked, {len(failed)} failed")
sys.exit(1 if failed else 0)
