"""The bench for packets made by hand: sockets in the namespaces of a running network, the gateway's counters, and a
judge that compares both with what a case expects.

Every case says which counters move, by how much, and what arrives where; nothing else may move or arrive.
"""

import ctypes
import os
import re
import select
import socket
import sys
import time
from contextlib import contextmanager

try:
    import logging

    logging.getLogger("scapy").setLevel(logging.ERROR)
    from scapy.all import ICMP, IP, TCP, UDP, VXLAN, Dot1Q, Ether, IPOption_NOP, Raw  # noqa: F401
except ImportError:
    sys.exit("no scapy: install the Debian package python3-scapy")

LIBC = ctypes.CDLL(None, use_errno=True)
PACKET_HOST = 0
ETH_P_ALL = 3

# The network of `two_clusters`.
GW_UL, GW_AC = "02:00:00:00:00:01", "02:00:00:00:00:02"
GW_VTEP, GW_ACCESS = "192.0.2.1", "10.9.0.1"
NATIVE_MAC, NATIVE = "02:00:00:09:00:02", "10.9.0.2"
PORT = 5555  # bound wherever packets arrive, so that no kernel complains about them

PASSES = ("pass_fragment", "pass_truncated", "pass_other_mac", "pass_not_ours", "pass_no_socket")


class Cluster:
    """What a node of a cluster, and the gateway in its overlay, are called."""

    def __init__(self, vni, port, octet, underlay):
        self.vni, self.port = vni, port
        self.gw_mac = f"02:53:45:4c:00:{vni:02x}"
        self.gw = f"10.{octet}.255.1"
        self.pod, self.pod2 = f"10.{octet}.1.2", f"10.{octet}.2.2"
        self.node, self.node_mac = f"192.0.2.{underlay}", f"02:00:00:01:{octet:02x}:01"
        self.vtep_mac = f"02:00:00:02:{octet:02x}:01"


BLUE, GREEN = Cluster(1, 8472, 244, 11), Cluster(7, 4789, 245, 21)


def payload(n=64):
    """Bytes that are no pattern of anything."""
    return bytes((i * 37 + 11) & 0xFF for i in range(n))


def inner_ip(dst=NATIVE, src=BLUE.pod, data=None, **fields):
    """A UDP packet of blue's pod."""
    data = payload() if data is None else data
    return IP(src=src, dst=dst, ttl=fields.pop("ttl", 63), id=7, **fields) / UDP(sport=4444, dport=PORT) / Raw(data)


def inner(ip=None, src=BLUE.vtep_mac, dst=BLUE.gw_mac):
    """An inner frame of blue's node."""
    return Ether(src=src, dst=dst) / (inner_ip() if ip is None else ip)


def vxlan(frame=None, header=None, vni=BLUE.vni, udp=None, **ip):
    """A VXLAN packet of blue's node to the gateway, outer UDP checksum 0 unless `udp` says otherwise. `header` gives
    the eight bytes of the VXLAN header; `ip` goes to the outer IP header."""
    header = b"\x08\x00\x00\x00" + vni.to_bytes(3, "big") + b"\x00" if header is None else header
    fields = dict(sport=50000, dport=BLUE.port, chksum=0)
    fields.update(udp or {})
    if fields["chksum"] is None:
        del fields["chksum"]
    outer = Ether(src=BLUE.node_mac, dst=GW_UL) / IP(**{"src": BLUE.node, "dst": GW_VTEP, "id": 1, **ip})
    return outer / UDP(**fields) / Raw(header + bytes(inner() if frame is None else frame))


def plain(ip, src=NATIVE_MAC, dst=GW_AC):
    """A plain frame of the native host to the gateway."""
    return Ether(src=src, dst=dst) / ip


def routed(ip, **changes):
    """The bytes of an IP packet after one hop, with further changes to its header."""
    hop = IP(bytes(ip))
    hop.ttl -= 1
    for key, value in changes.items():
        setattr(hop, key, value)
    del hop.chksum
    return bytes(hop)


