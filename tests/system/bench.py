"""bench.py - percept bench on the bundled model: every measurement that was asked for, and nothing left behind."""
import glob, json, os, pathlib, subprocess, tempfile
from system import BUILD, run, wait_for

folder = tempfile.TemporaryDirectory(prefix="percept-bench-test-")


def bench(*words):
    done = subprocess.run([str(BUILD / "percept"), "bench", *words], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "HOME": folder.name, "XDG_STATE_HOME": folder.name, "TMPDIR": folder.name})
    return done


def measures():
    """each combination of threads, batch, context and length has its number, and what has no room says so"""
    done = bench("tiny-llava", "--threads", "1,2", "--prefill", "32,100000", "--decode", "8", "--context", "0,64", "--batch", "1,2",
                 "--runs", "1", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    cells = [(c["tokens"], c["threads"], c["batch"]) for c in report["prefill"]]
    assert cells == [(t, n, b) for n in (1, 2) for b in (1, 2) for t in (32, 100000)], cells
    assert all((c["tokens_per_second"] is None) == (c["tokens"] == 100000) for c in report["prefill"]), report
    cells = [(c["context"], c["threads"], c["batch"]) for c in report["decode"]]
    assert cells == [(c, n, b) for n in (1, 2) for b in (1, 2) for c in (0, 64)], cells
    assert all(c["tokens_per_second"] > 10 for c in report["decode"]), report
    assert all(report["bandwidth_gb_per_second"][n] > 0.1 for n in ("1", "2")) and report["encode_ms"] > 0, report


def leaves_nothing():
    """the daemon of its own is gone, and its folder too"""
    assert not glob.glob(folder.name + "/percept-bench-*"), os.listdir(folder.name)
    wait_for(lambda: not [p for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if folder.name.encode() in read(p)])


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def refuses():
    """a model that is not there, numbers that are none"""
    done = bench("no-such-model", "--threads", "1", "--runs", "1")
    assert done.returncode in (1, 3) and "no-such-model" in done.stderr, done
    for bad in ("", "0", "1,", "-1", "x", "1;2"):
        done = bench("tiny-llava", "--threads", bad)
        assert done.returncode == 2 and "--threads" in done.stderr, (bad, done)
    leaves_nothing()


try:
    run([measures, leaves_nothing, refuses])
finally:
    folder.cleanup()
