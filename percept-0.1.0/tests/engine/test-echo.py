"""test-echo.py - the real engine with the echo decoder: streams, batches, prefixes, limits."""
import shutil
from hop import *

t = Tap()
e = Engine()
t.ok(e.call("response.create", {"input": "x"})["error"]["code"] == -32007, "is not ready before engine.open")
opened = e.open([{"role": "decoder", "plugin": "echo", "model": None, "options": {}}], context=200)
t.ok(opened.get("result", {}).get("context") == 200, "opens a decoder with a context of the assistant's own", opened)
t.ok(e.call("no.such")["error"]["code"] == -32601, "knows no unknown method")

ident = e.ask("Grüße, 世界! 🐱", wait=False, return_tokens=True)
result = e.wait(ident)["result"]
notes = [m for _, m in e.notes[ident]]
deltas = [m["params"] for m in notes if m["method"] == "response.output_text.delta"]
t.ok(result["output_text"] == "Grüße, 世界! 🐱" and result["finish_reason"] == "stop" and result["status"] == "completed", "says it again", result)
t.ok("".join(d["delta"] for d in deltas) == result["output_text"], "the deltas make up the text", deltas)
t.ok(sum((d["tokens"] for d in deltas), []) == result["tokens"] and result["tokens"][-1] == 256, "and the tokens, the end included")
t.ok([m["params"]["sequence_number"] for m in notes] == list(range(len(notes))), "numbers the notifications without a gap")
t.ok([m["params"]["stage"] for m in notes if "stage" in m["params"]] == ["prefill", "decode"], "tells the stages", notes)
t.ok(notes[-1]["method"] == "response.output_text.done" and notes[-1]["params"]["text"] == result["output_text"], "tells the whole text last")

result = e.ask("one two three", stop=["o th", "zzz"])["result"]
t.ok(result["output_text"] == "one tw" and result["finish_reason"] == "stop", "stops at a stop string", result)
result = e.ask("abcdef", max_output_tokens=3, stream=False)["result"]
t.ok(result["output_text"] == "abc" and result["finish_reason"] == "length" and result["status"] == "incomplete" and
     result["usage"]["output_tokens"] == 3, "ends at max_output_tokens", result)
ident = e.ask("quiet", stream=False, wait=False)
e.wait(ident)
t.ok(ident not in e.notes, "stream:false sends no notifications")
result = e.ask("a" * 120)["result"]
t.ok(result["finish_reason"] == "length" and result["usage"]["output_tokens"] == 80, "clamps the answer to the context", result)
error = e.ask("b" * 250)["error"]
t.ok(error["code"] == -32006 and error["data"] == {"tokens": 250, "context": 200}, "refuses what the context cannot hold", error)

idents = {e.ask("stream %d says what it says" % i, wait=False): i for i in range(40)}
good = sum(e.wait(k)["result"]["output_text"] == "stream %d says what it says" % i for k, i in idents.items())
t.ok(good == 40, "forty at once get their own answers", good)

result = e.ask("xyz", temperature=0, top_logprobs=2, logit_bias={"122": -100.0, "65": 50.0}, max_output_tokens=1)["result"]
t.ok(len(result["logprobs"]) == 1 and len(result["logprobs"][0]["top"]) == 2 and result["logprobs"][0]["top"][0]["text"] == "x" and
     result["logprobs"][0]["top"][0]["logprob"] <= 0, "logprobs are those of the plain logits", result)
for params, path in [({"logit_bias": {"99999": 1}}, "logit_bias.99999"), ({"temperature": 11}, "temperature"), ({"nonsense": 1}, "nonsense"),
                     ({"stop": [1]}, "stop[0]")]:
    error = e.ask("x", **params).get("error", {})
    t.ok(error.get("code") == -32602 and error["data"]["path"] == path, "refuses %s by its path" % path, error)
error = e.ask([message(text("see "), image(0))], [(8, 8, bytes(192))])["error"]
t.ok(error["code"] == -32602 and error["data"]["path"] == "input[0].content[1]", "takes no pictures without an encoder", error)
result = e.ask([message(text("a"), text("b")), {"type": "message", "role": "assistant", "content": "c"}, message(text("d"))],
               instructions="I", raw=False)["result"]
