"""tap.py - tests as functions, TAP out; each gets a folder of its own that is gone afterwards."""
import os, shutil, sys, tempfile, traceback

top_builddir = os.environ.get("top_builddir", os.getcwd())
top_srcdir = os.environ.get("top_srcdir", os.getcwd())


def program(name):
    return os.path.join(top_builddir, name)


def main(tests):
    failed = 0
    print("1..%d" % len(tests), flush=True)
    for n, test in enumerate(tests, 1):
        folder = tempfile.mkdtemp(prefix="percept-test-")
        try:
            test(folder)
            print("ok %d - %s" % (n, test.__doc__), flush=True)
        except Exception:
            failed += 1
            print("not ok %d - %s" % (n, test.__doc__), flush=True)
            print("# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failed else 0)


def equal(got, wanted):
    if got != wanted:
        raise AssertionError("got %r, wanted %r" % (got, wanted))


def contains(text, part):
    if part not in text:
        raise AssertionError("%r is not in %r" % (part, text))
