"""Packets made by hand, sent through a running gateway: `packets.py INSTANCE GROUP`."""

import sys

from bench import *  # noqa: F403

DECAP, TRANSIT, ENCAP = "forwarded decap", "forwarded transit", "forwarded encap"


def drop(b, name, frame, reason, place="blue1"):
    frames = frame if isinstance(frame, list) else [frame]
    b.case(name, frames, {f"dropped {reason}": len(frames)}, place=place)


def headers(b):
    """What an outer header and a VXLAN header may be."""
    good = inner_ip()
    b.case("decap", vxlan(), {DECAP: 1}, {"native": [delivered(good)]})
    across = inner_ip(dst=GREEN.pod)
    once = lambda ip, cluster, tos=0: lambda got: wrapped(got["green1" if cluster is GREEN else "blue1"][0], cluster, ip, tos)[0]
    b.case("transit", vxlan(inner(across)), {TRANSIT: 1}, {"green1": 1}, judge=once(routed(across), GREEN))
    b.case("right outer checksum", vxlan(udp={"chksum": None}), {DECAP: 1}, {"native": [delivered(good)]})
    drop(b, "wrong outer checksum", vxlan(udp={"chksum": 0x1234}), "outer_udp_checksum")
    wrong_vnis = [vxlan(vni=v) for v in (0, 2, GREEN.vni, 0xFFFFFF)]
    drop(b, "wrong VNI", wrong_vnis, "unknown_vni")
    drop(b, "VNI of the other overlay's port", vxlan(udp={"dport": GREEN.port}), "unknown_vni")
    drop(b, "I flag clear", [vxlan(header=bytes([f, 0, 0, 0, 0, 0, 1, 0])) for f in (0, 0xF7)], "vxlan_flags")
    # RFC 7348 §5: reserved bits are ignored on receipt. The I flag and the VNI are not reserved; 39 bits are.
    base = int.from_bytes(b"\x08\0\0\0\0\0\x01\0", "big")
    reserved = [63 - i for i in range(32) if i != 4] + list(range(8))
    odd = [vxlan(header=(base | 1 << bit).to_bytes(8, "big")) for bit in reserved]
    assert len(odd) == 39
    b.case("each reserved bit", odd, {DECAP: 39}, {"native": [delivered(good)] * 39})
    b.case("all reserved bits", vxlan(header=b"\xff\xff\xff\xff\0\0\x01\xff"), {DECAP: 1}, {"native": [delivered(good)]})
    drop(b, "first outer fragment", vxlan(flags="MF"), "outer_fragment")
    b.case("later outer fragment", vxlan(frag=100), {"pass_fragment": 1})
    drop(b, "outer source unknown", vxlan(src="192.0.2.99"), "unknown_peer")
    drop(b, "peer of the other overlay", vxlan(src=GREEN.node), "unknown_peer")
    martians = [vxlan(src=s) for s in ("127.0.0.1", "224.0.0.1", "0.0.0.0", "255.255.255.255", GW_VTEP)]
    drop(b, "outer martians", martians, "outer_martian")
    b.case("any outer source port", vxlan(udp={"sport": 1}), {DECAP: 1}, {"native": [delivered(good)]})
    options = [IPOption_NOP()] * 4
    b.case("outer IP options", vxlan(options=options), {DECAP: 1}, {"native": [delivered(good)]})
    stray = vxlan()
    stray.dst = "02:00:00:00:00:77"
    b.case("to a foreign MAC, flooded by the bridge", stray, {"pass_other_mac": 1})
    other = vxlan(udp={"dport": 9999})
    b.case("to another UDP port", other, {"pass_not_ours": 1}, {"blue1": 1})  # the kernel says that nobody listens


