"""see.py - assistants that see: swapped under load, put together wrongly, their pictures encoded once, many at the same time."""
import json, os, shutil, subprocess, threading
from picture import COLOURS, shape, words
from system import BUILD, Daemon, E2E, GOLDENS, SOURCE, run

TINY = SOURCE / "models" / "tiny-llava"
PICTURE = E2E / "00_easyvqa.png"
DEFAULT = "[assistant default]\nmodel = tiny-llava\n"


def bundles(daemon):
    """Assistants of other families, one after the other: name, lines, what assistant.list must say of its parts."""
    out = []
    for name, decoder, encoder in (("vlm_llava", "causal", "clip"), ("vlm_llava_siglip", "causal", "siglip"),
                                   ("vlm_llava_f16_two_images", "causal", "clip")):
        folder = daemon.folder / name
        shutil.copytree(GOLDENS / name, folder)
        words(folder)
        out.append((f"model = {folder}\n", {"decoder": decoder, "image.encoder": encoder, "image.connector": "mlp"}))
    out.append((f"decoder = causal model={TINY}\nimage.encoder = clip model={TINY}\nimage.connector = mlp model={TINY}\n",
                {"decoder": "causal", "image.encoder": "clip", "image.connector": "mlp"}))
    out.append(("decoder = echo\nimage.encoder = colours\nimage.connector = mlp\n", None))
    out.append(("decoder = echo\n", {"decoder": "echo"}))
    out.append(("model = tiny-llava\n", {"decoder": "causal", "image.encoder": "clip", "image.connector": "mlp"}))
    return out


def swapped():
    """one assistant after another takes over on a running daemon, under load; each answers, and no request fails"""
    daemon = Daemon(DEFAULT)
    done, wrong, count = threading.Event(), [], [0, 0]

    def worker(image):
        client = daemon.client()
        while not done.is_set():
            answer = client.ask("what is it", image, max_output_tokens=6, stream=True)
            count[0 if image is None else 1] += 1
            # The assistant without eyes refuses pictures, by one sentence.
            if "result" not in answer and not (image and answer["error"]["code"] == -32602 and "does not take" in answer["error"]["message"]):
                wrong.append(answer)

    threads = [threading.Thread(target=worker, args=(i,)) for i in (PICTURE, PICTURE, None)]
    try:
        client = daemon.client()
        todo = bundles(daemon)
        [t.start() for t in threads]
        for lines, parts in todo:
            daemon.config.write_text("[assistant default]\n" + lines)
            answer = client.call("config.reload")
            if parts is None:
                assert answer["error"]["message"].strip(), answer
                continue
            assert "result" in answer, (lines, answer)
            listed = client.call("assistant.list")["result"][0]
            assert {m["role"]: m["plugin"] for m in listed["modules"]} == parts, listed
            answer = client.ask("what is it", PICTURE if "image.encoder" in parts else None, max_output_tokens=6)
            assert answer["result"]["usage"]["output_tokens"] > 0, answer
            assert [m["type"] for m in answer["result"]["usage"]["media"]] == ["image"] * ("image.encoder" in parts), answer
        assert client.ask("is there not a gray shape?", PICTURE)["result"]["output_text"].strip() == "yes"
        done.set()
        [t.join() for t in threads]
        assert min(count) >= len(todo) and not wrong, (count, wrong[:3])
    finally:
        done.set()
        daemon.stop()


def wrong_pairs():
    """parts that do not fit are refused by one sentence that names both; the assistant that ran goes on"""
    daemon = Daemon(DEFAULT)
    other, gpt = GOLDENS / "vlm_llava", GOLDENS / "dec_gpt2"
    tiny = {"decoder": f"causal model={TINY}", "image.encoder": f"clip model={TINY}", "image.connector": f"mlp model={TINY}"}
    pairs = [
        ({"image.encoder": f"clip model={other}"}, ("Encoder clip", "vlm_llava", "connector mlp", "tiny-llava")),
        ({"image.encoder": f"siglip model={GOLDENS}/vis_siglip"}, ("Encoder siglip", "vis_siglip", "connector mlp", "tiny-llava")),
        ({"image.encoder": f"dinov2 model={GOLDENS}/vis_dinov2"}, ("Encoder dinov2", "vis_dinov2", "connector mlp", "tiny-llava")),
        ({"image.connector": f"mlp model={other}"}, ("Encoder clip", "tiny-llava", "connector mlp", "vlm_llava")),
        ({"decoder": f"causal model={gpt}"}, ("Connector mlp", "tiny-llava", "decoder causal", "dec_gpt2")),
        ({"decoder": "echo"}, ("Connector mlp", "tiny-llava", "decoder echo")),
        ({"image.encoder": f"mlp model={TINY}"}, ("mlp", "image.encoder")),
        ({"image.connector": f"clip model={TINY}"}, ("clip", "image.connector")),
        ({"decoder": f"clip model={TINY}"}, ("clip", "decoder")),
        ({"image.encoder": None}, ("image.connector", "image.encoder")),
        ({"image.connector": None}, ("image.encoder", "image.connector")),
    ]
    try:
        client = daemon.client()
        for change, names in pairs:
            parts = {**tiny, **change}
            daemon.config.write_text("[assistant default]\n" + "".join(f"{k} = {v}\n" for k, v in parts.items() if v))
            answer = client.call("config.reload")
            text = answer.get("error", {}).get("message", "")
            assert all(n in text for n in names) and "\n" not in text and text.rstrip().endswith("."), (change, answer)
            assert client.ask("is there not a gray shape?", PICTURE)["result"]["tokens"] == [345, 2]
    finally:
        daemon.stop()


