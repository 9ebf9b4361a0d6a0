#!/usr/bin/env python3
"""fake.py - a scripted perceptd for the tests of the command line and the clients.

As a program: fake.py --socket PATH. What it does depends on the text that it is asked:
  slow      answers a few words, then waits for response.cancel
  error N   answers the JSON-RPC error N
  die       closes the connection
  other     answers "You said: ..." with the text, in three deltas
Every request is kept: its params, with the bytes of each file under "files".
"""
import array, json, os, socket, sys, threading


def recv_frame(connection, state):
    """One frame: (object, tail, descriptors), or None at the end."""
    while b"\n" not in state["bytes"]:
        if not fill(connection, state):
            return None
    line, state["bytes"] = state["bytes"].split(b"\n", 1)
    frame = json.loads(line)
    while len(state["bytes"]) < frame.get("bin", 0):
        if not fill(connection, state):
            return None
    n = frame.get("bin", 0)
    tail, state["bytes"] = state["bytes"][:n], state["bytes"][n:]
    k = frame.get("fds", 0)
    fds, state["fds"] = state["fds"][:k], state["fds"][k:]
    return frame, tail, fds


def fill(connection, state):
    try:
        data, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(8 * 4))
    except OSError:
        return False
    for level, kind, body in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            state["fds"] += array.array("i", body[: len(body) - len(body) % 4])
    state["bytes"] += data
    return bool(data)


def references(node):
    """Every part that refers to a file, in order."""
    if isinstance(node, dict):
        if "fd" in node or "bin" in node:
            yield node
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def files_of(params, tail, fds):
    out = []
    for part in references(params):
        if "fd" in part:
            fd = fds[part["fd"]]
            out.append(os.pread(fd, os.fstat(fd).st_size, 0))
        else:
            offset, length = part["bin"]
            out.append(tail[offset : offset + length])
    return out


def text_of(params):
    if isinstance(params["input"], str):
        return params["input"]
    message = params["input"][-1]
    if isinstance(message["content"], str):
        return message["content"]
    return "".join(part.get("text", "") for part in message["content"])


RESULTS = {
    "hello": {"protocol": 1, "server": {"name": "percept", "version": "0.1.0", "instance": "f"}, "limits": {"fds": 8}},
    "ping": {},
    "status": {"version": "0.1.0", "pid": 4711, "uptime_s": 12, "generation": 3, "connections": 1,
               "assistants": [{"name": "default", "state": "ready", "pid": 4712, "modalities": ["text", "image"],
                               "memory_bytes": 3 << 20, "inflight": 0, "queued": 0}],
               "cache": {"entries": 1, "bytes": 2048, "hits": 5, "misses": 6}, "requests": {"done": 7, "failed": 8, "cancelled": 9},
               "stages": {"encode": {"count": 2, "seconds": 0.25}}, "last_reload": None},
    "assistant.list": [{"name": "default", "state": "ready", "inputs": ["text", "image"], "outputs": ["text"],
                        "modules": [{"role": "image.encoder", "plugin": "clip", "model": "m"}], "context": 512, "fusion": "token"}],
    "assistant.load": {"name": "default", "state": "ready"},
    "assistant.unload": {"name": "default", "state": "unloaded"},
    "plugin.list": [{"name": "clip", "kind": "encoder", "version": "1", "abi": 1, "path": "/p/clip.so", "license": "ISC", "state": "ok"},
                    {"name": "bad", "kind": "encoder", "version": "1", "abi": 7, "path": "/p/bad.so", "license": "ISC",
                     "state": "refused: abi 7"}],
    "config.reload": {"generation": 4}, "shutdown": {}, "log.level": {},
}


