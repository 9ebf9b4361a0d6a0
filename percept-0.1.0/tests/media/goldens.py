#!/usr/bin/env python3
"""goldens.py - pictures of the goldens through percept-media: equal to the reference, or refused. TAP."""
import json, os, struct, subprocess, sys, tempfile

top, build = os.environ.get("top_srcdir", "."), os.environ.get("top_builddir", ".")
DECODE = os.path.join(build, "tests/media/decode-file")


def tensors(path):
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    body = data[8 + n:]
    return {k: (v["shape"], body[slice(*v["data_offsets"])]) for k, v in json.loads(data[8:8 + n]).items()
            if k.startswith("out.")}


def ppm(path):
    data = open(path, "rb").read().split(b"\n", 3)
    width, height = map(int, data[1].split())
    return [height, width, 3], data[3]


def differs(got, want, jpeg):
    """A sentence, or None. JPEG: FFmpeg's inverse transform is not libjpeg's, so a grey level or two are allowed."""
    if got[0] != want[0]:
        return "shape %s, not %s" % (got[0], want[0])
    distance = [abs(a - b) for a, b in zip(got[1], want[1])]
    largest, mean = max(distance), sum(distance) / len(distance)
    if largest > (3 if jpeg else 0) or mean > 0.6:
        return "largest difference %d, mean %.3f" % (largest, mean)
    return None


def main():
    count = failed = 0
    for case in ("img_decode", "img_decode_kinds"):
        folder = os.path.join(top, "tests/goldens", case)
        want = tensors(os.path.join(folder, "io.safetensors"))
        with tempfile.TemporaryDirectory() as out:
            names = sorted(os.listdir(os.path.join(folder, "files")))
            pairs = [p for n in names for p in (os.path.join(folder, "files", n), os.path.join(out, n))]
            words = subprocess.run([DECODE] + pairs, stderr=subprocess.PIPE, text=True).stderr.splitlines()
            for name in names:
                why = next((w for w in words if name + ":" in w), None)
                if os.path.exists(os.path.join(out, name)):
                    why = differs(ppm(os.path.join(out, name)), want["out." + name], name.endswith(".jpg"))
                count += 1
                failed += why is not None
                print("%sok %d - %s/%s is as the reference%s" % (
                    "not " if why else "", count, case, name, " # " + why if why else ""))
            for name in sorted(os.listdir(os.path.join(folder, "bad"))):
                run = subprocess.run([DECODE, os.path.join(folder, "bad", name), os.path.join(out, "bad")],
                                     stderr=subprocess.PIPE, text=True)
                good = run.returncode == 1 and run.stderr.rstrip().endswith(".") and "signal" not in run.stderr
                count += 1
                failed += not good
                print("%sok %d - %s/bad/%s is refused" % ("" if good else "not ", count, case, name))
    print("1..%d" % count)
    return 1 if failed else 0


sys.exit(main())
