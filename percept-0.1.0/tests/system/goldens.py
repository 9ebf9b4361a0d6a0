"""goldens.py - tiny-llava through perceptd gives the reference's token ids: alone, eight at a time, cold and cached."""
import json, threading
from system import Daemon, E2E, run

GOLDEN = json.loads((E2E / "goldens.json").read_text())
daemon = Daemon()


def check(client, item, **more):
    answer = client.ask(item["question"], E2E / item["image"] if "image" in item else None, **more)
    assert "result" in answer, answer
    result = answer["result"]
    return result["tokens"] == item["output_ids"], result, item


def exact(rows):
    """Every PNG and text-only case is exact; a JPEG may differ in one case (decoders differ by a grey level)."""
    wrong = [(item.get("image"), result["tokens"], item["output_ids"]) for good, result, item in rows if not good]
    hard = [w for w in wrong if not (w[0] or "").endswith(".jpg")]
    assert not hard and len(wrong) <= 1, wrong


def alone():
    """every picture, one at a time, cold"""
    client = daemon.client()
    rows = [check(client, item) for item in GOLDEN["items"]]
    exact(rows)
    assert all(not r["usage"]["media"][0]["encoder_cached"] for _, r, _ in rows)
    for _, result, item in rows:
        assert result["usage"]["input_tokens"] == len(item["input_ids"]), (result["usage"], len(item["input_ids"]))
        assert result["output_text"].strip() == item["output_text"] or result["tokens"] != item["output_ids"]


def cached():
    """the same again from the cache"""
    client = daemon.client()
    rows = [check(client, item, stream=True) for item in GOLDEN["items"]]
    exact(rows)
    assert all(r["usage"]["media"][0]["encoder_cached"] for _, r, _ in rows)


def text_only():
    """questions without a picture"""
    client = daemon.client()
    exact([check(client, item) for item in GOLDEN["text_only"]])


def together():
    """eight at a time, each answer about its own picture"""
    fresh, rows, todo = Daemon(), [], list(GOLDEN["items"] + GOLDEN["text_only"])

    def worker():
        client = fresh.client()
        while True:
            try:
                item = todo.pop()
            except IndexError:
                return
            rows.append(check(client, item, stream=len(todo) % 2 == 0))

    threads = [threading.Thread(target=worker) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    fresh.stop()
    assert len(rows) == len(GOLDEN["items"]) + len(GOLDEN["text_only"])
    exact(rows)


def multi_turn():
    """conversations of several turns; a turn that was just answered is not prefilled again"""
    client = daemon.client()
    for case in GOLDEN["multi_turn"]:
        tail = (E2E / case["image"]).read_bytes()
        items = []
        for message in case["messages"]:
            kind = "output_text" if message["role"] == "assistant" else "input_text"
            content = [{"type": "input_image", "bin": [0, len(tail)]} if part["type"] == "image"
                       else {"type": kind, "text": part["text"]} for part in message["content"]]
            items.append({"type": "message", "role": message["role"], "content": content})
        answer = client.answer(client.send("response.create", {"input": items, "return_tokens": True}, tail=tail))
        assert answer["result"]["tokens"] == case["output_ids"], (answer, case["output_ids"])
        assert answer["result"]["usage"]["input_tokens"] == len(case["input_ids"])
        assert answer["result"]["usage"]["cached_tokens"] > 60, answer["result"]["usage"]


def logprobs():
    """the reference's first-token log-probabilities"""
    client = daemon.client()
    for item in GOLDEN["items"][:6] + GOLDEN["text_only"]:
        if item.get("image", "").endswith(".jpg"):
            continue
        _, result, _ = check(client, item, top_logprobs=5, max_output_tokens=1)
        top = {row["id"]: row["logprob"] for row in result["logprobs"][0]["top"]}
        for row in item["first_token_top5"]:
            assert abs(top[row["id"]] - row["logprob"]) < 2e-3 + 1e-3 * abs(row["logprob"]), (row, top)


try:
    run([alone, cached, text_only, together, multi_turn, logprobs])
finally:
    daemon.stop()
