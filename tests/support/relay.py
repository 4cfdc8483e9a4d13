"""A middle box that does wrong: forwards frames from one interface to another and spoils some on purpose.

    relay.py IN OUT FAMILY TUNNEL DEED=N...

FAMILY is 4 or 6, TUNNEL is 0, 4 or 6 (the outer family of VXLAN). Of every 100 test packets the one with number N
suffers DEED. Says `ready` when it listens; ends on SIGTERM, or after a minute, and says what it did as JSON.
"""
import json
import signal
import socket
import struct
import sys
import time

ETH = 14
IP = {4: 20, 6: 40}
SO_RCVBUFFORCE = 33
ETH_P_ALL = 3
PACKET_OUTGOING = 4

incoming, outgoing, family, tunnel = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
deeds = {int(n): deed for deed, n in (word.split("=") for word in sys.argv[5:])}
ip = ETH + (IP[tunnel] + 8 + 8 + ETH if tunnel else 0)
udp = ip + IP[family]
payload = udp + 8
shortest = payload + 32


def ones(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def mend(frame):
    """Makes the checksums of the packet under test right again, as a device does that spoiled it before."""
    if family == 4:
        frame[ip + 10 : ip + 12] = b"\0\0"
        frame[ip + 10 : ip + 12] = struct.pack("!H", 0xFFFF ^ ones(bytes(frame[ip:udp])))
    addresses = bytes(frame[ip + 12 : ip + 20] if family == 4 else frame[ip + 8 : ip + 40])
    frame[udp + 6 : udp + 8] = b"\0\0"
    segment = bytes(frame[udp:])
    total = ones(addresses + struct.pack("!HH", 17, len(segment)) + segment)
    frame[udp + 6 : udp + 8] = struct.pack("!H", (0xFFFF ^ total) or 0xFFFF)
    return frame


def flip(frame, at):
    frame[at] ^= 0x01
    return frame


def spoil(frame, deed):
    """The frames that leave instead of this one."""
    if deed == "drop":
        return []
    if deed == "duplicate":
        return [frame, frame]
    if deed == "foreign":
        other = bytearray(frame)
        other[payload : payload + 4] = b"else"
        return [frame, mend(other)]
    if deed == "payload":  # two words change places: no Internet checksum sees that
        frame[-8:-6], frame[-4:-2] = frame[-4:-2], frame[-8:-6]
        return [frame]
    ttl, source, destination = {4: (8, 12, 19), 6: (7, 8, 39)}[family]
    at, mended = {
        "bit": (len(frame) - 1, False),
        "ttl": (ip + ttl, True),
        "source": (ip + source + 1, True),
        "destination": (ip + destination, True),
        "ports": (udp + 3, True),
        "stamp": (payload + 9, True),
        "udp_checksum": (udp + 6, False),
        "ip_checksum": (ip + 10, False),
        "vni": (ip - 17, False),
        "inner_mac": (ip - 9, False),
    }[deed]
    frame = flip(frame, at)
    return [mend(frame) if mended else frame]


def main():
    receiver = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
    receiver.bind((incoming, ETH_P_ALL))
    receiver.settimeout(0.05)
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sender.bind((outgoing, 0))
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    print("ready", flush=True)
    done, seen, held, deadline = {}, 0, None, time.monotonic() + 60
    while not ended and time.monotonic() < deadline:
        try:
            data, address = receiver.recvfrom(65535)
        except socket.timeout:
            continue
        if address[2] == PACKET_OUTGOING or len(data) < shortest:
            continue
        deed, seen = deeds.get(seen % 100), seen + 1
        frames = [bytearray(data)]
        if deed:
            done[deed] = done.get(deed, 0) + 1
        if deed == "reorder":
            held = frames[0]
            continue
        if deed:
            frames = spoil(frames[0], deed)
        for frame in frames:
            sender.send(frame)
        if held is not None:
            sender.send(held)
            held = None
    if held is not None:
        sender.send(held)
    print(json.dumps({"seen": seen, **done}), flush=True)


main()
