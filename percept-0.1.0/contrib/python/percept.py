#!/usr/bin/env python3
"""percept.py - a client of perceptd in one file; Python 3.8 or later, nothing else needed.

    import percept
    with percept.Client() as client:
        print(client.ask("What is this?", images=["cat.png"]))
        for piece in client.stream("Tell me a story."):
            print(piece, end="", flush=True)

As a program:  python3 percept.py ask -i cat.png "What is this?"   (python3 percept.py --help)
"""
import argparse
import array
import json
import os
import select
import socket
import stat
import sys

__all__ = ["Client", "PerceptError", "Answer", "Embedding", "image", "audio", "video", "message", "socket_path"]

SYSTEM_SOCKET = "/run/percept/percept.sock"
MAX_FDS = 8


class PerceptError(Exception):
    """The daemon's refusal: `code`, a sentence, and `data` (a dictionary or None)."""

    def __init__(self, code, text, data=None):
        super().__init__(text)
        self.code, self.text, self.data = code, text, data


class Answer(str):
    """The text of an answer; `result` is the whole result object."""

    result = None


class Embedding(list):
    """Rows of numbers, flat; `shape` and `space` say what they are."""

    shape, space = (), ""


def socket_path():
    """Where the daemon is: $PERCEPT_SOCKET, the user's own socket, or the system's if only that one exists."""
    if os.environ.get("PERCEPT_SOCKET"):
        return os.environ["PERCEPT_SOCKET"]
    uid = os.getuid()
    if os.environ.get("XDG_RUNTIME_DIR"):
        path = os.path.join(os.environ["XDG_RUNTIME_DIR"], "percept/percept.sock")
    elif os.path.isdir("/run/user/%d" % uid):
        path = "/run/user/%d/percept/percept.sock" % uid
    else:
        path = "/tmp/percept-%d/percept.sock" % uid
    return SYSTEM_SOCKET if not os.path.exists(path) and os.path.exists(SYSTEM_SOCKET) else path


def image(source):
    """A part of a message: a file's name, an open binary file, or the bytes of a file."""
    return {"type": "input_image", "source": source}


def audio(source):
    return {"type": "input_audio", "source": source}


def video(source):
    return {"type": "input_video", "source": source}


def message(role, *parts):
    """A message of text (str) and media (image(...), audio(...), video(...)), in order."""
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role,
            "content": [{"type": kind, "text": p} if isinstance(p, str) else p for p in parts]}


