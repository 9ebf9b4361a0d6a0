#!/usr/bin/env python3
"""fake-engine.py - an engine that does what its input says, so that perceptd is tested by itself.

The assistant's instructions steer engine.open: "refuse", "bad model", "die", "late SECONDS". The input's text steers a
response: "say TEXT", "count N MS" (N deltas, MS apart), "flood N BYTES", "die", "stop" (answers nothing any more),
"deaf" (ignores its cancellation), "fail CODE", "media".
"""
import array, hashlib, heapq, json, os, select, signal, socket, sys, time

sock = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
buffer, fds, timers, running = b"", [], [], {}
serial = 0


def say(**message):
    data = json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"
    sock.sendall(data)


def later(seconds, what):
    global serial
    serial += 1
    heapq.heappush(timers, (time.monotonic() + seconds, serial, what))


def text_of(params):
    if isinstance(params["input"], str):
        return params["input"]
    texts = []
    for item in params["input"]:
        content = item["content"]
        texts += [content] if isinstance(content, str) else [p["text"] for p in content if "text" in p]
    return " ".join(texts)


class Response:
    def __init__(self, id, params, files):
        self.id, self.hop, self.stream = id, params["hop"], params.get("stream", True)
        self.parts, self.sequence, self.over, self.deaf = [], 0, False, False
        self.files = files
        running[id] = self
        left = self.hop["deadline_ms"]
        if left:
            later(left / 1000, lambda: self.end("incomplete", "deadline"))

    def note(self, method, **params):
        if self.stream:
            say(method=method, params={"request_id": self.id, "response_id": self.hop["response_id"],
                                       "sequence_number": self.sequence, **params})
        self.sequence += 1

    def delta(self, text):
        self.parts.append(text)
        self.note("response.output_text.delta", delta=text, tokens=[len(text)])

    def end(self, status="completed", reason="stop"):
        if self.over:
            return
        self.over = True
        del running[self.id]
        text = "".join(self.parts)
        if text:
            self.note("response.output_text.done", text=text)
        times = {k: 0 for k in ("encode_ms", "connect_ms", "prefill_ms", "first_token_ms", "decode_ms")}
        say(id=self.id, result={
            "response_id": self.hop["response_id"], "status": status, "finish_reason": reason,
            "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}],
            "output_text": text, "usage": {"input_tokens": 1, "cached_tokens": 0, "output_tokens": 1, "media": []},
            "timings": {**times, "queue_ms": self.hop["queue_ms"], "media_ms": self.hop["media_ms"],
                        "total_ms": self.hop["total_ms"]}})

    def count(self, n, of, pause):
        if self.over:
            return
        if n >= of:
            self.end()
            return
        self.delta(f"{n} ")
        later(pause, lambda: self.count(n + 1, of, pause))


def respond(id, params, files):
    words = text_of(params).split()
    r = Response(id, params, files)
    r.note("response.created")
    r.note("response.in_progress", stage="prefill")
    verb = words[0] if words else "say"
    if verb == "say":
        for word in words[1:]:
            r.delta(word + " ")
        r.end()
    elif verb == "count":
        r.count(0, int(words[1]), int(words[2]) / 1000)
    elif verb == "flood":
        for _ in range(int(words[1])):
            r.delta("x" * int(words[2]))
        r.end()
    elif verb == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif verb == "stop":
        while True:
            time.sleep(1)
    elif verb == "deaf":
        r.deaf = True
    elif verb == "fail":
        del running[id]
        say(id=id, error={"code": int(words[1]), "message": "It fails because it was told to."})
    elif verb == "media":
        seen = []
        for item, fd in zip(r.hop["media"], files):
            data = os.read(fd, 1 << 20)
            seen.append(f"{item['width']}x{item['height']}:{hashlib.sha256(data).hexdigest()[:8]}")
        r.delta(" ".join(seen))
        r.end()
    for fd in files:
        os.close(fd)


def opened(id, params):
    say(id=id, result={"name": params["name"], "inputs": ["text", "image"], "outputs": ["text"], "context": 1000,
                       "modules": [{"role": "decoder", "plugin": "fake", "model": None}], "fusion": "token",
                       "modalities": ["text", "image"], "memory_bytes": 1000})


def take(m, files):
    method, id, params = m["method"], m["id"], m.get("params", {})
    if method == "engine.open":
        how = (params.get("instructions") or "").split()
        if how[:1] == ["refuse"]:
            say(id=id, error={"code": -32602, "message": "The encoder x gives 3 numbers, the connector y takes 4."})
            sys.exit(1)
        if how[:2] == ["bad", "model"]:
            say(id=id, error={"code": -32015, "message": "The file is damaged.", "data": {"file": "/f", "reason": "damaged"}})
            sys.exit(1)
        if how[:1] == ["die"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        if how[:1] == ["late"]:
            later(float(how[1]), lambda: opened(id, params))
        else:
            opened(id, params)
    elif method == "response.create":
        respond(id, params, files)
    elif method == "response.cancel":
        r = running.get(params["request_id"])
        say(id=id, result={"status": "cancelled" if r else "already_done"})
        if r and not r.deaf:
            r.end("cancelled", "cancelled")
    elif method == "token.count":
        say(id=id, result={"tokens": 7, "by_item": [7]})
    elif method == "embedding.create":
        tail = b"\0\0\x80?" * 4
        sock.sendall(json.dumps({"jsonrpc": "2.0", "id": id, "bin": len(tail), "result": {
            "shape": [1, 4], "dtype": "f32", "space": params["space"]}}).encode() + b"\n" + tail)
    elif method == "plugin.list":
        say(id=id, result=[{"name": "fake", "kind": "decoder", "version": "1", "abi": 1, "path": "/fake.so", "license": "x",
                            "state": "ready"}])
    elif method == "engine.status":
        say(id=id, result={"memory_bytes": 1234, "cache": {"entries": 1, "bytes": 2, "hits": 3, "misses": 4},
                           "stages": {"decode": {"count": 1, "seconds": 0.5}}, "running": len(running), "context_used": 0})
    elif method == "shutdown":
        say(id=id, result={})
        sys.exit(0)
    else:
        say(id=id, result={})


while True:
    wait = max(0, timers[0][0] - time.monotonic()) if timers else None
    if select.select([sock], [], [], wait)[0]:
        data, ancillary, _, _ = sock.recvmsg(1 << 20, socket.CMSG_SPACE(128 * 4))
        for level, kind, rights in ancillary:
            got = array.array("i")
            got.frombytes(rights[:len(rights) - len(rights) % 4])
            fds += got
        if not data:
            sys.exit(0)
        buffer += data
        while b"\n" in buffer:
            line, buffer = buffer.split(b"\n", 1)
            message = json.loads(line)
            n = message.get("fds", 0)
            mine, fds = fds[:n], fds[n:]
            take(message, mine)
    while timers and timers[0][0] <= time.monotonic():
        heapq.heappop(timers)[2]()
