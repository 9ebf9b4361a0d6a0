"""mllama.py - a small Llama 3.2 Vision through perceptd: the reference's ids with pictures in text, side by side, and with text alone; one
at a time and many at once, cold and with what the decoder has kept."""
import json, pathlib, shutil, tempfile, threading
from system import Daemon, GOLDENS, run

CASE = GOLDENS / "vlm_mllama"
INFO = json.loads((CASE / "case.json").read_text())
PICTURES = [(CASE / ("image%d.png" % i)).read_bytes() for i in range(2)]
PROMPTS = INFO["prompts"]
folder = pathlib.Path(tempfile.mkdtemp(prefix="percept-mllama-"))


def section(name, decoder="", encoder="", connector=""):
    return ("[assistant %s]\nmodel = %s\ndecoder = causal compute=f32 %s\nimage.encoder = mllama compute=f32 %s\n"
            "image.connector = cross_attention compute=f32 %s\n" % (name, CASE, decoder, encoder, connector))


def content(parts):
    at = [0, len(PICTURES[0])]
    return [{"type": "input_text", "text": p["text"]} if "text" in p else
            {"type": "input_image", "bin": [at[p["image"]], len(PICTURES[p["image"]])], **p.get("more", {})} for p in parts]


def respond(client, parts, assistant="exact", **more):
    more = {"assistant": assistant, "raw": True, "max_output_tokens": 12, "return_tokens": True,
            "input": [{"type": "message", "role": "user", "content": content(parts)}], **more}
    answer = client.answer(client.send("response.create", more, tail=b"".join(PICTURES)))
    assert "result" in answer, (parts, answer)
    return answer["result"]


daemon = Daemon(section("exact") + section("chunks", decoder="batch=3") + section("none", connector="leading=none") +
                section("meta", encoder="states=before", connector="leading=none") + "[assistant usual]\nmodel = %s\n" % CASE)


def check(client, name, assistant="exact", ids="greedy_ids", **more):
    want, got = PROMPTS[name], respond(client, PROMPTS[name]["parts"], assistant, **more)
    assert got["usage"]["input_tokens"] == len(want["input_ids"]), (name, got["usage"], len(want["input_ids"]))
    assert got["tokens"] == want[ids], (name, assistant, got["tokens"], want[ids])


def alone():
    """each prompt gives the reference's ids, from as many tokens: in float32, and as it is by default"""
    client = daemon.client()
    for assistant in ("exact", "usual"):
        for name in PROMPTS:
            check(client, name, assistant)


def chunks():
    """steps of three rows divide runs of pictures: the same ids"""
    client = daemon.client()
    for name in PROMPTS:
        check(client, name, "chunks")


def together():
    """eight at once, pictures and text mixed, streamed or not: the same ids"""
    wrong, names = [], list(PROMPTS)

    def worker(i):
        client = daemon.client()
        for k in range(2 * len(names)):
            try:
                check(client, names[(i + k) % len(names)], "chunks" if i % 4 == 3 else "exact", stream=k % 2 == 0)
            except AssertionError as error:
                wrong.append(error)

    threads = [threading.Thread(target=worker, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong, wrong


def prefixes():
    """rows are kept for prompts with the same pictures, and only for those: text before a picture attends it"""
    begin, more = "A long beginning of the prompt, then ", {"text": " And what else?"}
    picture, other = [{"text": begin}, {"image": 1}, {"text": "!"}], [{"text": begin}, {"image": 0}, {"text": "!"}]
    fresh = Daemon(section("exact"))
    for parts, least, most in ((picture, 0, 0), (picture + [more], 38, 999), (other, 0, 1), (other + [more], 38, 999),
                               (picture + [more, {"image": 0}], 0, 1), ([{"text": begin}, more], 0, 1),
                               ([{"text": begin}, more, more], 38, 999)):
        warm = respond(fresh.client(), parts)
        cold = Daemon(section("exact"))
        assert respond(cold.client(), parts)["tokens"] == warm["tokens"], parts
        cold.stop()
        assert least <= warm["usage"]["cached_tokens"] <= most, (parts, warm["usage"])
    fresh.stop()


def leading():
    """where text before the first picture attends none, it is shared by prompts with other pictures, and has the answers of text alone"""
    begin = "A long beginning of the prompt, then "
    client = daemon.client()
    respond(client, [{"text": begin}, {"image": 1}, {"text": "!"}], "none")
    second = respond(client, [{"text": begin}, {"image": 0}, {"text": "!"}], "none")
    assert second["usage"]["cached_tokens"] >= 37, second["usage"]
    cold = Daemon(section("none", connector="leading=none"))
    assert respond(cold.client(), [{"text": begin}, {"image": 0}, {"text": "!"}], "none")["tokens"] == second["tokens"]
    cold.stop()
    assert respond(client, [{"text": begin}, {"image": 1}, {"text": "!"}])["tokens"] == PROMPTS["late"]["greedy_ids"]


def options():
    """with two options the parts do as Meta's own code: the ids of a reference that was changed so"""
    for name in PROMPTS:
        check(daemon.client(), name, "meta", "meta_ids")


def detail():
    """detail low is one tile, encoded anew; a picture is one row of the prompt in any case"""
    client = daemon.client()
    high = respond(client, [{"image": 1}, {"text": "What?"}])
    low = respond(client, [{"image": 1, "more": {"detail": "low"}}, {"text": "What?"}])
    assert low["usage"]["input_tokens"] == high["usage"]["input_tokens"] == 7, (low["usage"], high["usage"])
    assert not low["usage"]["media"][0]["encoder_cached"] and low["tokens"] != high["tokens"], (low, high)
    assert respond(client, [{"image": 1}, {"text": "What?"}])["usage"]["media"][0]["encoder_cached"]


def look():
    """what the encoder saw is the picture's tiles, and none that is padding"""
    client = daemon.client()
    parts = content([{"image": 1}, {"image": 0}])
    seen = client.answer(client.send("image.look", {"assistant": "exact", "input": [{"type": "message", "role": "user", "content": parts}]},
                                     tail=b"".join(PICTURES)))["result"]["images"]
    assert [(i["tiles"], i["grid_rows"], i["grid_cols"]) for i in seen] == [(3, 3, 1), (2, 1, 2)], seen


def hostile():
    """configurations that cannot be are refused with one sentence"""
    for inner, change, word in (
            ("vision_config", {"max_num_tiles": 0}, "max_num_tiles"),
            ("vision_config", {"max_num_tiles": 6}, "tile_embedding"),
            ("vision_config", {"vision_output_dim": 64}, "vision_output_dim"),
            ("text_config", {"cross_attention_layers": [1, 1]}, "cross_attention_layers"),
            ("text_config", {"cross_attention_layers": [1, 9]}, "cross_attention_layers"),
            ("text_config", {"cross_attention_layers": [0, 1, 2, 3]}, "cross_attention_layers"),
            ("text_config", {"num_hidden_layers": 5}, "layers.4.")):
        path = folder / "hostile"
        shutil.copytree(CASE, path, copy_function=shutil.copyfile)
        config = json.loads((path / "config.json").read_text())
        config[inner].update(change)
        (path / "config.json").write_text(json.dumps(config))
        other = Daemon("[assistant default]\nmodel = %s\n" % path)
        client = other.client()
        answer = client.call("response.create", {"input": "x"})
        assert "error" in answer and word in json.dumps(answer["error"]), (change, answer)
        other.stop()
        shutil.rmtree(path)


try:
    run([alone, chunks, together, prefixes, leading, options, detail, look, hostile])
finally:
    daemon.stop()
    shutil.rmtree(folder)
