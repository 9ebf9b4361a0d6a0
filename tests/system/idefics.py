"""idefics.py - a small Idefics and a small OpenFlamingo through perceptd: the references' ids from text and pictures, alone, beside texts and
other pictures, cold and with what the decoder has kept; configurations that cannot be."""
import json, pathlib, shutil, struct, tempfile, threading
from system import Daemon, GOLDENS, run

CASE, FLAMINGO = GOLDENS / "vlm_idefics_small", GOLDENS / "vlm_openflamingo"
folder = pathlib.Path(tempfile.mkdtemp(prefix="percept-idefics-"))
case = json.loads((CASE / "case.json").read_text())


def integers(name, path=CASE):
    data = (path / "io.safetensors").read_bytes()
    n, = struct.unpack("<Q", data[:8])
    begin, end = json.loads(data[8:8 + n])[name]["data_offsets"]
    return list(struct.unpack("<%di" % ((end - begin) // 4), data[8 + n + begin:8 + n + end]))


IDS, GREEDY = integers("in.input_ids"), integers("out.greedy_ids")


def content(parts, path=CASE):
    """The prompt's parts for a request, and its tail."""
    made, tail = [], b""
    for part in parts:
        if "text" in part:
            made.append({"type": "input_text", "text": part["text"]})
        else:
            data = (path / ("image%d.png" % part["image"])).read_bytes()
            made.append({"type": "input_image", "bin": [len(tail), len(data)]})
            tail += data
    return made, tail


def respond(client, parts=case["parts"], path=CASE, **more):
    made, tail = content(parts, path)
    params = {"raw": True, "max_output_tokens": 12, "return_tokens": True, "input": [
        {"type": "message", "role": "user", "content": made}], **more}
    answer = client.answer(client.send("response.create", params, tail=tail))
    assert "result" in answer, answer
    return answer["result"]


CONFIG = "[assistant default]\nmodel = %s\ndecoder = causal compute=f32%s\n"
daemon = Daemon(CONFIG % (CASE, ""))
SWAPPED = [{"text": "Look: "}, {"image": 1}, {"image": 0}, {"text": "8N"}, {"image": 0}, {"text": "and?"}]
LATER = [{"text": "Look: "}, {"image": 0}, {"image": 1}, {"text": "8N"}, {"image": 1}, {"text": "and?"}]
TEXT = [{"text": "Look: 8Nand?"}]


def alone():
    """the reference's ids, from as many tokens; a picture's place is its marker and what goes around it"""
    result = respond(daemon.client())
    assert result["usage"]["input_tokens"] == len(IDS), (result["usage"], len(IDS))
    assert result["tokens"] == GREEDY, (result["tokens"], GREEDY)
    assert [m["type"] for m in result["usage"]["media"]] == ["image"] * 3, result["usage"]


def prefixes():
    """what is kept of a prompt serves another with the same pictures up to there, and none else: as cold"""
    warm, seen = daemon.client(), {}
    for name, parts in (("same", case["parts"]), ("swapped", SWAPPED), ("later", LATER), ("text", TEXT), ("same", case["parts"]),
                        ("later", LATER), ("text", TEXT), ("swapped", SWAPPED)):
        fresh = Daemon(CONFIG % (CASE, ""))
        cold, kept = respond(fresh.client(), parts), respond(warm, parts)
        fresh.stop()
        assert cold["usage"]["cached_tokens"] == 0, cold["usage"]
        assert kept["tokens"] == cold["tokens"], (name, kept, cold)
        seen[name] = kept["tokens"]
    assert seen["same"] == GREEDY and len({str(t) for t in seen.values()}) >= 3, seen
    more = case["parts"] + [{"text": " And then?"}]
    kept = respond(warm, more)
    assert kept["usage"]["cached_tokens"] >= len(IDS) - 4, kept["usage"]


def together():
    """eight at once, four of them texts, streamed or not: each as alone"""
    prompts = [case["parts"], TEXT, SWAPPED, TEXT, LATER, [{"text": "and? 8N"}], case["parts"], TEXT]
    alone = [respond(daemon.client(), p)["tokens"] for p in prompts]
    wrong = []

    def worker(i):
        client = daemon.client()
        for turn in range(3):
            tokens = respond(client, prompts[i], stream=turn % 2 == 0)["tokens"]
            if tokens != alone[i]:
                wrong.append((i, turn, tokens, alone[i]))

    threads = [threading.Thread(target=worker, args=(i,)) for i in range(len(prompts))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong, wrong


def chunks():
    """steps of a few rows: the same ids"""
    small = Daemon(CONFIG % (CASE, " batch=5"))
    assert respond(small.client())["tokens"] == GREEDY
    small.stop()


def parts():
    """encoder, connector and decoder named one by one make the same assistant"""
    other = Daemon("[assistant default]\ndecoder = causal compute=f32 model=%s\nimage.encoder = idefics model=%s\n"
                   "image.connector = gated_cross_attention model=%s\n" % (CASE, CASE, CASE))
    assert respond(other.client())["tokens"] == GREEDY
    other.stop()


def cancel():
    """a cancelled request leaves the others as they are"""
    client, other = daemon.client(), daemon.client()
    made, tail = content(case["parts"])
    id = client.send("response.create", {"raw": True, "max_output_tokens": 200, "input": [
        {"type": "message", "role": "user", "content": made}]}, tail=tail)
    client.call("response.cancel", {"request_id": id})
    assert respond(other)["tokens"] == GREEDY


def chat():
    """without a chat template: turns of User: and Assistant:, as the model's own code has them, with the token that ends one if there is one"""
    parts = [{"image": 0}, {"text": "What?"}]
    plain = [{"text": "User:"}, {"image": 0}, {"text": "What?\nAssistant:"}]
    assert respond(daemon.client(), parts, raw=False)["tokens"] == respond(daemon.client(), plain)["tokens"]
    path = folder / "ends"
    shutil.copytree(CASE, path, copy_function=shutil.copyfile)
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    ids = tokenizer["model"]["vocab"]
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": ids.pop("~"), "content": "<end_of_utterance>"})
    (path / "tokenizer.json").chmod(0o644)
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    other = Daemon(CONFIG % (path, ""))
    more = respond(other.client(), parts, raw=False)["usage"]["input_tokens"]
    assert more == respond(daemon.client(), parts, raw=False)["usage"]["input_tokens"] + 1, more
    other.stop()


def flamingo():
    """OpenFlamingo's folder, which names those of its tower and its language model, and the same named part by part: the reference's ids"""
    parts = json.loads((FLAMINGO / "case.json").read_text())["parts"]
    ids, greedy = integers("in.input_ids", FLAMINGO), integers("out.greedy_ids", FLAMINGO)
    for config in ("model = %s\ndecoder = causal compute=f32\n" % FLAMINGO,
                   "decoder = causal compute=f32 model=%s/lm words=%s\nimage.encoder = openclip model=%s/clip layer=-1 class_token=no "
                   "norm=no\nimage.connector = gated_cross_attention model=%s\n" % (FLAMINGO, FLAMINGO, FLAMINGO, FLAMINGO)):
        other = Daemon("[assistant default]\n" + config)
        for turn in range(2):
            result = respond(other.client(), parts, FLAMINGO)
            assert result["usage"]["input_tokens"] == len(ids), (result["usage"], len(ids))
            assert result["tokens"] == greedy, (result["tokens"], greedy)
        other.stop()


def refused(path, change, word):
    """The model there with another configuration."""
    copy = folder / "hostile"
    shutil.copytree(path, copy, copy_function=shutil.copyfile)
    config = json.loads((copy / "config.json").read_text())
    for key, value in change.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    (copy / "config.json").chmod(0o644)
    (copy / "config.json").write_text(json.dumps(config))
    other = Daemon("[assistant default]\nmodel = %s\n" % copy)
    answer = other.client().call("response.create", {"input": "x"})
    assert "error" in answer and word in json.dumps(answer["error"]), (change, answer)
    other.stop()
    shutil.rmtree(copy)


def hostile():
    """configurations that cannot be are refused with one sentence"""
    for change, word in (
            ({"lang_encoder_path": "nowhere"}, "lang_encoder_path"),
            ({"lang_encoder_path": 7}, "lang_encoder_path"),
            ({"lang_encoder_path": "clip"}, "lang_encoder_path"),
            ({"lang_encoder_path": "."}, "lang_encoder_path"),
            ({"clip_vision_encoder_path": "../" * 2000}, "clip_vision_encoder_path"),
            ({"clip_vision_encoder_path": "ViT-L-14"}, "clip_vision_encoder_path"),
            ({"clip_vision_encoder_path": "lm"}, "clip_vision_encoder_path"),
            ({"dim_head": 0}, "dim_head"),
            ({"dim_head": 5}, "heads"),
            ({"heads": -3}, "heads"),
            ({"dim": 17}, "shape"),
            ({"dim_visual": 13}, "rows of 12"),
            ({"depth": 2}, "layers.1"),
            ({"num_latents": 5}, "latents"),
            ({"only_attend_immediate_media": "perhaps"}, "only_attend_immediate_media")):
        refused(FLAMINGO, change, word)
    for change, word in (
            ({"cross_layer_interval": 0}, "cross_layer_interval"),
            ({"cross_layer_interval": 3}, "cross_layer_interval"),
            ({"cross_layer_interval": 1}, "gated_cross_attn_layers.2"),
            ({"additional_vocab_size": -1}, "additional_vocab_size"),
            ({"additional_vocab_size": 3}, "additional_embedding"),
            ({"additional_vocab_size": 1e12}, "additional_vocab_size"),
            ({"hidden_size": 0}, "hidden_size"),
            ({"num_attention_heads": 3}, "heads"),
            ({"num_hidden_layers": 6}, "layers"),
            ({"num_hidden_layers": 1000000}, "num_hidden_layers"),
            ({"rms_norm_eps": -1}, "epsilon"),
            ({"use_resampler": "yes"}, "use_resampler"),
            ({"vision_config": {"embed_dim": 0}}, "embed_dim"),
            ({"vision_config": {"patch_size": 0}}, "patch_size"),
            ({"perceiver_config": {"resampler_depth": 0}}, "resampler_depth"),
            ({"perceiver_config": {"resampler_depth": 3}}, "blocks.1."),
            ({"perceiver_config": {"resampler_n_heads": 7}}, "heads"),
            ({"perceiver_config": {"resampler_head_dim": 0}}, "resampler_head_dim"),
            ({"perceiver_config": {"resampler_n_latents": 99999999}}, "resampler_n_latents"),
            ({"perceiver_config": {"resampler_n_latents": 4}}, "latents")):
        refused(CASE, change, word)


try:
    run([alone, prefixes, together, chunks, parts, cancel, chat, flamingo, hostile])
finally:
    daemon.stop()
    shutil.rmtree(folder)