def delivered(ip, **changes):
    """The frame in which the native host gets the packet."""
    return bytes(Ether(src=GW_AC, dst=NATIVE_MAC))[:12] + b"\x08\x00" + routed(ip, **changes)


def checksum(data):
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def wrapped(frame, cluster, ip, tos=0):
    """Checks that `frame` carries exactly the IP packet `ip` (bytes) from the gateway to a node, in headers as they
    should be. Returns what is wrong, and the outer source port."""
    e = Ether(frame)
    o, u = e[IP], e[UDP]
    want = dict(
        macs=(GW_UL, cluster.node_mac),
        addresses=(GW_VTEP, cluster.node),
        outer=(5, tos, 64, 2, 0, 17),
        lengths=(len(ip) + 50, len(ip) + 30, len(ip) + 64),
        udp=(cluster.port, 0),
        ip_sum=0,
        vxlan=b"\x08\0\0\0" + cluster.vni.to_bytes(3, "big") + b"\0",
        inner_macs=(bytes.fromhex(cluster.vtep_mac.replace(":", "")) + bytes.fromhex(cluster.gw_mac.replace(":", ""))),
        ethertype=b"\x08\x00",
        inner=ip,
    )
    got = dict(
        macs=(e.src, e.dst),
        addresses=(o.src, o.dst),
        outer=(o.ihl, o.tos, o.ttl, int(o.flags), o.frag, o.proto),
        lengths=(o.len, u.len, len(frame)),
        udp=(u.dport, u.chksum),
        ip_sum=checksum(frame[14:34]),
        vxlan=frame[42:50],
        inner_macs=frame[50:62],
        ethertype=frame[62:64],
        inner=frame[64:],
    )
    wrong = [f"{k}: {got[k]!r}, not {want[k]!r}" for k in want if got[k] != want[k]]
    if not 49152 <= u.sport:
        wrong.append(f"source port {u.sport}")
    return wrong, u.sport


def icmp_error(packet, src, kind, code, unused, original):
    """What is wrong with an ICMP error (bytes of an IP packet) about `original` (bytes as the gateway got them)."""
    ip = IP(packet)
    quote = original[: 576 - 28]
    want = dict(
        addresses=(src, IP(original).src),
        proto=1,
        ip_sum=0,
        icmp_sum=0,
        length=len(quote) + 28,
        head=(kind, code),
        unused=unused,
        quote=quote,
    )
    got = dict(
        addresses=(ip.src, ip.dst),
        proto=ip.proto,
        ip_sum=checksum(packet[:20]),
        icmp_sum=checksum(packet[20:]),
        length=ip.len,
        head=(packet[20], packet[21]),
        unused=int.from_bytes(packet[24:28], "big"),
        quote=packet[28:],
    )
    return [f"{k}: {got[k]!r}, not {want[k]!r}" for k in want if got[k] != want[k]]


class Bench:
    """Sockets in the network whose namespaces' names begin with `instance`."""

    def __init__(self, instance):
        self.instance = instance
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.taps = {name: self.tap(name) for name in ("native", "green1", "blue1", "blue1-pod")}
        # straight into the gateway's port: a bridge drops IP packets whose header is unsound
        self.taps["wire"] = self.tap("fabric", "gw")
        self.sinks = [self.sink(name) for name in ("native", "green1-pod", "blue1-pod", "blue2-pod")]
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

    def sink(self, name):
        with self.within(name):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind(("0.0.0.0", PORT))
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
                key = "replied"
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
                if address[2] == PACKET_HOST and frame[12:14] == b"\x08\x00":
                    found.setdefault(name, []).append(frame)
        return found

    def send(self, place, frames):
        for frame in frames:
            self.taps[place].send(bytes(frame))

    def case(self, name, frames, moves, arrives=None, place="blue1", judge=None):
        """Sends `frames` from `place`. `moves` are the counters that change; `arrives` the frames by place, as bytes,
        as a number of them, or not at all; `judge` looks at what arrived and tells what is wrong with it."""
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
        self.failures += bool(wrong)
        print(f"FAIL {name}: " + "; ".join(wrong) if wrong else f"ok   {name}", flush=True)
