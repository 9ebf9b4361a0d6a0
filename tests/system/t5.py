"""t5.py - an encoder-decoder through perceptd: the same answers alone, together, from kept sequences, streamed; its limits."""
import threading
from system import Daemon, GOLDENS, run

FLAN, TIED = GOLDENS / "dec_flan_t5_gated_untied", GOLDENS / "dec_t5_relu_tied"
daemon = Daemon(f"""
[assistant default]
model = {FLAN}
[assistant tied]
model = {TIED}
[assistant gguf]
model = {FLAN}/model-q8_0.gguf
[assistant small]
decoder = t5 model={FLAN} context=40 batch=8 kv_memory=1
""")
TEXTS = ["a cat sat on the mat", "the house is small", "a cat sat on the", "what is it?", "a cat sat on the mat and slept", "one two"]


def ask(client, text, **params):
    answer = client.ask(text, temperature=0, max_output_tokens=12, logit_bias={"1": -100}, **params)
    assert "result" in answer, answer
    return answer["result"]


def alone():
    """each of two models and their quantised file answer; the prompt's tokens are counted without what decoding begins with"""
    client = daemon.client()
    for name in ("default", "tied", "gguf"):
        result = ask(client, TEXTS[0], assistant=name)
        count = client.call("token.count", {"assistant": name, "input": TEXTS[0]})["result"]["tokens"]
        assert len(result["tokens"]) == 12 and result["finish_reason"] == "length", result
        assert result["usage"]["input_tokens"] == count > 6, (result["usage"], count)


def together():
    """many at once, of different lengths, give what each gives alone"""
    client, got = daemon.client(), {}
    fresh = Daemon(f"[assistant default]\nmodel = {FLAN}\n")
    want = {text: ask(client, text)["tokens"] for text in TEXTS}
    assert len({tuple(t) for t in want.values()}) > 3, want

    def worker(k):
        mine = fresh.client()
        for text in TEXTS[k % 3:] + TEXTS[:k % 3]:
            got[k, text] = ask(mine, text, stream=k % 2 == 0)["tokens"]

    threads = [threading.Thread(target=worker, args=(k,)) for k in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    fresh.stop()
    assert len(got) == 8 * len(TEXTS)
    wrong = [(k, tokens, want[k[1]]) for k, tokens in got.items() if tokens != want[k[1]]]
    assert not wrong, wrong


def kept():
    """an equal prompt is encoded once; one that begins or goes on as another is not taken for it"""
    fresh = Daemon(f"[assistant default]\nmodel = {FLAN}\n")
    client = fresh.client()
    first = ask(client, TEXTS[0])
    assert first["usage"]["cached_tokens"] == 0
    again = ask(client, TEXTS[0])
    assert again["usage"]["cached_tokens"] == again["usage"]["input_tokens"], again["usage"]
    assert again["tokens"] == first["tokens"]
    for text in (TEXTS[2], TEXTS[4], TEXTS[0] + "."):
        other = ask(client, text)
        assert other["usage"]["cached_tokens"] == 0, (text, other["usage"])
    fresh.stop()


def raw():
    """plain and raw prompts of one text are the same, which ends as the model's texts do, once"""
    client = daemon.client()
    plain = ask(client, TEXTS[1])
    answer = client.call("response.create", {"input": TEXTS[1], "raw": True, "stream": False, "temperature": 0, "max_output_tokens": 12,
                                             "logit_bias": {"1": -100}, "return_tokens": True})["result"]
    assert answer["tokens"] == plain["tokens"] and answer["usage"]["input_tokens"] == plain["usage"]["input_tokens"]


def limits():
    """a prompt longer than a step's rows is encoded in one; one beyond the context is refused; answers end at it"""
    client = daemon.client()
    result = ask(client, TEXTS[4], assistant="small")
    assert result["usage"]["input_tokens"] > 8, result["usage"]
    assert result["tokens"] == ask(client, TEXTS[4])["tokens"]
    answer = client.ask(" ".join(TEXTS), assistant="small", max_output_tokens=4)
    assert answer["error"]["code"] == -32006, answer
    ends = client.ask(TEXTS[0], assistant="small", temperature=0, max_output_tokens=1000, logit_bias={"1": -100})["result"]
    assert ends["finish_reason"] == "length" and ends["usage"]["input_tokens"] + 1 + ends["usage"]["output_tokens"] == 40, ends


def penalties():
    """penalties look at what was decoded, not at what the encoder read"""
    client = daemon.client()
    plain = ask(client, TEXTS[3])["tokens"]
    strict = ask(client, TEXTS[3], repeat_penalty=5.0)["tokens"]
    assert plain[0] == strict[0], (plain, strict)


def embedding():
    """the text's vector is the encoder's last state, and the same twice"""
    client = daemon.client()
    vectors = []
    for text in (TEXTS[0], TEXTS[0], TEXTS[1]):
        answer = client.call("embedding.create", {"input": [{"type": "message", "role": "user", "content": text}], "space": "text"})
        assert answer["result"]["shape"] == [64], answer
        vectors.append(answer["tail"])
    assert vectors[0] == vectors[1] != vectors[2] and len(vectors[0]) == 256


try:
    run([alone, together, kept, raw, limits, penalties, embedding])
finally:
    daemon.stop()
