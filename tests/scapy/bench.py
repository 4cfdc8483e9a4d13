"""The bench for packets made by hand: sockets in the namespaces of a running network, the gateway's counters, and a
judge that compares both with what a case expects.

Every case says which counters move, by how much, and what arrives where; nothing else may move or arrive.
"""

import ctypes
import os
import re
import select
import socket
import struct
import time
from contextlib import contextmanager

from network import GW_AC, GW_UL, ICMPV6, PORT, mac

LIBC = ctypes.CDLL(None, use_errno=True)
PACKET_HOST = 0
ETH_P_ALL = 3

DECAP, TRANSIT, ENCAP, REPLIED = "forwarded decap", "forwarded transit", "forwarded encap", "replied"
PASSES = ("pass_fragment", "pass_truncated", "pass_other_mac", "pass_not_ours", "pass_no_socket")


class Recording:
    """A pcap file of what the gateway sent, for others to read; none if there is no path."""

    def __init__(self, path=None):
        self.file = open(path, "wb") if path else None
        if self.file:
            self.file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))

    def note(self, frame):
        if self.file and frame[6:12] in (mac(GW_UL), mac(GW_AC)):
            self.file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
            self.file.flush()


class Bench:
    """Sockets in the network whose namespaces' names begin with `instance`."""

    def __init__(self, instance):
        self.instance = instance
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.recording = Recording()
        self.taps = {name: self.tap(name) for name in ("native", "green1", "blue1", "blue1-pod")}
        # straight into the gateway's port: a bridge drops IP packets whose header is unsound
        self.taps["wire"] = self.tap("fabric", "gw")
        places = ("native", "green1-pod", "blue1-pod", "blue2-pod")
        self.sinks = [self.sink(name, version) for name in places for version in (socket.AF_INET, socket.AF_INET6)]
        self.failures = 0

    @contextmanager
    def within(self, name):
        there = os.open(f"/run/netns/{self.instance}-{name}", os.O_RDONLY)
        if LIBC.setns(there, 0):
            raise OSError(ctypes.get_errno(), f"entering {name}")
        try:
            yield
        finally:
            os.close(there)
            LIBC.setns(self.home, 0)

    def tap(self, name, link="eth0"):
        with self.within(name):
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            s.bind((link, ETH_P_ALL))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        s.setblocking(False)
        return s

    def sink(self, name, version):
        with self.within(name):
            s = socket.socket(version, socket.SOCK_DGRAM)
            if version == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            s.bind(("", PORT))
        return s

    def counters(self):
        with self.within("gw"):
            s = socket.create_connection(("127.0.0.1", 9472), 2)
        s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
        s.close()
        told = {}
        for name, labels, value in re.findall(r"^selvedge_(\w+?)(?:\{(.*)\})? (\S+)$", text, re.M):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            key = labels.get("reason") or labels.get("journey") or labels.get("verdict")
            if name in ("dropped_packets_total", "forwarded_packets_total"):
                key = f"{name.split('_')[0]} {key}"
            elif name == "replied_packets_total":
                key = REPLIED
            elif name == "partial_checksums_total":
                key = "finished"
            elif name != "xdp_packets_total" or key not in PASSES:
                continue
            told[key] = told.get(key, 0) + int(float(value))
        return told

    def arrivals(self):
        """IP packets that have arrived for the places' own MAC addresses, by place."""
        found = {}
        for name, tap in self.taps.items():
            if name == "wire":
                continue
            while select.select([tap], [], [], 0)[0]:
                frame, address = tap.recvfrom(65536)
                if address[2] == PACKET_HOST and is_ip(frame):
                    self.recording.note(frame)
                    found.setdefault(name, []).append(frame)
        return found

    def send(self, place, frames):
        for frame in frames:
            self.taps[place].send(bytes(frame))

    def case(self, name, frames, moves, arrives=None, place="blue1", judge=None):
        """Sends `frames` from `place`. `moves` are the counters that change; `arrives` the frames by place, as bytes,
        as a number of them, or not at all; `judge` looks at what arrived and tells what is wrong with it. Returns what
        arrived."""
        frames = frames if isinstance(frames, list) else [frames]
        self.arrivals()
        before, arrives = self.counters(), arrives or {}
        self.send(place, frames)
        count = {k: v if isinstance(v, int) else len(v) for k, v in arrives.items()}
        got, moved, deadline = {}, {}, time.monotonic() + 1.5
        while time.monotonic() < deadline:
            now = self.counters()
            moved = self.moved(before, now, moves)
            for where, found in self.arrivals().items():
                got.setdefault(where, []).extend(found)
            if moved == moves and all(len(got.get(k, [])) >= n for k, n in count.items()):
                break
            time.sleep(0.01)
        time.sleep(0.01)
        for where, found in self.arrivals().items():
            got.setdefault(where, []).extend(found)
        self.judge(name, moved, moves, got, arrives, judge)
        return got

    def drop(self, name, frames, reason, place="blue1"):
        """Every one of the frames is dropped for this reason, and nobody hears of it."""
        frames = frames if isinstance(frames, list) else [frames]
        self.case(name, frames, {f"dropped {reason}": len(frames)}, place=place)

    def burst(self, name, frames, counters, judge, place="blue1"):
        """Sends frames of which some have one fate and some another: `counters` add up to all of them."""
        before, deadline = self.counters(), time.monotonic() + 2
        self.send(place, frames)
        moved = {}
        while time.monotonic() < deadline and sum(moved.get(c, 0) for c in counters) < len(frames):
            time.sleep(0.01)
            moved = self.moved(before, self.counters(), {})
        strange = [f"{k} moved" for k in moved if k not in counters]
        lost = sum(moved.get(c, 0) for c in counters) != len(frames)
        time.sleep(0.05)
        self.arrivals()
        self.verdict(name, strange + ([f"not all are accounted for: {moved}"] if lost else judge(moved)))

    @staticmethod
    def moved(before, now, moves):
        """Counters that moved. Kernels speak to each other now and then: what is passed may be more than expected."""
        moved = {k: n - before.get(k, 0) for k, n in now.items() if n != before.get(k, 0)}
        noise = [k for k in moved if k.startswith("pass_") and k != "pass_no_socket"]
        for k in noise:
            if moved[k] > moves.get(k, 0):
                moved[k] = moves.get(k, 0)
            if not moved[k]:
                del moved[k]
        return moved

    def judge(self, name, moved, moves, got, arrives, judge):
        wrong = []
        if moved != moves:
            wrong.append(f"counters moved {moved}, not {moves}")
        for where in sorted(set(got) | set(arrives)):
            want, have = arrives.get(where, []), got.get(where, [])
            if isinstance(want, int):
                if len(have) != want:
                    wrong.append(f"{where} got {len(have)} frames, not {want}: {[f.hex() for f in have]}")
            elif sorted(have) != sorted(want):
                wrong.append(f"{where} got {[f.hex() for f in have]}, not {[f.hex() for f in want]}")
        if judge and not wrong:
            try:
                wrong = judge(got) or []
            except Exception as e:  # a frame so wrong that it cannot be read
                wrong = [f"{type(e).__name__}: {e} in {[f.hex() for fs in got.values() for f in fs]}"]
        self.verdict(name, wrong)

    def verdict(self, name, wrong):
        """Says how a case ended."""
        self.failures += bool(wrong)
        print(f"FAIL {name}: " + "; ".join(wrong) if wrong else f"ok   {name}", flush=True)


def is_ip(frame):
    """Is it an IP packet, and not one by which neighbours find each other (RFC 4861: ICMPv6 133 to 137)?"""
    if frame[12:14] == b"\x86\xdd":
        return not (frame[20] == ICMPV6 and frame[54] in range(133, 138))
    return frame[12:14] == b"\x08\x00"
