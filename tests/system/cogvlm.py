"""cogvlm.py - CogVLM and CogVLM2 through perceptd: questions in the model's own form, pictures whose rows have weights of their own, among
texts that have not, alone and at once, cold and with reused prefixes, from folders and pairs of GGUF files."""
import json, pathlib, random, shutil, subprocess, tempfile, threading
from system import BUILD, Daemon, GOLDENS, run

NAMES = ["vlm_cogvlm", "vlm_cogvlm2"]
CHATS = {name: json.loads((GOLDENS / name / "chat.json").read_text()) for name in NAMES}
EXACT = "decoder = causal compute=f32\nimage.encoder = eva compute=f32\nimage.connector = visual_expert compute=f32\n"
folder = pathlib.Path(tempfile.mkdtemp(prefix="percept-cogvlm-"))


def put(name, case, change=None, template=None):
    """A folder of the case with its tokenizer, whose file has a template of another model's; the configuration changed."""
    path = folder / name
    shutil.copytree(GOLDENS / case, path, copy_function=shutil.copyfile)
    (path / "tokenizer.json").write_text(json.dumps(CHATS[case]["tokenizer"]))
    other = "{% for m in messages %}{{ '<s>' + m['content'] }}{% endfor %}"
    (path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>", "chat_template": other}))
    if template:
        (path / "chat_template.jinja").write_text(template)
    config = json.loads((path / "config.json").read_text())
    config.update(change or {})
    (path / "config.json").write_text(json.dumps(config))
    return path


def convert(path, *quantised):
    made = path.with_name(path.name + "-pair")
    made.mkdir()
    words = [["convert", path, "--type", "f32", "-o", made / "text.gguf"]]
    words += [["quantize", made / "text.gguf", kind, "-o", folder / (path.name + "-" + kind + ".gguf")] for kind in quantised]
    for line in words:
        done = subprocess.run([str(w) for w in [BUILD / "percept", "models", *line]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
    return made


paths = {name: put(name, name) for name in NAMES}
sections = {name: f"model = {path}\n{EXACT}" for name, path in paths.items()}
for name in NAMES:
    sections[name + "-text"] = f"decoder = causal model={paths[name]} compute=f32\n"
    for version in CHATS[name]["versions"]:
        sections[f"{name}-{version}"] = f"model = {put(f'{name}-{version}', name, {'template_version': version})}\n{EXACT}"
    sections[name + "-pair"] = f"model = {convert(paths[name], 'Q8_0')}\n{EXACT}"
    sections[name + "-Q8"] = f"model = {folder / (name + '-Q8_0.gguf')}\nmmproj = {folder / (name + '-pair') / 'mmproj-text.gguf'}\n"
own = put("own", "vlm_cogvlm", template="{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}")
sections["own"] = f"model = {own}\n{EXACT}"
DAEMON = "".join(f"[assistant {name}]\n{lines}" for name, lines in sections.items())
daemon = Daemon(DAEMON)


def ask(client, assistant, case, item, **more):
    parts, tail = [], b""
    if "picture" in item:
        tail = (GOLDENS / case / ("image%d.png" % item["picture"])).read_bytes()
    turns = [(role, words) for pair in item.get("history", []) for role, words in zip(("user", "assistant"), pair)] + [("user", item["text"])]
    for i, (role, words) in enumerate(turns):
        # Wherever in the conversation a picture is, it stands in front of all of it.
        picture = [{"type": "input_image", "bin": [0, len(tail)]}] if tail and i == item.get("turn", 0) else []
        parts.append({"type": "message", "role": role,
                      "content": picture + [{"type": "output_text" if role == "assistant" else "input_text", "text": words}]})
    params = {"assistant": assistant, "input": parts, "max_output_tokens": len(item["greedy"]), "return_tokens": True, **more}
    answer = client.answer(client.send("response.create", params, tail=tail))
    assert "result" in answer, (assistant, item, answer)
    return answer["result"]


def differs(client, assistant, case, item, **more):
    result = ask(client, assistant, case, item, **more)
    same = result["tokens"] == item["greedy"] and result["usage"]["input_tokens"] == item["input_tokens"]
    return [] if same else [(assistant, item, result["tokens"], result["usage"])]


def all_of(client, among, items=None):
    wrong = []
    for assistant, case in among.items():
        for item in CHATS[case]["items"] if items is None else items:
            wrong += differs(client, assistant, case, item)
    assert not wrong, wrong[:3]


def alone():
    """questions with and without a picture, and conversations: the reference's ids, one after the other"""
    all_of(daemon.client(), {name: name for name in NAMES})


def texts():
    """a text is answered as by the decoder alone"""
    client, wrong = daemon.client(), []
    for name in NAMES:
        for item in CHATS[name]["items"]:
            if "picture" not in item:
                wrong += differs(client, name + "-text", name, item)
    assert not wrong, wrong


def again():
    """the same again: pictures are encoded once, prefixes reused, also under another question, and the answers are the same"""
    client = daemon.client()
    for name in NAMES:
        seen = [i for i in CHATS[name]["items"] if "picture" in i]
        for item in seen:
            result = ask(client, name, name, item)
            usage = result["usage"]
            assert result["tokens"] == item["greedy"], (item, result)
            assert usage["cached_tokens"] >= item["input_tokens"] - 1 and usage["media"][0]["encoder_cached"], usage
        rows = ask(client, name, name, seen[0])["usage"]["media"][0]["tokens"]
        usage = ask(client, name, name, dict(seen[0], text="quite another question?"))["usage"]
        assert rows < usage["cached_tokens"] < usage["input_tokens"] - 10, (rows, usage)


def at_once():
    """sixteen at once, with and without pictures: each answer is its own"""
    fresh, wrong, lock = Daemon(DAEMON), [], threading.Lock()
    todo = [(name, item) for name in NAMES for item in CHATS[name]["items"]] * 2
    random.Random(5).shuffle(todo)

    def worker():
        client = fresh.client()
        while True:
            with lock:
                if not todo:
                    return
                name, item = todo.pop()
            found = differs(client, name, name, item, stream=len(todo) % 2 == 0)
            with lock:
                wrong.extend(found)

    threads = [threading.Thread(target=worker) for _ in range(16)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    fresh.stop()
    assert not wrong, (len(wrong), wrong[:3])


def later():
    """a picture that comes with a later question stands in front all the same"""
    client, wrong = daemon.client(), []
    for name in NAMES:
        for item in CHATS[name]["items"]:
            if "history" in item:
                wrong += differs(client, name, name, dict(item, turn=2 * len(item["history"])))
    assert not wrong, wrong


def versions():
    """short answers and bare prompts, as template_version says; a template beside the weights comes first"""
    client, wrong = daemon.client(), []
    for name in NAMES:
        for version, items in CHATS[name]["versions"].items():
            for item in items:
                wrong += differs(client, f"{name}-{version}", name, item)
    assert not wrong, wrong
    assert ask(client, "own", "vlm_cogvlm", {"text": "why?", "greedy": [0]})["usage"]["input_tokens"] == 5


def pairs():
    """the same from pairs of GGUF files; and quantised ones answer"""
    client = daemon.client()
    all_of(client, {name + "-pair": name for name in NAMES})
    for name in NAMES:
        for item in CHATS[name]["items"][:3]:
            result = ask(client, name + "-Q8", name, item)
            assert result["usage"]["input_tokens"] == item["input_tokens"] and result["tokens"], result


def raw():
    """raw prompts: the picture stands where it was put"""
    client = daemon.client()
    item = next(i for i in CHATS["vlm_cogvlm"]["items"] if "picture" in i and "history" not in i)
    bare = dict(item, text="Question: %s Answer:" % item["text"])
    assert not differs(client, "vlm_cogvlm", "vlm_cogvlm", bare, raw=True)


def wrong_parts():
    """parts that do not fit are refused by one sentence that says why"""
    one, two = paths["vlm_cogvlm"], paths["vlm_cogvlm2"]
    parts = {"decoder": f"causal model={one}", "image.encoder": f"eva model={one}", "image.connector": f"visual_expert model={one}"}
    tower = folder / "vlm_cogvlm-pair" / "mmproj-text.gguf"
    shorter = put("shorter", "vlm_cogvlm", {"num_hidden_layers": 1})
    bad = [
        ({"decoder": f"causal model={two}"}, ("visual_expert", "causal", "q, k and v", "96", "64")),
        ({"decoder": f"causal model={shorter}"}, ("visual_expert", "2 layers", "has 1")),
        ({"decoder": f"causal model={GOLDENS}/dec_gpt2"}, ("visual_expert", "dec_gpt2", "32")),
        ({"decoder": "echo"}, ("visual_expert", "echo")),
        ({"decoder": f"t5 model={GOLDENS}/dec_t5_relu_tied"}, ("visual_expert", "t5")),
        ({"image.encoder": f"clip model={GOLDENS}/vis_clip_vision"}, ("clip", "visual_expert", "24")),
        ({"image.connector": f"visual_expert model={tower}"}, ("experts", "mmproj-text.gguf")),
        ({"image.connector": f"visual_expert model={tower} experts={GOLDENS}/dec_llama_gqa_theta"}, ("vis", "dec_llama_gqa_theta")),
        ({"image.connector": f"visual_expert model={GOLDENS}/vlm_llava"}, ("linear_proj", "vlm_llava")),
        ({"image.connector": f"mlp model={one}"}, ("no projector", "vlm_cogvlm")),
    ]
    client, config = daemon.client(), daemon.config.read_text()
    for change, words in bad:
        daemon.config.write_text("[assistant bad]\n" + "".join(f"{k} = {v}\n" for k, v in {**parts, **change}.items()))
        text = client.call("config.reload").get("error", {}).get("message", "")
        assert all(w in text for w in words) and "\n" not in text and text.rstrip().endswith("."), (change, text)
    daemon.config.write_text(config)
    assert "result" in client.call("config.reload")
    item = CHATS["vlm_cogvlm"]["items"][0]
    assert not differs(client, "vlm_cogvlm", "vlm_cogvlm", item)


try:
    run([alone, texts, again, at_once, later, versions, pairs, raw, wrong_parts])
finally:
    daemon.stop()
    shutil.rmtree(folder)
