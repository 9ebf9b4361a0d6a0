#!/usr/bin/env python3
"""fake-media.py - a media program that does what the item says: "W H" (a picture of that size), "damaged", "die", "hang",
"unsealed", "small"."""
import array, fcntl, os, socket, struct, sys

REQUEST, ANSWER = "=IIQIIQII", "=IiQIIIIIiQQ256s"
sock = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))


def answer(id, status=0, width=0, height=0, fd=None, text=b"", size=0):
    packet = struct.pack(ANSWER, 0x31445650, status, id, 1, width, height, 3, 1, 0, size, 1, text)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd is not None else []
    sock.sendmsg([packet], rights)
    if fd is not None:
        os.close(fd)


def picture(id, width, height, seals=0xf, missing=0):
    fd = os.memfd_create("picture", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.write(fd, bytes(width * height * 3 - missing))
    os.lseek(fd, 0, os.SEEK_SET)
    fcntl.fcntl(fd, 1033, seals)
    answer(id, 0, width, height, fd, size=width * height * 3)


hanging = set()
while True:
    data, ancillary, _, _ = sock.recvmsg(4096, socket.CMSG_SPACE(4))
    if not data:
        sys.exit(0)
    _, verb, id, kind, time_ms, pixels, side, background = struct.unpack(REQUEST, data)
    if verb == 2:
        if id in hanging:
            hanging.remove(id)
            answer(id, 1)
        continue
    fd = array.array("i", ancillary[0][2])[0]
    words = os.pread(fd, 100, 0).decode(errors="replace").split()
    os.close(fd)
    if words and words[0].isdigit():
        picture(id, int(words[0]), int(words[1]))
    elif words == ["die"]:
        os._exit(3)
    elif words == ["hang"]:
        hanging.add(id)
    elif words == ["unsealed"]:
        picture(id, 2, 2, seals=0)
    elif words == ["small"]:
        picture(id, 2, 2, missing=1)
    else:
        answer(id, -32008, text=b"This is no picture.")