def lengths(b):
    """Lengths that lie, and frames that end early."""
    short = lambda data: Ether(src=BLUE.node_mac, dst=GW_UL) / IP(src=BLUE.node, dst=GW_VTEP) / UDP(
        sport=50000, dport=BLUE.port, chksum=0) / Raw(data)
    drop(b, "VXLAN header cut short", [short(b"\x08\0\0\0\0\0\x01\0"[:n]) for n in range(8)], "vxlan_short")
    drop(b, "inner Ethernet cut short", [short(b"\x08\0\0\0\0\0\x01\0" + bytes(inner())[:n]) for n in range(14)],
         "inner_short")
    drop(b, "inner IP cut short", [short(b"\x08\0\0\0\0\0\x01\0" + bytes(inner())[:n]) for n in range(14, 14 + 92)],
         "inner_ip_header")
    drop(b, "UDP length beyond IP", vxlan(udp={"len": 200}), "outer_udp_length")
    drop(b, "UDP length below its header", [vxlan(udp={"len": n}) for n in (0, 7)], "outer_udp_length")
    drop(b, "outer IP length beyond the frame", vxlan(len=400), "outer_ip_header", "wire")
    drop(b, "outer IP checksum", vxlan(chksum=0x4242), "outer_ip_checksum", "wire")
    drop(b, "inner IP checksum", vxlan(inner(inner_ip(chksum=0x4242))), "inner_ip_checksum")
    drop(b, "inner IP length beyond the frame", vxlan(inner(inner_ip(len=300))), "inner_ip_header")
    drop(b, "inner version", vxlan(inner(inner_ip(version=5))), "inner_ip_header")
    whole = bytes(vxlan())
    # What the frame lacks, the outer IP length still claims; the program passes what has no UDP header.
    b.case("frame cut short", [whole[:n] for n in range(42, len(whole))], {"dropped outer_ip_header": len(whole) - 42},
           place="wire")
    b.case("frame cut very short", [whole[:n] for n in range(14, 42)], {"pass_truncated": 28}, place="wire")
    tail = whole + b"\xEE" * 30
    b.case("padding behind the outer packet", [Raw(tail)], {DECAP: 1}, {"native": [delivered(inner_ip())]})
    tiny = inner_ip(data=b"")
    padded = Ether(bytes(inner(tiny)) + b"\xEE" * 18)
    b.case("padding behind the inner packet", vxlan(padded), {DECAP: 1}, {"native": [delivered(tiny)]})


def guards(b):
    """Who may send what."""
    drop(b, "inner VLAN tag", vxlan(Ether(src=BLUE.vtep_mac, dst=BLUE.gw_mac) / Dot1Q(vlan=5) / inner_ip()), "inner_vlan")
    sources = ("01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", BLUE.gw_mac)
    drop(b, "inner source MAC", [vxlan(inner(src=mac)) for mac in sources], "inner_source_mac")
    others = ("02:00:00:00:00:99", "ff:ff:ff:ff:ff:ff", GREEN.gw_mac)
    drop(b, "inner destination MAC", [vxlan(inner(dst=mac)) for mac in others], "inner_destination_mac")
    spoofed = (BLUE.pod2, GREEN.pod, NATIVE, "8.8.8.8")
    drop(b, "inner source not the peer's", [vxlan(inner(inner_ip(src=s))) for s in spoofed], "inner_source")
    drop(b, "no route", vxlan(inner(inner_ip(dst="203.0.113.9"))), "no_route")
    drop(b, "inner martians", [vxlan(inner(inner_ip(dst=d))) for d in ("224.0.0.1", "127.0.0.1", "255.255.255.255")],
         "martian")
    drop(b, "back to the sender", vxlan(inner(inner_ip(dst="10.244.1.9"))), "back_to_sender")
    drop(b, "inner IPv6", vxlan(Ether(src=BLUE.vtep_mac, dst=BLUE.gw_mac, type=0x86DD) / Raw(payload())), "inner_not_ip")
    elsewhere = plain(inner_ip(src=NATIVE, dst="10.244.9.9"))
    b.case("native packet for no pod is the kernel's", elsewhere, {"pass_not_ours": 1}, place="native")
    bad = inner_ip(src=NATIVE, dst=BLUE.pod, chksum=0x4242)
    drop(b, "native IP checksum", plain(bad), "ip_checksum", "native")


