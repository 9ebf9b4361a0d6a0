"""chat.py - conversations with pictures through perceptd and each family's own chat template: as many tokens and the same answers as
the reference's processor and model give."""
import json, pathlib, shutil, subprocess, tempfile
from system import BUILD, Daemon, GOLDENS, run

CHAT = GOLDENS / "chat_pictures"
TALKS = json.loads((CHAT / "talks.json").read_text())
folder = pathlib.Path(tempfile.mkdtemp(prefix="percept-chat-"))


class Family:
    """A golden folder with the tokenizer, the template and the processor's files of its family."""

    def __init__(self, name):
        self.name, self.path = name.replace("_", "-"), folder / name
        self.given = json.loads((CHAT / (name + ".json")).read_text())
        case = GOLDENS / self.given["case"]
        shutil.copytree(case, self.path, copy_function=shutil.copyfile)
        for file, content in self.given["files"].items():
            (self.path / file).write_text(content if isinstance(content, str) else json.dumps(content))
        second = CHAT / self.given["second"] if "second" in self.given else case / "image1.png"
        self.pictures = [(case / "image0.png").read_bytes(), second.read_bytes()]

    def section(self):
        return "[assistant %s]\nmodel = %s\ndecoder = causal compute=f32\n" % (self.name, self.path)

    def content(self, message):
        """A message's parts as the protocol has them."""
        kind = "output_text" if message["role"] == "assistant" else "input_text"
        return [{"type": kind, "text": part["text"]} if part["type"] == "text" else
                {"type": "input_image", "bin": [part["image"] * len(self.pictures[0]), len(self.pictures[part["image"]])]}
                for part in message["content"]]

    def ask(self, client, messages, **more):
        parts = [{"type": "message", "role": m["role"], "content": self.content(m)} for m in messages]
        more = {"assistant": self.name, "max_output_tokens": 12, "return_tokens": True, "input": parts, **more}
        answer = client.answer(client.send("response.create", more, tail=b"".join(self.pictures)))
        assert "result" in answer, (self.name, answer)
        return answer["result"]

    def differs(self, talk, result):
        """What is not as the reference has it."""
        want, usage = self.given["talks"][talk], result["usage"]
        same = usage["input_tokens"] == want["input_tokens"] and result["tokens"][:len(want["greedy"])] == want["greedy"]
        return [] if same else [(self.name, usage, result["tokens"], want)]


class Pair(Family):
    """The same as the pair of GGUF files that percept models convert makes of it."""

    def __init__(self, name):
        super().__init__(name)
        made, self.name = self.path.with_name(name + "-pair"), self.name + "-pair"
        made.mkdir()
        done = subprocess.run([str(BUILD / "percept"), "models", "convert", str(self.path), "--type", "f32", "-o",
                               str(made / "model-f32.gguf")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, (name, done.stdout)
        shutil.rmtree(self.path)
        self.path = made


# Files of towers have no place for crops, nor for tiles that are smaller than the picture that a tower sees.
PAIRS = ["gemma3", "idefics3", "internvl", "pixtral", "mistral3", "qwen2vl", "qwen25vl", "llava_next_mistral",
         "llava_next_vicuna"]
names = sorted(p.stem for p in CHAT.glob("*.json") if p.name != "talks.json")
pairs = [Pair(name) for name in PAIRS]
families = [Family(name) for name in names]
daemon = Daemon("".join(f.section() for f in families + pairs))


def talk(name, messages=None, among=families, **more):
    client, wrong = daemon.client(), []
    for family in among:
        if name in family.given["talks"]:
            wrong += family.differs(name, family.ask(client, messages or TALKS[name], **more))
    assert not wrong, wrong


def between():
    """text, picture, text, picture, text"""
    talk("between")


def first():
    """a picture before the text"""
    talk("first")


def turns():
    """a system message, pictures side by side, an answer, a picture behind the next question"""
    talk("turns")


def instructions():
    """instructions are the system message"""
    talk("turns", TALKS["turns"][1:], instructions=TALKS["turns"][0]["content"][0]["text"])


def in_pairs():
    """the same from pairs of GGUF files"""
    for name in TALKS:
        talk(name, among=pairs)


try:
    run([between, first, turns, instructions, in_pairs])
finally:
    daemon.stop()
    shutil.rmtree(folder)
