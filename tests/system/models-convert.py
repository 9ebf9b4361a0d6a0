"""models-convert.py - percept models convert: folders become the files that llama.cpp's converter makes of them, and what cannot be
converted is said in one sentence and leaves no file."""
import json, os, pathlib, shutil, struct, subprocess, tempfile
from system import BUILD, GOLDENS, run

folder = tempfile.TemporaryDirectory(prefix="percept-convert-test-")
HERE = pathlib.Path(folder.name)
SIZES = {0: (1, 4), 1: (1, 2), 8: (32, 34), 30: (1, 2)}  # GGUF type: elements and bytes of a block
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def models(*words):
    return subprocess.run([str(BUILD / "percept"), "models", *map(str, words)], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                          env={**os.environ, "HOME": folder.name, "PERCEPT_MODELS": folder.name})


class Reader:
    def __init__(self, path):
        self.bytes, self.at = pathlib.Path(path).read_bytes(), 4
        self.number("I")
        tensors, values = self.number("Q"), self.number("Q")
        self.values = {self.text().decode(): self.value(self.number("I")) for _ in range(values)}
        listed = [(self.text().decode(), [self.number("Q") for _ in range(self.number("I"))], self.number("I"), self.number("Q")) for _ in range(tensors)]
        start = (self.at + 31) // 32 * 32
        self.tensors = {name: (shape, type, self.data(start + offset, shape, type)) for name, shape, type, offset in listed}

    def number(self, kind):
        value, = struct.unpack_from("<" + kind, self.bytes, self.at)
        self.at += struct.calcsize(kind)
        return value

    def text(self):
        n = self.number("Q")
        self.at += n
        return self.bytes[self.at - n:self.at]

    def value(self, type):
        if type == 8:
            return self.text()
        if type == 9:
            element, n = self.number("I"), self.number("Q")
            return [self.value(element) for _ in range(n)]
        return self.number(NUMBERS[type])

    def data(self, start, shape, type):
        n = 1
        for size in shape:
            n *= size
        return self.bytes[start:start + n // SIZES[type][0] * SIZES[type][1]]


def equals_the_reference(name):
    """every value and every byte of every tensor, once both are in the reference's type"""
    source = GOLDENS / name
    assert models("convert", source, "-o", HERE / "f32.gguf").returncode == 0
    assert models("quantize", HERE / "f32.gguf", "Q8_0", "-o", HERE / "q8.gguf").returncode == 0
    made, reference = Reader(HERE / "q8.gguf"), Reader(source / "model-q8_0.gguf")
    for key, value in reference.values.items():
        if not key.startswith("general."):
            assert made.values.get(key) == value, (name, key, str(made.values.get(key))[:80], str(value)[:80])
    assert made.values["general.architecture"] == reference.values["general.architecture"]
    assert made.tensors.keys() == reference.tensors.keys(), made.tensors.keys() ^ reference.tensors.keys()
    for tensor, content in reference.tensors.items():
        assert made.tensors[tensor] == content, (name, tensor, made.tensors[tensor][:2], content[:2])


def converts_each_family():
    """each family's folder against llama.cpp's file of the same weights"""
    cases = [p.parent.name for p in sorted(GOLDENS.glob("dec_*/model-q8_0.gguf")) if (p.parent / "model.safetensors").exists()]
    assert len(cases) >= 10, cases
    for case in cases:
        if json.loads((GOLDENS / case / "config.json").read_text())["model_type"] != "t5":
            equals_the_reference(case)


def keeps_and_changes_types():
    """--type; the folder's own without; another name than a type's is refused"""
    sizes = {}
    for type in ("f32", "f16", "bf16"):
        done = models("convert", GOLDENS / "dec_qwen3", "--type", type, "-o", HERE / "t.gguf", "--json")
        assert done.returncode == 0, done
        sizes[type] = json.loads(done.stdout)["bytes"]
        show = json.loads(models("show", HERE / "t.gguf", "--json").stdout)
        assert show["family"] == "qwen3" and type.upper() in show["types"], show
    assert sizes["f16"] == sizes["bf16"] < sizes["f32"], sizes
    (HERE / "t.gguf").unlink()
    done = models("convert", GOLDENS / "dec_qwen3", "--type", "q9", "-o", HERE / "t.gguf")
    assert done.returncode == 1 and "f32, f16 and bf16" in done.stderr and not (HERE / "t.gguf").exists(), done


def copy(**changes):
    """a folder of its own, config.json changed"""
    target = HERE / "copy"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(GOLDENS / "dec_llama_gqa_theta", target)
    config = json.loads((target / "config.json").read_text())
    config.update(changes)
    (target / "config.json").write_text(json.dumps(config))
    return target


def refused(source, *words):
    done = models("convert", source, "-o", HERE / "bad.gguf")
    assert done.returncode == 1 and done.stderr.count("\n") <= 2, done
    for word in words:
        assert word in done.stderr, (word, done.stderr)
    assert not list(HERE.glob("bad.gguf*")), "a file was left behind"


def refuses_what_has_no_place():
    """families, tensors, layers, tokenizers and numbers that a file cannot hold"""
    refused(copy(model_type="rwkv"), "rwkv", "these can")
    refused(copy(num_hidden_layers=1), "no place", "layers.1")
    refused(copy(num_hidden_layers=3), "not whole")
    refused(copy(num_hidden_layers=10 ** 9), "layers")
    refused(copy(num_attention_heads=0), "heads")
    refused(copy(head_dim="wide"), "head_dim")
    refused(copy(rope_scaling={"rope_type": "spiral"}, rope_parameters={"rope_type": "spiral"}), "spiral")
    source = copy()
    (source / "tokenizer.json").unlink()
    refused(source, "tokenizer")
    source = copy()
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}
    (source / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused(source, "tokenizer", "otherwise")
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": False}, {"type": "ByteLevel"}]}
    (source / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused(source, "no name")
    (source / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes()[:1000])
    refused(source, "model.safetensors")
    shutil.rmtree(source)
    source.mkdir()
    refused(source, "cannot be opened")
    done = models("convert", GOLDENS / "dec_qwen3", "-o", "/nowhere/x.gguf")
    assert done.returncode == 1 and "cannot be written" in done.stderr, done
    assert models("convert", GOLDENS / "dec_qwen3" / "model-q8_0.gguf", "-o", HERE / "bad.gguf").returncode == 1


try:
    run([converts_each_family, keeps_and_changes_types, refuses_what_has_no_place])
finally:
    folder.cleanup()
