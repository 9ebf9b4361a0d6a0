"""qwen.py - small Qwen2-VL and Qwen2.5-VL bundles through perceptd: pictures of any size, positions in three directions, turns."""
import json, pathlib, shutil, struct, tempfile, threading
from system import Daemon, GOLDENS, run

folder = pathlib.Path(tempfile.mkdtemp(prefix="percept-qwen-"))
START, END, PAD = 118, 119, 120
SPECIAL = {113: "<|im_start|>", 114: "<|im_end|>", START: "<|vision_start|>", END: "<|vision_end|>", PAD: "<|image_pad|>",
           121: "<|video_pad|>"}
TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}:{% if m.content is string %}{{ m.content }}{% else %}{% for c in "
            "m.content %}{% if c.type == 'image' %}PLACE{% elif 'text' in c %}{{ c.text }}{% endif %}{% endfor %}{% endif %}"
            "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}")


def integers(case, name):
    data = (GOLDENS / case / "io.safetensors").read_bytes()
    n, = struct.unpack("<Q", data[:8])
    begin, end = json.loads(data[8:8 + n])[name]["data_offsets"]
    return list(struct.unpack("<%di" % ((end - begin) // 4), data[8 + n + begin:8 + n + end]))


class Bundle:
    """A golden folder with a tokenizer of single characters: each id that the case uses is one."""

    def __init__(self, case, place="<|vision_start|><|image_pad|><|vision_end|>"):
        self.case, self.path = GOLDENS / case, folder / (case + str(len(list(folder.iterdir()))))
        self.ids, self.greedy = integers(case, "in.input_ids"), integers(case, "out.greedy_ids")
        used = sorted(set(self.ids + self.greedy) - set(SPECIAL))
        self.letters = {id: chr(48 + i) for i, id in enumerate(used)}
        spare = iter("abcdefghijklmnopqrstuvwxyz" if max(self.letters.values()) < "a" else "")
        shutil.copytree(self.case, self.path)
        self.path.chmod(0o755)
        vocab = {}
        for id in range(128):
            if id not in SPECIAL:
                vocab[self.letters.get(id) or next(spare, "<%d>" % id)] = id
        added = [{"id": id, "content": text, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                  "normalized": False} for id, text in SPECIAL.items()]
        self.write("tokenizer.json", {
            "version": "1.0", "added_tokens": added, "normalizer": None, "post_processor": None, "decoder": {"type": "ByteLevel"},
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
            "model": {"type": "BPE", "vocab": vocab, "merges": []}})
        self.write("tokenizer_config.json", {"chat_template": TEMPLATE.replace("PLACE", place), "eos_token": "<|im_end|>"})
        self.write("generation_config.json", {"eos_token_id": 114})

    def write(self, name, value):
        (self.path / name).write_text(json.dumps(value))

    def config(self):
        return "[assistant default]\nmodel = %s\ndecoder = causal compute=f32\n" % self.path

    def text(self, ids):
        return "".join(self.letters[i] for i in ids)

    def parts(self, ids=None):
        """The prompt's ids as text and pictures in order, and the tail that holds these."""
        parts, tail, text, n = [], b"", [], 0
        for id in self.ids if ids is None else ids:
            if id not in (START, END, PAD):
                text.append(id)
            if id == START:
                data = (self.case / ("image%d.png" % n)).read_bytes()
                parts += [{"type": "input_text", "text": self.text(text)},
                          {"type": "input_image", "bin": [len(tail), len(data)]}]
                tail, text, n = tail + data, [], n + 1
        return parts + [{"type": "input_text", "text": self.text(text)}], tail


def respond(client, parts, tail, **more):
    more = {"raw": True, "max_output_tokens": 12, "return_tokens": True, "input": [{"type": "message", "role": "user",
            "content": parts}], **more}
    answer = client.answer(client.send("response.create", more, tail=tail))
    assert "result" in answer, answer
    return answer["result"]


qwen2, qwen25 = Bundle("vlm_qwen2vl"), Bundle("vlm_qwen25vl")
daemon = Daemon(qwen2.config())


def equals_the_reference():
    """two pictures between texts give the reference's ids, for both models"""
    for bundle in (qwen2, qwen25):
        other = Daemon(bundle.config())
        parts, tail = bundle.parts()
        result = respond(other.client(), parts, tail)
        assert result["tokens"] == bundle.greedy, (result, bundle.greedy)
        assert result["usage"]["input_tokens"] == len(bundle.ids), result["usage"]
        other.stop()


def goes_on():
    """a second turn, most of which is in the decoder already, equals the same turn cold"""
    parts, tail = qwen2.parts()
    client = daemon.client()
    first = respond(client, parts, tail)
    more = parts[:-1] + [{"type": "input_text", "text": parts[-1]["text"] + qwen2.text(first["tokens"][:9] + qwen2.ids[:3])}]
    warm = respond(client, more, tail)
    fresh = Daemon(qwen2.config())
    cold = respond(fresh.client(), more, tail)
    fresh.stop()
    assert warm["usage"]["cached_tokens"] == len(qwen2.ids) + 9, warm["usage"]
    assert cold["usage"]["cached_tokens"] == 0 and warm["tokens"] == cold["tokens"], (warm, cold)
    assert warm["usage"]["media"][0]["encoder_cached"] and not cold["usage"]["media"][0]["encoder_cached"]


def other_pictures():
    """the same prompt about the pictures in the other order shares no more than the text before them"""
    parts, tail = qwen2.parts()
    client = daemon.client()
    swapped = [parts[0], parts[3], parts[2], parts[1], parts[4]]
    a, b = respond(client, parts, tail), respond(client, swapped, tail)
    assert a["tokens"] != b["tokens"] and b["usage"]["cached_tokens"] <= 5, b
    assert a["usage"]["input_tokens"] == b["usage"]["input_tokens"]


def marks_once():
    """the template's marks around a picture, or the connector's where it has none: the same prompt"""
    bare = Bundle("vlm_qwen2vl", "<|image_pad|>")
    other = Daemon(bare.config())
    parts, tail = qwen2.parts()
    a = respond(daemon.client(), parts, tail, raw=False)
    b = respond(other.client(), parts, tail, raw=False)
    other.stop()
    assert a["tokens"] == b["tokens"] and a["usage"]["input_tokens"] == b["usage"]["input_tokens"], (a, b)


def bounded():
    """detail and max_tokens bound what a picture costs; what is too little is refused"""
    client = daemon.client()
    parts, tail = qwen2.parts()
    costs = {}
    for most in (0, 4, 2, 1):
        picture = {**parts[1], **({"max_tokens": most} if most else {})}
        costs[most] = respond(client, [parts[0], picture, parts[2]], tail, raw=False)["usage"]["media"][0]["tokens"]
        assert not most or costs[most] <= most, costs
    assert costs[0] == 6 and costs[1] == 1, costs
    for detail in ("low", "high", "auto"):
        cost = respond(client, [parts[0], {**parts[1], "detail": detail}, parts[2]], tail, raw=False)["usage"]["media"][0]["tokens"]
        assert cost == costs[0], (detail, cost)


def together():
    """eight at a time: each answer is about its own pictures, whatever shares its batch"""
    parts, tail = qwen2.parts()
    prompts = [parts, [parts[0], parts[3], parts[2], parts[1], parts[4]], parts[:3], parts[2:], parts[:1], parts[3:], [parts[1]],
               [parts[3], parts[1], parts[4]]]
    fresh, rows = Daemon(qwen2.config()), {}
    alone = [respond(daemon.client(), p, tail)["tokens"] for p in prompts]

    def worker(i):
        rows[i] = respond(fresh.client(), prompts[i], tail)["tokens"]

    threads = [threading.Thread(target=worker, args=(i,)) for i in range(len(prompts))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    fresh.stop()
    assert [rows.get(i) for i in range(len(prompts))] == alone, (rows, alone)


def edit(value, path, to):
    for name in path[:-1]:
        value = value[name]
    if to is None:
        value.pop(path[-1], None)
    else:
        value[path[-1]] = to


def refuses():
    """configurations that fit no model: one sentence each, and the daemon goes on"""
    vision, rope = ["vision_config"], ["text_config", "rope_parameters", "mrope_section"]
    odd = [("config.json", vision + [name], value) for name, value in [
        ("patch_size", 0), ("patch_size", -8), ("patch_size", 7), ("patch_size", 1 << 40), ("spatial_merge_size", 0),
        ("spatial_merge_size", 3), ("temporal_patch_size", 3), ("depth", 4), ("depth", 0), ("num_heads", 5), ("num_heads", 0),
        ("num_heads", 18), ("in_channels", 4), ("hidden_act", "strange"), ("window_size", 1), ("window_size", 0),
        ("fullatt_block_indexes", "all"), ("fullatt_block_indexes", [-1]), ("intermediate_size", 57), ("hidden_size", 40)]]
    odd += [("config.json", rope, value) for value in [[2, 3], [2, 3, 4], [2, -3, 9], "2", [2.5, 2.5, 3], None]]
    odd += [("preprocessor_config.json", [name], value) for name, value in [
        ("min_pixels", 0), ("max_pixels", "many"), ("size", {"shortest_edge": -1, "longest_edge": 5}), ("merge_size", 0),
        ("patch_size", 1e9)]]
    client = daemon.client()
    for file, path, to in odd:
        bad = Bundle("vlm_qwen25vl")
        value = json.loads((bad.path / file).read_text())
        edit(value, path, to)
        (bad.path / file).unlink()
        bad.write(file, value)
        daemon.config.write_text(qwen2.config() + "[assistant bad]\nmodel = %s\n" % bad.path)
        answer = client.call("config.reload")
        assert "error" in answer and answer["error"]["message"].endswith("."), (path, to, answer)
    parts, tail = qwen2.parts()
    daemon.config.write_text(qwen2.config())
    assert respond(client, parts, tail)["tokens"] == qwen2.greedy


def too_large():
    """a picture that would become too large is refused before any work"""
    large = Bundle("vlm_qwen2vl")
    value = json.loads((large.path / "preprocessor_config.json").read_text())
    value["size"] = {"shortest_edge": 1 << 50, "longest_edge": 1 << 52}
    (large.path / "preprocessor_config.json").unlink()
    large.write("preprocessor_config.json", value)
    other = Daemon(large.config())
    parts, tail = large.parts()
    client = other.client()
    answer = client.answer(client.send("response.create", {"raw": True, "input": [
        {"type": "message", "role": "user", "content": parts}]}, tail=tail))
    other.stop()
    assert "too large" in answer["error"]["message"], answer


try:
    run([equals_the_reference, goes_on, other_pictures, marks_once, bounded, together, refuses, too_large])
finally:
    daemon.stop()
    shutil.rmtree(folder)
