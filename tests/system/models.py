"""models.py - percept models on real files: quantised, verified, pulled from every kind of source, and removed."""
import hashlib, http.server, json, os, pathlib, resource, shutil, signal, ssl, struct, subprocess, tempfile, threading
from system import BUILD, GOLDENS, run

folder = tempfile.TemporaryDirectory(prefix="percept-models-test-")
MODELS = pathlib.Path(folder.name) / "models"
SOURCE = GOLDENS / "dec_llama_quants" / "model-q8_0.gguf"
CONTENT = SOURCE.read_bytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def models(*words, env={}, **more):
    return subprocess.run([str(BUILD / "percept"), "models", *map(str, words)], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                          env={**os.environ, "HOME": folder.name, "PERCEPT_MODELS": str(MODELS), **env}, **more)


def catalogue(sources, **changes):
    (MODELS / "catalogue").mkdir(parents=True, exist_ok=True)
    entry = dict(name="m.gguf", summary="s", licence="none", bytes=len(CONTENT), sha256=SHA256, sources=sources)
    entry.update(changes)
    (MODELS / "catalogue" / "m.json").write_text(json.dumps(entry))
    for file in MODELS.glob("m.gguf*"):
        file.unlink()


def nothing_came(keeps_part=False):
    """no file took the name, and no folder was left behind"""
    left = sorted(p.name for p in MODELS.iterdir() if p.name != "catalogue")
    assert left == (["m.gguf.part"] if keeps_part else []), left


def quantises():
    """each type: smaller or larger as it should be, read again, and refused where it cannot be"""
    MODELS.mkdir(exist_ok=True)
    shutil.copy(SOURCE, MODELS / "tiny.Q8_0.gguf")
    sizes = {}
    for type in ("Q8_0", "Q6_K", "Q4_K_M", "Q4_0"):
        out = MODELS / f"out.{type}.gguf"
        done = models("quantize", "tiny.Q8_0", type, "--output", out, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["bytes"] == out.stat().st_size
        sizes[type] = out.stat().st_size
        assert models("verify", out).returncode == 0
        show = json.loads(models("show", out, "--json").stdout)
        assert show["family"] == "llama" and show["parameters"] > 0 and show["types"], show
    assert sizes["Q8_0"] > sizes["Q6_K"] > sizes["Q4_0"] and sizes["Q4_K_M"] < sizes["Q6_K"], sizes
    assert models("quantize", "tiny.Q8_0", "Q9", "-o", MODELS / "x.gguf").returncode == 2
    assert models("quantize", "tiny-llava", "Q8_0").returncode == 1
    done = models("quantize", "tiny.Q8_0", "Q4_0", "-o", "/nowhere/x.gguf")
    assert done.returncode == 1 and "cannot be written" in done.stderr, done
    assert not list(MODELS.glob("*.part"))


def runs_what_it_quantised():
    """an answer from a quantised file"""
    done = subprocess.run([str(BUILD / "percept"), "bench", str(MODELS / "out.Q4_K_M.gguf"), "--threads", "1", "--prefill", "8", "--decode", "4",
                           "--context", "0", "--batch", "1", "--runs", "1", "--json"], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "HOME": folder.name, "XDG_STATE_HOME": folder.name, "TMPDIR": folder.name})
    assert done.returncode == 0 and json.loads(done.stdout)["decode"][0]["tokens_per_second"] > 0, done
    for file in MODELS.glob("*.gguf"):
        file.unlink()


