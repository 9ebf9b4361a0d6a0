"""plugins.py - plugins that crash, exit, throw, hang and leak under the daemon: -32010, a new engine, others untouched."""
import os, pathlib, shutil, subprocess, tempfile, time
from system import BUILD, Daemon, SOURCE, run

HERE = pathlib.Path(__file__).resolve().parent
folder = pathlib.Path(tempfile.mkdtemp(prefix="percept-rogue-"))
CPP = shutil.which(os.environ.get("CXX", "c++").split()[0])
HANG_MS = 600


def build(name, *words):
    compiler = [CPP, "-x", "c++", "-std=gnu++20"] if CPP else [os.environ.get("CC", "cc").split()[0], "-std=gnu11"]
    subprocess.run([*compiler, "-shared", "-fPIC", "-w", "-O0", "-I" + str(SOURCE / "sdk/include"), *words, str(HERE / "rogue.c"), "-o",
                    str(folder / name)], check=True)


def picture(width):
    import struct, zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, 8, 2, 0, 0, 0)) + chunk(
        b"IDAT", zlib.compress(b"\0" * (1 + 3 * width))) + chunk(b"IEND", b"")


def ask(client, width, **more):
    data = picture(width)
    return client.send("response.create", dict({"assistant": "rogue", "max_output_tokens": 8, "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_image", "bin": [0, len(data)]},
                                                        {"type": "input_text", "text": "hi"}]}]}, **more), tail=data)


def faults():
    """a segfault, an abort, an exit, a stack that runs over, a throw and a hang each cost one request only"""
    build("rogue.so")
    build("roguelink.so", "-DCONNECTOR", "-DWIDTH=192")
    daemon = Daemon(f"[daemon]\nplugins = {folder}:{BUILD}/plugins/.libs\nhang_time = {HANG_MS}ms\n[assistant rogue]\n"
                    f"decoder = causal model=tiny-llava\nimage.encoder = rogue\nimage.connector = roguelink\n"
                    f"[assistant calm]\nmodel = tiny-llava\n")
    sanitized = b"__asan" in (BUILD / "plugins/.libs/causal.so").read_bytes()
    try:
        client, calm = daemon.client(), daemon.client()
        assert "result" in client.answer(ask(client, 20))
        for width, signal, named in ((1, 11, True), (2, 6, False), (3, None, False), (4, 11, False), (7, 6, False), (5, None, True),
                                     (8, None, False)):
            pid = daemon.engine_pid("calm")
            steady = calm.send("response.create", {"assistant": "calm", "input": "Count to five.", "raw": True,
                                                   "max_output_tokens": 900, "logit_bias": {"2": -100}})
            started = time.monotonic()
            error = client.answer(ask(client, width)).get("error", {})
            took = time.monotonic() - started
            assert error.get("code") == -32010 and len(error["message"]) > 30, (width, error)
            assert took < (HANG_MS / 1000 + 2.5 if width == 5 else 1), (width, took)
            data = error.get("data", {})
            assert sanitized or signal is None or data.get("signal") == signal, (width, error)
            assert sanitized or not named or data.get("plugin") == "rogue", (width, error)
            assert "result" in client.answer(ask(client, 20)), width
            assert calm.answer(steady)["result"]["usage"]["output_tokens"] == 900
            assert daemon.engine_pid("calm") == pid
    finally:
        daemon.stop()


def hang_cancelled():
    """a request in a plugin that hangs can be cancelled, and its deadline ends it"""
    daemon = Daemon(f"[daemon]\nplugins = {folder}:{BUILD}/plugins/.libs\nhang_time = 1s\n[assistant rogue]\n"
                    f"decoder = causal model=tiny-llava\nimage.encoder = rogue\nimage.connector = roguelink\n")
    try:
        client = daemon.client()
        started = time.monotonic()
        answer = client.answer(ask(client, 5, deadline_ms=200))
        assert answer.get("error", {}).get("code") in (-32009, -32010) and time.monotonic() - started < 4, answer
        assert "result" in client.answer(ask(client, 20))
        id = ask(client, 5)
        time.sleep(0.3)
        client.call("response.cancel", {"request_id": id})
        answer = client.answer(id)
        assert answer.get("result", {}).get("status") == "cancelled" or answer.get("error", {}).get("code") == -32010, answer
        assert "result" in client.answer(ask(client, 21))
    finally:
        daemon.stop()


def leaks():
    """a plugin that leaks is its engine's affair: the daemon stays small, and unloading gives all back"""
    daemon = Daemon(f"[daemon]\nplugins = {folder}:{BUILD}/plugins/.libs\n[assistant rogue]\n"
                    f"decoder = causal model=tiny-llava\nimage.encoder = rogue\nimage.connector = roguelink\n")
    try:
        client = daemon.client()
        assert "result" in client.answer(ask(client, 6))
        before = daemon.rss_kib()
        pid = daemon.engine_pid("rogue")
        assert "result" in client.answer(ask(client, 6, seed=1))
        assert daemon.rss_kib() < before + 4096
        assert "result" in client.call("assistant.unload", {"assistant": "rogue"})
        deadline = time.monotonic() + 10
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not os.path.exists(f"/proc/{pid}")
    finally:
        daemon.stop()


try:
    run([faults, hang_cancelled, leaks])
finally:
    shutil.rmtree(folder, ignore_errors=True)
