"""hostile.py - bad clients: whatever they send, perceptd answers clearly or closes, and everybody else is served."""
import json, os, random, socket, threading, time
from system import Client, Daemon, E2E, run, wait_for

daemon = Daemon()
PICTURE = E2E / "00_easyvqa.png"
RIGHT = [345, 2]


def healthy():
    client = daemon.client()
    answer = client.ask("is there not a gray shape?", PICTURE)
    client.close()
    assert answer["result"]["tokens"] == RIGHT, answer
    assert daemon.process.poll() is None


def baseline():
    return daemon.descriptors()


def back_to(before):
    assert wait_for(lambda: daemon.descriptors() <= before), (before, daemon.descriptors())


def mutated_frames():
    """ten thousand mutated frames"""
    healthy()
    before, seed = baseline(), random.Random(7)
    good = [json.dumps(m).encode() + b"\n" for m in (
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "status", "params": {}},
        {"jsonrpc": "2.0", "id": "x", "method": "token.count", "params": {"input": "hello"}},
        {"jsonrpc": "2.0", "id": 3, "method": "response.create", "bin": 5, "params": {"input": [
            {"type": "message", "role": "user", "content": [{"type": "input_image", "bin": [0, 5]}]}]}})]
    good[3] += b"GIF89"
    client, sent = None, 0
    while sent < 10000:
        try:
            if client is None:
                client = daemon.client(timeout=5)
            batch = bytearray()
            for _ in range(20):
                frame = bytearray(seed.choice(good))
                for _ in range(seed.choice((1, 1, 2, 5))):
                    at = seed.randrange(len(frame))
                    how = seed.randrange(4)
                    if how == 0:
                        frame[at] = seed.randrange(256)
                    elif how == 1:
                        del frame[at:at + seed.randrange(1, 9)]
                    elif how == 2:
                        frame[at:at] = bytes(seed.randrange(256) for _ in range(seed.randrange(1, 5)))
                    else:
                        frame[at:at] = seed.choice((b"[", b"{", b'"', b"1e999", b"null", b"\xff", b"\\u0000", b"-", b"\r"))
                    if not frame:
                        frame = bytearray(b"\n")
                batch += frame
                sent += 1
            client.raw(bytes(batch))
            if seed.randrange(3) == 0:
                client.sock.settimeout(0.02)
                try:
                    if not client.sock.recv(65536):
                        client.close(); client = None
                except (socket.timeout, BlockingIOError):
                    pass
                if client:
                    client.sock.settimeout(5)
        except OSError:
            if client:
                client.close()
            client = None
    if client:
        client.close()
    healthy()
    back_to(before)


def parameters():
    """every parameter of response.create at its limits, one beyond them, 2^63, null and the wrong type"""
    client = daemon.client()
    ranges = {"max_output_tokens": (1, 2**31 - 1, 1), "temperature": (0, 10, .01), "top_k": (0, 2**20, 1), "top_p": (0, 1, .01),
              "min_p": (0, 1, .01), "typical_p": (0, 1, .01), "repeat_penalty": (.1, 10, .01),
              "presence_penalty": (-10, 10, .01), "frequency_penalty": (-10, 10, .01), "seed": (0, 2**53 - 1, 1),
              "top_logprobs": (0, 64, 1), "deadline_ms": (0, 86400000, 1)}
    for name, (low, high, step) in ranges.items():
        for value in (low, high):
            limits = {"max_output_tokens": 2} if name != "max_output_tokens" else {"stop": ["e", "s", "a", "i", "o"]}
            answer = client.call("response.create", {"input": "hi", **limits, name: value})
            assert "result" in answer, (name, value, answer)
        for value in (low - step, high + step, 2**63, None, "1", True, [], {}):
            answer = client.call("response.create", {"input": "hi", name: value})
            assert answer.get("error", {}).get("code") == -32602 and answer["error"]["data"]["path"] == name, (name, value, answer)
    wrong = {"input": ([], "", None, 1, {}, [{}]), "instructions": (None, 1), "stream": (0, "true", None), "stop": (
        ["x"] * 17, [""], ["x" * 257], "x", None, [1]), "logit_bias": ({"-1": 1}, {"1280": 1}, {"5": 101}, {"5": None}, {"x": 1}, None),
        "assistant": (None, 1), "raw": (1, None), "return_tokens": ("yes", None), "nonsense": (1,)}
    for name, values in wrong.items():
        for value in values:
            answer = client.call("response.create", {"input": "hi", name: value})
            assert answer.get("error", {}).get("code") == -32602, (name, value, answer)
            assert answer["error"]["data"]["path"].startswith(name), (name, value, answer)
    assert client.call("response.create", {"input": "hi", "assistant": "nobody"})["error"]["code"] == -32011
    healthy()


