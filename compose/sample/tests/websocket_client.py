"""The other side of a WebSocket, written apart from ours so that no mistake is made on both sides."""

import socket

# The example of RFC 6455, section 1.3
KEY, ACCEPTED = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def frame(opcode, payload=b"", first=0x80, masked=0x80):
    size = len(payload)
    if size < 126:
        length = bytes([masked | size])
    elif size < 1 << 16:
        length = bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([masked | 127]) + size.to_bytes(8, "big")
    mask = b"\x01\x02\x03\x04" if masked else bytes(4)
    body = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([first | opcode]) + length + (mask if masked else b"") + body


class Client:
    """The other side: it masks what it sends and takes frames as they come."""

    def __init__(self, address, path="/ws", **headers):
        self.socket = socket.create_connection(address, timeout=5)
        headers = {"Upgrade": "websocket", "Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": KEY} | headers
        lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: keep-alive, Upgrade"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.reader = self.socket.makefile("rb")
        self.status = int(self.reader.readline().split()[1])
        self.headers = {}
        while (line := self.reader.readline().strip().decode()):
            name, _, value = line.partition(": ")
            self.headers[name] = value

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def next(self):
        """The next frame as (opcode, payload); None once the connection is closed."""
        head = self.reader.read(2)
        if not head:
            return None
        size = head[1]
        if size > 125:
            size = int.from_bytes(self.reader.read(2 if size == 126 else 8), "big")
        return head[0] & 0x0F, self.reader.read(size)

    def close(self):
        self.reader.close()
        self.socket.close()
