"""pairs.py - tiny-llava as a pair of GGUF files gives the tokens that its folder gives, however it is named; wrong pairs are refused
with one sentence."""
import json, os, pathlib, shutil, subprocess, tempfile
from system import BUILD, E2E, GOLDENS, SOURCE, Daemon, run

folder = tempfile.TemporaryDirectory(prefix="percept-pairs-test-")
HERE = pathlib.Path(folder.name)
GOLDEN = json.loads((E2E / "goldens.json").read_text())
SHARED = SOURCE.parent / "shared" / "models" / "tiny-llava" / "gguf"


def models(*words):
    return subprocess.run([str(BUILD / "percept"), "models", *map(str, words)], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                          env={**os.environ, "HOME": folder.name, "PERCEPT_MODELS": f"{HERE}:{SOURCE / 'models'}"})


def make():
    for name in ("pair", "apart", "several", "other"):
        (HERE / name).mkdir()
    done = models("convert", SOURCE / "models" / "tiny-llava", "-o", HERE / "pair" / "tiny.gguf")
    assert done.returncode == 0, done
    tower = HERE / "pair" / "mmproj-tiny.gguf"
    assert sorted(p.name for p in (HERE / "pair").iterdir()) == ["mmproj-tiny.gguf", "tiny.gguf"]
    done = models("convert", GOLDENS / "vlm_llava", "--mmproj", "-o", HERE / "other" / "tower.gguf")
    assert done.returncode == 0 and [p.name for p in (HERE / "other").iterdir()] == ["tower.gguf"], done
    shutil.copy(HERE / "pair" / "tiny.gguf", HERE / "apart" / "text.gguf")
    shutil.copy(tower, HERE / "apart" / "tower.gguf")
    for name in ("a.gguf", "b.gguf"):
        shutil.copy(HERE / "pair" / "tiny.gguf", HERE / "several" / name)


def same_answers(config):
    daemon = Daemon("[daemon]\nmodels = %s\n" % HERE + config)
    try:
        client = daemon.client()
        names = [a["name"] for a in client.call("assistant.list")["result"]]
        assert names
        for name in names:
            wrong = 0
            for item in GOLDEN["items"]:
                answer = client.ask(item["question"], E2E / item["image"], assistant=name)
                assert "result" in answer, (name, answer)
                assert answer["result"]["usage"]["input_tokens"] == len(item["input_ids"]), (name, item)
                wrong += answer["result"]["tokens"] != item["output_ids"]
            assert wrong <= 1, (name, wrong)
    finally:
        daemon.stop()


def answers_as_the_folder_does():
    """a folder of two files; a file beside which the other lies; two files by name; three parts by name"""
    parts = "decoder = causal model=apart/text.gguf\nimage.encoder = clip model=apart/tower.gguf\nimage.connector = mlp model=apart/tower.gguf\n"
    same_answers("[assistant folder]\nmodel = pair\n[assistant beside]\nmodel = pair/tiny.gguf\n"
                 "[assistant named]\nmodel = apart/text.gguf\nmmproj = apart/tower.gguf\n[assistant parts]\n" + parts)


def answers_with_a_pair_of_others():
    """the pair that a legacy converter wrote, where there is one"""
    if SHARED.is_dir():
        same_answers(f"[assistant shared]\nmodel = {SHARED}\n")


def refused(config, *words):
    daemon = Daemon("[daemon]\nmodels = %s\n[assistant bad]\n" % HERE + config)
    try:
        answer = daemon.client().ask("What is on the left?", E2E / GOLDEN["items"][0]["image"], assistant="bad")
        assert "error" in answer, answer
        message = answer["error"]["message"]
        assert all(word in message for word in words), message
    finally:
        daemon.stop()


def refuses_what_does_not_fit():
    """projectors to other sizes, two language models, a language model in the tower's place, a tower alone, no tower"""
    refused("model = apart/text.gguf\nmmproj = other/tower.gguf\n", "tower.gguf", "text.gguf", "48", "192")
    refused("model = several\n", "several language models", "name one")
    refused("model = apart/text.gguf\nmmproj = pair/tiny.gguf\n", "language model", "mmproj")
    refused("model = apart/tower.gguf\n", "no decoder")
    refused("model = pair/tiny.gguf\nmmproj = none\n", "image")


def tells_what_it_is():
    """percept models show, of a tower, of a language model beside one, of a folder of both"""
    tower = json.loads(models("show", HERE / "pair" / "mmproj-tiny.gguf", "--json").stdout)
    assert tower["family"] == "llava" and tower["pictures"]["projector"] == "mlp" and tower["pictures"]["values"] == 192, tower
    both = models("show", HERE / "pair")
    assert both.returncode == 0 and "tiny.gguf" in both.stdout and "mmproj-tiny.gguf" in both.stdout, both
    assert "mlp" in models("show", HERE / "pair" / "mmproj-tiny.gguf").stdout


try:
    make()
    run([answers_as_the_folder_does, answers_with_a_pair_of_others, refuses_what_does_not_fit, tells_what_it_is])
finally:
    folder.cleanup()
