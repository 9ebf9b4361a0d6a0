"""cancel.py - cancellation, deadlines, the queue, limits, backpressure."""
import time
from serve import Daemon, ONE, ask, run, start, wait_for

daemon = Daemon("[daemon]\nmax_running = 2\nmax_queued = 2\nhang_time = 2s\n" + ONE)


def idle():
    assert wait_for(lambda: daemon.one()["inflight"] == 0 and daemon.one()["queued"] == 0), daemon.one()


def own():
    """response.cancel by request_id: one answer, cancelled, with the text so far"""
    client = daemon.client()
    id, _ = start(client, "count 1000 10")
    time.sleep(0.1)
    other = client.send("response.cancel", {"request_id": id})
    seen = {}
    while len(seen) < 2:
        message = client.frame()[0]
        if "method" not in message:
            seen[message["id"]] = message["result"]
    assert seen[other] == {"status": "cancelled"}
    assert seen[id]["status"] == seen[id]["finish_reason"] == "cancelled" and seen[id]["output_text"].startswith("0 1 ")
    assert client.call("response.cancel", {"request_id": id})["result"] == {"status": "already_done"}


def across():
    """another connection of the same user cancels by response_id and by request_id"""
    one, two = daemon.client(), daemon.client()
    id, response = start(one, "count 1000 10")
    assert two.call("response.cancel", {"response_id": response})["result"]["status"] == "cancelled"
    assert one.answer(id)["result"]["status"] == "cancelled"
    id = one.send("response.create", {"input": "count 1000 10"}, id="only here")
    one.frame()
    assert two.call("response.cancel", {"request_id": "only here"})["result"]["status"] == "cancelled"
    assert one.answer(id)["result"]["status"] == "cancelled"


def stranger_is_safe():
    """an id that this connection used and that is answered cancels nobody else's"""
    one, two = daemon.client(), daemon.client()
    two.next = one.next = 40
    id, _ = start(one, "count 40 10")
    assert two.call("ping", id=id)["result"] == {}
    assert two.call("response.cancel", {"request_id": id})["result"]["status"] == "already_done"
    assert one.answer(id)["result"]["status"] == "completed"


def closed():
    """a closed connection stops its work"""
    client = daemon.client()
    start(client, "count 100000 10")
    client.close()
    idle()


def queue():
    """two run, two wait, the fifth is -32004; a waiting one is cancelled; the rest end"""
    client = daemon.client()
    first = [start(client, "count 30 20", stream=True)[0] for _ in range(2)]
    waiting = [client.send("response.create", {"input": "say x", "stream": False}) for _ in range(2)]
    assert wait_for(lambda: daemon.one()["queued"] == 2)
    error = client.answer(client.send("response.create", {"input": "say x"}))["error"]
    assert error["code"] == -32004 and error["data"]["retry_after_ms"] > 0
    assert daemon.client().call("response.cancel", {"request_id": waiting[0]})["result"]["status"] == "cancelled"
    results = {}
    while len(results) < 4:
        message = client.frame()[0]
        if "method" not in message:
            results[message["id"]] = message["result"]
    assert results[waiting[0]]["status"] == "cancelled" and results[waiting[1]]["output_text"] == "x "
    assert all(results[id]["status"] == "completed" for id in first)


def deadlines():
    """a deadline in the engine gives an incomplete result, one in the queue -32009"""
    client = daemon.client()
    result = ask(client, "count 1000 20", deadline_ms=150)["result"]
    assert result["status"] == "incomplete" and result["finish_reason"] == "deadline" and result["output_text"]
    busy = daemon.client()
    for _ in range(2):
        start(busy, "count 1000 20")
    started = time.monotonic()
    assert ask(client, "say x", deadline_ms=100)["error"]["code"] == -32009
    assert 0.08 < time.monotonic() - started < 0.5
    busy.close()
    idle()


def deaf():
    """an engine that does not end what was cancelled is ended itself"""
    client = daemon.client()
    id, _ = start(client, "deaf")
    client.send("response.cancel", {"request_id": id})
    error = client.answer(id)["error"]
    assert error["code"] == -32010, error
    assert ask(client, "say x")["result"]["output_text"] == "x "


def inflight():
    """the 17th request of a connection is -32005, and cancelling still works"""
    other = Daemon("[assistant default]\ndecoder = fake\ninstructions = late 1\n")
    try:
        client = other.client()
        ids = [client.send("response.create", {"input": "say x", "stream": False}) for _ in range(17)]
        error = client.answer(ids[16])["error"]
        assert error["code"] == -32005 and error["data"] == {"limit": "inflight", "value": 16}
        assert client.call("response.cancel", {"request_id": ids[0]})["result"]["status"] == "cancelled"
        for _ in range(15):
            assert "result" in client.frame()[0]
    finally:
        other.stop()


def merged():
    """deltas that wait are merged, in order, and the numbers stay gapless"""
    client = daemon.client()
    id = client.send("response.create", {"input": "flood 1500 500"})
    time.sleep(1)
    text, notes = "", []
    answer = client.answer(id, notes)
    deltas = [n["params"] for n in notes if n["method"] == "response.output_text.delta"]
    assert "".join(d["delta"] for d in deltas) == answer["result"]["output_text"] == "x" * 750000
    assert sum(len(d["tokens"]) for d in deltas) == 1500
    assert len(deltas) < 1200, len(deltas)
    assert [n["params"]["sequence_number"] for n in notes] == list(range(len(notes)))


def too_much():
    """a client that does not read is closed at 8 MiB, and its work ends"""
    client = daemon.client()
    client.send("response.create", {"input": "flood 30000 1000"})
    assert wait_for(lambda: "does not read" in daemon.logged()), daemon.logged()
    client.close()
    idle()


def too_long():
    """a client that leaves more than write_high unread for write_high_time is closed"""
    other = Daemon("[daemon]\nwrite_high_time = 1s\n" + ONE)
    try:
        client = other.client()
        client.send("response.create", {"input": "flood 3000 1000"})
        assert wait_for(lambda: "for too long" in other.logged()), other.logged()
    finally:
        other.stop()


def connections():
    """one connection over the limit is told -32004 and closed"""
    other = Daemon("[daemon]\nmax_connections = 3\n" + ONE)
    try:
        time.sleep(0.2)  # the connection that waited for the start is given back
        kept = [other.client() for _ in range(3)]
        assert all(c.call("ping")["result"] == {} for c in kept)
        extra = other.client()
        assert extra.frame()[0]["error"]["code"] == -32004
    finally:
        other.stop()


try:
    run([own, across, stranger_is_safe, closed, queue, deadlines, deaf, inflight, merged, too_much, too_long, connections])
finally:
    daemon.stop()