class _Cargo:
    """The files of one request: descriptors that ride along, and a tail for the rest."""

    def __init__(self):
        self.fds, self.tail = [], b""

    def load(self, node):
        """`node` with every part's "source" made a reference."""
        if isinstance(node, list):
            return [self.load(value) for value in node]
        if not isinstance(node, dict):
            return node
        out = {key: self.load(value) for key, value in node.items() if key != "source"}
        if "source" in node:
            out.update(self.refer(node["source"]))
        return out

    def refer(self, source):
        if isinstance(source, (bytes, bytearray, memoryview)):
            return self.add(bytes(source))
        if hasattr(source, "read"):
            try:
                fd = os.dup(source.fileno())
            except (OSError, AttributeError):
                return self.add(source.read())
        else:
            fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        if stat.S_ISREG(os.fstat(fd).st_mode) and len(self.fds) < MAX_FDS:
            self.fds.append(fd)
            return {"fd": len(self.fds) - 1}
        with os.fdopen(fd, "rb") as f:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                f.seek(0)
            return self.add(f.read())

    def add(self, data):
        if not data:
            raise ValueError("an empty file: give one with content")
        self.tail += data
        return {"bin": [len(self.tail) - len(data), len(data)]}

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class Client:
    """One connection; for one thread at a time."""

    def __init__(self, path=None, timeout=None):
        """Connects to `path` (None: socket_path()). `timeout`: seconds that a silence may last (None: for ever)."""
        self.path = path or socket_path()
        self._buffer, self._id = b"", 0
        self._timeout = timeout
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(self.path)
        except OSError as error:
            self._socket.close()
            raise ConnectionError("No perceptd answers on %s (%s): start one with 'perceptd', or name its socket."
                                  % (self.path, error.strerror or error)) from error
        self._socket.setblocking(False)

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- frames

    def _wait(self, writing=False):
        readable, writable, _ = select.select([self._socket], [self._socket] if writing else [], [], self._timeout)
        if not readable and not writable:
            raise TimeoutError("The daemon said nothing for %g seconds." % self._timeout)
        return bool(readable), bool(writable)

    def _read_some(self):
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionError("The daemon closed the connection before it had answered: its log says why.")
        self._buffer += data

    def _send(self, frame, cargo=None):
        fds = cargo.fds if cargo else []
        tail = cargo.tail if cargo else b""
        if tail:
            frame["bin"] = len(tail)
        if fds:
            frame["fds"] = len(fds)
        data = memoryview(json.dumps(frame, allow_nan=False).encode() + b"\n" + tail)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        while data:
            readable, writable = self._wait(writing=True)
            if writable:
                try:
                    data = data[self._socket.sendmsg([data[: 1 << 18]], ancillary):]
                    ancillary = []
                except BlockingIOError:
                    pass
                except BrokenPipeError:
                    return  # what the daemon said before it closed is still read
            elif readable:
                self._read_some()

    def _receive(self):
        """The next frame and its tail."""
        while b"\n" not in self._buffer:
            self._wait()
            self._read_some()
        line, rest = self._buffer.split(b"\n", 1)
        if not line.strip():
            self._buffer = rest
            return {}, b""
        frame = json.loads(line)
        n = frame.get("bin", 0)
        self._buffer = b""
        pieces = rest
        while len(pieces) < n:
            self._wait()
            self._read_some()
            pieces += self._buffer
            self._buffer = b""
        self._buffer = pieces[n:]
        return frame, pieces[:n]

    # ---- calls

    def _begin(self, method, params):
        self._id += 1
        cargo = _Cargo()
        try:
            self._send({"jsonrpc": "2.0", "id": self._id, "method": method, "params": cargo.load(params)}, cargo)
        finally:
            cargo.close()
        return self._id

    def events(self, method, **params):
        """Calls `method`; yields (name, params) of each notification, then ("result", result, tail)."""
        id = self._begin(method, params)
        ended = False
        try:
            while not ended:
                frame, tail = self._receive()
                if "method" in frame:
                    if frame.get("params", {}).get("request_id") == id:
                        yield frame["method"], frame["params"]
                elif "error" in frame and frame.get("id") in (id, None):
                    ended = True
                    error = frame["error"]
                    raise PerceptError(error["code"], error["message"], error.get("data"))
                elif frame.get("id") == id:
                    ended = True
                    yield "result", frame["result"], tail
        finally:
            if not ended:  # the caller had enough
                self._cancel(id)

    def _cancel(self, id):
        self._id += 1
        try:
            self._send({"jsonrpc": "2.0", "id": self._id, "method": "response.cancel", "params": {"request_id": id}})
        except OSError:
            pass

    def call(self, method, **params):
        """The result of any method of the protocol."""
        return self.call_with_tail(method, **params)[0]

    def call_with_tail(self, method, **params):
        for event in self.events(method, **params):
            if event[0] == "result":
                return event[1], event[2]

    @staticmethod
    def _input(prompt, images, audios, videos):
        if isinstance(prompt, list):
            return prompt
        parts = [image(i) for i in images] + [audio(a) for a in audios] + [video(v) for v in videos]
        return [message("user", *parts, *([prompt] if prompt else []))]

    def stream(self, prompt, images=(), audios=(), videos=(), **options):
        """Yields the answer piece by piece. `prompt`: text, or a list of message(...). `options`: those of
        response.create (assistant, instructions, max_output_tokens, temperature, seed ...). Leaving the loop cancels."""
        for event in self.events("response.create", input=self._input(prompt, images, audios, videos), **options):
            if event[0] == "response.output_text.delta":
                yield event[1]["delta"]

    def ask(self, prompt, images=(), audios=(), videos=(), **options):
        """The whole answer: text, with .result."""
        options.setdefault("stream", False)
        result = self.call("response.create", input=self._input(prompt, images, audios, videos), **options)
        answer = Answer(result["output_text"])
        answer.result = result
        return answer

    def embed(self, text=None, images=(), audios=(), videos=(), space=None, **options):
        """The embedding of a text or of one media item: numbers, with .shape."""
        items = self._input(text, images, audios, videos)
        space = space or ("connector" if images or audios or videos else "text")
        result, tail = self.call_with_tail("embedding.create", input=items, space=space, **options)
        numbers = array.array("f")
        numbers.frombytes(tail)
        if sys.byteorder == "big":
            numbers.byteswap()
        embedding = Embedding(numbers)
        embedding.shape, embedding.space = tuple(result["shape"]), result["space"]
        return embedding

    def count(self, prompt, images=(), audios=(), videos=(), **options):
        """How many tokens a request would take."""
        return self.call("token.count", input=self._input(prompt, images, audios, videos), **options)["tokens"]

    def hello(self):
        return self.call("hello", protocol=[1], client={"name": "percept.py", "version": "0.1.0"})

    def status(self):
        return self.call("status")

    def assistants(self):
        return self.call("assistant.list")

    def plugins(self):
        return self.call("plugin.list")

    def load(self, assistant):
        return self.call("assistant.load", assistant=assistant)

    def unload(self, assistant):
        return self.call("assistant.unload", assistant=assistant)

    def reload(self):
        return self.call("config.reload")

    def shutdown(self):
        return self.call("shutdown")


