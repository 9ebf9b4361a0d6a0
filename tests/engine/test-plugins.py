"""test-plugins.py - plugins that must be refused with a reason, and what happens when one fails at work."""
import shutil
from hop import *

t = Tap()
folder = tempfile.mkdtemp(prefix="percept-plugins-")
BUILT = os.path.join(BUILD, "plugins", ".libs")

def build(bad, name):
    build_plugin(folder, bad, name)

def part(role, plugin, **options):
    return {"role": role, "plugin": plugin, "model": None, "options": options}

def refusals():
    cases = [(1, "nosymbol", "percept_plugin"), (2, "crashes", "crashes while it is loaded (signal 6"),
             (3, "hangs", "hangs"), (4, "exits", "ends the program"), (5, "otherabi", "ABI 99"), (6, "small", "12 bytes"),
             (7, "smallops", "too small to have"), (8, "noencode", "has no encode()"), (9, "nokind", "kind, 77"),
             (10, "noname", "name is not"), (11, "noops", "no operations")]
    for bad, name, _ in cases:
        build(bad, name)
    build(0, "good")
    shutil.copy(os.path.join(folder, "good.so"), os.path.join(folder, "good_again.so"))
    with open(os.path.join(folder, "text.so"), "w") as f:
        f.write("this is no shared object\n")
    e = Engine("--scan", env={"PERCEPT_PLUGIN_PATH": folder})
    ident = e.send("plugin.list")
    t.ok("result" in e.call("ping", timeout=2), "answers while it looks at a plugin that hangs")
    rows = {os.path.basename(r["path"])[:-3]: r for r in e.wait(ident)["result"] if r["path"].startswith(folder)}
    for _, name, says in cases + [(0, "text", "cannot be loaded"), (0, "good_again", "another plugin is called good")]:
        row = rows.get(name, {})
        t.ok(row.get("state") == "refused" and says in row.get("reason", ""), "lists %s as refused: %s" % (name, says), row)
    t.ok(rows["good"]["state"] == "ready" and rows["good"]["kind"] == "encoder", "lists a sound one as ready", rows["good"])
    t.ok(e.call("engine.open", {})["error"]["code"] == -32600, "--scan opens no assistant")
    t.ok(e.close() == 0, "ends when its socket closes")

def assemblies():
    build(20, "joiner")
    build(21, "narrow")
    build(22, "wide")
    for bad, name in ((40, "fuser"), (41, "far"), (42, "reader"), (43, "maker")):
        build(bad, name)
    build_plugin(folder, 40, "fuser192", 192)
    path = {"plugin_path": [folder, BUILT]}
    model = os.path.join(os.path.abspath(SOURCE), "models", "tiny-llava")
    llama = dict(part("decoder", "causal"), model=model)
    encoder, decoder = part("image.encoder", "good"), part("decoder", "echo")
    cases = [
        ([encoder, part("image.connector", "narrow"), decoder], -32602, ["Encoder good", "8 values", "connector narrow", "192"]),
        ([encoder, part("image.connector", "wide"), decoder], -32602, ["Connector wide", "7 values", "decoder echo"]),
        ([encoder, decoder], -32602, ["image.encoder", "no image.connector"]),
        ([decoder, part("image.expert", "good")], -32602, ["good", "image.expert"]),
        ([part("decoder", "good")], -32602, ["good is an encoder", "decoder"]),
        ([part("decoder", "nothing")], -32011, ["nothing"]),
        ([part("decoder", "small")], -32011, ["small", "12 bytes"]),
        ([part("decoder", "echo", context="many")], -32602, ["Plugin echo has no option context"]),
        ([], -32602, ["no decoder"]),
        ([encoder, part("image.connector", "fuser"), decoder], -32602, ["Connector fuser", "inside the decoder's layers", "decoder echo"]),
        ([encoder, part("image.connector", "fuser"), llama], -32602, ["Connector fuser", "3 values", "decoder causal", "192"]),
        ([part("decoder", "far")], -32602, ["Plugin far is a remote", "does not run"]),
        ([decoder, part("image.encoder", "reader")], -32602, ["Plugin reader is an expert and cannot be image.encoder"]),
        ([decoder, part("audio.generator", "maker")], -32602, ["Plugin maker is a generator", "does not run"]),
        ([decoder, part("image.expert", "maker")], -32602, ["Plugin maker is a generator and cannot be image.expert"]),
        ([decoder, part("audio.encoder", "good"), part("audio.connector", "joiner")], -32602, ["Encoder good", "audio"]),
        ([decoder, part("video.encoder", "good"), part("video.connector", "joiner")], -32602, ["Encoder good", "video"]),
([dict(llama, options={"context": "9999"})], -32015, ["9999", "1024"]),
    ]
    for parts, code, says in cases:
        e = Engine()
        error = e.open(parts, **path).get("error", {})
        t.ok(error.get("code") == code and all(s in error.get("message", "") for s in says), "refuses: " + says[0], error)
        t.ok(e.process.wait(10) == 1, "and ends")
        e.socket.close()
    e = Engine()
    error = e.open(model="/nonexistent")["error"]
    t.ok(error["code"] == -32015 and error["data"]["file"] == "/nonexistent", "names the model that is not there", error)
    e.close()