def encoded_once():
    """the same picture is encoded once, whoever sends it and by whatever name; others, and others' encoders, are not"""
    daemon = Daemon(DEFAULT + f"[assistant second]\nmodel = {TINY}\nimage.encoder = clip class_token=false\n"
                    f"[assistant whole]\ndecoder = causal model={TINY}\nimage.connector = mlp model={TINY}\n"
                    f"image.encoder = clip model={TINY} class_token=true\n")
    try:
        one, two = daemon.client(), daemon.client()
        first = daemon.folder / "first.png"
        first.write_bytes(shape("red", "circle"))
        shutil.copy(first, daemon.folder / "other-name.png")
        (daemon.folder / "same-size.png").write_bytes(shape("red", "circle", x=30))
        (daemon.folder / "larger.png").write_bytes(shape("red", "circle", side=65))

        def asked(client, name, shared=False, **more):
            before = daemon.status()["cache"]
            answer = client.ask("Describe the picture.", daemon.folder / name, **more)["result"]
            after = daemon.status()["cache"]
            cached = answer["usage"]["media"][0]["encoder_cached"]
            hit = cached and not shared
            assert (after["misses"] - before["misses"], after["hits"] - before["hits"]) == ((0, 1) if hit else (1, 0)), (before, after)
            assert cached or answer["timings"]["encode_ms"] > 0
            return cached

        def encodes():
            return daemon.status()["stages"]["encode"]["count"]

        assert not asked(one, "first.png")
        count = encodes()
        assert asked(one, "first.png") and asked(two, "first.png") and asked(two, "other-name.png")
        fd = os.open(daemon.folder / "other-name.png", os.O_RDONLY)
        part = {"type": "input_image", "fd": 0}
        content = [{"type": "message", "role": "user", "content": [part, {"type": "input_text", "text": "Describe the picture."}]}]
        answer = two.answer(two.send("response.create", {"input": content, "stream": False}, fds=[fd]))["result"]
        os.close(fd)
        assert answer["usage"]["media"][0]["encoder_cached"] and "red circle" in answer["output_text"], answer
        assert encodes() == count, "a picture that was known was encoded again"
        assert not asked(one, "same-size.png") and not asked(one, "larger.png")
        assert not asked(one, "first.png", assistant="whole")
        # The same encoder of another assistant need not encode it.
        assert asked(one, "first.png", assistant="second", shared=True)
        assert asked(two, "first.png", assistant="second") and asked(one, "first.png")
        assert encodes() == count + 3
        # Asked at the same time, the one encode serves all.
        (daemon.folder / "new.png").write_bytes(shape("blue", "triangle"))
        clients = [daemon.client() for _ in range(8)]
        data = (daemon.folder / "new.png").read_bytes()
        part = {"type": "input_image", "bin": [0, len(data)]}
        content = [{"type": "message", "role": "user", "content": [part, {"type": "input_text", "text": "Describe the picture."}]}]
        ids = [c.send("response.create", {"input": content, "stream": False}, tail=data) for c in clients]
        answers = [c.answer(i)["result"] for c, i in zip(clients, ids)]
        assert [a["usage"]["media"][0]["encoder_cached"] for a in answers].count(False) == 1 and encodes() == count + 4
        assert len({a["output_text"] for a in answers}) == 1
    finally:
        daemon.stop()


