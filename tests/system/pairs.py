"""pairs.py - tiny-llava as a pair of GGUF files gives the tokens that its folder gives, however it is named; wrong pairs are refused
with one sentence."""
import json, os, pathlib, random, shutil, struct, subprocess, tempfile
from system import BUILD, E2E, GOLDENS, SOURCE, Daemon, run

folder = tempfile.TemporaryDirectory(prefix="percept-pairs-test-")
HERE = pathlib.Path(folder.name)
GOLDEN = json.loads((E2E / "goldens.json").read_text())
SHARED = SOURCE.parent / "shared" / "models" / "tiny-llava" / "gguf"


def models(*words):
    return subprocess.run([str(BUILD / "percept"), "models", *map(str, words)], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                          env={**os.environ, "HOME": folder.name, "PERCEPT_MODELS": f"{HERE}:{SOURCE / 'models'}"})


def make():
    for name in ("pair", "apart", "several", "other"):
        (HERE / name).mkdir()
    done = models("convert", SOURCE / "models" / "tiny-llava", "-o", HERE / "pair" / "tiny.gguf")
    assert done.returncode == 0, done
    tower = HERE / "pair" / "mmproj-tiny.gguf"
    assert sorted(p.name for p in (HERE / "pair").iterdir()) == ["mmproj-tiny.gguf", "tiny.gguf"]
    done = models("convert", GOLDENS / "vlm_llava", "--mmproj", "-o", HERE / "other" / "tower.gguf")
    assert done.returncode == 0 and [p.name for p in (HERE / "other").iterdir()] == ["tower.gguf"], done
    shutil.copy(HERE / "pair" / "tiny.gguf", HERE / "apart" / "text.gguf")
    shutil.copy(tower, HERE / "apart" / "tower.gguf")
    for name in ("a.gguf", "b.gguf"):
        shutil.copy(HERE / "pair" / "tiny.gguf", HERE / "several" / name)


def same_answers(config):
    daemon = Daemon("[daemon]\nmodels = %s\n" % HERE + config)
    try:
        client = daemon.client()
        names = [a["name"] for a in client.call("assistant.list")["result"]]
        assert names
        for name in names:
            wrong = 0
            for item in GOLDEN["items"]:
                answer = client.ask(item["question"], E2E / item["image"], assistant=name)
                assert "result" in answer, (name, answer)
                assert answer["result"]["usage"]["input_tokens"] == len(item["input_ids"]), (name, item)
                wrong += answer["result"]["tokens"] != item["output_ids"]
            assert wrong <= 1, (name, wrong)
    finally:
        daemon.stop()


def answers_as_the_folder_does():
    """a folder of two files; a file beside which the other lies; two files by name; three parts by name"""
    parts = "decoder = causal model=apart/text.gguf\nimage.encoder = clip model=apart/tower.gguf\nimage.connector = mlp model=apart/tower.gguf\n"
    same_answers("[assistant folder]\nmodel = pair\n[assistant beside]\nmodel = pair/tiny.gguf\n"
                 "[assistant named]\nmodel = apart/text.gguf\nmmproj = apart/tower.gguf\n[assistant parts]\n" + parts)


def answers_with_a_pair_of_others():
    """the pair that a legacy converter wrote, where there is one"""
    if SHARED.is_dir():
        same_answers(f"[assistant shared]\nmodel = {SHARED}\n")


def tokenizer(size):
    """One of as many tokens, which are bytes."""
    added = [{"id": size - 3 + i, "content": word, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False} for i, word in enumerate(("<s>", "</s>", "<image>"))]
    rules = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    letters = [chr(i) for i in range(33, 127)] + [chr(i) for i in range(161, 400)]
    return {"version": "1.0", "added_tokens": added, "pre_tokenizer": rules, "decoder": rules,
            "model": {"type": "BPE", "vocab": {c: i for i, c in enumerate(letters[:size - 3])}, "merges": [], "byte_fallback": False}}


def mobilevlm(path, projector):
    """LLaVA's own layout with another projector, of random weights."""
    shutil.copytree(GOLDENS / "vlm_llava_own_pad", path)
    path.chmod(0o755)
    data = (path / "model.safetensors").read_bytes()
    n, = struct.unpack("<Q", data[:8])
    old, header, body, dice = json.loads(data[8:8 + n]), {}, b"", random.Random(7)
    config = json.loads((path / "config.json").read_text())
    for name, value in old.items():
        if name != "__metadata__" and "mm_projector" not in name:
            first, last = value["data_offsets"]
            header[name] = {**value, "data_offsets": [len(body), len(body) + last - first]}
            body += data[8 + n + first:8 + n + last]
    for name, shape in projector(64, config["hidden_size"]):
        count, spread = 1, 1.5 / max(shape[1] if len(shape) > 1 else 4, 9 if len(shape) > 2 and shape[2] > 1 else 4) ** 0.5
        for side in shape:
            count *= side
        header["model.mm_projector." + name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + 4 * count]}
        body += struct.pack("<%df" % count, *(dice.gauss(0, spread) for _ in range(count)))
    text = json.dumps(header).encode()
    (path / "model.safetensors").unlink()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)
    (path / "config.json").unlink()
    (path / "config.json").write_text(json.dumps({**config, "model_type": "mobilevlm"}))
    (path / "tokenizer.json").write_text(json.dumps(tokenizer(config["vocab_size"])))


