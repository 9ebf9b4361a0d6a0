"""system.py - what the system tests share: the real perceptd in a folder of its own, a client written from the protocol
alone, and TAP."""
import array, json, os, pathlib, shutil, signal, socket, subprocess, sys, tempfile, time, traceback

BUILD = pathlib.Path(os.environ.get("top_builddir", ".")).resolve()
SOURCE = pathlib.Path(os.environ.get("top_srcdir", ".")).resolve()
GOLDENS = SOURCE / "tests" / "goldens"
E2E = GOLDENS / "tiny-llava-e2e"


class Client:
    """One connection. Frames are typed here as the protocol has them; nothing of Percept's own code is used."""

    def __init__(self, path, timeout=60):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(str(path))
        self.buffer = b""
        self.next = 0

    def close(self):
        self.sock.close()

    def raw(self, data, fds=()):
        if fds:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            sent = self.sock.sendmsg([data], rights)
            data = data[sent:]
        if data:
            self.sock.sendall(data)

    def send(self, method, params=None, id=None, tail=b"", fds=(), **members):
        frame = {"jsonrpc": "2.0", "method": method}
        if id is None:
            self.next += 1
            id = self.next
        frame["id"] = id
        if params is not None:
            frame["params"] = params
        if tail:
            frame["bin"] = len(tail)
        if fds:
            frame["fds"] = len(fds)
        frame.update(members)
        self.raw(json.dumps(frame).encode() + b"\n" + tail, fds)
        return id

    def line(self):
        while b"\n" not in self.buffer:
            more = self.sock.recv(1 << 16)
            if not more:
                raise EOFError("the server closed the connection")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def frame(self):
        """The next frame and its tail."""
        message = json.loads(self.line())
        need = message.get("bin", 0)
        while len(self.buffer) < need:
            more = self.sock.recv(1 << 20)
            if not more:
                raise EOFError("the server closed the connection in a tail")
            self.buffer += more
        tail, self.buffer = self.buffer[:need], self.buffer[need:]
        return message, tail

    def answer(self, id, notes=None):
        """The answer to a request; notifications go to `notes`."""
        while True:
            message, tail = self.frame()
            if "method" in message:
                if notes is not None:
                    notes.append(message)
                continue
            if message.get("id") == id:
                message["tail"] = tail
                return message

    def call(self, method, params=None, **more):
        return self.answer(self.send(method, params, **more))

    def ask(self, text, image=None, stream=False, notes=None, **params):
        """response.create with an optional picture as a tail."""
        content, tail = [], b""
        if image is not None:
            tail = pathlib.Path(image).read_bytes()
            content.append({"type": "input_image", "bin": [0, len(tail)]})
        content.append({"type": "input_text", "text": text})
        params = {"input": [{"type": "message", "role": "user", "content": content}], "stream": stream,
                  "return_tokens": True, **params}
        return self.answer(self.send("response.create", params, tail=tail), notes)


class Daemon:
    """perceptd in a temporary folder."""

    def __init__(self, config=None, env=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="percept-test-"))
        self.path = self.folder / "run" / "percept.sock"
        self.config = self.folder / "perceptd.conf"
        self.log = self.folder / "log"
        if config is not None:
            self.config.write_text(config)
        self.args = [str(BUILD / "perceptd"), "--socket", str(self.path)]
        if config is not None:
            self.args += ["-c", str(self.config)]
        self.env = {**os.environ, "HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder / "run"),
                    "XDG_CONFIG_HOME": str(self.folder / "config"), **(env or {})}
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.args, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=open(self.log, "ab"))
        deadline = time.monotonic() + 30
        while True:
            try:
                client = Client(self.path)
                assert "result" in client.call("ping")
                client.close()
                return
            except (OSError, EOFError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("perceptd did not come up: " + self.log.read_text(errors="replace")[-2000:])
                time.sleep(0.02)

    def client(self, timeout=60):
        return Client(self.path, timeout)

    def status(self):
        client = self.client()
        try:
            return client.call("status")["result"]
        finally:
            client.close()

    def engine_pid(self, name="default"):
        return next(a["pid"] for a in self.status()["assistants"] if a["name"] == name)

    def rss_kib(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        return self.process.returncode


def wait_for(condition, seconds=10, step=0.02):
    """True as soon as condition() is; False when time is out."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(step)
    return bool(condition())


def run(tests):
    """Runs functions whose docstring says what they show; each gets nothing and raises to fail."""
    failed = 0
    for number, test in enumerate(tests, 1):
        try:
            test()
            verdict = "ok"
        except Exception:
            failed += 1
            verdict = "not ok"
            for line in traceback.format_exc().splitlines():
                print("#", line)
        print(f"{verdict} {number} - {test.__doc__.strip().splitlines()[0]}", flush=True)
    print(f"1..{len(tests)}")
    sys.exit(1 if failed else 0)