def by_detail():
    """another detail of the same picture is encoded for itself, and refused where the encoder knows no such thing"""
    daemon = Daemon(DEFAULT)
    try:
        client = daemon.client()
        data = PICTURE.read_bytes()

        def ask(**detail):
            part = {"type": "input_image", "bin": [0, len(data)], **detail}
            return client.call("response.create", {"stream": False, "max_output_tokens": 2, "input": [
                {"type": "message", "role": "user", "content": [part, {"type": "input_text", "text": "what"}]}]}, tail=data)

        assert not ask()["result"]["usage"]["media"][0]["encoder_cached"]
        assert ask(detail="auto")["result"]["usage"]["media"][0]["encoder_cached"]
        for detail in ("low", "high"):
            error = ask(detail=detail)["error"]
            assert error["code"] == -32602 and error["data"]["path"].endswith("detail") and "clip" in error["message"], error
        # A bound that changes nothing makes no other picture.
        assert ask(max_tokens=64)["result"]["usage"]["media"][0]["encoder_cached"]
        error = ask(max_tokens=63)["error"]
        assert error["code"] == -32602 and "63" in error["message"], error
        # The same model, its pictures cut into tiles: low is the whole picture alone.
        shutil.copytree(TINY, daemon.folder / "tiles")
        file = daemon.folder / "tiles" / "preprocessor_config.json"
        values = json.loads(file.read_text())
        values.update(image_processor_type="LlavaNextImageProcessor", image_grid_pinpoints=[[64, 128], [128, 64], [128, 128]])
        file.write_text(json.dumps(values))
        daemon.config.write_text(f"[assistant default]\nmodel = {daemon.folder}/tiles\n")
        assert "result" in client.call("config.reload")
        medias = [ask(**d)["result"]["usage"]["media"][0] for d in ({}, {"detail": "low"}, {"detail": "low"}, {"detail": "auto"})]
        assert [m["encoder_cached"] for m in medias] == [False, False, True, True], medias
        assert medias[0]["tokens"] > 64 and medias[1]["tokens"] == 64, medias
    finally:
        daemon.stop()


def sixty_four():
    """64 clients with a picture each at once: every answer is about its own, and what it is alone"""
    pictures = []
    for i in range(64):
        colour, kind = list(COLOURS)[i % 8], ("circle", "triangle", "square")[i % 3]
        pictures.append((colour, kind, shape(colour, kind, x=32 + i % 5 - 2, y=32 + i // 5 % 7 - 3, radius=14 + i // 16)))
    assert len({data for _, _, data in pictures}) == 64

    def content(data):
        return {"stream": False, "return_tokens": True, "input": [{"type": "message", "role": "user", "content": [
            {"type": "input_image", "bin": [0, len(data)]}, {"type": "input_text", "text": "Describe the picture."}]}]}

    daemon = Daemon(DEFAULT)
    try:
        clients = [daemon.client(120) for _ in pictures]
        ids = [c.send("response.create", content(p[2]), tail=p[2]) for c, p in zip(clients, pictures)]
        together = [c.answer(i)["result"] for c, i in zip(clients, ids)]
        assert daemon.status()["cache"]["misses"] == 64
    finally:
        daemon.stop()
    daemon = Daemon(DEFAULT)
    try:
        client = daemon.client()
        for (colour, kind, data), answer in zip(pictures, together):
            alone = client.answer(client.send("response.create", content(data), tail=data))["result"]
            assert answer["tokens"] == alone["tokens"], (colour, kind, answer, alone)
            assert colour in answer["output_text"], (colour, kind, answer["output_text"])
        named = sum(kind in answer["output_text"] for (_, kind, _), answer in zip(pictures, together))
        assert named >= 60, [(k, a["output_text"]) for (_, k, _), a in zip(pictures, together)]
    finally:
        daemon.stop()


def interleaved():
    """several pictures between words keep their order, from the command line too"""
    daemon = Daemon("[assistant default]\ndecoder = echo\n")
    try:
        shutil.copytree(GOLDENS / "vlm_llava_f16_two_images", daemon.folder / "two")
        words(daemon.folder / "two")
        daemon.config.write_text(f"[assistant two]\nmodel = {daemon.folder}/two\n")
        client = daemon.client()
        assert "result" in client.call("config.reload")
        files = []
        for i, colour in enumerate(("red", "blue")):
            files.append(daemon.folder / f"{colour}.png")
            files[i].write_bytes(shape(colour, "circle", side=80 + i))

        def ask(*given):
            done = subprocess.run([str(BUILD / "percept"), "-S", str(daemon.path), "--no-start", "-A", "two", "ask", "--json", "-n", "2",
                                   "--raw", *map(str, given)], env=daemon.env, capture_output=True, text=True, timeout=60,
                                  stdin=subprocess.DEVNULL)
            assert done.returncode == 0, done
            return json.loads(done.stdout)["usage"]

        one = ask("abc", "-i", files[0], "def")
        both = ask("abc", "-i", files[0], "de", "-i", files[1], "fgh")
        swap = ask("abc", "-i", files[1], "de", "-i", files[0], "fgh")
        each = one["media"][0]["tokens"]
        assert [m["tokens"] for m in both["media"]] == [each, each] and both["input_tokens"] == one["input_tokens"] + each + 2, (one, both)
        assert all(m["encoder_cached"] for m in swap["media"]) and swap["cached_tokens"] < both["input_tokens"], swap
        # The prefix that the kept sequences share with it is the words before the first picture.
        assert ask("abc", "-i", files[1], "de", "-i", files[0], "fgh")["cached_tokens"] == swap["input_tokens"] - 1
    finally:
        daemon.stop()


run([swapped, wrong_pairs, encoded_once, by_detail, sixty_four, interleaved])
