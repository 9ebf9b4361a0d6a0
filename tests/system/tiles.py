"""tiles.py - small LLaVA-NeXT, VIP-LLaVA, Pixtral and Mistral 3 bundles through perceptd: pictures of several tiles, of any shape."""
import json, pathlib, shutil, struct, tempfile
from system import Daemon, GOLDENS, run

folder = pathlib.Path(tempfile.mkdtemp(prefix="percept-tiles-"))


def tensors(path):
    data = path.read_bytes()
    n, = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + n]), data[8 + n:]


def integers(case, name):
    header, data = tensors(GOLDENS / case / "io.safetensors")
    begin, end = header[name]["data_offsets"]
    return list(struct.unpack("<%di" % ((end - begin) // 4), data[begin:end]))


class Bundle:
    """A golden folder with a tokenizer of single characters: each id that the case uses is one. `marks`: ids of a picture's rows."""

    def __init__(self, case, marks):
        self.case, self.path, self.marks = GOLDENS / case, folder / (case + str(len(list(folder.iterdir())))), marks
        self.ids, self.greedy = integers(case, "in.input_ids"), integers(case, "out.greedy_ids")
        used = sorted(set(self.ids + self.greedy) - set(marks))
        self.letters = {id: chr(0x4e00 + i) for i, id in enumerate(used)}
        shutil.copytree(self.case, self.path)
        self.path.chmod(0o755)
        size = json.loads((self.case / "config.json").read_text())["text_config"]["vocab_size"]
        end = next(i for i in range(size - 1, 0, -1) if i not in self.letters and i not in marks)
        added = [{"id": id, "content": text, "special": id in marks or id == end, "single_word": False, "lstrip": False,
                  "rstrip": False, "normalized": False}
                 for id, text in list(marks.items()) + list(self.letters.items()) + [(end, "<end>")]]
        vocab = {"<%d>" % id: id for id in range(size) if id not in self.letters and id not in marks and id != end}
        self.write("tokenizer.json", {
            "version": "1.0", "added_tokens": added, "normalizer": None, "post_processor": None, "decoder": {"type": "ByteLevel"},
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
            "model": {"type": "BPE", "vocab": vocab, "merges": []}})
        self.write("tokenizer_config.json", {"eos_token": "<end>"})
        self.write("generation_config.json", {"eos_token_id": end})

    def write(self, name, value):
        (self.path / name).unlink(missing_ok=True)
        (self.path / name).write_text(json.dumps(value))

    def edit(self, name, path, to):
        value = inner = json.loads((self.path / name).read_text())
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = to
        self.write(name, value)

    def config(self):
        return "[assistant default]\nmodel = %s\ndecoder = causal compute=f32\n" % self.path

    def parts(self):
        """The prompt's ids as text and pictures in order, and the tail that holds these."""
        parts, tail, n, before = [], b"", 0, False
        for id in self.ids:
            if id not in self.marks:
                if before or not parts:
                    parts.append({"type": "input_text", "text": ""})
                parts[-1]["text"] += self.letters[id]
            elif not before:
                data = (self.case / ("image%d.png" % n)).read_bytes()
                parts.append({"type": "input_image", "bin": [len(tail), len(data)]})
                tail, n = tail + data, n + 1
            before = id in self.marks
        return parts, tail


def ask(client, parts, tail, **more):
    more = {"raw": True, "max_output_tokens": 12, "return_tokens": True, "input": [{"type": "message", "role": "user",
            "content": parts}], **more}
    return client.answer(client.send("response.create", more, tail=tail))


def respond(client, parts, tail, **more):
    answer = ask(client, parts, tail, **more)
    assert "result" in answer, answer
    return answer["result"]


PIXTRAL = {88: "[IMG]", 87: "[IMG_BREAK]", 86: "[IMG_END]"}
CASES = {"vlm_llava_next": {120: "<image>"}, "vlm_llava_next_mistral": {88: "<image>"}, "vlm_llava_next_siglip": {97: "<image>"},
         "vlm_vipllava": {97: "<image>"}, "vlm_pixtral": PIXTRAL, "vlm_mistral3": PIXTRAL}
first = Bundle("vlm_llava_next", CASES["vlm_llava_next"])
daemon = Daemon(first.config())


def equals_the_reference():
    """pictures between texts give the reference's ids, for every family"""
    for case, marks in CASES.items():
        bundle = Bundle(case, marks)
        other = Daemon(bundle.config())
        parts, tail = bundle.parts()
        result = respond(other.client(), parts, tail)
        other.stop()
        assert result["tokens"] == bundle.greedy, (case, result, bundle.greedy)
        assert result["usage"]["input_tokens"] == len(bundle.ids), (case, result["usage"], len(bundle.ids))


def encoded_once():
    """a picture that was seen is not encoded again; with another detail it is, as another picture would be"""
    parts, tail = first.parts()
    client = daemon.client()
    respond(client, parts, tail)
    again = respond(client, parts, tail)
    assert all(m["encoder_cached"] for m in again["usage"]["media"]) and again["tokens"] == first.greedy, again
    low = [{**p, "detail": "low"} if p["type"] == "input_image" else p for p in parts]
    once, twice = respond(client, low, tail), respond(client, low, tail)
    assert not any(m["encoder_cached"] for m in once["usage"]["media"]), once
    assert all(m["encoder_cached"] for m in twice["usage"]["media"]) and once["tokens"] == twice["tokens"], twice
    assert [m["tokens"] for m in once["usage"]["media"]] == [17, 17], once["usage"]


def in_order():
    """the same pictures the other way round: another answer, of as many tokens"""
    parts, tail = first.parts()
    swapped = [parts[0], parts[3], parts[2], parts[1], parts[4]]
    a, b = respond(daemon.client(), parts, tail), respond(daemon.client(), swapped, tail)
    assert a["tokens"] != b["tokens"] and a["usage"]["input_tokens"] == b["usage"]["input_tokens"], (a, b)


def bounded():
    """max_tokens chooses among the grids; what not even the overview keeps is refused"""
    parts, tail = first.parts()
    client = daemon.client()
    bounds, costs = (88, 60, 59, 52, 51, 32, 17), []
    for most in bounds:
        costs.append(respond(client, [parts[0], {**parts[1], "max_tokens": most}], tail)["usage"]["media"][0]["tokens"])
    assert costs == [60, 60, 52, 52, 17, 17, 17], costs
    answer = ask(client, [parts[0], {**parts[1], "max_tokens": 16}], tail)
    assert "at least 17 tokens" in answer["error"]["message"] and "max_tokens is 16" in answer["error"]["message"], answer


def bounded_shapes():
    """max_tokens bounds rows of merged patches, as they enter the prompt"""
    for case in ("vlm_pixtral", "vlm_mistral3"):
        bundle = Bundle(case, CASES[case])
        other = Daemon(bundle.config())
        parts, tail = bundle.parts()
        client, costs = other.client(), []
        for most in (0, 12, 6, 2):
            item = {**parts[1], **({"max_tokens": most} if most else {})}
            answer = client.answer(client.send("embedding.create", {"space": "connector", "input": [
                {"type": "message", "role": "user", "content": [item]}]}, tail=tail))
            costs.append(answer["result"]["shape"][0])
            assert not most or most // 2 <= costs[-1] <= most, (case, most, costs)
        other.stop()
        assert costs == sorted(costs, reverse=True) and costs[0] >= 12, (case, costs)


def newline_of(width):
    """model.safetensors with a newline of that many values"""
    bad = Bundle("vlm_llava_next", CASES["vlm_llava_next"])
    header, data = tensors(bad.path / "model.safetensors")
    packed = b""
    for name in [n for n in header if n != "__metadata__"]:
        begin, end = header[name]["data_offsets"]
        bytes_ = bytes(4 * width) if name == "image_newline" else data[begin:end]
        header[name]["data_offsets"] = [len(packed), len(packed) + len(bytes_)]
        packed += bytes_
    header["image_newline"]["shape"] = [width]
    text = json.dumps(header).encode()
    (bad.path / "model.safetensors").unlink()
    (bad.path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + packed)
    return bad


def refuses():
    """configurations that fit no model: one sentence each, and the daemon goes on"""
    pins = [("preprocessor_config.json", ["image_grid_pinpoints"], value) for value in (
        [], "all", [[28]], [[0, 28]], [[28, -28]], [[28, 29]], [[252, 224]], [[16384, 16384]], [[1e300, 28]], [[28, 28]] * 65)]
    layers = [("config.json", [name], value) for name, value in (
        ("vision_feature_layer", []), ("vision_feature_layer", [4]), ("vision_feature_layer", [-5]), ("vision_feature_layer", [1.5]),
        ("vision_feature_layer", ["last"]), ("vision_feature_layer", "all"), ("vision_feature_layer", [-1, -2]),
        ("vision_feature_layer", [0] * 65), ("mm_patch_merge_type", "sideways"), ("projector_hidden_act", "strange"))]
    pixtral = [("config.json", ["vision_config", name], value) for name, value in (
        ("patch_size", 0), ("patch_size", -8), ("patch_size", 1 << 30), ("num_attention_heads", 0), ("num_attention_heads", 5),
        ("num_attention_heads", 16), ("rope_parameters", {"rope_theta": -1}))]
    pixtral += [("config.json", ["spatial_merge_size"], value) for value in (0, -2, 1 << 20, 3)]
    pixtral += [("preprocessor_config.json", ["patch_size"], value) for value in (0, {"height": 8, "width": 9}, "big")]
    client = daemon.client()
    for case, rows in (("vlm_llava_next", pins + layers), ("vlm_mistral3", pixtral)):
        for file, path, to in rows:
            bad = Bundle(case, CASES[case])
            bad.edit(file, path, to)
            daemon.config.write_text(first.config() + "[assistant bad]\nmodel = %s\n" % bad.path)
            answer = client.call("config.reload")
            assert "error" in answer and answer["error"]["message"].endswith("."), (file, path, to, answer)
    for width in (47, 49):
        daemon.config.write_text(first.config() + "[assistant bad]\nmodel = %s\n" % newline_of(width).path)
        answer = client.call("config.reload")
        assert "image_newline" in answer["error"]["message"], answer
    daemon.config.write_text(first.config())
    parts, tail = first.parts()
    assert respond(client, parts, tail)["tokens"] == first.greedy


try:
    run([equals_the_reference, encoded_once, in_order, bounded, bounded_shapes, refuses])
finally:
    daemon.stop()
    shutil.rmtree(folder)