def layers(names, wide, narrow):
    return [(names[0] + ".weight", [narrow, wide]), (names[0] + ".bias", [narrow]), (names[1] + ".weight", [narrow, narrow]),
            (names[1] + ".bias", [narrow])]


def ldp(wide, narrow):
    all = layers(("model.mlp.1", "model.mlp.3"), wide, narrow)
    for i in (1, 2):
        for part, shape in (("0.0.weight", [narrow, 1, 3, 3]), ("0.1.weight", [narrow]), ("0.1.bias", [narrow]),
                            ("1.fc1.weight", [4, narrow, 1, 1]), ("1.fc1.bias", [4]), ("1.fc2.weight", [narrow, 4, 1, 1]),
                            ("1.fc2.bias", [narrow]), ("2.0.weight", [narrow, narrow, 1, 1]), ("2.1.weight", [narrow]),
                            ("2.1.bias", [narrow])):
            all.append(("model.mb_block.%d.block.%s" % (i, part), shape))
    return all


def ldpv2(wide, narrow):
    return layers(("mlp.mlp.0", "mlp.mlp.2"), wide, narrow) + [("peg.peg.0.weight", [narrow, 1, 3, 3]), ("peg.peg.0.bias", [narrow])]


def mobile():
    """MobileVLM's projectors, of both versions: the pair answers as the folder"""
    config = ""
    for projector in (ldp, ldpv2):
        name = projector.__name__
        mobilevlm(HERE / name, projector)
        (HERE / (name + "-pair")).mkdir()
        done = models("convert", HERE / name, "--type", "f32", "-o", HERE / (name + "-pair") / "model.gguf")
        assert done.returncode == 0, done
        for kind in (name, name + "-pair"):
            config += "[assistant %s]\nmodel = %s\ndecoder = causal compute=f32\n" % (kind, HERE / kind)
    daemon = Daemon(config)
    try:
        client = daemon.client()
        for name in ("ldp", "ldpv2"):
            both = [client.ask("What?", GOLDENS / "vlm_llava_own_pad" / "image0.png", assistant=kind, max_output_tokens=12, top_logprobs=1)
                    for kind in (name, name + "-pair")]
            assert all("result" in answer for answer in both), both
            first, second = (answer["result"] for answer in both)
            assert first["tokens"] == second["tokens"] and first["usage"]["input_tokens"] == second["usage"]["input_tokens"], both
            assert len(set(first["tokens"])) > 2, first
            for one, other in zip(first["logprobs"], second["logprobs"]):
                assert abs(one["top"][0]["logprob"] - other["top"][0]["logprob"]) < 1e-3, both
    finally:
        daemon.stop()


def refused(config, *words):
    daemon = Daemon("[daemon]\nmodels = %s\n[assistant bad]\n" % HERE + config)
    try:
        answer = daemon.client().ask("What is on the left?", E2E / GOLDEN["items"][0]["image"], assistant="bad")
        assert "error" in answer, answer
        message = answer["error"]["message"]
        assert all(word in message for word in words), message
    finally:
        daemon.stop()


def refuses_what_does_not_fit():
    """projectors to other sizes, two language models, a language model in the tower's place, a tower alone, no tower"""
    refused("model = apart/text.gguf\nmmproj = other/tower.gguf\n", "tower.gguf", "text.gguf", "48", "192")
    refused("model = several\n", "several language models", "name one")
    refused("model = apart/text.gguf\nmmproj = pair/tiny.gguf\n", "language model", "mmproj")
    refused("model = apart/tower.gguf\n", "no decoder")
    refused("model = pair/tiny.gguf\nmmproj = none\n", "image")


def tells_what_it_is():
    """percept models show, of a tower, of a language model beside one, of a folder of both"""
    tower = json.loads(models("show", HERE / "pair" / "mmproj-tiny.gguf", "--json").stdout)
    assert tower["family"] == "llava" and tower["pictures"]["projector"] == "mlp" and tower["pictures"]["values"] == 192, tower
    both = models("show", HERE / "pair")
    assert both.returncode == 0 and "tiny.gguf" in both.stdout and "mmproj-tiny.gguf" in both.stdout, both
    assert "mlp" in models("show", HERE / "pair" / "mmproj-tiny.gguf").stdout


try:
    make()
    run([answers_as_the_folder_does, answers_with_a_pair_of_others, mobile, refuses_what_does_not_fit, tells_what_it_is])
finally:
    folder.cleanup()
