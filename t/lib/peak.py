#!/usr/bin/env python3
"""peak.py PID COMMAND...: run COMMAND and print the most anonymous memory, in KiB, that process PID and the
command had meanwhile, as "PID-BEFORE PID-PEAK COMMAND-PEAK"; to descriptor 9, since 0 to 2 are the command's."""
import os
import subprocess
import sys
import time


def anonymous(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def main():
    pid = int(sys.argv[1])
    before = anonymous(pid)
    daemon = command = 0
    child = subprocess.Popen(sys.argv[2:])
    while child.poll() is None:
        daemon = max(daemon, anonymous(pid))
        command = max(command, anonymous(child.pid))
        time.sleep(0.001)
    for _ in range(200):  # what goes on in the background afterwards
        daemon = max(daemon, anonymous(pid))
        time.sleep(0.005)
    os.write(9, f"{before} {daemon} {command}\n".encode())
    return child.returncode


sys.exit(main())
