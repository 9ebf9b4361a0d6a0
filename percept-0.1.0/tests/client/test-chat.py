#!/usr/bin/env python3
"""test-chat.py - percept chat over a terminal and over a pipe. TAP."""
import os, pty, re, select, signal, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fake, tap
from tap import contains, equal
import signal as _signal

# A shell's background job ignores SIGINT, and would pass that on to the programs under test.
_signal.signal(_signal.SIGINT, _signal.SIG_DFL)


class Terminal:
    """percept chat on a pseudo terminal."""

    def __init__(self, folder):
        self.fake = fake.Fake(os.path.join(folder, "s"))
        environment = dict(os.environ, PERCEPT_SOCKET=os.path.join(folder, "s"), HOME=folder, XDG_STATE_HOME=folder,
                           TERM="xterm", LC_ALL="C.UTF-8")
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(tap.program("percept"), ["percept", "chat"], environment)

    def wait(self, pattern, seconds=20):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            data = os.read(self.fd, 4096) if ready else b""
            if not data:
                raise AssertionError("%r did not come; there is %r" % (pattern, self.seen))
            self.seen += data.decode(errors="replace")
        self.seen = self.seen[re.search(pattern, self.seen).end():]

    def type(self, text):
        os.write(self.fd, text.encode())

    def ask(self, text, pattern):
        self.type(text)
        self.wait(pattern)
        self.wait("> ")

    def end(self, how="/exit\n"):
        self.type(how)
        try:
            while os.read(self.fd, 4096):
                pass
        except OSError:
            pass  # the other side is closed
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def messages(request):
    return [(m["role"], "".join(p.get("text", "[file]") for p in m["content"])) for m in request["params"]["input"]]


def terminal_talks(folder):
    """on a terminal the conversation goes on from message to message"""
    t = Terminal(folder)
    t.wait("> ")
    t.ask("one\n", "You said: one")
    t.ask("two\n", "You said: two")
    equal(messages(t.fake.take("response.create")[1]),
          [("user", "one"), ("assistant", "You said: one"), ("user", "two")])
    equal(t.end(), 0)


def terminal_interrupt(folder):
    """Ctrl-C stops the answer only, and keeps it; at the prompt it drops the line"""
    t = Terminal(folder)
    t.wait("> ")
    t.type("slow\n")
    t.wait("for it")
    t.type("\x03")
    t.wait("> ")
    equal(len(t.fake.take("response.cancel")), 1)
    t.type("dropped")
    t.wait("dropped")
    t.type("\x03")
    t.wait("Ctrl-D")
    t.wait("> ")
    t.ask("next\n", "You said: next")
    equal(messages(t.fake.take("response.create")[0]), [("user", "slow"), ("assistant", "Wait for it"), ("user", "next")])
    equal(t.end(), 0)


def terminal_history(folder):
    """lines are edited, and come back from the history file"""
    t = Terminal(folder)
    t.wait("> ")
    t.ask("Grüße\x7fe!\n", "You said: Grüße!")
    equal(t.end("\x04"), 0)
    equal(os.stat(os.path.join(folder, "percept", "chat_history")).st_mode & 0o077, 0)
    os.unlink(os.path.join(folder, "s"))
    t = Terminal(folder)
    t.wait("> ")
    t.ask("\x1b[A\n", "You said: Grüße!")
    equal(t.end(), 0)


def terminal_lines(folder):
    """a backslash and triple quotes make messages of several lines"""
    t = Terminal(folder)
    t.wait("> ")
    t.ask("one\\\ntwo\n", "You said: one")
    t.ask('"""three\n\nfour"""\n', "You said: three")
    sent = t.fake.take("response.create")
    equal(messages(sent[0]), [("user", "one\ntwo")])
    equal(messages(sent[1])[-1], ("user", "three\n\nfour"))
    equal(t.end(), 0)


def pipe(folder, text, code=0):
    server = fake.Fake(os.path.join(folder, "s"))
    environment = dict(os.environ, PERCEPT_SOCKET=os.path.join(folder, "s"), HOME=folder, XDG_STATE_HOME=folder)
    done = subprocess.run([tap.program("percept"), "chat"], input=text.encode(), env=environment, capture_output=True, timeout=60)
    equal((done.returncode, done.stderr.decode() if code == 0 else ""), (code, ""))
    return server, done.stdout.decode(), done.stderr.decode()


def pipe_talks(folder):
    """over a pipe answers alone are printed"""
    server, out, _ = pipe(folder, "one\n\ntwo")
    equal(out, "You said: one\nYou said: two\n")


def pipe_commands(folder):
    """/image, /system, /reset, /save and /stats do what they say"""
    picture, saved = os.path.join(folder, "p.png"), os.path.join(folder, "saved.txt")
    with open(picture, "wb") as f:
        f.write(b"pixels")
    server, out, _ = pipe(folder, "/system Be kind.\n/image %s\nwhat?\nagain\n/save %s\n/reset\n/system\nnew\n/stats\n/exit\nnever\n"
                          % (picture, saved))
    sent = server.take("response.create")
    equal(len(sent), 3)
    equal(sent[0]["params"]["instructions"], "Be kind.")
    equal(sent[0]["files"], [b"pixels"])
    equal(messages(sent[1]), [("user", "[file]what?"), ("assistant", "You said: what?"), ("user", "again")])
    equal(sent[1]["files"], [b"pixels"])
    equal(messages(sent[2]), [("user", "new")])
    equal("instructions" in sent[2]["params"], False)
    contains(out, "100.0 a second")
    with open(saved) as f:
        equal(f.read(), "user:\n[image]\nwhat?\n\nassistant:\nYou said: what?\n\nuser:\nagain\n\nassistant:\nYou said: again\n\n")


def pipe_goes_on(folder):
    """after an error the conversation goes on without the failed message"""
    server, out, err = pipe(folder, "one\nerror -32006\ndie\ntwo\n/image none.png\n/what\n", code=1)
    equal(messages(server.take("response.create")[-1]), [("user", "one"), ("assistant", "You said: one"), ("user", "two")])
    equal(out, "You said: one\nYou said: two\n")
    for part in ("It went wrong.", "closed the connection", "none.png", "/help"):
        contains(err, part)


tap.main([terminal_talks, terminal_interrupt, terminal_history, terminal_lines, pipe_talks, pipe_commands, pipe_goes_on])
