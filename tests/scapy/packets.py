"""Packets made by hand that no row of the conformance table speaks of, sent through a running gateway: `packets.py
INSTANCE GROUP`. Groups are `guards`, and what is in packets of both families over IPv`4` or IPv`6`."""

import sys

from bench import DECAP, ENCAP, TRANSIT, Bench
from network import (
    BLUE,
    GREEN,
    LENGTH,
    NATIVE as NATIVES,
    PORT,
    TCP,
    UDP,
    ICMPv6EchoReply,
    IPOption_NOP,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Pair,
    checksum,
    delivered,
    payload,
    pseudo,
    read,
    routed,
)

P = Pair("4in4")
NATIVE = NATIVES[4]


class Packets(Bench):
    """A bench that says for which pair it speaks."""

    pair = P

    def verdict(self, name, wrong):
        super().verdict(f"{self.pair.name}: {name}", wrong)


def guards(b):
    """Who may send what."""
    others = ("02:00:00:00:00:99", "ff:ff:ff:ff:ff:ff", GREEN.gw_mac)
    b.drop("inner destination MAC", [P.vxlan(P.frame(dst=mac)) for mac in others], "inner_destination_mac")
    from_ip = lambda src: P.vxlan(P.frame(P.udp(src=src)))
    b.drop("inner source not the peer's", [from_ip(s) for s in (BLUE.pod2[4], NATIVE, "8.8.8.8")], "inner_source")
    to_ip = lambda dst: P.vxlan(P.frame(P.udp(dst=dst)))
    b.drop("no route", to_ip("203.0.113.9"), "no_route")
    b.drop("inner martians", [to_ip(d) for d in ("224.0.0.1", "127.0.0.1", "255.255.255.255")], "martian")
    b.drop("back to the sender", to_ip(BLUE.nobody[4]), "back_to_sender")
    elsewhere = P.plain(P.back(dst="10.244.9.9"))
    b.case("native packet for no pod is the kernel's", elsewhere, {"pass_not_ours": 1}, place="native")
    b.drop("native IP checksum", P.plain(P.back(chksum=0x4242)), "ip_checksum", "native")
    options = P.vxlan(outer={"options": [IPOption_NOP()] * 4})
    b.case("outer IP options", options, {DECAP: 1}, {"native": [delivered(P.udp())]})
    b.case("any outer source port", P.vxlan(udp={"sport": 1}), {DECAP: 1}, {"native": [delivered(P.udp())]})
    stray = P.vxlan()
    stray.dst = "02:00:00:00:00:77"
    b.case("to a foreign MAC, flooded by the bridge", stray, {"pass_other_mac": 1})


def content(b, p):
    """What must not change, and what must."""
    pod, native, far = BLUE.pod[p.inner], NATIVES[p.inner], GREEN.pod[p.inner]
    datagram = lambda **fields: p.header(pod, native) / UDP(sport=4444, dport=PORT, **fields) / payload()
    whole = [
        ("UDP without a checksum", datagram(chksum=0)),
        ("UDP with a wrong checksum", datagram(chksum=77)),
        ("first fragment", p.pieces(pod, native)[0]),
        ("later fragment", p.pieces(pod, native)[1]),
        ("DSCP", p.udp(tos=0xB8)),
        ("the longest", p.sized(p.limit, df=True)),
    ]
    for name, ip in whole + (options_v4(p) if p.inner == 4 else extensions(p, pod, native)):
        b.case(f"untouched: {name}", p.vxlan(p.frame(ip)), {DECAP: 1}, {"native": [delivered(ip)]})
    # Checksum offload: the field holds the pseudo-header's sum, and hardware was to add the rest. Over IPv6 the outer checksum is
    # right over the packet as it is.
    kinds = [
        ("UDP", UDP(sport=1, dport=PORT) / payload(33), 6),
        ("TCP", TCP(sport=1, dport=PORT, flags="R") / payload(33), 16),
    ]
    if p.inner == 6:
        kinds.append(("ICMPv6", ICMPv6EchoReply(id=9) / payload(33), 2))
    for name, message, at in kinds:
        ip, across, back = (p.header(*ends) / message for ends in ((pod, native), (pod, far), (native, pod)))
        finished = {"finished": 1}
        unfinished = lambda packet: read(partial(packet, at))
        b.case(f"unfinished {name} checksum", p.vxlan(p.frame(unfinished(ip))), {DECAP: 1, **finished},
               {"native": [delivered(ip)]})
        b.case(f"unfinished {name} checksum across", p.vxlan(p.frame(unfinished(across))), {TRANSIT: 1, **finished},
               {"green1": 1}, judge=lambda got: p.wrapped(got["green1"][0], routed(across), GREEN))
        b.case(f"unfinished {name} checksum from the native host", p.plain(unfinished(back)), {ENCAP: 1, **finished},
               {"blue1": 1, "blue1-pod": 1}, place="native",
               judge=lambda got: p.wrapped(got["blue1"][0], routed(back)))


def options_v4(p):
    return [("IP options", p.udp(options=[IPOption_NOP()] * 4))]


def extensions(p, pod, native):
    """Extension headers (RFC 8200 §4) are nobody's business on the way."""
    head = p.header(pod, native)
    datagram = UDP(sport=4444, dport=PORT) / payload()
    return [
        ("hop-by-hop options", head / IPv6ExtHdrHopByHop() / datagram),
        ("a routing header that is done", head / IPv6ExtHdrRouting(type=253, segleft=0) / datagram),
        ("destination options", head / IPv6ExtHdrDestOpt() / datagram),
        ("a fragment that is whole (RFC 6946)", head / IPv6ExtHdrFragment(nh=17, id=3) / datagram),
        ("a later fragment behind which options began", p.deep_pieces(pod, native)[1]),
        ("nothing at all", p.header(pod, native, protocol=59)),
    ]


def partial(ip, at):
    """The packet with the pseudo-header's sum in the checksum field, which is `at` bytes behind its IP header."""
    raw = bytearray(bytes(ip))
    length = LENGTH[raw[0] >> 4]
    sum = checksum(pseudo(bytes(raw), ip.proto if ip.version == 4 else ip.nh, len(raw) - length)) ^ 0xFFFF
    raw[length + at : length + at + 2] = sum.to_bytes(2, "big")
    return bytes(raw)


if __name__ == "__main__":
    bench = Packets(sys.argv[1])
    if sys.argv[2] == "guards":
        guards(bench)
    elif sys.argv[2] in ("4", "6"):
        for bench.pair in (Pair(f"4in{sys.argv[2]}"), Pair(f"6in{sys.argv[2]}")):
            content(bench, bench.pair)
    else:
        sys.exit(f"no group {sys.argv[2]}")
    sys.exit(1 if bench.failures else 0)
