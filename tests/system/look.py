"""look.py - encoders alone make embeddings, percept embed --compare tells what is alike, image.look shows what was seen."""
import json, os, pty, shutil, string, struct, subprocess, zlib
from picture import shape
from system import BUILD, Daemon, E2E, GOLDENS, run

PICTURE = E2E / "00_easyvqa.png"


def tokenizer(folder, bos, eos, known=string.ascii_lowercase):
    """A byte-pair tokenizer of CLIP's kind that knows letters."""
    letters = {c: 3 + i for i, c in enumerate(known)}
    letters.update({c + "</w>": 3 + len(known) + i for i, c in enumerate(known)})
    special = [{"id": i, "content": c, "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
               for i, c in ((bos, "<s>"), (eos, "</s>"))]
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": special,
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"}, "behavior": "Removed", "invert": True},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]},
        "post_processor": {"type": "RobertaProcessing", "cls": ["<s>", bos], "sep": ["</s>", eos], "trim_offsets": False,
                           "add_prefix_space": False},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "unk_token": "</s>", "end_of_word_suffix": "</w>", "continuing_subword_prefix": "",
                  "vocab": {**letters, "<s>": bos, "</s>": eos}, "merges": []}}))


daemon = Daemon("[assistant default]\nmodel = tiny-llava\n")
# By assistant: the golden folder, what begins and ends its texts, the letters that it has tokens for, and values of a vector.
TOWERS = {"clip": ("vis_clip_full", 97, 98, string.ascii_lowercase, 36), "siglip": ("vis_siglip", 86, 1, string.ascii_lowercase, 45),
          "siglip2": ("vis_siglip2", 86, 1, string.ascii_lowercase, 42),
          "openclip": ("vis_openclip_vit_quickgelu", 78, 79, string.ascii_lowercase, 28),
          "eva": ("vis_openclip_eva02", 48, 49, "abcdefgilnoqrstu", 12), "convnext": ("vis_openclip_convnext_mlp", 48, 49, "abcdefgilnoqrstu", 10)}
for name, (golden, bos, eos, known, _) in TOWERS.items():
    shutil.copytree(GOLDENS / golden, daemon.folder / name)
    (daemon.folder / name).chmod(0o755)
    tokenizer(daemon.folder / name, bos, eos, known)
shutil.copytree(GOLDENS / "vis_dinov2", daemon.folder / "dinov2")
shutil.copytree(GOLDENS / "vis_eva01", daemon.folder / "eva01")
daemon.config.write_text(f"""[assistant default]
model = tiny-llava
[assistant clip]
model = {daemon.folder}/clip
[assistant siglip]
image.encoder = siglip model={daemon.folder}/siglip
[assistant dino]
model = {daemon.folder}/dinov2
[assistant eva01]
image.encoder = eva model={daemon.folder}/eva01
[assistant eva]
image.encoder = eva model={daemon.folder}/eva
""" + "".join(f"[assistant {name}]\nmodel = {daemon.folder}/{name}\n" for name in ("siglip2", "openclip", "convnext")))
client = daemon.client()
answer = client.call("config.reload")
assert "result" in answer, answer


