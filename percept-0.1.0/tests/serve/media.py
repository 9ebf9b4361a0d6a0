"""media.py - references, the media program's answers, its death, stray descriptors."""
import fcntl, hashlib, os, time
from serve import Daemon, ONE, ask, picture, run, start, wait_for

daemon = Daemon("[daemon]\nmedia_time = 500ms\n" + ONE)


def answer(*items, **params):
    client = daemon.client()
    try:
        return client.answer(picture(client, *items, **params))
    finally:
        client.close()


def shape(width, height):
    return f"{width}x{height}:" + hashlib.sha256(bytes(width * height * 3)).hexdigest()[:8]


def several():
    """items keep their order, and their pixels reach the engine"""
    result = answer("3 4", "1 1", "20 10")["result"]
    assert result["output_text"] == " ".join([shape(3, 4), shape(1, 1), shape(20, 10)]), result
    assert result["timings"]["media_ms"] > 0


def reference(client, part, tail=b"", fds=()):
    return client.call("response.create", {"stream": False, "input": [{"type": "message", "role": "user", "content": [
        {"type": "input_image", **part}, {"type": "input_text", "text": "media"}]}]}, tail=tail, fds=fds)


def references():
    """bin, fd (file, sealed memfd), path, data are read; what they may not be is refused with the path of the part"""
    client, path = daemon.client(), daemon.folder / "item"
    path.write_text("3 4")
    good = [reference(client, {"bin": [2, 3]}, tail=b"xx3 4yy"), reference(client, {"path": str(path)}),
            reference(client, {"data": "MyA0"})]
    with open(path) as file:
        good.append(reference(client, {"fd": 0}, fds=[file.fileno()]))
    memfd = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.write(memfd, b"3 4")
    refused = [reference(client, {"fd": 0}, fds=[memfd])]
    fcntl.fcntl(memfd, 1033, 15)
    good.append(reference(client, {"fd": 0}, fds=[memfd]))
    os.close(memfd)
    for g in good:
        assert g["result"]["output_text"] == shape(3, 4), g
    os.symlink(path, daemon.folder / "link")
    os.mkfifo(daemon.folder / "fifo")
    refused += [reference(client, {"path": str(daemon.folder / name)}) for name in ("link", "fifo", "none", ".")]
    refused += [reference(client, {"bin": [0, 4]}, tail=b"3 4"), reference(client, {"fd": 0}), reference(client, {"fd": 1})]
    for name, flags in (("/dev/zero", os.O_RDONLY), (str(path), os.O_WRONLY), ("/", os.O_RDONLY)):
        fd = os.open(name, flags)
        refused.append(reference(client, {"fd": 0}, fds=[fd]))
        os.close(fd)
    for r in refused:
        assert r["error"]["code"] == -32602 and r["error"]["data"]["path"].startswith("input[0].content[0]"), r


def damaged():
    """damaged media is -32008 with the item's number; the others are given up"""
    error = answer("3 4", "hello", "hang")["error"]
    assert error["code"] == -32008 and error["data"]["item"] == 1, error
    assert "result" in answer("3 4")


def sound():
    """sound and film are refused with -32008"""
    client = daemon.client()
    for kind in ("input_audio", "input_video"):
        error = client.call("response.create", {"input": [{"type": "message", "role": "user", "content": [
            {"type": kind, "data": "MyA0"}]}]})["error"]
        assert error["code"] == -32008 and error["data"]["item"] == 0


def distrusted():
    """a memfd that is not sealed or too small is not believed: -32603, and the next request works"""
    for bad in ("unsealed", "small"):
        error = answer(bad)["error"]
        assert error["code"] == -32603, error
        assert "result" in answer("3 4")


def dies():
    """a media program that dies fails what killed it, and nobody else"""
    client = daemon.client()
    id = picture(client, "die")
    other = picture(daemon.client(), "3 4")
    assert client.answer(id)["error"]["code"] == -32603
    assert "result" in answer("3 4")


def hangs():
    """an item over its time is given up, and an earlier cancellation or deadline ends it at once"""
    client = daemon.client()
    id = picture(client, "hang")
    assert wait_for(lambda: daemon.one()["inflight"] == 1)
    assert daemon.client().call("response.cancel", {"request_id": id})["result"]["status"] == "cancelled"
    assert client.answer(id)["result"]["status"] == "cancelled"
    started = time.monotonic()
    assert answer("hang", deadline_ms=100)["error"]["code"] == -32009
    assert time.monotonic() - started < 0.5
    assert answer("hang")["error"]["code"] == -32603
    assert "result" in answer("3 4")


def many():
    """128 items pass, 129 are -32005"""
    assert len(answer(*["1 1"] * 128)["result"]["output_text"].split()) == 128
    error = answer(*["1 1"] * 129)["error"]
    assert error["code"] == -32005 and error["data"] == {"limit": "media_items", "value": 128}


def stray():
    """descriptors without a frame end the connection and are closed"""
    client = daemon.client()
    client.call("ping")
    before = daemon.descriptors()
    bad, null = daemon.client(), os.open("/dev/null", os.O_RDONLY)
    bad.raw(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n', [null] * 3)
    assert bad.frame()[0]["error"]["code"] == -32600
    bad.close()
    unused = client.call("ping", fds=[null, null])
    os.close(null)
    assert unused["result"] == {}
    assert wait_for(lambda: daemon.descriptors() <= before), (before, daemon.descriptors())


def baseline():
    """no descriptor stays behind"""
    assert "result" in answer("3 4")
    assert wait_for(lambda: daemon.one()["inflight"] == 0)
    before = daemon.descriptors()
    for i in range(20):
        answer("3 4", "4 3")
        answer("3 4", "hello")
        client = daemon.client()
        picture(client, "hang", "3 4")
        client.close()
    assert wait_for(lambda: daemon.descriptors() <= before), (before, daemon.descriptors())


try:
    run([several, references, damaged, sound, distrusted, dies, hangs, many, stray, baseline])
finally:
    daemon.stop()
