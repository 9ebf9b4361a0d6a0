#!/usr/bin/env python3
"""test-python.py - contrib/python/percept.py against a scripted daemon. TAP."""
import io, json, os, subprocess, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fake, tap
from tap import contains, equal

FILE = os.path.join(tap.top_srcdir, "contrib/python/percept.py")
sys.path.insert(0, os.path.dirname(FILE))
import percept


def begin(folder):
    path = os.path.join(folder, "s")
    return fake.Fake(path), percept.Client(path, timeout=20)


def asks(folder):
    """ask gives the text, with the result beside it"""
    server, client = begin(folder)
    with client:
        answer = client.ask("hello", temperature=0.5)
        equal((answer, answer.result["tokens"]), ("You said: hello", [1, 2, 3]))
        equal(server.take("response.create")[0]["params"]["temperature"], 0.5)
        equal("".join(client.stream("again")), "You said: again")
        talk = [percept.message("user", "a"), percept.message("assistant", "b"), percept.message("user", "c")]
        equal(client.ask(talk), "You said: c")


def passes_files(folder):
    """files ride as descriptors, the rest in the tail"""
    server, client = begin(folder)
    names = []
    for k in range(10):
        names.append(os.path.join(folder, "%d" % k))
        with open(names[-1], "wb") as f:
            f.write(b"file %d" % k)
    with client:
        client.ask("what?", images=[*names, b"bytes", io.BytesIO(b"stream")])
        request = server.take("response.create")[0]
        equal(request["fds"], 8)
        equal(request["files"], [b"file %d" % k for k in range(10)] + [b"bytes", b"stream"])


def cancels(folder):
    """leaving a stream cancels it, and the connection goes on"""
    server, client = begin(folder)
    with client:
        for piece in client.stream("slow"):
            break
        equal(client.ask("next"), "You said: next")
        equal(len(server.take("response.cancel")), 1)


def fails(folder):
    """errors have a code, and the connection goes on"""
    server, client = begin(folder)
    with client:
        try:
            client.ask("error -32006")
            raise AssertionError("no error came")
        except percept.PerceptError as error:
            equal((error.code, error.text, error.data), (-32006, "It went wrong.", {"item": 0}))
        equal(client.status(), fake.RESULTS["status"])
        equal(client.assistants(), fake.RESULTS["assistant.list"])
        equal(client.hello()["protocol"], 1)
        embedding = client.embed(images=[b"x"], pooled=True)
        equal((list(embedding), embedding.shape, embedding.space), ([1.0, -2.0], (1, 2), "connector"))


def program(folder):
    """it is a program as well"""
    server, client = begin(folder)
    client.close()

    def run(*words, path=os.path.join(folder, "s"), **options):
        done = subprocess.run([sys.executable, FILE, "-S", path, *words], capture_output=True, timeout=60, **options)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    equal(run("ask", "hi"), (0, "You said: hi\n", ""))
    equal(run("ask", "-i", "-", "hi", input=b"pixels"), (0, "You said: hi\n", ""))
    equal(server.take("response.create")[-1]["files"], [b"pixels"])
    equal(json.loads(run("ask", "--json", "hi")[1])["tokens"], [1, 2, 3])
    equal(run("ask", "error -32006"), (1, "", "percept.py: It went wrong.\n"))
    code, _, err = run("status", path=os.path.join(folder, "none"))
    equal(code, 3)
    contains(err, "No perceptd answers")


tap.main([asks, passes_files, cancels, fails, program])