def percept(*words, code=0):
    done = subprocess.run([str(BUILD / "percept"), "-S", str(daemon.path), "--no-start", *map(str, words)], env=daemon.env,
                          capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == code, (words, done)
    return done.stdout if code == 0 else done.stderr


def message(*parts):
    return [{"type": "message", "role": "user", "content": list(parts)}]


def text(words):
    return {"type": "input_text", "text": words}


def look(parts, tail, **params):
    return client.call("image.look", {"input": message(*parts), **params}, tail=tail)


def floats(answer, where):
    at, n = where
    return struct.unpack(f"<{n // 4}f", answer["tail"][at:at + n])


def encoders_alone():
    """an assistant of an encoder alone makes embeddings, says so, and refuses questions by one sentence"""
    listed = {a["name"]: a for a in client.call("assistant.list")["result"]}
    for name, inputs in (("clip", ["text", "image"]), ("siglip", ["text", "image"]), ("dino", ["image"])):
        assert sorted(listed[name]["inputs"]) == sorted(inputs) and listed[name]["outputs"] == ["embedding"], listed[name]
        for method in ("response.create", "token.count"):
            error = client.call(method, {"assistant": name, "input": "What is this?"})["error"]
            assert error["code"] == -32602 and "no decoder" in error["message"] and error["message"].count(".") == 1, error
        picture = PICTURE.read_bytes()
        part = {"type": "input_image", "bin": [0, len(picture)]}
        whole = client.call("embedding.create", {"assistant": name, "space": "encoder", "input": message(part)}, tail=picture)
        assert len(whole["result"]["shape"]) == 3 and whole["tail"], whole
        error = client.call("embedding.create", {"assistant": name, "space": "connector", "input": message(part)}, tail=picture)["error"]
        assert error["code"] == -32602 and error["data"]["path"] == "space" and "none" in error["message"], error
    for space in ("encoder", "text"):
        error = client.call("embedding.create", {"assistant": "dino", "space": space, "input": message(text("a cat"))})["error"]
        assert error["code"] == -32602, error


def texts_beside_pictures():
    """a text's vector lies in the space of the pictures' vectors, whether it is asked for as encoder or as text"""
    picture = PICTURE.read_bytes()
    for name, n in ((name, tower[-1]) for name, tower in TOWERS.items()):
        def vector(space, part, tail=b""):
            answer = client.call("embedding.create", {"assistant": name, "space": space, "pooled": True, "input": message(part)}, tail=tail)
            assert answer["result"]["shape"] == [n], answer
            return answer["tail"]
        one, other = vector("encoder", text("a red")), vector("encoder", text("blue"))
        assert one != other and one == vector("text", text("a red")) and len(one) == 4 * n, name
        assert len(vector("encoder", {"type": "input_image", "bin": [0, len(picture)]}, picture)) == 4 * n


def compared():
    """embed --compare: cosines of all pictures and texts, as a table and as JSON"""
    words = ["-i", PICTURE, "-i", E2E / "05_easyvqa.jpg", "a red", "blue", "-i", PICTURE]
    for name in TOWERS:
        result = json.loads(percept("-A", name, "embed", "--compare", "--json", *words))
        assert [i["type"] for i in result["items"]] == ["media", "media", "text", "text", "media"], result
        s = result["similarity"]
        for i in range(5):
            assert abs(s[i][i] - 1) < 1e-5 and all(abs(s[i][k] - s[k][i]) < 1e-6 and abs(s[i][k]) <= 1 + 1e-5 for k in range(5))
        assert abs(s[0][4] - 1) < 1e-5 and s[0][1] < 0.99999 and s[0][2] != s[0][3], s
        rows = [line.split() for line in percept("-A", name, "embed", "--compare", *words).splitlines()]
        assert abs(s[2][3]) < 0.99999, (name, s)
        assert len(rows) == 6 and len(rows[0]) == 3 and rows[1][-3:] == [f"{s[2][k]:.4f}" for k in (0, 1, 4)], rows
    for name in ("dino", "eva01"):
        s = json.loads(percept("-A", name, "embed", "--compare", "--json", "-i", PICTURE, "-i", E2E / "05_easyvqa.jpg", "-i", PICTURE))["similarity"]
        assert abs(s[0][2] - 1) < 1e-5 and s[0][1] < 0.99999, (name, s)
    assert "reads no text" in percept("-A", "dino", "embed", "--compare", "-i", PICTURE, "a cat", code=1)
    assert "Two things" in percept("embed", "--compare", "-i", PICTURE, code=2)


def looked():
    """image.look gives the encoder's pixels in true colours and, with a question, each token's attention to each area"""
    picture = PICTURE.read_bytes()
    part = {"type": "input_image", "bin": [0, len(picture)]}
    seen = look([part], picture)
    image = seen["result"]["images"][0]
    assert "tokens" not in seen["result"] and (image["tile_width"], image["tile_height"], image["rows"], image["cols"]) == (64, 64, 8, 8)
    at, n = image["pixels"]
    pixels = seen["tail"][at:at + n]
    assert n == 64 * 64 * 3 and len(set(pixels)) > 2 and pixels[:3] == bytes([240, 252, 239]), pixels[:3]
    asked = look([part, text("is there not a gray shape?")], picture)
    result, image = asked["result"], asked["result"]["images"][0]
    plain = client.ask("is there not a gray shape?", PICTURE)["result"]
    assert result["output_text"] == plain["output_text"] and [t["id"] for t in result["tokens"]] == plain["tokens"], result
    assert (result["layers"], result["heads"], image["tokens"]) == (4, 6, 64), result
    areas, attention = floats(asked, image["areas"]), floats(asked, result["attention"])
    assert len(areas) == 64 * 4 and areas[:8] == (0, 0, 8, 8, 8, 0, 16, 8) and areas[-4:] == (56, 56, 64, 64), areas
    assert len(attention) == 64 * len(plain["tokens"]) and min(attention) >= 0
    for i, token in enumerate(result["tokens"]):
        assert 0 < token["shares"][0] < 1 and abs(sum(attention[64 * i:64 * i + 64]) - token["shares"][0]) < 1e-5
    again = look([part, text("is there not a gray shape?")], picture)
    assert max(abs(a - b) for a, b in zip(attention, floats(again, again["result"]["attention"]))) < 1e-6


def looked_beside_others():
    """answers of others are what they were while somebody looks"""
    picture = PICTURE.read_bytes()
    part = {"type": "input_image", "bin": [0, len(picture)]}
    alone = client.ask("Describe the picture.", PICTURE)["result"]["tokens"]
    others, second = [daemon.client() for _ in range(4)], daemon.client()
    params = {"input": message(part, text("Describe the picture.")), "return_tokens": True, "stream": False}
    ids = [other.send("response.create", params, tail=picture) for other in others]
    seen = second.call("image.look", {"input": message(part, text("Describe the picture."))}, tail=picture)["result"]
    assert [t["id"] for t in seen["tokens"]] == alone, (seen, alone)
    assert all(other.answer(id)["result"]["tokens"] == alone for other, id in zip(others, ids))


def pixels_of(file):
    """Width, height and lines of pixels of a PNG file without filters."""
    data, at, found = file.read_bytes(), 8, {}
    while at < len(data):
        n, name = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + n]
        assert struct.unpack(">I", data[at + 8 + n:at + 12 + n])[0] == zlib.crc32(name + body), name
        found[name] = body
        at += 12 + n
    width, height = struct.unpack(">II", found[b"IHDR"][:8])
    lines, step = zlib.decompress(found[b"IDAT"]), 3 * width + 1
    assert len(lines) == step * height and not any(lines[::step])
    return width, height, [lines[y * step + 1:(y + 1) * step] for y in range(height)]