def failures():
    parts = [part("image.encoder", "good"), part("image.connector", "joiner"), part("decoder", "echo")]
    e = Engine()
    opened = e.open(parts, plugin_path=[folder, BUILT])
    t.ok(opened.get("result", {}).get("inputs") == ["text", "image"], "assembles encoder, connector and decoder", opened)
    def ask(width, **more):
        return e.ask([message(image(0), text("hi"))], [(width, 2, bytes(width * 2 * 3))], **more)
    for width, says in [(1, "gave no reason"), (2, "The lens is dirty."), (3, "9 values"), (4, "no data"), (5, "finite"),
                        (6, "pieces"), (9, "cancelled")]:
        error = ask(width).get("error", {})
        t.ok(error.get("code") == -32010 and error.get("data", {}).get("plugin") == "good" and says in error["message"],
             "a failing encoder is -32010: " + says, error)
    first, second = ask(20)["result"], ask(20)["result"]
    t.ok(first["output_text"].count("#") == 4 and first["output_text"].endswith("hi"), "media enter the prompt in order", first)
    t.ok(not first["usage"]["media"][0]["encoder_cached"] and second["usage"]["media"][0]["encoder_cached"] and
         second["output_text"] == first["output_text"], "the second time the embeddings come from the cache", second)
    t.ok(first["usage"]["media"] == [{"type": "image", "tokens": 4, "encoder_cached": False, "via": "connector"}], "counts the item's tokens", first)
    count = ask(20, method="token.count")["result"]
    t.ok(count == {"tokens": 6, "by_item": [6]}, "token.count counts media and text", count)
    embedding = e.ask([message(image(0))], [(20, 2, bytes(120))], method="embedding.create", space="encoder")
    t.ok(embedding["result"]["shape"] == [1, 4, 8] and len(embedding.get("tail", b"")) == 128, "gives features as the tail", embedding)
    embedding = e.ask([message(image(0))], [(20, 2, bytes(120))], method="embedding.create", space="connector", pooled=True)
    t.ok("result" in embedding and len(embedding["tail"]) == 4 * embedding["result"]["shape"][0], "and embeddings, pooled", embedding)
    bad = e.ask([message(image(0))], [(20, 3, bytes(120))])
    t.ok(bad["error"]["code"] == -32603, "checks the size of a received item again", bad)
    return e

def fusions():
    """Connectors that break the contract inside the decoder: an error to their own client, and the engine goes on."""
    for bad, name in ((50, "blank"), (51, "torn"), (52, "loose"), (53, "unhooked"), (54, "faulty")):
        build_plugin(folder, bad, name, 192)
    model = os.path.join(os.path.abspath(SOURCE), "models", "tiny-llava")
    for name, says in (("blank", "no memory"), ("torn", "The thread is torn."), ("loose", "The knot is loose."),
                       ("unhooked", "The hook is bent."), ("faulty", "The layer is faulty.")):
        e = Engine()
        opened = e.open([part("image.encoder", "good"), part("image.connector", name), dict(part("decoder", "causal"), model=model)],
                        plugin_path=[folder, BUILT])
        error = e.ask([message(image(0), text("hi"))], [(20, 2, bytes(120))]).get("error", {})
        t.ok(error.get("code") == -32010 and says in error.get("message", ""), "a failing fusion connector is -32010: " + says, (opened, error))
        after = e.ask([message(text("hi"))], max_output_tokens=2)
        t.ok("result" in after and e.close() == 0, "and texts are answered as before", after)

def cancels(e):
    def slow(wait=False):
        return e.ask([message(image(0), text("hi"))], [(8, 2, bytes(48))], wait=wait)
    # Two encode threads: the first fills, the second waits for it, the third is another item, the fourth waits in the queue.
    first, second = slow(), slow()
    other = e.ask([message(image(0))], [(8, 3, bytes(72))], wait=False)
    queued = e.ask([message(image(0))], [(8, 4, bytes(96))], wait=False)
    time.sleep(0.3)
    t.ok(e.ask("meanwhile")["result"]["output_text"] == "meanwhile", "an encode stalls nobody's decoding")
    for ident, where in [(queued, "the queue"), (second, "waiting for another's encode"), (first, "an encode"), (other, "an encode")]:
        begun = time.monotonic()
        e.call("response.cancel", {"request_id": ident})
        answer = e.wait(ident)
        took = time.monotonic() - begun
        t.ok(answer.get("result", {}).get("status") == "cancelled" and took < 0.5, "cancels in %s" % where, (answer, took))
    # Who waits for an encode that is cancelled takes it over.
    first, second = slow(), slow()
    time.sleep(0.2)
    e.call("response.cancel", {"request_id": first})
    t.ok(e.wait(first)["result"]["status"] == "cancelled", "cancels the one that encodes for two")
    time.sleep(0.2)
    t.ok(second not in e.answers and e.call("ping")["result"] == {}, "the other goes on by itself")
    late = e.ask([message(image(0))], [(8, 5, bytes(120))], hop={"deadline_ms": 100})
    t.ok(late["error"]["code"] == -32009, "a deadline ends an encode", late)
    t.ok(e.call("response.cancel", {"request_id": 999999})["result"]["status"] == "already_done", "what is not there is done")
    t.ok(e.close() == 0, "a closed socket ends an encode and the engine")

def crash():
    e = Engine()
    e.open([part("image.encoder", "good"), part("image.connector", "joiner"), part("decoder", "echo")], plugin_path=[folder, BUILT])
    e.ask([message(image(0))], [(7, 2, bytes(42))], wait=False)
    t.ok(e.process.wait(10) == -6, "a plugin that aborts ends its engine, and nothing else")
    e.socket.close()

try:
    refusals()
    assemblies()
    fusions()
    cancels(failures())
    crash()
finally:
    shutil.rmtree(folder)
t.done()
