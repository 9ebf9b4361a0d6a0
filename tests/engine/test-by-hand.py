"""test-by-hand.py - percept-engine without perceptd: --check, and --socket with peers that close their side at once."""
import shutil, socket
from hop import *

t = Tap()
folder = tempfile.mkdtemp(prefix="percept-hand-")
PATH = os.path.join(folder, "s")
CONFIG = os.path.join(folder, "c.conf")
with open(CONFIG, "w") as f:
    f.write("[assistant echo]\ndecoder = echo\n[assistant bad]\ndecoder = echo nonsense=1\n")
with open(CONFIG + ".lost", "w") as f:
    f.write("[assistant lost]\nmodel = no-such-model\n")

def engine(*words):
    done = subprocess.run([os.path.join(BUILD, "percept-engine"), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60)
    return done.returncode, done.stdout, done.stderr

def peer(*lines):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(PATH)
    for line in lines:
        s.sendall(line.encode() + b"\n")
    return s

def ask(text, **more):
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "response.create", "params": dict(input=text, **more)})

def all_of(s):
    s.shutdown(socket.SHUT_WR)
    got = b""
    while piece := s.recv(65536):
        got += piece
    s.close()
    return [json.loads(line) for line in got.splitlines()]

def answer(s):
    return next((m for m in all_of(s) if m.get("id") == 1), {})

code, out, err = engine("--check", "-c", CONFIG, "--assistant", "echo")
t.ok(code == 0 and "echo can be opened" in out, "--check opens an assistant", (code, out, err))
code, out, err = engine("--check", "-c", CONFIG, "--assistant", "bad")
t.ok(code == 1 and "no option nonsense" in err, "--check says what is wrong with it", (code, out, err))
code, out, err = engine("--check", "-c", CONFIG, "--assistant", "none")
t.ok(code == 1 and 'no assistant "none"' in err, "--check names the assistant that is not there", (code, out, err))
code, out, err = engine("--check", "-c", CONFIG + ".lost", "--assistant", "lost")
t.ok(code == 1 and "no-such-model" in err, "--check names the model that is not there", (code, out, err))
for words in ([], ["--socket", PATH, "--check"], ["--fd", "x"], ["--scan", "--check"], ["--fd", "3", "-c", CONFIG], ["more"]):
    code, out, err = engine(*words)
    t.ok(code == 2 and err.startswith("percept-engine: "), "usage: " + (" ".join(words) or "nothing"), (code, err))

stale = socket.socket(socket.AF_UNIX)
stale.bind(PATH)
stale.close()
process = subprocess.Popen([os.path.join(BUILD, "percept-engine"), "--socket", PATH, "-c", CONFIG, "--assistant", "echo"],
                           stderr=subprocess.DEVNULL)
try:
    for _ in range(200):
        try:
            peer().close()
            break
        except OSError:
            time.sleep(0.05)
    t.ok(os.stat(PATH).st_mode & 0o777 == 0o600, "the socket takes a stale one's place and is its owner's alone")
    for i in range(3):
        got = answer(peer(ask("hello %d" % i)))
        t.ok(got.get("result", {}).get("output_text") == "hello %d" % i, "answers a peer that closed its side at once", got)
    got = all_of(peer(ask("one"), '{"jsonrpc":"2.0","id":2,"method":"ping"}', "this is no JSON"))
    t.ok({m.get("id") for m in got if "method" not in m} == {1, 2, None} and any("error" in m for m in got),
         "answers what came before a broken line", got)
    peer(ask("x" * 5000)).close()
    second = peer(ask("second"))
    t.ok(answer(second).get("result", {}).get("output_text") == "second", "goes on when a peer vanishes")
    got = all_of(peer('{"jsonrpc":"2.0","id":9,"method":"shutdown"}'))
    t.ok(got and got[-1]["id"] == 9 and process.wait(10) == 0 and not os.path.exists(PATH), "ends when it is told, its socket too", got)
finally:
    process.kill()
    shutil.rmtree(folder)
t.done()