# ---- as a program


class _InOrder(argparse.Action):
    """Media and words, in the order of the command line."""

    def __call__(self, parser, namespace, values, option=None):
        make = {"-i": image, "-a": audio, "-v": video}[option]
        namespace.parts = (namespace.parts or []) + [make(sys.stdin.buffer.read() if values == "-" else values)]


def _arguments():
    parser = argparse.ArgumentParser(prog="percept.py", description="Talks to perceptd, the multimodal assistant.")
    parser.add_argument("-S", "--socket", help="the daemon's socket")
    parser.add_argument("-A", "--assistant", help="which assistant (else: default)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in ("ask", "embed"):
        sub = commands.add_parser(name)
        for letter in ("-i", "-a", "-v"):
            sub.add_argument(letter, action=_InOrder, dest="parts", metavar="FILE")
        sub.add_argument("prompt", nargs="?", help="text; '-': standard input")
    ask = commands.choices["ask"]
    ask.add_argument("-s", dest="instructions", metavar="SYSTEM")
    ask.add_argument("-n", dest="max_output_tokens", type=int, metavar="MAXTOKENS")
    ask.add_argument("-t", dest="temperature", type=float)
    ask.add_argument("--seed", type=int)
    ask.add_argument("--raw", action="store_true", default=None)
    ask.add_argument("--json", action="store_true", help="print the one result object")
    commands.choices["embed"].add_argument("--space", choices=["encoder", "connector", "text"])
    for name in ("status", "assistants", "plugins", "reload", "shutdown"):
        commands.add_parser(name)
    for name in ("load", "unload"):
        commands.add_parser(name).add_argument("name")
    return parser


def _prompt(arguments):
    text = sys.stdin.read() if arguments.prompt == "-" else arguments.prompt
    return [message("user", *(arguments.parts or []), *([text] if text else []))]


def _ask(client, arguments):
    names = ("instructions", "max_output_tokens", "temperature", "seed", "raw", "assistant")
    options = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.json:
        print(json.dumps(client.ask(_prompt(arguments), return_tokens=True, **options).result))
        return
    for piece in client.stream(_prompt(arguments), **options):
        print(piece, end="", flush=True)
    print()


def _embed(client, arguments):
    space = arguments.space or ("connector" if arguments.parts else "text")
    options = {"assistant": arguments.assistant} if arguments.assistant else {}
    embedding = client.embed(_prompt(arguments), space=space, **options)
    print(json.dumps({"shape": embedding.shape, "space": embedding.space, "data": embedding}))


def _main():
    arguments = _arguments().parse_args()
    with Client(arguments.socket) as client:
        if arguments.command in ("ask", "embed"):
            {"ask": _ask, "embed": _embed}[arguments.command](client, arguments)
        elif arguments.command in ("load", "unload"):
            print(json.dumps(getattr(client, arguments.command)(arguments.name), indent=2))
        else:
            print(json.dumps(getattr(client, arguments.command)(), indent=2))


if __name__ == "__main__":
    try:
        _main()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        sys.exit(130)
    except ConnectionError as problem:
        print("percept.py: %s" % problem, file=sys.stderr)
        sys.exit(3)
    except (PerceptError, OSError, ValueError) as problem:
        print("percept.py: %s" % problem, file=sys.stderr)
        sys.exit(1)
