"""serve.py - what the tests of perceptd share: the program with a fake engine and a fake media program, and TAP."""
import os, pathlib, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))
import system
from system import Client, run, wait_for

HERE = pathlib.Path(__file__).resolve().parent
ONE = "[assistant default]\ndecoder = fake\n"


class Daemon(system.Daemon):
    """perceptd with fake programs beneath it."""

    def __init__(self, config=ONE, env=None, media=True):
        super().__init__(config, {"PERCEPT_ENGINE": str(HERE / "fake-engine.py"), "PERCEPT_MEDIA": str(HERE / "fake-media.py"),
                                  **(env or {})})

    def one(self, name="default"):
        return next(a for a in self.status()["assistants"] if a["name"] == name)

    def logged(self):
        return self.log.read_text(errors="replace")


def ask(client, text, **params):
    """response.create without notifications: the answer."""
    return client.call("response.create", {"input": text, "stream": False, **params})


def start(client, text, **params):
    """response.create; returns when the engine has it (its first delta, or being in progress there)."""
    id = client.send("response.create", {"input": text, **params})
    while True:
        note, _ = client.frame()
        if note.get("params", {}).get("stage") == "prefill":
            return id, note["params"]["response_id"]
        if note.get("id") == id:
            raise AssertionError(note)


def picture(client, *items, **params):
    """response.create with media items as data, given as texts for the fake media program."""
    import base64
    parts = [{"type": "input_image", "data": base64.b64encode(i.encode()).decode()} for i in items]
    return client.send("response.create", {"stream": False, **params, "input": [
        {"type": "message", "role": "user", "content": [*parts, {"type": "input_text", "text": "media"}]}]})
