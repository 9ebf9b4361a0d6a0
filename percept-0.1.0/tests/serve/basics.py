"""basics.py - hello, ping, describe, status, lists, roles of ids, streams, half-closed clients."""
import json, os, socket
from serve import Client, Daemon, ask, run, start, wait_for

daemon = Daemon()


def hello():
    """hello agrees on version 1, tells limits and role; another version is -32001; late it is -32600"""
    client = daemon.client()
    result = client.call("hello", {"protocol": [1, 9], "client": {"name": "t", "version": "1"}})["result"]
    assert result["protocol"] == 1 and result["peer"] == {"uid": os.getuid(), "role": "admin"}, result
    assert result["limits"] == {"line": 1 << 20, "tail": 64 << 20, "fds": 8, "inflight": 16, "queue": 256}
    assert client.call("hello", {"protocol": [1]})["error"]["code"] == -32600
    error = daemon.client().call("hello", {"protocol": [2]})["error"]
    assert error["code"] == -32001 and error["data"]["supported"] == [1]


def small_methods():
    """ping, describe, assistant.list, plugin.list, token.count, log.level"""
    client = daemon.client()
    assert client.call("ping")["result"] == {}
    assert "response.create" in json.dumps(client.call("describe")["result"])
    assert client.call("describe", {"method": "nothing"})["error"]["code"] == -32011
    assert wait_for(lambda: daemon.one()["state"] == "ready")
    assert client.call("assistant.list")["result"] == [{
        "name": "default", "state": "ready", "inputs": ["text", "image"], "outputs": ["text"], "context": 1000,
        "modules": [{"role": "decoder", "plugin": "fake", "model": None}], "fusion": "token"}]
    assert client.call("plugin.list")["result"][0]["name"] == "fake"
    assert client.call("token.count", {"input": "x"})["result"] == {"tokens": 7, "by_item": [7]}
    assert client.call("log.level", {"level": "debug"})["result"] == {}
    assert client.call("log.level", {"level": "loud"})["error"]["code"] == -32602


def embedding():
    """embedding.create brings its numbers as a tail"""
    answer = daemon.client().call("embedding.create", {"space": "text", "input": [
        {"type": "message", "role": "user", "content": "x"}]})
    assert answer["result"]["shape"] == [1, 4] and answer["tail"] == b"\0\0\x80?" * 4


def status():
    """status joins perceptd's numbers and its engines'"""
    client = daemon.client()
    ask(client, "say x")
    s = client.call("status")["result"]
    one = s["assistants"][0]
    assert one["name"] == "default" and one["memory_bytes"] == 1234 and one["inflight"] == 0 and one["queued"] == 0
    assert os.path.exists(f"/proc/{one['pid']}") and s["pid"] == daemon.process.pid
    assert s["cache"] == {"entries": 1, "bytes": 2, "hits": 3, "misses": 4}
    assert s["stages"]["decode"]["count"] == 1 and s["stages"]["queue"]["count"] >= 1
    assert s["requests"]["done"] >= 1 and s["generation"] == 1 and s["last_reload"] is None


def stream():
    """a stream has one created, gapless numbers, the client's own id, and the same text as its result"""
    client, notes = daemon.client(), []
    answer = client.answer(client.send("response.create", {"input": "say one two three"}, id="my id"), notes)
    assert [n["method"] for n in notes].count("response.created") == 1
    assert [n["params"]["sequence_number"] for n in notes] == list(range(len(notes)))
    assert {n["params"]["request_id"] for n in notes} == {"my id"}
    assert {n["params"]["response_id"] for n in notes} == {answer["result"]["response_id"]}
    text = "".join(n["params"]["delta"] for n in notes if n["method"] == "response.output_text.delta")
    assert text == answer["result"]["output_text"] == "one two three "


def quiet():
    """stream:false has no notifications"""
    client, notes = daemon.client(), []
    client.answer(client.send("response.create", {"input": "say x", "stream": False}), notes)
    assert notes == []


def errors_pass():
    """an engine's error reaches the client as it is"""
    assert ask(daemon.client(), "fail -32006")["error"] == {"code": -32006, "message": "It fails because it was told to."}


def ids():
    """a missing id and one that is in flight are -32600"""
    client = daemon.client()
    client.raw(b'{"jsonrpc":"2.0","method":"ping"}\n')
    answer = client.frame()[0]
    assert answer["error"]["code"] == -32600 and answer["id"] is None
    id, _ = start(client, "count 100 20", stream=True)
    answer = client.answer(client.send("ping", id=id))
    assert answer["error"]["code"] == -32600
    client.close()


def unknown():
    """unknown methods, reserved ones, unknown assistants"""
    client = daemon.client()
    assert client.call("nothing")["error"]["code"] == -32601
    assert client.call("session.create")["error"]["code"] == -32601
    assert ask(client, "say x", assistant="nobody")["error"]["code"] == -32011
    assert client.call("assistant.load", {"assistant": "nobody"})["error"]["code"] == -32011


def half_closed():
    """a half-closed client gets its answers, then is closed"""
    client = daemon.client()
    id = client.send("response.create", {"input": "count 5 20", "stream": False})
    client.sock.shutdown(socket.SHUT_WR)
    assert client.answer(id)["result"]["output_text"] == "0 1 2 3 4 "
    try:
        client.frame()
        raise AssertionError("still open")
    except EOFError:
        pass


def split():
    """a request may come a byte at a time, with CR and empty lines"""
    client = daemon.client()
    for byte in b'\r\n\n{"jsonrpc":"2.0","id":1,"method":"ping"}\r\n':
        client.raw(bytes([byte]))
    assert client.frame()[0] == {"jsonrpc": "2.0", "id": 1, "result": {}}


def unload():
    """an unloaded assistant refuses with -32007 until it is loaded again"""
    client = daemon.client()
    assert client.call("assistant.unload", {"assistant": "default"})["result"]["state"] == "unloaded"
    assert ask(client, "say x")["error"]["code"] == -32007
    assert client.call("assistant.load", {"assistant": "default"})["result"]["state"] == "ready"
    assert ask(client, "say x")["result"]["output_text"] == "x "


try:
    run([hello, small_methods, embedding, status, stream, quiet, errors_pass, ids, unknown, half_closed, split, unload])
finally:
    daemon.stop()