def verifies():
    """a damaged file, and one that is not the catalogue's"""
    catalogue([])
    target = MODELS / "m.gguf"
    target.write_bytes(CONTENT)
    done = models("verify", "m", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["in_catalogue"] and json.loads(done.stdout)["sha256"] == SHA256, done
    target.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    assert "not the file of the catalogue" in models("verify", "m").stderr
    target.write_bytes(CONTENT[:len(CONTENT) // 2])
    assert models("verify", "m").returncode == 1
    target.unlink()


def pulls_a_file():
    """whole, resumed, too long before, wrong, and from the next source where the first fails"""
    catalogue([{"file": "/nowhere"}, {"file": str(SOURCE)}])
    assert models("pull", "m").returncode == 0 and (MODELS / "m.gguf").read_bytes() == CONTENT
    assert models("pull", "m.gguf").returncode == 0
    for part in (CONTENT[:1000], CONTENT + b"more", CONTENT):
        catalogue([{"file": str(SOURCE)}])
        (MODELS / "m.gguf.part").write_bytes(part)
        done = models("pull", "m", "--json")
        assert done.returncode == 0 and (MODELS / "m.gguf").read_bytes() == CONTENT, done
    wrong = pathlib.Path(folder.name) / "wrong"
    for content in (CONTENT[:-1] + b"x", CONTENT + b"x"):
        wrong.write_bytes(content)
        catalogue([{"file": str(wrong)}])
        done = models("pull", "m")
        assert done.returncode == 1 and "not the file" in done.stderr, done
        nothing_came()
    wrong.write_bytes(CONTENT[:500])
    catalogue([{"file": str(wrong)}])
    assert models("pull", "m").returncode == 1
    nothing_came(keeps_part=True)
    catalogue([{"file": str(SOURCE)}], name="../m.gguf")
    assert models("pull", "m").returncode == 1
    assert models("pull", "nothing").returncode == 1


def survives_a_full_disk():
    """what cannot be written takes no name"""
    catalogue([{"file": str(SOURCE)}])

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    done = models("pull", "m", preexec_fn=limit)
    assert done.returncode == 1 and "File too large" in done.stderr, done
    nothing_came(keeps_part=True)
    assert models("pull", "m").returncode == 0 and (MODELS / "m.gguf").read_bytes() == CONTENT


class Server(http.server.BaseHTTPRequestHandler):
    cut, ranges, requests = 0, True, []

    def do_GET(self):
        first = 0
        if self.headers.get("Range") and Server.ranges:
            first = int(self.headers["Range"].split("=")[1].split("-")[0])
        Server.requests.append(first)
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - first))
        self.end_headers()
        self.wfile.write(CONTENT[first:first + Server.cut] if Server.cut else CONTENT[first:])
        self.close_connection = True

    def log_message(self, *words):
        pass


def pulls_over_https():
    """whole; interrupted and gone on with; from a server without ranges; a certificate that nobody vouches for"""
    if "libcurl" not in subprocess.run(["ldd", str(BUILD / ".libs" / "percept")], capture_output=True, text=True).stdout:
        return
    key, certificate = folder.name + "/key", folder.name + "/certificate"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.handle_error = lambda request, address: None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://localhost:{server.server_port}/m.gguf"
    trust = {"CURL_CA_BUNDLE": certificate}
    try:
        catalogue([{"url": url}])
        assert models("pull", "m").returncode == 1
        nothing_came(keeps_part=True)
        assert models("pull", "m", env=trust).returncode == 0 and (MODELS / "m.gguf").read_bytes() == CONTENT
        catalogue([{"url": url}])
        Server.cut, Server.requests = 5000, []
        assert models("pull", "m", env=trust).returncode == 1
        nothing_came(keeps_part=True)
        assert (MODELS / "m.gguf.part").read_bytes() == CONTENT[:5000]
        Server.cut = 0
        assert models("pull", "m", env=trust).returncode == 0 and (MODELS / "m.gguf").read_bytes() == CONTENT
        assert Server.requests == [0, 5000], Server.requests
        catalogue([{"url": url}])
        (MODELS / "m.gguf.part").write_bytes(b"x" * 70)
        Server.ranges = False
        done = models("pull", "m", env=trust)
        assert done.returncode == 0 and (MODELS / "m.gguf").read_bytes() == CONTENT, done
        catalogue([{"url": url.replace("https", "http")}])
        assert models("pull", "m", env=trust).returncode == 1
    finally:
        server.shutdown()
        server.server_close()


def removes():
    """with --yes; else it asks; and only models"""
    catalogue([])
    (MODELS / "m.gguf").write_bytes(CONTENT)
    done = models("remove", "m")
    assert done.returncode == 1 and "--yes" in done.stderr and (MODELS / "m.gguf").exists()
    assert models("remove", "m", "--yes").returncode == 0 and not (MODELS / "m.gguf").exists()
    assert models("remove", "catalogue", "--yes").returncode == 1 and (MODELS / "catalogue" / "m.json").exists()
    assert models("remove", "m", "--yes").returncode == 1


def ctranslate2(tensors):
    """a model.bin: name -> (shape, type, data)"""
    def text(t):
        return struct.pack("<H", len(t) + 1) + t.encode() + b"\0"
    out = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(tensors))
    for name, (shape, type, data) in tensors.items():
        out += text(name) + struct.pack(f"<B{len(shape)}IBI", len(shape), *shape, type, len(data)) + data
    return out


def pulls_a_folder():
    """a model of several files, converted: it takes its name when all is there, goes on after a failure, and a damaged file is refused"""
    third = [struct.pack("<8e", *[i + part / 4 for i in range(8)]) for part in range(3)]
    content = ctranslate2({"encoder/conv1/weight": ([2, 2, 1], 4, bytes(range(8))), "decoder/embeddings/weight": ([4, 2], 0, struct.pack("<8f", *range(8))),
                           "decoder/layer_11/self_attention/linear_0/weight": ([12, 2], 4, b"".join(third)), "decoder/num_heads": ([], 1, b"\x08")})
    source, entry = MODELS / "catalogue" / "source.bin", {"name": "w", "summary": "s", "licence": "none", "convert": "ctranslate2-whisper",
                                                           "contents": {"config.json": {"model_type": "whisper"}}}

    def write(data, **changes):
        source.write_bytes(data)
        files = [{"name": "model.bin", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "sources": [{"file": str(source)}]}]
        (MODELS / "catalogue" / "w.json").write_text(json.dumps({**entry, "files": files, **changes}))

    for cut in list(range(1, len(content), 7)) + [len(content) - 1]:
        write(content[:cut])
        done = models("pull", "w")
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and not (MODELS / "w").exists(), (cut, done)
        assert not list((MODELS / "w.part").glob("model.safetensors*")), cut
    write(content, convert="nonsense")
    assert "nonsense" in models("pull", "w").stderr and not (MODELS / "w").exists()
    source.unlink()
    write(content)
    assert models("pull", "w").returncode == 0
    made = (MODELS / "w" / "model.safetensors").read_bytes()
    n, = struct.unpack_from("<Q", made)
    header = json.loads(made[8:8 + n])
    data = {name: made[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]] for name, t in header.items()}
    assert data["model.decoder.embed_tokens.weight"] == struct.pack("<8e", *range(8)), data
    assert [data[f"model.decoder.layers.11.self_attn.{x}_proj.weight"] for x in "qkv"] == third, data
    assert data["model.encoder.conv1.weight"] == bytes(range(8)) and header["model.encoder.conv1.weight"]["shape"] == [2, 2, 1]
    assert json.loads((MODELS / "w" / "config.json").read_text())["model_type"] == "whisper"
    assert not (MODELS / "w" / "model.bin").exists() and not (MODELS / "w.part").exists()
    source.unlink()
    assert models("pull", "w").returncode == 0 and models("remove", "w", "--yes").returncode == 0


try:
    run([quantises, runs_what_it_quantised, verifies, pulls_a_file, survives_a_full_disk, pulls_over_https, pulls_a_folder, removes])
finally:
    folder.cleanup()
