"""survive.py - processes die, configurations change, plugins misbehave: what is not concerned goes on."""
import os, signal, threading, time
from system import Client, Daemon, E2E, BUILD, run, wait_for

TWO = "[assistant default]\nmodel = tiny-llava\n[assistant second]\nmodel = tiny-llava\n"
PICTURE = E2E / "00_easyvqa.png"


def right(client, **more):
    answer = client.ask("is there not a gray shape?", PICTURE, **more)
    return answer.get("result", {}).get("tokens") == [345, 2], answer


def long_ask(client, assistant):
    return client.send("response.create", {"input": "Count to five.", "assistant": assistant, "raw": True, "max_output_tokens": 900,
                                           "logit_bias": {"2": -100}})


def engine_killed():
    """kill -9 of an engine in the middle of an answer: -32010 within a second, the next request works, others go on"""
    daemon = Daemon(TWO)
    try:
        one, two = daemon.client(), daemon.client()
        assert right(one)[0] and right(two, assistant="second")[0]
        first, second = long_ask(one, "default"), long_ask(two, "second")
        one.frame()
        started = time.monotonic()
        os.kill(daemon.engine_pid("default"), signal.SIGKILL)
        answer = one.answer(first)
        assert answer["error"]["code"] == -32010 and time.monotonic() - started < 1, answer
        assert answer["error"]["data"]["signal"] in (9, "SIGKILL", "KILL"), answer
        assert right(one)[0]
        answer = two.answer(second)
        assert answer["result"]["usage"]["output_tokens"] >= 900, answer
    finally:
        daemon.stop()


def daemon_killed():
    """kill -9 of perceptd: its engines and media process end, and it restarts at once on the same socket"""
    daemon = Daemon()
    try:
        assert right(daemon.client())[0]
        engine = daemon.engine_pid()
        daemon.process.kill()
        daemon.process.wait()
        assert wait_for(lambda: not os.path.exists(f"/proc/{engine}"), 5), "the engine lives on"
        daemon.start()
        assert right(daemon.client())[0]
    finally:
        daemon.stop()


def reloads():
    """100 reloads under load, valid, invalid and half-written: no request fails because of them"""
    daemon = Daemon(TWO)
    wrong, done, count = [], threading.Event(), [0]

    def worker(assistant):
        client = daemon.client()
        while not done.is_set():
            good, answer = right(client, assistant=assistant, stream=True)
            count[0] += 1
            if not good:
                wrong.append(answer)

    threads = [threading.Thread(target=worker, args=(a,)) for a in ("default", "second", "default")]
    try:
        client = daemon.client()
        [t.start() for t in threads]
        for i in range(100):
            text = (TWO, TWO + f"instructions = Be brief {i}.\n", "[assistant default]\nmodel = no-such-model\n", TWO[:len(TWO) - 20],
                    "[assistant default]\nmodel = tiny-llava\nnonsense = 1\n")[i % 5] if i % 10 < 5 else TWO
            daemon.config.write_text(text)
            answer = client.call("config.reload")
            if i % 10 < 5 and i % 5 in (2, 4):
                assert "error" in answer and len(answer["error"]["message"]) > 10, (text, answer)
            elif i % 10 >= 5:
                assert "result" in answer, answer
        daemon.config.write_text(TWO)
        assert "result" in client.call("config.reload")
        done.set()
        [t.join() for t in threads]
        assert count[0] > 20 and not wrong, (count, wrong[:3])
    finally:
        done.set()
        daemon.stop()


def refused_swap():
    """an encoder of other dimensions is refused by one sentence that names both parts, and the old one stays"""
    daemon = Daemon("[assistant default]\nmodel = tiny-llava\n")
    try:
        client = daemon.client()
        daemon.config.write_text("[assistant default]\nmodel = tiny-llava\nimage.encoder = colours\n")
        answer = client.call("config.reload")
        text = answer["error"]["message"]
        assert "colours" in text and "mlp" in text, answer
        assert right(client)[0]
    finally:
        daemon.stop()


def terminated():
    """SIGTERM lets a running answer finish and refuses new ones"""
    daemon = Daemon()
    try:
        client = daemon.client()
        assert right(client)[0]
        id = long_ask(client, "default")
        client.frame()
        daemon.process.send_signal(signal.SIGTERM)
        answer = client.answer(id)
        assert answer.get("result", {}).get("status") in ("incomplete", "completed"), answer
        assert daemon.process.wait(10) == 0
    finally:
        daemon.stop()


def cancelled():
    """a request is cancelled from another connection within 100 ms or so, and answers once"""
    daemon = Daemon()
    try:
        one, two = daemon.client(), daemon.client()
        assert right(one)[0]
        id = long_ask(one, "default")
        created = one.frame()[0]
        while "response_id" not in created.get("params", {}):
            created = one.frame()[0]
        started = time.monotonic()
        answer = two.call("response.cancel", {"response_id": created["params"]["response_id"]})
        assert answer["result"]["status"] == "cancelled", answer
        result = one.answer(id)["result"]
        assert result["status"] == "cancelled" and result["finish_reason"] == "cancelled"
        assert time.monotonic() - started < 0.5
        assert two.call("response.cancel", {"response_id": created["params"]["response_id"]})["result"]["status"] == "already_done"
    finally:
        daemon.stop()


def memory_runs_out():
    """keys and values have 1 MiB: what alone needs more is too long, of many some are refused, the others answer as before"""
    daemon = Daemon("[assistant default]\ndecoder = causal model=tiny-llava kv_memory=1\n")
    try:
        clients = [daemon.client() for _ in range(12)]

        def ask(client, words, most):
            return client.send("response.create", {"input": "red circle " * words, "raw": True, "max_output_tokens": most,
                                                   "temperature": 0, "logit_bias": {"2": -100}})

        alone = clients[0].answer(ask(clients[0], 20, 4))
        assert alone["result"]["status"], alone
        answer = clients[0].answer(ask(clients[0], 4, 1010))
        assert answer["error"]["code"] == -32006 and "kv_memory" in answer["error"]["message"], answer
        ids = [ask(client, 20 + i, 300) for i, client in enumerate(clients)]
        answers = [client.answer(id) for client, id in zip(clients, ids)]
        done = [a for a in answers if "result" in a]
        refused = [a["error"] for a in answers if "error" in a]
        assert done and refused, answers
        for error in refused:
            assert error["code"] == -32004 and error["data"]["retry_after_ms"] > 0 and "kv_memory" in error["message"], error
        for answer in done:
            assert answer["result"]["usage"]["output_tokens"] == 300, answer
        again = clients[0].answer(ask(clients[0], 20, 4))
        assert again["result"]["output"] == alone["result"]["output"], (again, alone)
    finally:
        daemon.stop()


run([engine_killed, daemon_killed, reloads, refused_swap, terminated, cancelled, memory_runs_out])
