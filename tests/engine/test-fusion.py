"""test-fusion.py - feature fusion in the real engine: the template's plugins, built outside the tree, in tiny-llava's decoder."""
import shutil, struct
from hop import *

t = Tap()
folder = tempfile.mkdtemp(prefix="percept-fusion-")
TINY = os.path.join(os.path.abspath(SOURCE), "models", "tiny-llava")
PATH = {"plugin_path": [folder, os.path.join(BUILD, "plugins", ".libs")]}
RED, BLUE, WIDE = ((16, 16, bytes(c) * 256) for c in ([250, 20, 10], [10, 20, 250], [90, 90, 90]))
WORDS = "Describe the picture, please, in a few words."

def part(role, plugin, model=None, **options):
    return {"role": role, "plugin": plugin, "model": model, "options": options}

def assistant(connector=None):
    e = Engine()
    parts = [part("decoder", "causal", TINY)]
    if connector:
        parts += [part("image.encoder", "colours"), connector]
    opened = e.open(parts, **PATH)
    t.ok("result" in opened, "opens with %s" % (connector["plugin"] if connector else "no connector"), opened)
    return e, opened.get("result", {})

def ask(e, *content, wait=True, n=8, raw=True):
    images = [c for c in content if not isinstance(c, str)]
    parts, k = [], 0
    for c in content:
        parts.append(text(c) if isinstance(c, str) else image(k))
        k += not isinstance(c, str)
    return e.ask([message(*parts)], images, wait=wait, max_output_tokens=n, temperature=0, top_logprobs=1, return_tokens=True, raw=raw)

def numbers(answer):
    r = answer["result"]
    return r["tokens"], [one["logprob"] for one in r["logprobs"]]

def near(a, b):
    return a[0] == b[0] and all(abs(x - y) <= 1e-5 for x, y in zip(a[1], b[1]))

def plain_answers():
    e, opened = assistant()
    t.ok(opened.get("fusion") == "none", "without a connector nothing is fused", opened)
    plain = numbers(ask(e, WORDS))
    e.close()
    return plain

def neutral(plain):
    e, opened = assistant(part("image.connector", "tint", strength="0"))
    t.ok(opened.get("fusion") == "feature", "the assistant says that features are fused", opened)
    with_picture = ask(e, RED, WORDS)
    t.ok(near(numbers(with_picture), plain), "a connector that adds nothing changes nothing, and nothing enters the prompt", with_picture)
    t.ok(with_picture["result"]["usage"]["media"][0]["tokens"] == 0, "its item takes no tokens", with_picture)
    e.close()

def fused(plain):
    e, _ = assistant(part("image.connector", "tint", strength="3"))
    only = ask(e, WORDS)
    t.ok(near(numbers(only), plain), "a text alone is answered as by the decoder alone", only)
    red, blue = ask(e, RED, WORDS), ask(e, BLUE, WORDS)
    r, b = numbers(red), numbers(blue)
    t.ok(not near(r, plain) and not near(r, b), "a picture changes the answer, another one otherwise", (r, b, plain))
    t.ok(red["result"]["usage"]["cached_tokens"] == 0 and blue["result"]["usage"]["cached_tokens"] < 16,
         "rows that have seen a picture serve no prompt without it, or with another", (red, blue))
    again = ask(e, RED, WORDS)
    usage = again["result"]["usage"]
    t.ok(near(numbers(again), r) and usage["cached_tokens"] > 4 and usage["media"][0]["encoder_cached"],
         "the same picture again: encoded once, its prefix reused, the same answer", again)
    two, swapped = numbers(ask(e, RED, "and", BLUE, WORDS)), numbers(ask(e, BLUE, "and", RED, WORDS))
    t.ok(not near(two, swapped), "rows attend the picture before them, in order", (two, swapped))
    before, chat = ask(e, WORDS, RED, WORDS), ask(e, RED, WORDS, raw=False)
    t.ok("result" in before and "result" in chat, "text may come before the picture, and a chat template around", (before, chat))
    mixed = [ask(e, *c, wait=False) for c in ((RED, WORDS), (WORDS,), (BLUE, WORDS), (WORDS,), (RED, "and", BLUE, WORDS),
                                              (WORDS,), (RED, WORDS), (BLUE, "and", RED, WORDS))]
    got = [numbers(e.wait(ident)) for ident in mixed]
    expected = [r, plain, b, plain, two, plain, r, swapped]
    t.ok(all(near(a, b) for a, b in zip(got, expected)), "eight at once, with and without pictures: each as alone", (got, expected))
    count = e.ask([message(image(0), text(WORDS))], [WIDE], method="token.count", raw=True)
    t.ok(count.get("result", {}).get("tokens") == e.ask([message(text(WORDS))], method="token.count", raw=True)["result"]["tokens"],
         "token.count knows that the item takes none, without encoding it", count)
    space = e.ask([message(image(0))], [WIDE], method="embedding.create", space="connector")
    t.ok(space.get("error", {}).get("code") == -32602 and "tint" in space["error"]["message"], "it has no embeddings to give", space)
    look = e.ask([message(image(0), text(WORDS))], [RED], method="image.look")
    t.ok("result" in look, "image.look works on it", look)
    ident = ask(e, RED, " ".join([WORDS] * 50), wait=False, n=900)
    e.call("response.cancel", {"request_id": ident})
    t.ok(e.wait(ident)["result"]["status"] == "cancelled" and near(numbers(ask(e, RED, WORDS)), r), "a cancelled answer leaves the rest as it was")
    t.ok(e.close() == 0, "ends in order")

def marked(plain):
    """A marker of several tokens stands for the item, and embeddings of a token connector may stand beside."""
    weights = os.path.join(folder, "w.f32")
    with open(weights, "wb") as f:
        f.write(struct.pack("<576f", *[((i * 37) % 101 - 50) / 50 for i in range(576)]))
    e, opened = assistant(part("image.connector", "pool", weights, pool="8", begin="[", end="]"))
    t.ok(opened.get("fusion") == "token", "the template's token connector is one", opened)
    red = ask(e, RED, WORDS)
    t.ok(not near(numbers(red), plain) and red["result"]["usage"]["media"][0]["tokens"] == 2, "two rows between two marks", red)
    e.close()

def refusals():
    decoder = part("decoder", "causal", TINY)
    encoder = part("image.encoder", "colours")
    weights = os.path.join(folder, "odd.f32")
    with open(weights, "wb") as f:
        f.write(bytes(77))
    cases = [
        ([part("decoder", "echo"), encoder, part("image.connector", "tint", width="3")], -32602, ["Connector tint", "inside the decoder's layers", "decoder echo"]),
        ([decoder, encoder, part("image.connector", "tint", width="64")], -32602, ["Connector tint", "64 values", "decoder causal", "192"]),
        ([decoder, encoder, part("image.connector", "pool", weights)], -32015, ["77 bytes", "192 floats"]),
        ([decoder, part("image.connector", "tint")], -32602, ["image.connector", "no image.encoder"]),
        ([decoder, encoder, part("image.connector", "tint"), part("audio.connector", "tint")], -32602, ["tint", "one such"]),
    ]
    for parts, code, says in cases:
        e = Engine()
        error = e.open(parts, **PATH).get("error", {})
        t.ok(error.get("code") == code and all(s in error.get("message", "") for s in says), "refuses: " + says[0], error)
        e.process.wait(10)
        e.socket.close()

try:
    build_template(folder, "tint")
    build_template(folder, "pool")
    plain = plain_answers()
    neutral(plain)
    fused(plain)
    marked(plain)
    refusals()
finally:
    shutil.rmtree(folder)
t.done()
