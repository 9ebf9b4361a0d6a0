"""queries.py - Q-Formers through the daemon: BLIP-2 with OPT and with T5, InstructBLIP: the reference's ids, alone, at once, cold and warm."""
import json, shutil, threading
from system import Daemon, GOLDENS, run

CASES = {name: json.loads((GOLDENS / "queries" / name / "expected.json").read_text()) for name in ("blip2_opt", "blip2_t5", "instructblip_llama")}
CONFIG = "".join(f"[assistant {name}]\nmodel = {GOLDENS / 'queries' / name}\n" for name in CASES)


def ask(client, name, prompt=None, picture=True, **more):
    case = CASES[name]
    return client.ask(case["prompt"] if prompt is None else prompt, GOLDENS / case["picture"] if picture else None, assistant=name,
                      max_output_tokens=10, temperature=0, **more)


def as_the_reference():
    """queries stand in front of the token that texts begin with; the instruction enters InstructBLIP's Q-Former, too"""
    daemon = Daemon(CONFIG)
    try:
        client = daemon.client()
        for name, case in CASES.items():
            for cold in (True, False):
                answer = ask(client, name, raw=True)
                assert answer["result"]["tokens"] == case["tokens"], (name, answer, case)
                usage = answer["result"]["usage"]
                assert usage["input_tokens"] == case["input_tokens"] and usage["media"][0]["tokens"] == 3, (name, usage)
                assert usage["media"][0]["encoder_cached"] != cold, (name, usage)
    finally:
        daemon.stop()


def questions():
    """a question to BLIP-2 becomes \"Question: ... Answer:\"; InstructBLIP takes it as it is"""
    daemon = Daemon(CONFIG)
    try:
        client = daemon.client()
        for name, case in CASES.items():
            answer = ask(client, name, case["question"])
            assert answer["result"]["tokens"] == case["tokens"], (name, answer, case)
    finally:
        daemon.stop()


def at_once():
    """three assistants of one daemon, eight requests each, pictures and texts mixed: each as alone"""
    daemon = Daemon(CONFIG)
    try:
        texts = {name: ask(daemon.client(), name, "what", picture=False)["result"]["tokens"] for name in CASES}
        wrong = []

        def worker(name, picture):
            answer = ask(daemon.client(), name, None if picture else "what", picture, raw=picture)
            if answer["result"]["tokens"] != (CASES[name]["tokens"] if picture else texts[name]):
                wrong.append((name, picture, answer))

        work = [threading.Thread(target=worker, args=(name, k % 2 == 0)) for name in CASES for k in range(8)]
        [w.start() for w in work]
        [w.join() for w in work]
        assert not wrong, wrong[0]
    finally:
        daemon.stop()


run([as_the_reference, questions, at_once])
