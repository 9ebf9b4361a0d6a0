"""test-sweep.py - percept assemblies: every part that opens, every combination, and a sentence for what does not fit."""
import shutil
from hop import *

t = Tap()
folder = tempfile.mkdtemp(prefix="percept-sweep-")
TINY = os.path.join(os.path.abspath(SOURCE), "models", "tiny-llava")
CONFIG = os.path.join(folder, "check.conf")

def run(*words, text):
    with open(CONFIG, "w") as f:
        f.write(text)
    return subprocess.run([os.path.join(BUILD, "percept"), "assemblies", *words, CONFIG], capture_output=True, text=True,
                          env={**os.environ, "PERCEPT_PLUGIN_PATH": folder})

def which(result, row):
    return tuple(result["parts"][row[k]]["plugin"] for k in ("encoder", "connector", "decoder"))

def combinations():
    build_template(folder, "tint")
    build_plugin(folder, 0, "good")
    build_plugin(folder, 55, "aborts")
    text = "[assistant default]\nmodel = %s\n[assistant wide]\ndecoder = echo\nimage.encoder = colours\n" \
           "image.connector = tint width=3\n" % TINY
    done = run("--json", text=text)
    t.ok(done.returncode == 0, "percept assemblies ends well", done.stderr)
    result = json.loads(done.stdout)
    parts = {(p["plugin"], bool(p["model"])): p for p in result["parts"]}
    t.ok(parts[("clip", True)]["opens"] and parts[("causal", True)]["opens"] and parts[("good", False)]["opens"],
         "parts of the configuration and installed ones are opened", result["parts"])
    t.ok(not parts[("qwen2vl", True)]["opens"] and "qwen2_vl" in parts[("qwen2vl", True)]["reason"],
         "a plugin that cannot use a model says why", parts)
    t.ok("crashes while it opens" in parts[("aborts", True)]["reason"], "one that crashes is told so, and the rest goes on", parts)
    rows = {which(result, r): r for r in result["assemblies"]}
    t.ok(rows[("clip", "mlp", "causal")]["fits"], "what a bundle holds fits together", rows)
    opened = [sum(p["opens"] and p["role"].endswith(kind) for p in result["parts"]) for kind in ("encoder", "connector", "decoder")]
    t.ok(len(rows) == len(result["assemblies"]) == opened[0] * opened[1] * opened[2] and opened[0] >= 3 and opened[1:] == [2, 2],
         "every combination is there once", list(rows))
    no = rows[("colours", "mlp", "causal")]
    t.ok(not no["fits"] and "3 values" in no["reason"] and "128" in no["reason"], "features of another width do not fit", no)
    no = rows[("colours", "tint", "causal")]
    t.ok(not no["fits"] and "decoder of 3 values" in no["reason"] and "192" in no["reason"], "nor a decoder of another width", no)
    no = rows[("colours", "tint", "echo")]
    t.ok(not no["fits"] and "inside the decoder's layers" in no["reason"], "nor one without hooks", no)
    return text

def tables(text):
    shown = run(text=text).stdout
    t.ok("WHY NOT" in shown and "clip (tiny-llava)" in shown, "a table says the same", shown)
    only = run("--fits", text=text).stdout.splitlines()
    t.ok(len(only) >= 2 and all(" mlp " in line and " causal " in line for line in only[1:]), "--fits shows what fits alone", only)
    bad = run(text="[assistant default]\nmodel = %s/nothing\n" % folder)
    t.ok(bad.returncode == 1 and "check.conf:2" in bad.stderr, "a mistake in the file is named with its line", bad.stderr)

try:
    tables(combinations())
finally:
    shutil.rmtree(folder)
t.done()
