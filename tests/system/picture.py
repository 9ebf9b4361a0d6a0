"""picture.py - PNG pictures of coloured shapes, for tests that need many of them."""
import json, struct, zlib

COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (40, 80, 220), "yellow": (240, 210, 40), "purple": (140, 50, 170),
           "orange": (245, 140, 30), "black": (20, 20, 20), "gray": (128, 128, 128)}


def inside(shape, x, y):
    """Whether a point of [-1, 1] x [-1, 1] is in the shape."""
    if shape == "circle":
        return x * x + y * y <= 1
    if shape == "triangle":
        return abs(x) <= (y + 1) / 2
    return True


def png(width, height, pixel):
    """A PNG file of pixel(x, y) -> (r, g, b)."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y)) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def shape(colour, kind, side=64, x=32, y=32, radius=16, ground=(250, 250, 245)):
    """One shape on a light ground."""
    ink = COLOURS[colour]
    return png(side, side, lambda a, b: ink if max(abs(a + 0.5 - x), abs(b + 0.5 - y)) <= radius and
               inside(kind, (a + 0.5 - x) / radius, (b + 0.5 - y) / radius) else ground)


def words(folder):
    """Lets a checkpoint that came without one have a tokenizer: bytes are its tokens, behind four special ones."""
    vocab = {c: 4 + i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz")}
    special = [{"id": i, "content": c, "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
               for i, c in enumerate(("<unk>", "<s>", "</s>", "<pad>"))]
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": special, "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "ByteLevel",
        "add_prefix_space": False, "use_regex": True}, "decoder": {"type": "ByteLevel"}, "post_processor": None,
        "model": {"type": "BPE", "unk_token": "<unk>", "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3, **vocab}, "merges": []}}))
    (folder / "tokenizer_config.json").write_text("{}")
