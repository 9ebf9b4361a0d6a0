"""engines.py - engines that die, hang, refuse; reloads; the end."""
import os, signal, socket, subprocess, tempfile, threading, time
from serve import Daemon, ONE, ask, run, start, wait_for

TWO = ONE + "[assistant second]\ndecoder = fake\n"


def killed():
    """an engine killed: its requests get -32010 with the signal within 1 s, others go on, the next works"""
    daemon = Daemon(TWO)
    try:
        one, two = daemon.client(), daemon.client()
        first, second = start(one, "count 1000 20")[0], start(two, "count 40 20", assistant="second")[0]
        begun = time.monotonic()
        os.kill(daemon.engine_pid(), signal.SIGKILL)
        error = one.answer(first)["error"]
        assert error["code"] == -32010 and error["data"]["signal"] == 9 and time.monotonic() - begun < 1, error
        assert ask(one, "say x")["result"]["output_text"] == "x "
        assert two.answer(second)["result"]["status"] == "completed"
        for _ in range(3):
            assert ask(one, "die")["error"]["data"]["signal"] == 11
        assert ask(one, "say x")["result"]["output_text"] == "x "
    finally:
        daemon.stop()


def stopped():
    """an engine whose loop hangs is ended"""
    daemon = Daemon("[daemon]\nhang_time = 500ms\n" + ONE)
    try:
        client = daemon.client()
        error = ask(client, "stop")["error"]
        assert error["code"] == -32010 and "did not answer" in error["message"], error
        assert ask(client, "say x")["result"]["output_text"] == "x "
    finally:
        daemon.stop()


def late():
    """requests wait while an engine starts"""
    daemon = Daemon(ONE + "instructions = late 0.5\n")
    try:
        client, notes = daemon.client(), []
        assert daemon.one()["state"] == "starting"
        answer = client.answer(client.send("response.create", {"input": "say x"}), notes)
        assert answer["result"]["output_text"] == "x " and answer["result"]["timings"]["queue_ms"] > 100
        assert notes[1]["params"]["stage"] == "queue"
    finally:
        daemon.stop()


def refused():
    """an engine that cannot open gives its sentence: -32007, a bad model -32015, a crash -32010"""
    for how, code, text in (("refuse", -32007, "connector y"), ("bad model", -32015, "damaged"), ("die", -32010, "crash")):
        daemon = Daemon(ONE + f"instructions = {how}\n")
        try:
            client = daemon.client()
            error = ask(client, "say x")["error"]
            assert error["code"] == code and text in error["message"], error
            assert wait_for(lambda: daemon.one()["state"] == "failed") and daemon.one()["reason"]
        finally:
            daemon.stop()