def content(b):
    """What must not change, and what must."""
    for name, ip in (
        ("IP options", inner_ip(options=[IPOption_NOP()] * 4)),
        ("UDP without a checksum", IP(src=BLUE.pod, dst=NATIVE, ttl=9) / UDP(sport=1, dport=PORT, chksum=0) / payload()),
        ("UDP with a wrong checksum", IP(src=BLUE.pod, dst=NATIVE) / UDP(sport=1, dport=PORT, chksum=77) / payload()),
        ("first fragment", inner_ip(flags="MF")),
        ("later fragment", IP(src=BLUE.pod, dst=NATIVE, frag=9, id=9, proto=17) / Raw(payload())),
        ("TTL 255", inner_ip(ttl=255)),
        ("DSCP", inner_ip(tos=0xB8)),
        ("the longest", inner_ip(data=payload(1422), flags="DF")),
    ):
        b.case(f"untouched: {name}", vxlan(inner(ip)), {DECAP: 1}, {"native": [delivered(ip)]})
    # Checksum offload: the field holds the pseudo-header's sum, and hardware was to add the rest.
    udp = IP(src=BLUE.pod, dst=NATIVE, ttl=63) / UDP(sport=1, dport=PORT) / payload(33)
    tcp = IP(src=BLUE.pod, dst=NATIVE, ttl=63) / TCP(sport=1, dport=PORT, flags="R") / payload(33)
    for name, ip, at in (("UDP", udp, 26), ("TCP", tcp, 36)):
        b.case(f"unfinished {name} checksum", vxlan(inner(IP(partial(ip, at)))), {DECAP: 1, "finished": 1},
               {"native": [delivered(ip)]})
        back = IP(bytes(ip).replace(socket.inet_aton(NATIVE), b"swap").replace(socket.inet_aton(BLUE.pod), socket.inet_aton(NATIVE)).replace(b"swap", socket.inet_aton(BLUE.pod)))
        b.case(f"unfinished {name} checksum from the native host", plain(IP(partial(back, at))),
               {ENCAP: 1, "finished": 1}, {"blue1": 1, "blue1-pod": 1}, "native",
               lambda got: wrapped(got["blue1"][0], BLUE, routed(fresh(back)))[0])


def fresh(ip):
    ip = IP(bytes(ip))
    del ip.chksum, ip.payload.chksum
    return IP(bytes(ip))


def partial(ip, at):
    """The packet with the pseudo-header's sum in the checksum field at `at`."""
    raw = bytearray(bytes(fresh(ip)))
    pseudo = bytes(raw[12:20]) + bytes([0, raw[9]]) + (len(raw) - 20).to_bytes(2, "big")
    raw[at : at + 2] = (checksum(pseudo) ^ 0xFFFF).to_bytes(2, "big")
    return bytes(raw)


def congestion(b):
    """RFC 6040: §4.2 for what comes out, §4.1 for what goes in."""
    names = ("Not-ECT", "ECT(1)", "ECT(0)", "CE")
    for i in range(4):
        for o in range(4):
            name = f"ECN out: inner {names[i]}, outer {names[o]}"
            ip = inner_ip(tos=0x48 | i)
            if i == 0 and o == 3:
                drop(b, name, vxlan(inner(ip), tos=o), "congestion")
                continue
            mark = 0 if i == 0 else 3 if 3 in (i, o) else 1 if 1 in (i, o) and o != 0 and i != 1 else i
            b.case(name, vxlan(inner(ip), tos=0xB8 | o), {DECAP: 1}, {"native": [delivered(ip, tos=0x48 | mark)]})
    for i in range(4):
        ip = inner_ip(src=NATIVE, dst=BLUE.pod, tos=0x48 | i)
        b.case(f"ECN in: {names[i]}", plain(ip), {ENCAP: 1}, {"blue1": 1, "blue1-pod": 1}, "native",
               lambda got, ip=ip, i=i: wrapped(got["blue1"][0], BLUE, routed(ip), i)[0])
    ip = inner_ip(dst=GREEN.pod, tos=2)
    b.case("ECN across: a mark on one tunnel goes on in the next", vxlan(inner(ip), tos=3), {TRANSIT: 1}, {"green1": 1},
           judge=lambda got: wrapped(got["green1"][0], GREEN, routed(ip, tos=3), 3)[0])


