#!/usr/bin/env python3
"""test-start.py - percept starts the user's daemon when none answers. TAP."""
import os, shutil, signal, stat, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap
from tap import contains, equal

HERE = os.path.dirname(os.path.abspath(__file__))


class Setup:
    """A folder that looks like a build tree, with a scripted perceptd in it."""

    def __init__(self, folder, daemon=True):
        self.folder = folder
        real = tap.program(".libs/percept")
        self.percept = os.path.join(folder, "percept")
        shutil.copy(real if os.path.exists(real) else tap.program("percept"), self.percept)
        with open(os.path.join(folder, "build-tree.conf"), "w") as f:
            f.write("srcdir=%s\n" % folder)
        if daemon:
            perceptd = os.path.join(folder, "perceptd")
            with open(perceptd, "w") as f:
                f.write("#!/bin/sh\nexec '%s' '%s' \"$@\"\n" % (sys.executable, os.path.join(HERE, "fake.py")))
            os.chmod(perceptd, 0o755)
        self.starts = os.path.join(folder, "starts")
        self.runtime = os.path.join(folder, "run")
        os.mkdir(self.runtime, 0o700)
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=self.runtime, HOME=folder, XDG_STATE_HOME=os.path.join(folder, "state"),
                                FAKE_STARTS=self.starts, LD_LIBRARY_PATH=tap.program(".libs"))
        self.environment.pop("PERCEPT_SOCKET", None)

    def start(self, *words):
        return subprocess.Popen([self.percept, *words], env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *words):
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def pids(self):
        with open(self.starts) as f:
            return [int(line) for line in f]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if os.path.exists(self.starts):
            for pid in self.pids():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


def starts(folder):
    """the first command starts a daemon, the second finds it"""
    with Setup(folder) as s:
        equal(s.run("ask", "hi"), (0, "You said: hi\n", ""))
        equal(s.run("ask", "again"), (0, "You said: again\n", ""))
        equal(len(s.pids()), 1)
        socket_folder = os.path.join(s.runtime, "percept")
        equal(stat.S_IMODE(os.stat(socket_folder).st_mode), 0o700)
        pid = s.pids()[0]
        equal(os.getsid(pid) != os.getsid(0), True)
        equal(os.readlink("/proc/%d/cwd" % pid), "/")
        equal(os.readlink("/proc/%d/fd/2" % pid), os.path.join(folder, "state/percept/perceptd.log"))
        equal(s.run("shutdown")[0], 0)


def races(folder):
    """eight commands at once start one daemon"""
    with Setup(folder) as s:
        running = [s.start("ask", "%d" % k) for k in range(8)]
        for k, process in enumerate(running):
            out, err = process.communicate(timeout=60)
            equal((process.returncode, out, err), (0, "You said: %d\n" % k, ""))
        equal(len(s.pids()), 1)


def stale(folder):
    """a socket that nobody listens on is no daemon"""
    with Setup(folder) as s:
        s.run("status")
        os.kill(s.pids()[0], signal.SIGKILL)
        for _ in range(100):
            code, _, err = s.run("--no-start", "status")
            if code == 3:
                break
            time.sleep(0.05)
        equal(code, 3)


def fails(folder):
    """a daemon that does not start says why"""
    with Setup(folder) as s:
        s.environment["FAKE_FAILS"] = "1"
        code, out, err = s.run("ask", "hi")
        equal((code, out), (3, ""))
        contains(err, "unknown key 'colour'")
        contains(err, "perceptd.log")
        contains(err, "perceptd --check")


def missing(folder):
    """without the program it says where it should be"""
    with Setup(folder, daemon=False) as s:
        code, _, err = s.run("status")
        equal(code, 3)
        contains(err, os.path.join(folder, "perceptd"))


tap.main([starts, races, stale, fails, missing])