def reload():
    """reloads under load, good, bad and refused: no request fails, and the reason is told"""
    daemon = Daemon(TWO)
    wrong, done, count = [], threading.Event(), [0]

    def worker(assistant):
        client = daemon.client()
        while not done.is_set():
            answer = ask(client, "count 3 5", assistant=assistant)
            count[0] += 1
            if answer.get("result", {}).get("output_text") != "0 1 2 ":
                wrong.append(answer)

    threads = [threading.Thread(target=worker, args=(a,)) for a in ("default", "default", "second")]
    client = daemon.client()
    [t.start() for t in threads]
    try:
        for i in range(12):
            text, code, part = ((TWO + f"instructions = {i}\n", 0, ""), (TWO + "nonsense = 1\n", -32602, "perceptd.conf:5"),
                                (TWO + "instructions = refuse\n", -32602, "connector y"), (TWO[:-4], 0, ""))[i % 4]
            daemon.config.write_text(text)
            answer = client.call("config.reload")
            if code:
                assert answer["error"]["code"] == code and part in answer["error"]["message"], answer
                assert daemon.status()["last_reload"]["ok"] is False
            else:
                assert "result" in answer, answer
        daemon.config.write_text(ONE)
        generation = daemon.status()["generation"]
        daemon.process.send_signal(signal.SIGHUP)
        assert wait_for(lambda: daemon.status()["generation"] == generation + 1)
    finally:
        done.set()
        [t.join() for t in threads]
    wrong = [w for w in wrong if w.get("error", {}).get("code") != -32011]
    assert count[0] > 20 and not wrong, (count, wrong[:3])
    assert [a["name"] for a in daemon.status()["assistants"]] == ["default"]
    children = lambda: open(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read()
    assert wait_for(lambda: len(children().split()) == 2), children()
    daemon.stop()


def terminated():
    """SIGTERM: what runs ends, new requests are -32012, then perceptd exits and leaves nothing"""
    daemon = Daemon()
    client = daemon.client()
    id, _ = start(client, "count 20 20")
    daemon.process.send_signal(signal.SIGTERM)
    assert wait_for(lambda: "drain" in daemon.logged())
    other = client.send("response.create", {"input": "say x"})
    seen = {}
    while len(seen) < 2:
        message = client.frame()[0]
        if "method" not in message:
            seen[message["id"]] = message
    assert seen[other]["error"]["code"] == -32012 and seen[id]["result"]["status"] == "completed"
    assert daemon.process.wait(5) == 0
    assert os.listdir(daemon.path.parent) == []
    daemon.stop()


def drained():
    """after drain_time what still runs is cancelled"""
    daemon = Daemon("[daemon]\ndrain_time = 300ms\n" + ONE)
    client = daemon.client()
    id, _ = start(client, "count 10000 20")
    assert client.call("shutdown")["result"] == {}
    assert client.answer(id)["result"]["status"] == "cancelled"
    assert daemon.process.wait(5) == 0
    daemon.stop()


def sockets():
    """the socket is private; a second perceptd is refused; a stale one is taken over; a long path is an error"""
    daemon = Daemon()
    try:
        assert os.stat(daemon.path).st_mode & 0o777 == 0o600 and os.stat(daemon.path.parent).st_mode & 0o777 == 0o700
        second = subprocess.run(daemon.args, env=daemon.env, capture_output=True, text=True, timeout=10)
        assert second.returncode == 1 and "Another perceptd" in second.stderr, second
        assert "result" in daemon.client().call("ping")
        engine = daemon.engine_pid()
        daemon.process.kill()
        daemon.process.wait()
        assert daemon.path.exists()
        daemon.start()
        assert wait_for(lambda: not os.path.exists(f"/proc/{engine}"))
        long = subprocess.run([daemon.args[0], "--socket", "/tmp/" + "x" * 200], env=daemon.env, capture_output=True, text=True)
        assert long.returncode == 1 and "205 bytes" in long.stderr, long
    finally:
        daemon.stop()


def activated():
    """LISTEN_FDS and NOTIFY_SOCKET are honoured, and no child sees them"""
    daemon = Daemon()
    daemon.process.terminate()
    daemon.process.wait()
    news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    news.bind(str(daemon.folder / "notify"))
    news.settimeout(10)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(daemon.path))
    listener.listen()
    shell = 'exec 3<&%d; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"' % listener.fileno()
    daemon.args = ["sh", "-c", shell, "sh", *daemon.args]
    process = subprocess.Popen(daemon.args, env={**daemon.env, "NOTIFY_SOCKET": str(daemon.folder / "notify"),
                                                 "WATCHDOG_USEC": "200000"},
                               pass_fds=[listener.fileno()], stderr=open(daemon.log, "ab"))
    try:
        heard = [news.recv(200) for _ in range(3)]
        assert b"READY=1" in heard and b"WATCHDOG=1" in heard, heard
        client = daemon.client()
        assert ask(client, "say x")["result"]["output_text"] == "x "
        environment = open(f"/proc/{daemon.engine_pid()}/environ").read()
        assert "LISTEN_FDS" not in environment and "NOTIFY_SOCKET" not in environment
        client.call("config.reload")
        heard = b""
        while b"RELOADING=1" not in heard:
            heard = news.recv(200)
    finally:
        process.terminate()
        assert process.wait(10) == 0
    assert daemon.path.exists()
    daemon.process = process
    daemon.stop()


def check():
    """--check tells whether every assistant can be opened"""
    daemon = Daemon()
    try:
        checked = lambda: subprocess.run([daemon.args[0], "--check", "-c", str(daemon.config)], env=daemon.env, capture_output=True,
                                         text=True, timeout=20)
        good = checked()
        assert good.returncode == 0 and "sound" in good.stdout, good
        daemon.config.write_text(TWO + "instructions = refuse\n")
        bad = checked()
        assert bad.returncode == 1 and "connector y" in bad.stdout, bad
        daemon.config.write_text("[daemon]\nnonsense = 1\n")
        worse = checked()
        assert worse.returncode == 1 and "perceptd.conf:2" in worse.stderr, worse
    finally:
        daemon.stop()


def idle():
    """idle it is small, and stays small with a thousand connections, which it gives back"""
    daemon = Daemon()
    try:
        ask(daemon.client(), "say x")
        before, memory = daemon.descriptors(), daemon.rss_kib()
        clients = [daemon.client() for _ in range(1000)]
        assert clients[-1].call("ping")["result"] == {}
        grown = daemon.rss_kib() - memory
        maps = open(f"/proc/{daemon.process.pid}/maps").read()
        # A sanitizer's runtime has tens of megabytes of its own; without one the limit is 8 MiB.
        if "libasan" not in maps and "libtsan" not in maps:
            assert memory < 8192 and grown < 4096, (memory, grown)
        [c.close() for c in clients]
        assert wait_for(lambda: daemon.descriptors() <= before), (before, daemon.descriptors())
    finally:
        daemon.stop()


run([killed, stopped, late, refused, reload, terminated, drained, sockets, activated, check, idle])