def drawn():
    """percept look draws the tiles, and an answer's attention where the shape is; in ASCII, in colours and as PNG"""
    file, output = daemon.folder / "left.png", daemon.folder / "out.png"
    file.write_bytes(shape("red", "triangle", side=128, x=32, y=96, radius=24))
    seen = percept("look", file, "-o", output).splitlines()
    assert "128 x 128 pixels, 64 x 64, 8 x 8 patches" in seen[-1] and len({len(line) for line in seen[:-1]}) == 1, seen[-1]
    width, height, lines = pixels_of(output)
    assert width == height == 448 and lines[336][3 * 112:3 * 113] == bytes([220, 40, 40]) and lines[0][:3] == bytes([250, 250, 245])
    asked = percept("look", file, "Describe", "the", "picture.", "-o", output).splitlines()
    assert any("red triangle" in line for line in asked) and "64 tokens" in "\n".join(asked), asked
    assert any("%" in line and "triangle" in line for line in asked[-14:]), asked[-14:]
    map = asked[:asked.index(next(line for line in asked if "pixels" in line))]
    assert "@" in "".join(map[len(map) // 2:]) and "@" not in "".join(line[len(line) // 2:] for line in map), map
    hot = percept("look", file, "Describe the picture.", "--token", 2, "-o", output, "--json")
    result = json.loads(hot)
    assert len(result["attention"]) == 64 * len(result["tokens"]) and len(result["images"][0]["areas"]) == 256
    assert "pixels" not in result["images"][0] and pixels_of(output)[:2] == (448, 448)
    assert "takes 1 to" in percept("look", file, "Describe the picture.", "--token", 90, code=2)
    assert "--token needs" in percept("look", file, "--token", 1, code=2)
    assert "No such file" in percept("look", daemon.folder / "none.png", code=1)
    assert "could not be written" in percept("look", file, "-o", daemon.folder / "none" / "out.png", code=1)


def drawn_on_a_terminal():
    """a terminal gets true colours, unless it is dumb or NO_COLOR is set"""
    file = daemon.folder / "left.png"
    for more, colours in (({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
        ours, theirs = pty.openpty()
        env = {k: v for k, v in daemon.env.items() if k != "NO_COLOR"}
        process = subprocess.Popen([str(BUILD / "percept"), "-S", str(daemon.path), "--no-start", "look", str(file)], env={**env, **more},
                                   stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL)
        os.close(theirs)
        said = b""
        while True:
            try:
                piece = os.read(ours, 1 << 16)
            except OSError:
                break
            if not piece:
                break
            said += piece
        os.close(ours)
        assert process.wait() == 0 and (b"\x1b[38;2;220;40;40m" in said) == colours == ("\u2580".encode() in said), (more, said[-300:])


def refusals():
    """what cannot be looked at is refused by one sentence"""
    picture = PICTURE.read_bytes()
    part = {"type": "input_image", "bin": [0, len(picture)]}
    error = look([text("hello")], b"")["error"]
    assert error["code"] == -32602 and "no picture" in error["message"], error
    error = look([part, text("hello")], picture, assistant="clip")["error"]
    assert error["code"] == -32602 and "no decoder" in error["message"], error
    assert look([part, text("hello")], picture, max_output_tokens=5000)["error"]["data"]["path"] == "max_output_tokens"
    image = look([part], picture, assistant="clip")["result"]["images"][0]
    assert image["tokens"] == 0 and image["tile_width"] == 42 and "pixels" in image, image


try:
    run([encoders_alone, texts_beside_pictures, compared, looked, looked_beside_others, drawn, drawn_on_a_terminal, refusals])
finally:
    daemon.stop()