def answers(b):
    """What the gateway says itself."""
    ip = inner_ip(ttl=1, data=payload(700))
    told = (BLUE.gw, 11, 0, 0, bytes(ip))
    in_tunnel = lambda got, told: wrapped(got["blue1"][0], BLUE, got["blue1"][0][64:], 0)[0] + icmp_error(
        got["blue1"][0][64:], *told)
    at_pod = lambda got, told: icmp_error(got["blue1-pod"][0][14:], *told)
    b.case("TTL 1 from a pod", vxlan(inner(ip)), {"replied": 1}, {"blue1": 1, "blue1-pod": 1},
           judge=lambda got: in_tunnel(got, told) + [w for w in at_pod(got, told) if "ip_sum" not in w])
    ip = inner_ip(src=NATIVE, dst=BLUE.pod, ttl=1)
    b.case("TTL 1 from the native host", plain(ip), {"replied": 1}, {"native": 1}, "native",
           lambda got, ip=ip: framed(got["native"][0]) + icmp_error(got["native"][0][14:], GW_ACCESS, 11, 0, 0, bytes(ip)))
    quiet = [
        IP(src=BLUE.pod, dst=NATIVE, ttl=1) / ICMP(type=3, code=1) / Raw(bytes(inner_ip())[:28]),
        IP(src=BLUE.pod, dst=NATIVE, ttl=1, frag=9, proto=17) / Raw(payload()),
    ]
    drop(b, "TTL 1, nothing to be said", [vxlan(inner(ip)) for ip in quiet], "ttl_expired")
    for size in (1451, 1500):
        ip = inner_ip(src=NATIVE, dst=BLUE.pod, flags="DF", data=payload(size - 28))
        b.case(f"{size} bytes, not to be fragmented", plain(ip), {"replied": 1}, {"native": 1}, "native",
               lambda got, ip=ip: framed(got["native"][0]) + icmp_error(
                   got["native"][0][14:], GW_ACCESS, 3, 4, 1450, bytes(ip)))
    ip = inner_ip(src=NATIVE, dst=BLUE.pod, flags="DF", data=payload(1422))
    b.case("1450 bytes fit", plain(ip), {ENCAP: 1}, {"blue1": 1, "blue1-pod": 1}, "native",
           lambda got, ip=ip: wrapped(got["blue1"][0], BLUE, routed(ip))[0])
    drop(b, "1451 bytes without DF", plain(inner_ip(src=NATIVE, dst=BLUE.pod, data=payload(1423))), "too_big", "native")
    for n in (0, 1, 56, 1422):
        echo = IP(src=BLUE.pod, dst=BLUE.gw, ttl=63, id=5) / ICMP(type=8, id=77, seq=n) / Raw(payload(n))
        b.case(f"echo of {n} bytes", vxlan(inner(echo)), {"replied": 1}, {"blue1": 1, "blue1-pod": 1},
               judge=lambda got, echo=echo: echoed(got, echo))
    others = [IP(src=BLUE.pod, dst=BLUE.gw) / UDP(dport=PORT) / payload(), IP(src=BLUE.pod, dst=BLUE.gw) / TCP(dport=22)]
    drop(b, "nothing but echo", [vxlan(inner(ip)) for ip in others], "not_for_us")
    own = lambda data, **f: IP(src=NATIVE, dst=BLUE.pod, proto=17, id=99, **f) / Raw(data)
    datagram = bytes(UDP(sport=4444, dport=PORT, len=1448, chksum=0)) + payload(1440)
    parts = [plain(own(datagram[:1400], flags="MF")), plain(own(datagram[1400:], frag=175))]
    b.case("fragments share a source port", parts, {ENCAP: 2}, {"blue1": 2, "blue1-pod": 2}, "native",
           lambda got: [] if len({wrapped(f, BLUE, f[64:])[1] for f in got["blue1"]}) == 1 else ["they do not"])


def framed(frame):
    macs = Ether(frame).dst, Ether(frame).src
    return [] if macs == (NATIVE_MAC, GW_AC) else [f"MACs {macs}"]


def echoed(got, echo):
    frame = got["blue1"][0]
    reply = IP(src=BLUE.gw, dst=BLUE.pod, ttl=64, id=0, flags="DF") / ICMP(type=0, id=77, seq=echo[ICMP].seq)
    return wrapped(frame, BLUE, bytes(reply / Raw(bytes(echo[ICMP].payload))))[0]


GROUPS = (headers, lengths, guards, content, congestion, answers)

if __name__ == "__main__":
    bench = Bench(sys.argv[1])
    for group in GROUPS:
        if group.__name__ == sys.argv[2]:
            group(bench)
            sys.exit(1 if bench.failures else 0)
    sys.exit(f"no group {sys.argv[2]}")
