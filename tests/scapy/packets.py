"""Packets made by hand that no row of the conformance table speaks of, sent through a running gateway: `packets.py
INSTANCE GROUP`."""

import sys

from bench import DECAP, ENCAP, TRANSIT, Bench
from network import (
    BLUE,
    GREEN,
    IP,
    LENGTH,
    PORT,
    TCP,
    UDP,
    IPOption_NOP,
    Pair,
    checksum,
    delivered,
    payload,
    pseudo,
    read,
    routed,
)

P = Pair("4in4")
NATIVE, POD, GREEN_POD = "10.9.0.2", BLUE.pod[4], GREEN.pod[4]


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


def content(b):
    """What must not change, and what must."""
    for name, ip in (
        ("IP options", P.udp(options=[IPOption_NOP()] * 4)),
        ("UDP without a checksum", IP(src=POD, dst=NATIVE) / UDP(dport=PORT, chksum=0) / payload()),
        ("UDP with a wrong checksum", IP(src=POD, dst=NATIVE) / UDP(dport=PORT, chksum=77) / payload()),
        ("first fragment", P.pieces(POD, NATIVE)[0]),
        ("later fragment", P.pieces(POD, NATIVE)[1]),
        ("DSCP", P.udp(tos=0xB8)),
        ("the longest", P.sized(1450, df=True)),
    ):
        b.case(f"untouched: {name}", P.vxlan(P.frame(ip)), {DECAP: 1}, {"native": [delivered(ip)]})
    # Checksum offload: the field holds the pseudo-header's sum, and hardware was to add the rest.
    udp = IP(src=POD, dst=NATIVE, ttl=63) / UDP(sport=1, dport=PORT) / payload(33)
    tcp = IP(src=POD, dst=NATIVE, ttl=63) / TCP(sport=1, dport=PORT, flags="R") / payload(33)
    for name, ip, at in (("UDP", udp, 6), ("TCP", tcp, 16)):
        finished = {"finished": 1}
        unfinished = P.vxlan(P.frame(read(partial(ip, at))))
        b.case(f"unfinished {name} checksum", unfinished, {DECAP: 1, **finished}, {"native": [delivered(ip)]})
        across = fresh(ip, dst=GREEN_POD)
        b.case(f"unfinished {name} checksum across", P.vxlan(P.frame(read(partial(across, at)))), {TRANSIT: 1, **finished},
               {"green1": 1}, judge=lambda got: P.wrapped(got["green1"][0], routed(across), GREEN))
        back = fresh(ip, src=NATIVE, dst=POD)
        b.case(f"unfinished {name} checksum from the native host", P.plain(read(partial(back, at))), {ENCAP: 1, **finished},
               {"blue1": 1, "blue1-pod": 1}, place="native",
               judge=lambda got: P.wrapped(got["blue1"][0], routed(back)))


def fresh(ip, **ends):
    """The packet between other ends, with its checksums computed anew."""
    ip = ip.copy()
    for key, value in ends.items():
        setattr(ip, key, value)
    del ip.chksum, ip.payload.chksum
    return read(bytes(ip))


def partial(ip, at):
    """The packet with the pseudo-header's sum in the checksum field, which is `at` bytes behind its IP header."""
    raw = bytearray(bytes(fresh(ip)))
    length = LENGTH[raw[0] >> 4]
    sum = checksum(pseudo(bytes(raw), ip.proto if ip.version == 4 else ip.nh, len(raw) - length)) ^ 0xFFFF
    raw[length + at : length + at + 2] = sum.to_bytes(2, "big")
    return bytes(raw)


GROUPS = (guards, content)

if __name__ == "__main__":
    bench = Bench(sys.argv[1])
    for group in GROUPS:
        if group.__name__ == sys.argv[2]:
            group(bench)
            sys.exit(1 if bench.failures else 0)
    sys.exit(f"no group {sys.argv[2]}")
