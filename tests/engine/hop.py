"""hop.py - drives the real percept-engine over a socketpair, for the tests in this folder."""
import array, json, mmap, os, socket, subprocess, sys, tempfile, threading, time, fcntl

BUILD = os.environ.get("top_builddir", os.getcwd())
SOURCE = os.environ.get("top_srcdir", os.getcwd())
F_ADD_SEALS, SEALS = 1033, 0xF

def memfd(data):
    fd = os.memfd_create("item", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.write(fd, data) if len(data) < 1 << 20 else [os.pwrite(fd, data[i:i + (1 << 20)], i) for i in range(0, len(data), 1 << 20)]
    fcntl.fcntl(fd, F_ADD_SEALS, SEALS)
    return fd

class Engine:
    """One engine; messages are kept by request id."""
    def __init__(self, *arguments, env=None):
        ours, theirs = socket.socketpair()
        self.socket = ours
        self.process = subprocess.Popen([os.path.join(BUILD, "percept-engine"), "--fd", str(theirs.fileno()), *arguments],
                                        pass_fds=[theirs.fileno()], stderr=open(os.environ.get("HOP_LOG", os.devnull), "ab"),
                                        env={**os.environ, **(env or {})})
        theirs.close()
        self.buffer, self.next, self.notes, self.answers = b"", 1, {}, {}

    def send(self, method, params=None, fds=()):
        ident, self.next = self.next, self.next + 1
        message = {"jsonrpc": "2.0", "id": ident, "method": method, "params": params or {}}
        if fds:
            message["fds"] = len(fds)
        data = json.dumps(message).encode() + b"\n"
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.socket.sendmsg([data], control)
        self.socket.sendall(data[sent:])
        return ident

    def fill(self, timeout):
        self.socket.settimeout(timeout)
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError
        self.buffer += data

    def read(self, timeout=30):
        while b"\n" not in self.buffer:
            self.fill(timeout)
        line, self.buffer = self.buffer.split(b"\n", 1)
        message = json.loads(line)
        if "bin" in message:
            while len(self.buffer) < message["bin"]:
                self.fill(timeout)
            message["tail"], self.buffer = self.buffer[:message["bin"]], self.buffer[message["bin"]:]
        if "id" in message:
            self.answers[message["id"]] = message
        else:
            self.notes.setdefault(message["params"].get("request_id"), []).append((time.monotonic(), message))
        return message

    def wait(self, ident, timeout=60):
        end = time.monotonic() + timeout
        while ident not in self.answers:
            self.read(max(0.01, end - time.monotonic()))
        return self.answers.pop(ident)

    def call(self, method, params=None, fds=(), timeout=60):
        return self.wait(self.send(method, params, fds), timeout)

    def open(self, parts=None, model=None, **more):
        return self.call("engine.open", {"name": "test", "model": model, "instructions": None, "context": 0,
                                         "plugin_path": [os.path.join(BUILD, "plugins", ".libs")], "model_path": [],
                                         "threads": 2, "encode_threads": 1, "cache_bytes": 1 << 24, "max_running": 64,
                                         "parts": parts or [], **more})

    def ask(self, input, images=(), wait=True, **more):
        """images: (width, height, rgb bytes) of the input_image parts, in order."""
        fds = [memfd(data) for _, _, data in images]
        hop = {"response_id": "r_%d" % self.next, "queue_ms": 0, "media_ms": 0, "total_ms": 0, "deadline_ms": 0,
               "media": [{"kind": "image", "width": w, "height": h, "channels": 3, "frames": 1} for w, h, _ in images]}
        hop.update(more.pop("hop", {}))
        method = more.pop("method", "response.create")
        ident = self.send(method, {"input": input, "hop": hop, **more}, fds)
        for fd in fds:
            os.close(fd)
        return self.wait(ident) if wait else ident

    def close(self):
        self.socket.close()
        return self.process.wait(10)

def build_plugin(folder, bad, name, width=3):
    """One of the plugins of bad-plugin.c."""
    subprocess.run([os.environ.get("CC", "cc").split()[0], "-shared", "-fPIC", "-O0", "-w", "-std=gnu11",
                    "-I" + os.path.join(SOURCE, "sdk/include"), "-DBAD=%d" % bad, '-DNAME="%s"' % name, "-DWIDTH=%d" % width,
                    os.path.join(SOURCE, "tests/engine/bad-plugin.c"), "-o", os.path.join(folder, name + ".so")], check=True)

def build_template(folder, name):
    """One of the plugins that strangers start from."""
    subprocess.run([os.environ.get("CC", "cc").split()[0], "-shared", "-fPIC", "-O2", "-std=gnu11", "-Wl,-z,nodelete",
                    "-I" + os.path.join(SOURCE, "sdk/include"), os.path.join(SOURCE, "sdk/template", name + ".c"),
                    "-o", os.path.join(folder, name + ".so")], check=True)

class Tap:
    def __init__(self):
        self.n = self.bad = 0
    def ok(self, good, name, detail=None):
        self.n += 1
        self.bad += not good
        print("%sok %d - %s" % ("" if good else "not ", self.n, name))
        if not good and detail is not None:
            print("# " + str(detail)[:2000].replace("\n", "\n# "))
        sys.stdout.flush()
        return good
    def done(self):
        print("1..%d" % self.n)
        sys.exit(1 if self.bad else 0)

def message(*parts, role="user"):
    return {"type": "message", "role": role, "content": list(parts)}
def text(t):
    return {"type": "input_text", "text": t}
def image(k, **more):
    return {"type": "input_image", "fd": k, **more}
