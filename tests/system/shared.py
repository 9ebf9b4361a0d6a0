"""shared.py - assistants of one daemon share what an encoder gave, through a folder of files; damaged ones are as if not there."""
import pathlib, threading
from system import Daemon, E2E, GOLDENS, SOURCE, run

TINY = SOURCE / "models" / "tiny-llava"
PICTURE = E2E / "00_easyvqa.png"
PART = f"decoder = causal model={TINY}\nimage.encoder = clip model={TINY}\nimage.connector = mlp model={TINY}\n"
TWO = "[assistant default]\nmodel = tiny-llava\n[assistant parts]\n" + PART


def cached(answer):
    return answer["result"]["usage"]["media"][0]["encoder_cached"]


def files(daemon):
    return sorted(pathlib.Path(str(daemon.path) + ".features").glob("*.features"))


def two_assistants():
    """what one assistant's encoder gave another one takes, with the same answer; another detail or encoder does not"""
    daemon = Daemon(TWO)
    try:
        client = daemon.client()
        first = client.ask("what is it", PICTURE)
        second = client.ask("what is it", PICTURE, assistant="parts")
        assert not cached(first) and cached(second), (first, second)
        assert first["result"]["output_text"] == second["result"]["output_text"], (first, second)
        assert len(files(daemon)) == 1 and files(daemon)[0].stat().st_mode & 0o077 == 0, files(daemon)
        folder = files(daemon)[0].parent
        daemon.process.terminate()
        assert daemon.process.wait(30) == 0 and not folder.exists(), "the folder goes with the daemon"
    finally:
        daemon.stop()


def another_connector():
    """assistants with a Q-Former and one with an MLP answer at once; what the Q-Former's encoder gave is shared as well"""
    queries = GOLDENS / "queries" / "blip2_opt"
    daemon = Daemon(TWO + f"[assistant queries]\nmodel = {queries}\n[assistant again]\nmodel = {queries}\n")
    try:
        answers = {}
        work = [threading.Thread(target=lambda n: answers.update({n: daemon.client().ask("what is it", PICTURE, assistant=n,
                                                                                       max_output_tokens=8)}), args=(n,))
                for n in ("default", "queries")]
        [w.start() for w in work]
        [w.join() for w in work]
        assert all("result" in a for a in answers.values()), answers
        again = daemon.client().ask("what is it", PICTURE, assistant="again", max_output_tokens=8)
        assert cached(again) and again["result"]["output_text"] == answers["queries"]["result"]["output_text"], (again, answers)
        assert len(files(daemon)) == 2, files(daemon)
    finally:
        daemon.stop()


def damaged():
    """a file that is cut, changed or of something else is not used: the picture is encoded, and kept anew"""
    daemon = Daemon(TWO)
    try:
        client = daemon.client()
        expected = client.ask("what is it", PICTURE)["result"]["output_text"]
        file, whole = files(daemon)[0], files(daemon)[0].read_bytes()
        for n, bad in enumerate((whole[:-1], whole[:40], b"", b"x" + whole[1:], whole[:40] + b"\xff" * 40 + whole[80:],
                                 whole[:-4] + b"\x00\x00\xc0\x7f")):
            file.write_bytes(bad)
            daemon.config.write_text(TWO + f"[assistant fresh{n}]\n" + PART)
            assert "result" in client.call("config.reload"), "reload"
            answer = client.ask("what is it", PICTURE, assistant=f"fresh{n}")
            assert not cached(answer) and answer["result"]["output_text"] == expected, (n, answer)
            assert files(daemon)[0].read_bytes() == whole, n
    finally:
        daemon.stop()


def configured():
    """features = off shares nothing; a folder outlives the daemon, and is bounded by features_size"""
    daemon = Daemon("[daemon]\nfeatures = off\n" + TWO)
    try:
        client = daemon.client()
        client.ask("what is it", PICTURE)
        assert not cached(client.ask("what is it", PICTURE, assistant="parts")) and not files(daemon)
        folder = daemon.folder / "kept"
        keep = f"[daemon]\nfeatures = {folder}\nfeatures_size = 80K\n" + TWO
        daemon.config.write_text(keep)
        assert "result" in client.call("config.reload"), "reload"
        pictures = [PICTURE, *sorted(p for p in PICTURE.parent.glob("*.png") if p != PICTURE)[:3]]
        for picture in pictures:
            assert "result" in client.ask("what is it", picture)
        kept = list(folder.glob("*.features"))
        assert 1 <= len(kept) < len(pictures) and sum(f.stat().st_size for f in kept) <= 80 << 10, kept
        assert cached(client.ask("what is it", pictures[-1], assistant="parts"))
        daemon.config.write_text("[daemon]\nfeatures = here\n" + TWO)
        error = client.call("config.reload")
        assert "error" in error and "here" in error["error"]["message"] and "absolute" in error["error"]["message"], error
    finally:
        daemon.stop()


run([two_assistants, another_connector, damaged, configured])
