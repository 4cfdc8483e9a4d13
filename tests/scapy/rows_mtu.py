"""Rows about packets that are too big: for the tunnel (18), and on the way between VTEPs (19)."""

import time

from scapy.all import ICMPv6PacketTooBig, defragment

from bench import ENCAP, REPLIED
from network import (
    GREEN,
    GW_ACCESS,
    GW_UL,
    GW_VTEP,
    ICMP,
    IP,
    STRANGER,
    Ether,
    IPOption_NOP,
    IPv6,
    Raw,
    inside,
    read,
    routed,
    source_port,
    to_native,
)
from rows import row


@row(18, "usual", "altered")
def too_big(b, p):
    """The true limit: 1500 less 50 bytes over IPv4, less 70 over IPv6. Altered: inner packets may be fragmented, and the
    green overlay takes 1,300 bytes only."""
    for size in (p.limit + 1, 1500):
        ip = p.back(size, df=True)
        b.case(f"{size} bytes, not to be fragmented", p.plain(ip), {REPLIED: 1}, {"native": 1}, place="native",
               judge=lambda got: complaint(p, got, p.limit, ip))
    ip = p.back(p.limit, df=True)
    b.case(f"{p.limit} bytes fit", p.plain(ip), {ENCAP: 1}, b.to_pod(), place="native",
           judge=lambda got: p.wrapped(got["blue1"][0], routed(ip), zero=b.zero(p)))
    if b.setting == "altered":
        narrower(b, p)
    if p.inner == 4 and b.setting == "altered":
        for size in (p.limit + 1, 1500):
            ip = p.back(size - 4, options=[IPOption_NOP()] * 4)
            b.case(f"{size} bytes without DF come in pieces", p.plain(ip), {ENCAP: 1}, {"blue1": 2}, place="native",
                   judge=lambda got: together(b, p, got["blue1"], ip))
    elif p.inner == 4:
        b.drop("without DF it is dropped", p.plain(p.back(p.limit + 1)), "too_big", "native")


def narrower(b, p):
    for size in (1301, p.limit):
        ip = p.back(size, dst=GREEN.pod[p.inner], df=True)
        b.case(f"{size} bytes into the narrower overlay", p.plain(ip), {REPLIED: 1}, {"native": 1}, place="native",
               judge=lambda got: complaint(p, got, 1300, ip))
    ip = p.back(1300, dst=GREEN.pod[p.inner], df=True)
    b.case("1300 bytes fit it", p.plain(ip), {ENCAP: 1}, {"green1": 1}, place="native",
           judge=lambda got: p.wrapped(got["green1"][0], routed(ip), GREEN, zero=b.zero(p), tos=b.tos(GREEN)))


def together(b, p, frames, ip):
    """What is wrong with inner fragments (RFC 791 §3.2) of a packet: each is whole in its own tunnel headers, all fit,
    they share a source port, and scapy puts them together to the packet."""
    wrong = [w for frame in frames for w in p.wrapped(frame, inside(frame), zero=b.zero(p))]
    pieces = [read(inside(frame)) for frame in frames]
    wrong += [f"a piece of {len(piece)} bytes" for piece in pieces if len(piece) > p.limit]
    if len({source_port(frame) for frame in frames}) != 1:
        wrong.append("pieces have source ports of their own")
    whole = defragment(pieces)
    got = [bytes(packet.payload) for packet in whole]
    return wrong or ([] if got == [bytes(ip.payload)] else [f"together they are {[g.hex() for g in got]}"])


def complaint(p, got, limit, ip):
    """What is wrong with what the native host is told of its packet."""
    frame = got["native"][0]
    return to_native(frame) + p.too_big(frame[14:], GW_ACCESS[p.inner], limit, bytes(ip))


EXPIRY = 3  # seconds; the tests' gateways are told so by their kernel, whose default is the ten minutes of RFC 1191
SOON = 2


@row(19)
def path_mtu(b, p):
    overhead = 1500 - p.limit
    big = lambda size: p.plain(p.back(size, dst=GREEN.pod[p.inner], df=True))

    def passes(name, size):
        return b.case(name, big(size), {ENCAP: 1}, {"green1": 1}, place="native")

    def is_told(name, size, limit):
        ip = p.back(size, dst=GREEN.pod[p.inner], df=True)
        b.case(name, p.plain(ip), {REPLIED: 1}, {"native": 1}, place="native",
               judge=lambda got: complaint(p, got, limit, ip))

    def say(mtu, quote):
        """By a router that nobody knows, near green's node."""
        if p.outer == 4:
            message = IP(src=STRANGER[4], dst=GW_VTEP[4]) / ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(quote[:548])
        else:
            message = IPv6(src=STRANGER[6], dst=GW_VTEP[6]) / ICMPv6PacketTooBig(mtu=mtu) / Raw(quote[:1232])
        b.send("green1", [Ether(src=GREEN.node_mac, dst=GW_UL) / message])

    got = passes(f"{p.limit} bytes pass", p.limit)
    if not got.get("green1"):
        return
    quote = got["green1"][0][14:]
    for lie in forged(p, quote):
        say(1400, lie)
    say(1500, quote)  # it cannot have been too big for that
    time.sleep(0.3)
    passes("forged messages change nothing", p.limit)

    limit = 1400 - overhead
    say(1400, quote)
    settle(b, big(limit + 1), narrow=True)
    is_told("a genuine one lowers the limit", limit + 1, limit)
    passes("what fits still passes", limit)
    say(575 if p.outer == 4 else 1279, quote)
    say(100, quote)
    time.sleep(0.3)
    passes("an MTU that no link has changes nothing", limit)

    floor = 576 if p.outer == 4 else 1280
    say(floor, quote)
    settle(b, big(limit), narrow=True)
    # RFC 8201 §4: no IPv6 sender obeys less
    is_told("the least MTU there is", limit, floor - overhead if p.inner == 4 else 1280)
    settle(b, big(p.limit), narrow=False, patience=EXPIRY + SOON)
    passes("it is forgotten in time", p.limit)


def forged(p, quote):
    """Quotes of packets that the gateway cannot have sent, or that prove nothing."""
    udp = 20 if p.outer == 4 else 40
    places = {
        "the peer": udp - 1,
        "us": udp - (5 if p.outer == 4 else 17),
        "source port": udp + 1,
        "destination port": udp + 3,
        "VNI": udp + 8 + 6,
        "inner destination MAC": udp + 16 + 5,
        "inner source MAC": udp + 16 + 11,
        "inner destination": udp + 30 + (19 if p.inner == 4 else 39),
    }
    for at in places.values():
        lie = bytearray(quote)
        lie[at] ^= 0x40
        yield bytes(lie)
    yield quote[: udp + 8]


def settle(b, frame, narrow, patience=SOON):
    """Waits until a packet of the native host is answered with a complaint, or is no more."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        b.arrivals()
        b.send("native", [frame])
        time.sleep(0.1)
        if narrow == ("native" in b.arrivals()):
            break
    time.sleep(0.2)