t.ok(result["output_text"] == "I\nab\nc\nd", "joins messages plainly without a template", result["output_text"])
count = e.ask([message(text("four")), message(text("two"))], method="token.count")["result"]
t.ok(count == {"tokens": 8, "by_item": [4, 3]}, "counts tokens", count)
status = e.call("engine.status")["result"]
t.ok(status["running"] == 0 and status["stages"]["decode"]["count"] > 40, "counts its stages", status)
t.ok(e.call("log.level", {"level": "loud"})["error"]["code"] == -32602, "refuses an unknown log level")
t.ok(e.close() == 0, "ends when its socket closes")


# ---- a decoder with fork and trim, that can be slow and can fail ----
folder = tempfile.mkdtemp(prefix="percept-plugins-")
build_plugin(folder, 30, "odd")
e = Engine()
e.open([{"role": "decoder", "plugin": "odd", "model": None, "options": {}}], plugin_path=[folder], prefill_chunk=16)
cold = {p: e.ask(p, max_output_tokens=20)["result"] for p in ["the beginning, then x", "another one of more than sixteen rows " * 3]}
t.ok(all(r["usage"]["cached_tokens"] == 0 for r in cold.values()), "nothing is cached at first")
for p, r in cold.items():
    again = e.ask(p, max_output_tokens=20)["result"]
    t.ok(again["output_text"] == r["output_text"] and again["usage"]["cached_tokens"] == len(p) - 1, "the same prompt again: cached and equal", again)
    longer = e.ask(p + r["output_text"] + " and more", max_output_tokens=20)["result"]
    t.ok(longer["usage"]["cached_tokens"] >= len(p) + 19, "a next turn goes on behind the answer", longer["usage"])
fork = e.ask("the beginning, then y", max_output_tokens=20)["result"]
alone = Engine()
alone.open([{"role": "decoder", "plugin": "odd", "model": None, "options": {}}], plugin_path=[folder])
t.ok(fork["usage"]["cached_tokens"] == len("the beginning, then ") and
     fork["output_text"] == alone.ask("the beginning, then y", max_output_tokens=20)["result"]["output_text"], "a fork equals a fresh engine's answer", fork)
prompts = ["prompt %d %s" % (i % 7, "x" * (i * 5)) for i in range(24)]
single = [alone.ask(p, max_output_tokens=30)["result"]["output_text"] for p in prompts]
idents = [e.ask(p, max_output_tokens=30, wait=False) for p in prompts]
t.ok([e.wait(i)["result"]["output_text"] for i in idents] == single, "24 at once equal the same ones alone")
idents = [e.ask(p, max_output_tokens=200, wait=False) for p in ["fine ~", "bad!", "fine too", "worse?", "good"]]
answers = [e.wait(i) for i in idents]
t.ok(["error" in a for a in answers] == [False, True, False, True, False], "a failing request fails alone", answers)
t.ok(answers[1]["error"]["code"] == -32010 and "exclamation" in answers[1]["error"]["message"] and
     "finite" in answers[3]["error"]["message"], "and says why", (answers[1], answers[3]))
t.ok("no logits" in e.ask("a|")["error"]["message"], "a step without logits is the plugin's failure")
seeds = [e.ask("sample", temperature=5, seed=s, max_output_tokens=30, logit_bias={"33": -100, "63": -100, "124": -100, "0": -100})["result"]["output_text"] for s in (1, 1, 2)]
t.ok(seeds[0] == seeds[1] != seeds[2], "the seed decides", seeds)
hidden = e.ask([message(text("12345"))], method="embedding.create", space="text")
t.ok(hidden["result"]["shape"] == [4] and memoryview(hidden["tail"]).cast("f")[0] == 5, "gives the last hidden state", hidden)

ident = e.ask("w~", wait=False, max_output_tokens=400)
while not any(m["method"] == "response.output_text.delta" for _, m in e.notes.get(ident, [])):
    e.read()
begun = time.monotonic()
e.call("response.cancel", {"request_id": ident})
result = e.wait(ident)["result"]
t.ok(result["status"] == "cancelled" and result["finish_reason"] == "cancelled" and result["output_text"] and
     time.monotonic() - begun < 0.3, "cancels while it decodes, and keeps the text so far", result)
result = e.ask("v~", max_output_tokens=400, hop={"deadline_ms": 200})["result"]
t.ok(result["finish_reason"] == "deadline" and result["status"] == "incomplete" and result["output_text"], "a deadline keeps the text so far", result)
e.ask("u~", wait=False, max_output_tokens=400)
t.ok("result" in e.call("shutdown") and e.process.wait(10) == 0, "shutdown ends it in the middle of an answer")
e.socket.close()
t.ok(alone.close() == 0, "ends when its socket closes")
shutil.rmtree(folder)
t.done()
