#!/usr/bin/env python3
"""test-cli.py - percept's commands against a scripted daemon. TAP."""
import json, os, signal, struct, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fake, tap
from tap import contains, equal
import signal as _signal

# A shell's background job ignores SIGINT, and would pass that on to the programs under test.
_signal.signal(_signal.SIGINT, _signal.SIG_DFL)

PNG = b"\x89PNG\r\n\x1a\n" + b"picture"


class Setup:
    def __init__(self, folder):
        self.folder = folder
        self.path = os.path.join(folder, "s")
        self.fake = fake.Fake(self.path)
        self.png = self.file("a.png", PNG)

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(content)
        return path

    def start(self, *words, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        environment = dict(os.environ, PERCEPT_SOCKET=self.path, HOME=self.folder, XDG_STATE_HOME=self.folder)
        return subprocess.Popen([tap.program("percept"), *words], env=environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **options)

    def run(self, *words, input=None, code=0):
        process = self.start(*words, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
        out, err = process.communicate(input, timeout=60)
        self.err = err.decode()
        if process.returncode != code:
            raise AssertionError("exit %d, wanted %d: %s" % (process.returncode, code, self.err))
        return out


def content(request):
    return request["params"]["input"][-1]["content"]


def ask_streams(folder):
    """ask prints the answer as it comes, and nothing else"""
    s = Setup(folder)
    equal(s.run("ask", "What", "is it?"), b"You said: What is it?\n")
    equal(s.err, "")
    params = s.fake.take("response.create")[0]["params"]
    equal(params, {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is it?"}]}]})


def ask_order(folder):
    """ask keeps the order of media and text"""
    s = Setup(folder)
    other = s.file("b.png", PNG + b"2")
    s.run("ask", "Compare", "-i", s.png, "with", "--image", other)
    request = s.fake.take("response.create")[0]
    equal([p["type"] for p in content(request)], ["input_text", "input_image", "input_text", "input_image"])
    equal(request["files"], [PNG, PNG + b"2"])
    equal(request["fds"], 2)


def ask_many(folder):
    """ask sends pictures beyond the eighth in the tail"""
    s = Setup(folder)
    files = [s.file("%d.png" % k, PNG + b"%d" % k) for k in range(12)]
    s.run("ask", *[w for f in files for w in ("-i", f)], "count")
    request = s.fake.take("response.create")[0]
    equal(request["files"], [PNG + b"%d" % k for k in range(12)])
    equal(request["fds"], 8)


def ask_options(folder):
    """ask turns options into params"""
    s = Setup(folder)
    s.run("-A", "mix", "ask", "-s", "Be \"short\"", "-n", "7", "-t", "0.5", "--seed", "3", "--top-k", "4", "--top-p", "0.9", "--raw",
          "--stop", "END", "--stop", "\n", "--repeat-penalty", "1.1", "--", "-x")
    params = s.fake.take("response.create")[0]["params"]
    equal(params.pop("input")[0]["content"][0]["text"], "-x")
    equal(params, {"assistant": "mix", "instructions": "Be \"short\"", "max_output_tokens": 7, "temperature": 0.5, "seed": 3, "top_k": 4,
                   "top_p": 0.9, "raw": True, "stop": ["END", "\n"], "repeat_penalty": 1.1})


def ask_json(folder):
    """ask --json prints the one result, with token ids"""
    s = Setup(folder)
    result = json.loads(s.run("ask", "--json", "hi"))
    equal(result["tokens"], [1, 2, 3])
    equal(s.fake.take("response.create")[0]["params"]["return_tokens"], True)


def ask_stdin(folder):
    """ask takes a picture or text from standard input for what it is"""
    s = Setup(folder)
    s.run("ask", "-", "what?", input=PNG)
    request = s.fake.take("response.create")[0]
    equal([p["type"] for p in content(request)], ["input_image", "input_text"])
    equal(request["files"], [PNG])
    s.run("ask", "-i", "-", "what?", input=b"odd bytes \xff")
    equal(s.fake.take("response.create")[0]["files"], [b"odd bytes \xff"])
    s.run("ask", "Summarise:", input=b"Some text.\n")
    equal([p["text"] for p in content(s.fake.take("response.create")[0])], ["Summarise:", "\nSome text."])
    s.run("ask", input="Grüße".encode())
    equal(content(s.fake.take("response.create")[0])[0]["text"], "Grüße")
    s.run("ask", "x", input=b"\xff\x00", code=2)
    contains(s.err, "neither text")
    s.run("ask", "-i", "-", "-", input=PNG, code=2)
    contains(s.err, "once")


def ask_errors(folder):
    """errors end with exit 1 and say what to do next"""
    s = Setup(folder)
    s.run("ask", "error -32011", code=1)
    contains(s.err, "It went wrong.")
    contains(s.err, "percept assistants")
    s.run("ask", "die", code=1)
    contains(s.err, "closed the connection")
    s.run("ask", "-i", os.path.join(folder, "none.png"), "x", code=1)
    contains(s.err, "none.png")
    s.run("ask", "-i", s.file("empty.png", b""), "x", code=1)
    contains(s.err, "empty")
    s.run("ask", "-i", folder, "x", code=1)
    contains(s.err, "directory")


def usage(folder):
    """wrong usage ends with exit 2 before anything is sent"""
    s = Setup(folder)
    for words in (["ask"], ["ask", "-n", "0", "x"], ["ask", "-t", "11", "x"], ["ask", "-t", "nan", "x"], ["ask", "-n", "1.5", "x"],
                  ["ask", "--what", "x"], ["ask", "-i"], ["nothing"], [], ["load"], ["load", "a", "b"], ["status", "x"], ["--what"],
                  ["ask", b"\xff\xfe"]):
        s.run(*words, code=2)
        contains(s.err, "percept")
    equal(s.fake.requests, [])


def no_daemon(folder):
    """without a daemon --no-start ends with exit 3"""
    s = Setup(folder)
    s.run("-S", os.path.join(folder, "none"), "--no-start", "status", code=3)
    contains(s.err, "perceptd --socket")
    s.run("-S", "/" + "x" * 200, "--no-start", "status", code=3)
    s.run("-S", os.path.join(folder, "none"), "shutdown", code=3)


def interrupted(folder):
    """Ctrl-C cancels, prints what came and ends with exit 130"""
    s = Setup(folder)
    process = s.start("ask", "slow")
    got = b""
    while not got.endswith(b"for it"):
        got += os.read(process.stdout.fileno(), 100)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    equal((got + out, err, process.returncode), (b"Wait for it\n", b"", 130))
    equal(len(s.fake.take("response.cancel")), 1)


def tables(folder):
    """status, assistants and plugins are tables, or JSON"""
    s = Setup(folder)
    out = s.run("status").decode()
    contains(out, "3.0 MiB")
    contains(out, "7 done, 8 failed, 9 cancelled")
    contains(out, "text, image")
    equal(json.loads(s.run("status", "--json")), fake.RESULTS["status"])
    lines = s.run("plugins").decode().splitlines()
    equal(lines[0].index("STATE"), lines[1].index("ok"))
    equal(lines[0].index("STATE"), lines[2].index("refused: abi 7"))
    contains(s.run("assistants").decode(), "image.encoder=clip")
    equal(json.loads(s.run("--json", "assistants")), fake.RESULTS["assistant.list"])


def steering(folder):
    """load, unload, reload and shutdown call their methods"""
    s = Setup(folder)
    equal(s.run("load", "mix"), b"mix: ready\n")
    equal(s.fake.take("assistant.load")[0]["params"], {"assistant": "mix"})
    equal(s.run("unload", "mix"), b"mix: unloaded\n")
    s.run("reload")
    equal(len(s.fake.take("config.reload")), 1)
    s.run("shutdown")
    s.run("--no-start", "status", code=3)


def embeds(folder):
    """embed prints raw floats, or JSON"""
    s = Setup(folder)
    equal(struct.unpack("<2f", s.run("embed", "-i", s.png)), (1.0, -2.0))
    request = s.fake.take("embedding.create")[0]
    equal((request["files"], request["params"]["space"]), ([PNG], "connector"))
    result = json.loads(s.run("embed", "--json", "--space", "text", "--pooled", "a word"))
    equal(result, {"shape": [1, 2], "dtype": "f32", "space": "text", "data": [1, -2]})
    equal(s.fake.take("embedding.create")[0]["params"]["pooled"], True)


def helps(folder):
    """every command has help"""
    s = Setup(folder)
    out = s.run("--help").decode()
    commands = [line.split()[0] for line in out.split("commands:\n")[1].split("\n\n")[0].splitlines()]
    for name in commands:
        contains(s.run(name, "--help").decode(), "usage: percept " + name)
    contains(s.run("--version").decode(), "percept 0.")


def full_disk(folder):
    """output that cannot be written is an error"""
    s = Setup(folder)
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen([tap.program("percept"), "-S", s.path, "status"], stdout=full, stderr=subprocess.PIPE)
        _, err = process.communicate(timeout=20)
    equal(process.returncode, 1)


tap.main([ask_streams, ask_order, ask_many, ask_options, ask_json, ask_stdin, ask_errors, usage, no_daemon, interrupted, tables,
          steering, embeds, helps, full_disk])
