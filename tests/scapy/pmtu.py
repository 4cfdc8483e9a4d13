"""What a router says of packets that were too big, forged or not: `pmtu.py LINK FAMILY ROUTER WHAT`, run in its
namespace, where it has the address ROUTER.

A real packet of the gateway is caught on LINK, its quote is spoilt in all the ways that matter, and the messages are sent
back. Each line of the output is a message: what is the matter with it, and by which name the gateway has to ignore it.
"""

import sys

try:
    import logging

    logging.getLogger("scapy").setLevel(logging.ERROR)
    from scapy.all import ICMP, IP, Ether, ICMPv6PacketTooBig, IPv6, Raw, UDP, sendp, sniff
except ImportError:
    sys.exit("no scapy: install the Debian package python3-scapy")

MTU = 1400
VXLAN_PORT = 4789


def caught(link, family):
    """A full packet of the gateway to a VTEP behind this router, as it arrived here."""

    def full(frame):
        ip = frame.getlayer(family)
        return ip is not None and UDP in frame and frame[UDP].dport == VXLAN_PORT and len(bytes(ip)) > MTU

    frames = sniff(iface=link, lfilter=full, count=1, timeout=10)
    if not frames:
        sys.exit("no packet of the gateway came by")
    return frames[0]


def at(family):
    """Where things lie in a quote: behind the IP header come UDP, VXLAN, inner Ethernet, inner IP."""
    udp = len(bytes(family()))
    return {
        "src": 15 if family is IP else 23, "dst": 19 if family is IP else 39,
        "sport": udp, "dport": udp + 3, "flags": udp + 8, "vni": udp + 14,
        "inner_dst": udp + 16 + 5, "inner_src": udp + 16 + 11, "inner": udp + 30,
    }


def forged(quote, family):
    """(what, the quote, the MTU, the name)"""
    place = at(family)

    def spoilt(where, bits, offset=0):
        data = bytearray(quote)
        data[place[where] + offset] ^= bits
        return bytes(data)

    inner = place["inner"]
    floor = 576 if family is IP else 1280
    length = int.from_bytes(quote[2:4], "big") if family is IP else int.from_bytes(quote[4:6], "big") + 40
    # over IPv6 the message's own checksum says that it is for whom the quote is from
    yield "quoted source is no VTEP of ours", spoilt("src", 0x40), MTU, "not_ours" if family is IP else "checksum"
    yield "quoted destination is no peer", spoilt("dst", 0x40), MTU, "not_ours"
    yield "source port out of range", spoilt("sport", 0x80), MTU, "udp_port"
    yield "another UDP port", spoilt("dport", 1), MTU, "udp_port"
    yield "no VNI", spoilt("flags", 8), MTU, "vni"
    yield "another VNI", spoilt("vni", 1), MTU, "vni"
    yield "another inner destination MAC", spoilt("inner_dst", 1), MTU, "inner_mac"
    yield "another inner source MAC", spoilt("inner_src", 1), MTU, "inner_mac"
    yield "another inner address", spoilt("inner", 1, 19), MTU, "inner_flow"
    yield "another inner port", spoilt("inner", 1, 21), MTU, "inner_flow"
    yield "another source port", spoilt("sport", 1, 1), MTU, "inner_flow"
    yield "eight bytes quoted", quote[: place["sport"] + 8], MTU, "short_quote"
    yield "quoted up to the VXLAN header", quote[: place["sport"] + 16], MTU, "short_quote"
    yield "below the least MTU of a link", quote, floor - 1, "below_minimum"
    yield "an MTU of 68", quote, 68, "below_minimum"
    yield "it would have fitted", quote, length, "fits"
    yield "less than eight bytes quoted", quote[: place["sport"] + 7], MTU, "malformed"


def message(frame, family, router, quote, mtu, **fields):
    """The frame in which the router says it."""
    link = Ether(src=frame.dst, dst=frame.src)
    to = frame[family].src
    if family is IP:
        return link / IP(src=router, dst=to, ttl=63) / ICMP(type=3, code=4, nexthopmtu=mtu, **fields) / Raw(quote)
    return link / IPv6(src=router, dst=to) / ICMPv6PacketTooBig(mtu=mtu, **fields) / Raw(quote)


def main(link, version, router, what):
    family = {"4": IP, "6": IPv6}[version]
    frame = caught(link, family)

    def send(quote, mtu, **fields):
        sendp(message(frame, family, router, quote, mtu, **fields), iface=link, verbose=False)

    packet = bytes(frame[family])
    quote = packet[:548]
    if what == "genuine":
        send(quote, MTU)
        print("genuine: accepted")
        return
    for name, spoilt, mtu, reason in forged(quote, family):
        send(spoilt, mtu)
        print(f"{name}: {reason}")
    if family is IP:
        send(quote, MTU, chksum=0x4242)
        print("wrong checksum: checksum")
        free = bytearray(quote)
        free[6] &= ~0x40
        send(bytes(free), MTU)
        print("about a packet that may be fragmented: not_ours")
    else:
        send(quote, MTU, cksum=0x4242)  # the kernel itself keeps it from ICMPv6 sockets


main(*sys.argv[1:])