class Connection:
    def __init__(self, server, connection):
        self.server, self.socket = server, connection
        self.cancelled = {}
        self.lock = threading.Lock()
        self.state = {"bytes": b"", "fds": []}

    def send(self, frame, tail=b""):
        frame["jsonrpc"] = "2.0"
        if tail:
            frame["bin"] = len(tail)
        with self.lock:
            try:
                self.socket.sendall(json.dumps(frame).encode() + b"\n" + tail)
            except OSError:
                pass

    def run(self):
        while True:
            got = recv_frame(self.socket, self.state)
            if not got:
                break
            frame, tail, fds = got
            params = frame.get("params", {})
            self.server.requests.append({"method": frame["method"], "params": params, "files": files_of(params, tail, fds),
                                         "fds": len(fds)})
            for fd in fds:
                os.close(fd)
            if not self.answer(frame["id"], frame["method"], params):
                break
        for event in self.cancelled.values():
            event.set()
        self.socket.close()

    def answer(self, id, method, params):
        if method == "response.cancel":
            self.cancelled.setdefault(params["request_id"], threading.Event()).set()
            self.send({"id": id, "result": {"status": "cancelled"}})
        elif method == "response.create":
            return self.respond(id, params)
        elif method == "embedding.create":
            self.send({"id": id, "result": {"shape": [1, 2], "dtype": "f32", "space": params["space"]}},
                      b"\0\0\x80\x3f\0\0\0\xc0")
        elif method in RESULTS:
            self.send({"id": id, "result": RESULTS[method]})
            if method == "shutdown":
                self.server.close()
        else:
            self.send({"id": id, "error": {"code": -32601, "message": "There is no method '%s'." % method}})
        return True

    def respond(self, id, params):
        text = text_of(params)
        if text.startswith("error"):
            self.send({"id": id, "error": {"code": int(text.split()[1]), "message": "It went wrong.", "data": {"item": 0}}})
        elif text == "die":
            self.socket.shutdown(socket.SHUT_RDWR)
            return False
        elif text == "slow":
            self.cancelled.setdefault(id, threading.Event())
            threading.Thread(target=self.stream, args=(id, params, ["Wait ", "for it"], True), daemon=True).start()
        else:
            self.stream(id, params, ["You ", "said: ", text], False)
        return True

    def stream(self, id, params, words, wait):
        if params.get("stream", True):
            self.send({"method": "response.created", "params": {"request_id": id, "response_id": "r_1", "sequence_number": 0}})
            for n, stage in enumerate(["media", "prefill"]):
                self.send({"method": "response.in_progress", "params": {"request_id": id, "response_id": "r_1",
                           "sequence_number": n + 1, "stage": stage, "done": 1, "total": 2}})
            for n, word in enumerate(words):
                self.send({"method": "response.output_text.delta", "params": {"request_id": id, "response_id": "r_1",
                           "sequence_number": n + 3, "delta": word}})
        if wait:
            self.cancelled[id].wait()
        text = "".join(words)
        self.send({"id": id, "result": {
            "response_id": "r_1", "status": "cancelled" if wait else "completed", "finish_reason": "cancelled" if wait else "stop",
            "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}],
            "output_text": text, "usage": {"input_tokens": 9, "cached_tokens": 4, "output_tokens": 3, "media": []},
            "timings": {"prefill_ms": 10.0, "decode_ms": 20.0, "encode_ms": 5.0, "first_token_ms": 12.0, "total_ms": 40.0},
            "tokens": [1, 2, 3]}})


class Fake:
    """A server on `path`, in threads of its own."""

    def __init__(self, path):
        self.requests = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(16)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=Connection(self, connection).run, daemon=True).start()

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def take(self, method):
        """The params of the calls of `method` so far, which are forgotten."""
        found = [r for r in self.requests if r["method"] == method]
        self.requests.clear()
        return found


if __name__ == "__main__":
    fake_path = sys.argv[sys.argv.index("--socket") + 1]
    if os.environ.get("FAKE_FAILS"):
        print("perceptd.conf:3: unknown key 'colour'", file=sys.stderr)
        sys.exit(1)
    if os.environ.get("FAKE_STARTS"):
        with open(os.environ["FAKE_STARTS"], "a") as starts:
            starts.write("%d\n" % os.getpid())
    Fake(fake_path).thread.join()
