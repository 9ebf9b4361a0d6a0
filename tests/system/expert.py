"""expert.py - experts: what they read enters the prompt by a template, alone and beside a connector's rows."""
import json, os, pathlib, struct, subprocess, tempfile, zlib
from system import Daemon, E2E, BUILD, SOURCE, run

TINY = SOURCE / "models" / "tiny-llava"
OCR = (BUILD / "plugins" / ".libs" / "ocr.so").exists()
FONT = {"A": "0e11111f111111", "C": "0f10101010100f", "E": "1f10101e10101f", "L": "1010101010101f", "O": "0e11111111110e",
        "P": "1e11111e101010", "R": "1e11111e141211", "T": "1f040404040404"}


def png(width, height, pixel):
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y)) for y in range(height))
    out = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        out += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return out


def halves(left, right):
    return png(32, 16, lambda x, y: left if x < 16 else right)


def words(text, scale=8):
    """The text in black on white, in blocks of a font of 5 by 7."""
    def pixel(x, y):
        letter, column, row = (x // scale - 4) // 6, (x // scale - 4) % 6, y // scale - 4
        if not 0 <= letter < len(text) or text[letter] not in FONT or column == 5 or not 0 <= row < 7:
            return 255, 255, 255
        bits = int(FONT[text[letter]][row * 2:row * 2 + 2], 16)
        return (0, 0, 0) if bits >> (4 - column) & 1 else (255, 255, 255)
    return png((len(text) * 6 + 8) * scale, 15 * scale, pixel)


folder = tempfile.TemporaryDirectory()
RED_BLUE, GREEN_WHITE = halves((225, 20, 20), (20, 20, 230)), halves((20, 190, 20), (255, 255, 255))
CONFIG = f"""
[assistant default]
decoder = echo
image.expert = hue template="(left and right: {{text}})\\n"
[assistant plain]
decoder = echo
image.expert = hue
[assistant asks]
decoder = echo
image.expert = caption assistant=sees prompt="Describe the picture." tokens=12
[assistant asks_nobody]
decoder = echo
image.expert = caption assistant=nobody
[assistant sees]
model = {TINY}
[assistant both]
model = {TINY}
image.expert = hue template="{{text}}"
"""
if OCR:
    CONFIG += """
[assistant reads]
decoder = echo
image.expert = ocr layout=7
"""
daemon = Daemon(CONFIG)


def ask(client, picture, text, assistant="default", **params):
    content = [{"type": "input_image", "bin": [0, len(picture)]}, {"type": "input_text", "text": text}]
    params = {"assistant": assistant, "stream": False, "return_tokens": True, "temperature": 0, "max_output_tokens": 200,
              "input": [{"type": "message", "role": "user", "content": content}], **params}
    answer = client.answer(client.send("response.create", params, tail=picture))
    assert "result" in answer, answer
    return answer["result"]


def template():
    """the text enters in its template, and usage says which way it came"""
    client = daemon.client()
    result = ask(client, RED_BLUE, "What is it?")
    assert result["output_text"] == "(left and right: red blue)\nWhat is it?", result
    told = "(left and right: red blue)\n"
    assert result["usage"]["media"] == [{"type": "image", "tokens": len(told), "encoder_cached": False, "via": "expert",
                                         "confidence": 1}], result["usage"]
    assert ask(client, RED_BLUE, "x", "plain")["output_text"] == "red blue\nx"
    assert ask(client, GREEN_WHITE, "x", "plain")["output_text"] == "green white\nx"


def cached():
    """the same picture is read once, another one is not taken for it"""
    client = daemon.client()
    ask(client, RED_BLUE, "once")
    again = ask(client, RED_BLUE, "twice")
    assert again["usage"]["media"][0]["encoder_cached"] and again["output_text"].startswith("(left and right: red blue)")
    assert ask(client, halves((0, 0, 0), (1, 1, 1)), "x")["output_text"].startswith("(left and right: black black)")


def counted():
    """token.count reads the picture, too"""
    client = daemon.client()
    content = [{"type": "input_image", "bin": [0, len(RED_BLUE)]}, {"type": "input_text", "text": "abc"}]
    answer = client.answer(client.send("token.count", {"input": [{"type": "message", "role": "user", "content": content}]}, tail=RED_BLUE))
    assert answer["result"]["tokens"] == len("(left and right: red blue)\nabc"), answer


def both():
    """beside a connector: its rows, then the expert's words"""
    client = daemon.client()
    picture = next(E2E / i["image"] for i in json.loads((E2E / "goldens.json").read_text())["items"] if i["image"].endswith(".png"))
    result = ask(client, picture.read_bytes(), "Describe the picture.", "both", max_output_tokens=4)
    media = result["usage"]["media"][0]
    assert media["via"] == "connector+expert" and media["tokens"] > 2, media
    plain = Daemon(f"[assistant default]\nmodel = {TINY}\n")
    alone = ask(plain.client(), picture.read_bytes(), "Describe the picture.", max_output_tokens=4)
    plain.stop()
    assert alone["usage"]["media"][0]["via"] == "connector"
    assert result["usage"]["input_tokens"] > alone["usage"]["input_tokens"]
    assert media["tokens"] - alone["usage"]["media"][0]["tokens"] == result["usage"]["input_tokens"] - alone["usage"]["input_tokens"]


def asks():
    """another assistant captions: what it answers enters the prompt; one that is not there, or fails, is told in a sentence"""
    client = daemon.client()
    picture = (E2E / "00_easyvqa.png").read_bytes()
    seen = ask(client, picture, "Describe the picture.", "sees", max_output_tokens=12)["output_text"]
    result = ask(client, picture, "?", "asks")
    assert seen and result["output_text"] == seen + "\n?", (seen, result)
    assert result["usage"]["media"][0]["via"] == "expert", result
    odd = png(33, 17, lambda x, y: (x * 7, y * 15, 100))
    assert ask(client, odd, "?", "asks")["output_text"] == ask(client, odd, "Describe the picture.", "sees", max_output_tokens=12)["output_text"] + "\n?"
    content = [{"type": "input_image", "bin": [0, len(picture)]}]
    answer = client.answer(client.send("response.create", {"assistant": "asks_nobody", "input": [{"type": "message", "role": "user",
                                       "content": content}]}, tail=picture))
    assert answer["error"]["code"] == -32010 and "nobody" in answer["error"]["message"], answer


def asks_cancelled():
    """a caption that is cancelled cancels the question to the other assistant"""
    client = daemon.client()
    pictures = [png(64, 64, lambda x, y, k=k: (k * 5, x, y)) for k in range(24)]
    content = [{"type": "input_image", "bin": [sum(map(len, pictures[:k])), len(p)]} for k, p in enumerate(pictures)]
    ident = client.send("response.create", {"assistant": "asks", "input": [{"type": "message", "role": "user", "content": content}]},
                        tail=b"".join(pictures))
    client.send("response.cancel", {"request_id": ident})
    answer = client.answer(ident)
    assert answer["result"]["status"] == "cancelled", answer
    assert "result" in client.call("ping")


def refused():
    """a template without a place for the text, vectors of what only an expert sees, and a wrong kind are refused in a sentence"""
    client = daemon.client()
    answer = client.answer(client.send("embedding.create", {"input": [{"type": "message", "role": "user", "content": [
        {"type": "input_image", "bin": [0, len(RED_BLUE)]}]}], "space": "encoder"}, tail=RED_BLUE))
    assert answer["error"]["code"] == -32602, answer
    for line, what in (("image.expert = caption assistant=default", "itself"), (f"image.expert = caption assistant=x model={TINY}", "leave one"),
                       ("image.expert = caption", "assistant = NAME"), ('image.expert = hue template="no place"', "{text}"), ("audio.expert = hue", "audio"),
                       ("image.expert = colours", "expert"), ("image.encoder = hue", "encoder")):
        config = pathlib.Path(folder.name) / "bad.conf"
        config.write_text(f"[assistant default]\ndecoder = echo\n{line}\n")
        done = subprocess.run([str(BUILD / "percept-engine"), "-c", str(config), "--assistant", "default", "--check"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode != 0 and what in done.stdout, (line, done.returncode, done.stdout)


def reading():
    """text in a picture is read, with how sure that is"""
    client = daemon.client()
    result = ask(client, words("TREE CAR PLACE"), "?", "reads")
    assert result["output_text"] == "TREE CAR PLACE\n?", result["output_text"]
    assert 0 < result["usage"]["media"][0]["confidence"] <= 1
    blank = ask(client, png(200, 80, lambda x, y: (255, 255, 255)), "?", "reads")
    assert blank["output_text"].strip() == "?", blank


try:
    run([template, cached, counted, both, asks, asks_cancelled, refused] + ([reading] if OCR else []))
finally:
    daemon.stop()
