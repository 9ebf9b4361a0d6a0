"""files.py - damaged and hostile model files and pictures: an error each time, and nothing else is lost."""
import os, random, shutil, struct, subprocess, time, zlib
from system import BUILD, Daemon, E2E, SOURCE, run, wait_for

MODEL = SOURCE / "models" / "tiny-llava"
daemon = Daemon()


def ask(data, text="what?"):
    client = daemon.client()
    try:
        return client.answer(client.send("response.create", {"input": [{"type": "message", "role": "user", "content": [
            {"type": "input_image", "bin": [0, len(data)]}, {"type": "input_text", "text": text}]}], "max_output_tokens": 4}, tail=data))
    finally:
        client.close()


def healthy():
    answer = ask((E2E / "00_easyvqa.png").read_bytes(), "is there not a gray shape?")
    assert answer["result"]["output_text"].strip() == "yes", answer


def png(width, height, rows=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(
        b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def bombs():
    """a 16000 x 16000 picture in a few kilobytes is refused at once"""
    healthy()
    bomb = png(16000, 16000, b"\0" * (1 << 20))
    times = []
    for _ in range(5):
        started = time.monotonic()
        answer = ask(bomb)
        times.append(time.monotonic() - started)
        assert answer["error"]["code"] == -32008, answer
    assert sorted(times)[2] < 0.1, times
    for width, height in ((0, 0), (0, 5), (5, 0), (2**31 - 1, 1), (1, 2**31 - 1), (2**32 - 1, 2**32 - 1), (70000, 70000)):
        assert ask(png(width, height))["error"]["code"] == -32008
    healthy()


def disguised():
    """texts of concatenation and streaming formats under an image's name are no images"""
    for data in (b"ffconcat version 1.0\nfile /etc/passwd\n", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", b"#EXTM3U\nhttp://localhost/\n", b"",
                 b"\0" * 4096, b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\xff\xff\xff\xffWEBPVP8 ", b"<svg/>", b"P6 9 9 255\n"):
        if data:
            answer = ask(data)
            assert answer["error"]["code"] == -32008 and len(answer["error"]["message"]) > 10, (data[:20], answer)
    healthy()


def damaged_pictures():
    """pictures cut and flipped anywhere: an answer or an error, never a hang"""
    seed = random.Random(3)
    for name in ("00_easyvqa.png", "05_easyvqa.jpg", "17_text.png", "09_pair.jpg"):
        data = (E2E / name).read_bytes()
        for _ in range(25):
            bad = bytearray(data)
            for _ in range(seed.randrange(1, 6)):
                bad[seed.randrange(len(bad))] = seed.randrange(256)
            if seed.randrange(2):
                bad = bad[:seed.randrange(1, len(bad))]
            answer = ask(bytes(bad))
            assert "result" in answer or answer["error"]["code"] == -32008, answer
    healthy()


def loads(folder):
    """Exit status and text of a check of an assistant on a model folder."""
    config = daemon.folder / "check.conf"
    config.write_text(f"[assistant default]\nmodel = {folder}\n")
    done = subprocess.run([str(BUILD / "perceptd"), "--check", "-c", str(config)], env=daemon.env, capture_output=True, text=True,
                          timeout=60)
    return done.returncode, done.stdout + done.stderr


def damaged_weights():
    """safetensors cut and flipped in its header: refused by a sentence with the file's name, or loaded; no crash"""
    folder = daemon.folder / "damaged"
    shutil.copytree(MODEL, folder)
    assert loads(folder)[0] == 0, loads(folder)
    file = folder / "model.safetensors"
    data = file.read_bytes()
    header = 8 + struct.unpack("<Q", data[:8])[0]
    seed = random.Random(5)
    places = sorted(seed.sample(range(8), 4) + seed.sample(range(8, header), 14))
    for at in places:
        file.write_bytes(data[:at])
        status, text = loads(folder)
        assert status == 1 and "model.safetensors" in text, (at, status, text)
        flipped = bytearray(data)
        flipped[at] ^= 1 << seed.randrange(8)
        file.write_bytes(flipped)
        status, text = loads(folder)
        assert status in (0, 1) and (status == 0 or "model" in text or "config" in text), (at, status, text)
    file.write_bytes(data[:-1])
    assert loads(folder)[0] == 1


def damaged_configs():
    """config.json with absurd numbers: a sentence each"""
    folder = daemon.folder / "configs"
    shutil.copytree(MODEL, folder)
    text = (MODEL / "config.json").read_text()
    for old, new in (('"hidden_size": 192', '"hidden_size": 0'), ('"hidden_size": 192', '"hidden_size": 1e300'),
                     ('"num_attention_heads": 6', '"num_attention_heads": 0'), ('"num_attention_heads": 6', '"num_attention_heads": 7'),
                     ('"num_key_value_heads": 2', '"num_key_value_heads": -1'), ('"patch_size": 8', '"patch_size": 0'),
                     ('"image_size": 64', '"image_size": 2000000000'), ('"num_hidden_layers": 4', '"num_hidden_layers": 1000000000'),
                     ('"vocab_size": 1280', '"vocab_size": 99999999999'), ('"vision_feature_layer": -2', '"vision_feature_layer": -200'),
                     ('"model_type": "llava"', '"model_type": 7'), ('"head_dim": 32', '"head_dim": 31'), ("{", "[", ), ("}", "", )):
        assert old in text
        (folder / "config.json").write_text(text.replace(old, new))
        status, said = loads(folder)
        assert status == 1 and len(said) > 20, (new, status, said)


def cut_while_used():
    """a model file cut short under its engine: -32015 with the file's name, others go on, the file put back is used again"""
    folder = daemon.folder / "cut"
    shutil.copytree(MODEL, folder)
    file = folder / "model.safetensors"
    data = file.read_bytes()
    other = Daemon(f"[assistant default]\nmodel = {folder}\n[assistant second]\nmodel = tiny-llava\n")
    try:
        client, calm = other.client(), other.client()
        long = {"input": "Count to five.", "raw": True, "max_output_tokens": 900, "logit_bias": {"2": -100}}
        assert "result" in client.call("response.create", {"input": "Hello!", "max_output_tokens": 4})
        steady = calm.send("response.create", dict(long, assistant="second"))
        running = [client.send("response.create", long) for _ in range(3)]
        client.frame()
        file.write_bytes(b"")
        for id in running:
            error = client.answer(id)["error"]
            assert error["code"] == -32015 and error["data"]["file"].endswith("/cut/model.safetensors"), error
            assert "truncated" in error["message"] and error["data"]["reason"], error
        error = client.call("response.create", {"input": "Hello!"})["error"]
        assert error["code"] in (-32015, -32007) and len(error["message"]) > 20, error
        assert calm.answer(steady)["result"]["usage"]["output_tokens"] == 900
        file.write_bytes(data)

        def works():
            return "result" in client.call("response.create", {"input": "Hello!", "max_output_tokens": 4})
        if not works():
            client.call("assistant.load", {"assistant": "default"})
        assert wait_for(works, 10), other.status()
    finally:
        other.stop()


try:
    run([bombs, disguised, damaged_pictures, damaged_weights, damaged_configs, cut_while_used])
finally:
    daemon.stop()