def broken_streams():
    """after a parse error, an oversized line or bad bin the server answers and closes"""
    for data, code in ((b"hello\n", -32700), (b'{"a":1,"a":2}\n', -32700), (b"[1]\n", -32700), (b"{" + b" " * (1 << 20) + b"}", -32005),
                       (b'{"jsonrpc":"2.0","id":1,"method":"ping","bin":0}\n', -32600),
                       (b'{"jsonrpc":"2.0","id":1,"method":"ping","bin":68719476736}\n', -32005),
                       (b'{"jsonrpc":"2.0","id":1,"method":"ping","fds":1}\n', -32600),
                       (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b"[" * 40 + b"]" * 40 + b"}\n", -32700),
                       (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\xff"}}\n', -32700)):
        client = daemon.client(timeout=5)
        try:
            client.raw(data)
        except OSError:
            pass
        message, _ = client.frame()
        assert message["error"]["code"] == code, (data[:60], message)
        try:
            client.line()
            raise AssertionError("still open after " + repr(data[:60]))
        except (EOFError, ConnectionResetError):
            pass
    client = daemon.client(timeout=5)
    for data in (b'{"jsonrpc":"1.0","id":1,"method":"ping"}\n', b'{"id":1,"method":"ping"}\n', b'{"jsonrpc":"2.0","id":1}\n',
                 b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}\n', b'{"jsonrpc":"2.0","id":1,"method":7}\n'):
        client.raw(data)
        assert client.frame()[0]["error"]["code"] == -32600, data
    assert client.call("no.such.method")["error"]["code"] == -32601
    assert client.call("session.create")["error"]["code"] == -32601
    assert "result" in client.call("ping")


def half_closed():
    """a client that shut down its write side still gets its answer"""
    client = daemon.client()
    id = client.send("response.create", {"input": "Hello!", "max_output_tokens": 4})
    client.sock.shutdown(socket.SHUT_WR)
    assert "result" in client.answer(id)


def crowds():
    """200 slow clients and 1,000 idle connections, and an answer in between; all is given back"""
    healthy()
    before, memory = baseline(), daemon.rss_kib()
    slow = [daemon.client() for _ in range(200)]
    idle = [daemon.client() for _ in range(1000)]
    line = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
    for at in range(0, len(line), 8):
        for client in slow:
            client.raw(line[at:at + 8])
        if at == 16:
            healthy()
    for client in slow:
        assert client.frame()[0]["result"] == {}
    healthy()
    grown = daemon.rss_kib() - memory
    assert grown < 1200 * 16, f"{grown} KiB for 1,200 connections"
    for client in slow + idle:
        client.close()
    back_to(before)


def streams():
    """64 streams at once, each whole and right"""
    results = []

    def worker():
        client, notes = daemon.client(), []
        answer = client.ask("Count to five.", stream=True, notes=notes)
        text = "".join(n["params"]["delta"] for n in notes if n["method"] == "response.output_text.delta")
        numbers = [n["params"]["sequence_number"] for n in notes]
        results.append((answer, text, numbers))
        client.close()

    threads = [threading.Thread(target=worker) for _ in range(64)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(results) == 64
    for answer, text, numbers in results:
        assert answer["result"]["output_text"] == text == "1, 2, 3, 4, 5", (text, answer)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), numbers


def never_reads():
    """a client that never reads is closed, and nobody waits for it"""
    client = daemon.client()
    try:
        for i in range(300000):
            client.sock.setblocking(False)
            client.sock.send(b'{"jsonrpc":"2.0","id":%d,"method":"describe"}\n' % i)
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass
    healthy()
    client.close()
    healthy()


def gone_mid_stream():
    """clients killed in the middle of a stream leave nothing behind"""
    healthy()
    before = baseline()
    for i in range(50):
        client = daemon.client()
        client.send("response.create", {"input": "Count to five.", "max_output_tokens": 200})
        if i % 2:
            client.frame()
        client.close()
    assert wait_for(lambda: all(a["inflight"] == 0 for a in daemon.status()["assistants"])), daemon.status()
    healthy()
    back_to(before)


def stray_descriptors():
    """descriptors that no frame asked for"""
    before = baseline()
    for _ in range(30):
        client = daemon.client(timeout=5)
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
        try:
            client.raw(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n', fds)
            client.line()
        except (OSError, EOFError):
            pass
        [os.close(fd) for fd in fds]
        client.close()
    back_to(before)
    healthy()


def bad_references():
    """FIFOs, devices, folders, missing and foreign files as media: one sentence each"""
    client = daemon.client()
    fifo = daemon.folder / "fifo"
    os.mkfifo(fifo)

    def picture(**reference):
        fds = [reference.pop("take")] if "take" in reference else []
        if fds:
            reference = {"fd": 0}
        return client.call("response.create", {"input": [{"type": "message", "role": "user", "content": [
            {"type": "input_image", **reference}, {"type": "input_text", "text": "what?"}]}]}, fds=fds)

    for reference in ({"path": str(fifo)}, {"path": "/dev/zero"}, {"path": "/"}, {"path": "/nonexistent.png"}, {"path": "relative.png"},
                      {"bin": [0, 10]}, {"bin": [-1, 4]}, {"fd": 0}, {"fd": 9}, {"data": "!!!"}, {"data": ""}, {},
                      {"data": "aGVsbG8="}, {"path": "/etc/passwd"}, {"path": str(PICTURE), "data": "aGVsbG8="}):
        answer = picture(**reference)
        assert answer.get("error", {}).get("code") in (-32602, -32008), (reference, answer)
        assert len(answer["error"]["message"]) > 10
    for name, flags in (("/dev/zero", os.O_RDONLY), (str(fifo), os.O_RDWR), ("/", os.O_RDONLY)):
        fd = os.open(name, flags)
        answer = picture(take=fd)
        os.close(fd)
        assert answer.get("error", {}).get("code") in (-32602, -32008), (name, answer)
    healthy()


try:
    run([mutated_frames, parameters, broken_streams, half_closed, crowds, streams, never_reads, gone_mid_stream,
         stray_descriptors, bad_references])
finally:
    daemon.stop()
