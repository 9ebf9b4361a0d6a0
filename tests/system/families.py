"""families.py - small Idefics3, SmolVLM, Gemma 3, PaliGemma and InternVL bundles through perceptd: the references' ids from
pictures and text, alone and several at once, cold and with what the decoder has kept."""
import json, pathlib, shutil, struct, tempfile, threading
from system import Daemon, GOLDENS, run

folder = pathlib.Path(tempfile.mkdtemp(prefix="percept-families-"))
CASES = ["vlm_smolvlm_small_tile", "vlm_gemma3_crops", "vlm_gemma3_window", "vlm_paligemma", "vlm_paligemma2", "vlm_internvl",
         "vlm_internvl_rms"]


def integers(case, name):
    data = (GOLDENS / case / "io.safetensors").read_bytes()
    n, = struct.unpack("<Q", data[:8])
    begin, end = json.loads(data[8:8 + n])[name]["data_offsets"]
    return list(struct.unpack("<%di" % ((end - begin) // 4), data[8 + n + begin:8 + n + end]))


class Bundle:
    """A golden folder whose case.json says the prompt's parts."""

    def __init__(self, case):
        self.name, self.path = case, GOLDENS / case
        self.ids, self.greedy = integers(case, "in.input_ids"), integers(case, "out.greedy_ids")
        self.parts, self.tail = [], b""
        for part in json.loads((self.path / "case.json").read_text())["parts"]:
            if "text" in part:
                self.parts.append({"type": "input_text", "text": part["text"]})
            else:
                data = (self.path / ("image%d.png" % part["image"])).read_bytes()
                self.parts.append({"type": "input_image", "bin": [len(self.tail), len(data)]})
                self.tail += data


def section(bundle):
    return "[assistant %s]\nmodel = %s\ndecoder = causal compute=f32\n" % (bundle.name.replace("_", "-"), bundle.path)


def respond(client, bundle, parts=None, **more):
    more = {"assistant": bundle.name.replace("_", "-"), "raw": True, "max_output_tokens": 12, "return_tokens": True,
            "input": [{"type": "message", "role": "user", "content": parts or bundle.parts}], **more}
    answer = client.answer(client.send("response.create", more, tail=bundle.tail))
    assert "result" in answer, (bundle.name, answer)
    return answer["result"]


bundles = [Bundle(case) for case in CASES]
daemon = Daemon("".join(section(b) for b in bundles))


def alone():
    """each gives the reference's ids, from as many tokens"""
    client = daemon.client()
    for b in bundles:
        result = respond(client, b)
        assert result["usage"]["input_tokens"] == len(b.ids), (b.name, result["usage"], len(b.ids))
        assert result["tokens"] == b.greedy, (b.name, result["tokens"], b.greedy)


def together():
    """four of each at once, streamed or not, with what is kept: the same ids"""
    wrong = []

    def worker(i):
        client = daemon.client()
        for b in bundles:
            tokens = respond(client, b, stream=i % 2 == 0)["tokens"]
            if tokens != b.greedy:
                wrong.append((b.name, tokens, b.greedy))

    threads = [threading.Thread(target=worker, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong, wrong


def prefixes():
    """a longer prompt gives the same ids with its beginning kept or not; one that sees itself both ways is run whole"""
    fresh = Daemon("".join(section(b) for b in bundles))
    for b in bundles:
        more = b.parts + [{"type": "input_text", "text": "And then?"}]
        warm, cold = respond(daemon.client(), b, more), respond(fresh.client(), b, more)
        assert warm["tokens"] == cold["tokens"], (b.name, warm, cold)
        kept = warm["usage"]["cached_tokens"]
        assert kept == 0 if "paligemma" in b.name else kept >= len(b.ids) - 4, (b.name, warm["usage"])
        assert cold["usage"]["cached_tokens"] == 0
    fresh.stop()


def chunks():
    """steps of a few rows divide no span: the same ids"""
    small = Daemon("".join(section(b).replace("compute=f32", "compute=f32 batch=44") for b in bundles))
    for b in bundles:
        assert respond(small.client(), b)["tokens"] == b.greedy, b.name
    small.stop()


def spans():
    """a picture of more rows than a step can take is refused with a sentence"""
    b = next(b for b in bundles if b.name == "vlm_gemma3_window")
    other = Daemon(section(b).replace("compute=f32", "compute=f32 batch=32"))
    more = {"assistant": "vlm-gemma3-window", "raw": True, "input": [{"type": "message", "role": "user", "content": b.parts}]}
    client = other.client()
    answer = client.answer(client.send("response.create", more, tail=b.tail))
    assert answer["error"]["code"] == -32006 and "larger batch" in answer["error"]["message"], answer
    other.stop()


def long_span():
    """a prompt that sees itself both ways and is longer than a step is meant to be: the same ids alone and beside others"""
    path = folder / "long"
    shutil.copytree(GOLDENS / "vlm_paligemma", path, copy_function=shutil.copyfile)
    config = json.loads((path / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 4096
    (path / "config.json").write_text(json.dumps(config))
    b = Bundle("vlm_paligemma")
    b.path = path
    other, answers = Daemon(section(b)), []
    more = b.parts + [{"type": "input_text", "text": "How long is this? " * 80}]
    alone = respond(other.client(), b, more)
    assert alone["usage"]["input_tokens"] == len(b.ids) + 80 * 18, alone["usage"]
    threads = [threading.Thread(target=lambda: answers.append(respond(other.client(), b, more)["tokens"])) for _ in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert answers == [alone["tokens"]] * 3, answers
    other.stop()
    shutil.rmtree(path)


def detail():
    """detail low does not divide a picture, and is encoded anew"""
    b = next(b for b in bundles if b.name == "vlm_smolvlm_small_tile")
    parts = [dict(p, detail="low") if p["type"] == "input_image" else p for p in b.parts]
    result = respond(daemon.client(), b, parts)
    assert result["usage"]["input_tokens"] < len(b.ids) and not result["usage"]["media"][0]["encoder_cached"], result["usage"]


def bounded():
    """max_tokens bounds the rows that a picture is in the prompt, those of all its pieces; what no division keeps is refused"""
    for b in bundles:
        client = daemon.client()
        picture = next(p for p in b.parts if p["type"] == "input_image")

        def rows(most=None, **more):
            item = {**picture, **more, **({"max_tokens": most} if most else {})}
            answer = client.answer(client.send("embedding.create", {"assistant": b.name.replace("_", "-"), "space": "connector", "input": [
                {"type": "message", "role": "user", "content": [item]}]}, tail=b.tail))
            return answer["result"]["shape"][0] if "result" in answer else answer["error"]["message"]

        all = rows()
        least = min(rows(most) for most in range(1, all + 1) if isinstance(rows(most), int))
        assert rows(all) == all and rows(all + 1) == all and rows(1 << 30) == all, (b.name, all)
        for most in range(least, all):
            assert least <= rows(most) <= most, (b.name, most, rows(most), all)
        assert rows(least - 1) == "This item takes at least %d tokens of the prompt, and max_tokens is %d." % (least, least - 1), (
            b.name, rows(least - 1))
        assert least == all or least == rows(detail="low"), (b.name, least, all)


OWN = {"vision_tower.embeddings.cls_token": "vision_model.embeddings.class_embedding",
       "vision_tower.embeddings.position_embeddings": "vision_model.embeddings.position_embedding",
       "vision_tower.embeddings.patch_embeddings.projection": "vision_model.embeddings.patch_embedding",
       "vision_tower.encoder.layer.": "vision_model.encoder.layers.", "layernorm_before": "norm1", "layernorm_after": "norm2",
       "attention.projection_layer": "attn.proj", "attention.q_norm": "attn.q_norm", "attention.k_norm": "attn.k_norm",
       "lambda_1": "ls1", "lambda_2": "ls2", "multi_modal_projector.layer_norm": "mlp1.0", "multi_modal_projector.linear_1": "mlp1.1",
       "multi_modal_projector.linear_2": "mlp1.3"}


def own_tensors(path):
    """InternVL's tensors as its own code names them; q, k and v lie in one."""
    data = (path / "model.safetensors").read_bytes()
    n, = struct.unpack("<Q", data[:8])
    header, at, made, body = json.loads(data[8:8 + n]), 8 + n, {}, b""
    for name, value in header.items():
        if name == "__metadata__" or ".k_proj" in name and "vision" in name or ".v_proj" in name and "vision" in name:
            continue
        parts, shape = [name], list(value["shape"])
        if "vision" in name and ".q_proj" in name:
            parts = [name, name.replace(".q_proj", ".k_proj"), name.replace(".q_proj", ".v_proj")]
            shape[0] *= 3
            name = name.replace("attention.q_proj", "attn.qkv")
        for old, new in OWN.items():
            name = name.replace(old, new)
        begin = len(body)
        for part in parts:
            first, last = header[part]["data_offsets"]
            body += data[at + first:at + last]
        made[name] = {"dtype": value["dtype"], "shape": shape, "data_offsets": [begin, len(body)]}
    text = json.dumps(made).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)


def own_layout():
    """InternVL's own files: the ids of the same weights in transformers' layout; another shuffle is refused"""
    for b in (b for b in bundles if "internvl" in b.name):
        path = folder / ("own-" + b.name)
        shutil.copytree(b.path, path, copy_function=shutil.copyfile)
        own_tensors(path)
        config = json.loads((path / "config.json").read_text())
        tower = config["vision_config"]
        tower.update(model_type="intern_vit_6b", image_size=tower["image_size"][0], patch_size=tower["patch_size"][0],
                     qkv_bias=tower.pop("attention_bias"), qk_normalization=tower.pop("use_qk_norm"))
        given = {"model_type": "internvl_chat", "downsample_ratio": config["downsample_ratio"], "dynamic_image_size": True, "ps_version": "v2",
                 "min_dynamic_patch": 1, "max_dynamic_patch": 12, "select_layer": -1, "use_thumbnail": True, "vision_config": tower,
                 "llm_config": config["text_config"]}
        (path / "config.json").write_text(json.dumps(given))
        (path / "preprocessor_config.json").write_text(json.dumps({"feature_extractor_type": "CLIPFeatureExtractor", "crop_size": 5}))
        moved = Bundle(b.name)
        moved.path = path
        other = Daemon(section(moved))
        result = respond(other.client(), moved)
        assert result["usage"]["input_tokens"] == len(b.ids) and result["tokens"] == b.greedy, (b.name, result, b.greedy)
        other.stop()
        (path / "config.json").write_text(json.dumps({**given, "ps_version": "v1"}))
        other = Daemon(section(moved))
        answer = other.client().call("response.create", {"assistant": b.name.replace("_", "-"), "input": "x"})
        assert "ps_version" in json.dumps(answer["error"]), answer
        other.stop()


def hostile():
    """configurations that cannot be are refused with one sentence"""
    for case, change, word in (
            ("vlm_smolvlm_small_tile", {"scale_factor": 0}, "scale_factor"),
            ("vlm_smolvlm_small_tile", {"scale_factor": -2}, "scale_factor"),
            ("vlm_smolvlm_small_tile", {"scale_factor": 5}, "blocks of 5 x 5"),
            ("vlm_smolvlm_small_tile", {"scale_factor": 1e9}, "scale_factor"),
            ("vlm_internvl", {"downsample_ratio": 0}, "downsample_ratio"),
            ("vlm_internvl", {"downsample_ratio": 0.3}, "downsample_ratio"),
            ("vlm_internvl", {"downsample_ratio": -0.5}, "downsample_ratio"),
            ("vlm_gemma3_window", {"mm_tokens_per_image": 0}, "mm_tokens_per_image"),
            ("vlm_gemma3_window", {"mm_tokens_per_image": 1000000}, "do not make"),
            ("vlm_paligemma", {"vision_config": {"patch_size": 0}}, "patch_size"),
            ("vlm_internvl", {"vision_config": {"image_size": [-28, 28]}}, "image_size"),
            ("vlm_internvl", {"vision_config": {"norm_type": "batch_norm"}}, "norm")):
        path = folder / "hostile"
        shutil.copytree(GOLDENS / case, path, copy_function=shutil.copyfile)
        config = json.loads((path / "config.json").read_text())
        for key, value in change.items():
            config[key] = {**config[key], **value} if isinstance(value, dict) else value
        (path / "config.json").chmod(0o644)
        (path / "config.json").write_text(json.dumps(config))
        other = Daemon("[assistant default]\nmodel = %s\n" % path)
        client = other.client()
        answer = client.call("response.create", {"input": "x"})
        assert "error" in answer and word in json.dumps(answer["error"]), (case, change, answer)
        other.stop()
        shutil.rmtree(path)


try:
    run([alone, together, prefixes, chunks, spans, long_span, detail, bounded, own_layout, hostile])
finally:
    daemon.stop()
    shutil.rmtree(folder)
