"""Rows about the headers in front of an inner packet: VXLAN, UDP, IP."""

from bench import DECAP, ENCAP, TRANSIT
from network import (
    BLUE,
    GREEN,
    GW_VTEP,
    LENGTH,
    NATIVE,
    PORT,
    STRANGER,
    UDP,
    Ether,
    Raw,
    delivered,
    flow_label,
    payload,
    routed,
    source_port,
    udp_checksum,
)
from rows import row


@row(1)
def i_flag(b, p):
    b.case("set", p.vxlan(), {DECAP: 1}, {"native": [delivered(p.udp())]})
    clear = [p.vxlan(header=bytes([flags, 0, 0, 0, 0, 0, BLUE.vni, 0])) for flags in (0, 0xF7)]
    b.drop("clear", clear, "vxlan_flags")


@row(2)
def reserved_bits(b, p):
    base = int.from_bytes(b"\x08\0\0\0\0\0" + bytes([BLUE.vni, 0]), "big")
    reserved = [63 - i for i in range(32) if i != 4] + list(range(8))
    odd = [p.vxlan(header=(base | 1 << bit).to_bytes(8, "big")) for bit in reserved]
    assert len(odd) == 39
    b.case("each of the 39 is ignored", odd, {DECAP: 39}, {"native": [delivered(p.udp())] * 39})
    # `wrapped` compares the eight bytes of the header
    b.case("none is sent", p.plain(), {ENCAP: 1}, b.to_pod(),
           judge=lambda got: p.wrapped(got["blue1"][0], routed(p.back())), place="native")
    across = p.udp(dst=GREEN.pod[p.inner])
    odd = p.vxlan(p.frame(across), header=(base | 0xFF).to_bytes(8, "big"))
    b.case("none is sent on", odd, {TRANSIT: 1}, {"green1": 1},
           judge=lambda got: p.wrapped(got["green1"][0], routed(across), GREEN))


@row(3, "usual", "altered")
def destination_port(b, p):
    """4789 is green's by default, 8472 is blue's as flannel has it; blue has another one in the altered setting."""
    assert GREEN.port == 4789 and BLUE.port == (8472 if b.setting == "usual" else 14789)
    b.case(f"{BLUE.port} is heard", p.vxlan(), {DECAP: 1}, {"native": [delivered(p.udp())]})
    b.case(f"{BLUE.port} is sent to", p.plain(), {ENCAP: 1}, b.to_pod(),
           judge=lambda got: p.wrapped(got["blue1"][0], routed(p.back()), zero=b.zero(p)), place="native")
    ends = dict(src=GREEN.pod[p.inner])
    green = p.vxlan(p.frame(p.udp(**ends), GREEN.vtep_mac, GREEN.gw_mac), cluster=GREEN)
    b.case("4789 is heard", green, {DECAP: 1}, {"native": [delivered(p.udp(**ends))]}, place="green1")
    across = p.udp(dst=GREEN.pod[p.inner])
    b.case("4789 is sent to", p.vxlan(p.frame(across)), {TRANSIT: 1}, {"green1": 1},
           judge=lambda got: p.wrapped(got["green1"][0], routed(across), GREEN, zero=b.zero(p), tos=b.tos(GREEN)))
    b.case("another port is the kernel's", p.vxlan(udp={"dport": 9999}), {"pass_not_ours": 1}, {"blue1": 1})  # nobody listens


@row(4)
def source_ports(b, p):
    def of(name, ips, judge):
        count = {"blue1": len(ips), "blue1-pod": len(ips)}
        b.case(name, [p.plain(ip) for ip in ips], {ENCAP: len(ips)}, count, place="native",
               judge=lambda got: judge([source_port(f) for f in got["blue1"]]) + labels(got["blue1"], judge))

    def labels(frames, judge):
        """RFC 6438 §3: over IPv6 the flow label is what the port is."""
        return judge([0x100000 | flow_label(f) for f in frames]) if p.outer == 6 else []

    def spread(ports):
        wrong = [f"{n} is not in 49152–65535" for n in ports if n < 49152]
        return wrong + ([f"only {len(set(ports))} ports for 200 flows"] if len(set(ports)) < 190 else [])

    # 200 flows over 16,384 ports: one pair or two share one by chance
    of("they spread over flows", [p.back(sport=n) for n in range(2000, 2200)], spread)
    same = lambda ports: [] if len(set(ports)) == 1 else [f"{ports}"]
    flow = [p.back(data=payload(n), tos=n & 0xFC, ttl=64 - n % 32) for n in range(0, 1000, 50)]
    of("one flow has one, whatever its packets are like", flow, same)
    of("fragments of a datagram share one", p.pieces(NATIVE[p.inner], BLUE.pod[p.inner]), same)
    if p.inner == 6:
        of("fragments with options behind the fragment header, too", p.deep_pieces(NATIVE[6], BLUE.pod[6]), same)
    across = [p.udp(dst=GREEN.pod[p.inner], sport=n) for n in range(2000, 2100)]
    b.case("from VXLAN to VXLAN, too", [p.vxlan(p.frame(ip)) for ip in across], {TRANSIT: 100}, {"green1": 100},
           judge=lambda got: spread([source_port(f) for f in got["green1"]] * 2)[:-1])


@row(5)
def udp_checksum_over_ipv4(b, p):
    if p.outer == 4:
        b.case("zero is sent", p.plain(), {ENCAP: 1}, b.to_pod(),
               judge=lambda got: p.wrapped(got["blue1"][0], routed(p.back()), zero=True), place="native")
        b.case("zero is accepted", p.vxlan(udp={"chksum": 0}), {DECAP: 1}, {"native": [delivered(p.udp())]})
        whole_checksums(b, p)


@row(6, "usual", "altered")
def udp_checksum_over_ipv6(b, p):
    if p.outer == 4:
        return
    allowed = b.setting == "altered"
    zero = p.vxlan(udp={"chksum": 0})
    if allowed:
        b.case("zero is accepted where it is allowed", zero, {DECAP: 1}, {"native": [delivered(p.udp())]})
        b.case("zero is sent where it is allowed", p.plain(), {ENCAP: 1}, b.to_pod(), place="native",
               judge=lambda got: p.wrapped(got["blue1"][0], routed(p.back()), zero=True))
    else:
        b.drop("zero is dropped unless it is allowed", zero, "outer_udp_zero_checksum")
        b.case("a right one is sent", p.plain(), {ENCAP: 1}, b.to_pod(), place="native",
               judge=lambda got: p.wrapped(got["blue1"][0], routed(p.back())))
        computed_zero(b, p)
    whole_checksums(b, p)


def whole_checksums(b, p):
    whole = Ether(bytes(p.vxlan(udp={"chksum": None})))
    b.case("a right one is accepted", whole, {DECAP: 1}, {"native": [delivered(p.udp())]})
    right = whole[UDP].chksum
    wrong = [p.vxlan(udp={"chksum": n}) for n in (right ^ 1, right ^ 0x8000, 0xFFFF, 0x1234)]
    b.drop("a wrong one is dropped", wrong, "outer_udp_checksum")


def computed_zero(b, p):
    """The flow has one source port, so a word of the payload can be chosen that makes the sum come out as zero."""
    ends = NATIVE[p.inner], BLUE.pod[p.inner]
    sent = lambda word: p.plain(p.header(*ends) / UDP(sport=4444, dport=PORT, chksum=0) / Raw(word + payload(62)))
    got = b.case("a packet whose sum can be chosen", sent(b"\0\0"), {ENCAP: 1}, b.to_pod(), place="native")
    if got.get("blue1"):
        field, _ = udp_checksum(got["blue1"][0])
        b.case("a computed 0 is sent as 0xFFFF", sent(field.to_bytes(2, "big")), {ENCAP: 1}, b.to_pod(), place="native",
               judge=lambda got: ffff(got["blue1"][0]))


def ffff(frame):
    field, right = udp_checksum(frame)
    return [] if (field, right) == (0xFFFF, True) else [f"checksum {field:#06x}, right: {right}"]


@row(7)
def outer_fragments(b, p):
    whole = p.vxlan(p.frame(p.sized(600)))
    datagram = bytes(whole)[14 + LENGTH[p.outer] :]
    part = lambda at, end, more: p.outer_fragment(datagram[at:end], at, more)
    b.drop("a first one is dropped and counted", part(0, 200, True), "outer_fragment")
    b.case("a later one is counted", part(200, len(datagram), False), {"pass_fragment": 1})
    both = [part(0, 200, True), part(200, len(datagram), False)]
    b.case("they are not put together", both, {"dropped outer_fragment": 1, "pass_fragment": 1})
    # what is too big for the underlay leaves neither in pieces nor whole
    big = p.plain(p.back(p.limit + 1, df=True))
    b.case("none is sent", big, {"replied": 1}, {"native": 1}, place="native")


@row(9, "usual")
def unknown_vnis(b, p):
    wrong = [p.vxlan(vni=n) for n in (0, 2, GREEN.vni, 0x010000, 0xFFFFFF)]
    b.drop("unknown VNIs are dropped in silence", wrong, "unknown_vni")
    b.drop("the other overlay's port", p.vxlan(udp={"dport": GREEN.port}), "unknown_vni")
    b.drop("a peer of the other overlay is a stranger", p.vxlan(src=GREEN.node[p.outer]), "unknown_peer")
    b.drop("a pod of the other overlay is nobody's", p.vxlan(p.frame(p.udp(src=GREEN.pod[p.inner]))), "inner_source")


@row(10)
def lengths(b, p):
    header = b"\x08\0\0\0\0\0" + bytes([BLUE.vni, 0])
    inner = bytes(p.frame())
    head = 14 + LENGTH[p.inner]
    b.drop("VXLAN header cut short", [p.carrying(header[:n]) for n in range(8)], "vxlan_short")
    b.drop("inner Ethernet cut short", [p.carrying(header + inner[:n]) for n in range(14)], "inner_short")
    b.drop("inner IP cut short", [p.carrying(header + inner[:n]) for n in range(14, head)], "inner_ip_header")
    b.drop("inner packet cut short", [p.carrying(header + inner[:n]) for n in range(head, len(inner))], "inner_ip_header")
    b.drop("inner length beyond the frame", p.vxlan(p.frame(p.udp(**{"len" if p.inner == 4 else "plen": 300}))), "inner_ip_header")
    b.drop("UDP length beyond IP", p.vxlan(udp={"len": 200 + len(inner)}), "outer_udp_length")
    b.drop("UDP length below its header", [p.vxlan(udp={"len": n}) for n in (1, 7)], "outer_udp_length")
    b.drop("UDP length within the VXLAN header", p.vxlan(udp={"len": 8 + 7}), "vxlan_short")
    whole = bytes(p.vxlan())
    udp_end = 14 + LENGTH[p.outer] + 8
    # what the frame lacks, the outer IP length still claims; the program passes what has no UDP header
    b.drop("outer packet cut short", [Raw(whole[:n]) for n in range(udp_end, len(whole))], "outer_ip_header", "wire")
    tiny = [Raw(whole[:n]) for n in range(14, udp_end)]
    b.case("outer headers cut short", tiny, {"pass_truncated": len(tiny)}, place="wire")
    padded = Raw(whole + b"\xEE" * 30)
    b.case("padding behind the outer packet is trimmed", padded, {DECAP: 1}, {"native": [delivered(p.udp())]})
    small = p.udp(data=b"")
    padded = Ether(bytes(p.frame(small)) + b"\xEE" * 18)
    b.case("padding behind the inner packet is trimmed", p.vxlan(padded), {DECAP: 1}, {"native": [delivered(small)]})
    if p.outer == 4:
        b.drop("outer IP length beyond the frame", p.vxlan(outer={"len": 400}), "outer_ip_header", "wire")
        b.drop("outer IP checksum", p.vxlan(outer={"chksum": 0x4242}), "outer_ip_checksum", "wire")
    if p.inner == 4:
        b.drop("inner IP checksum", p.vxlan(p.frame(p.udp(chksum=0x4242))), "inner_ip_checksum")
    b.drop("inner version", [p.vxlan(p.frame(p.udp(version=n))) for n in (0, 5, 10 - p.inner, 15)], "inner_ip_header")


@row(11)
def outer_sources(b, p):
    martians = {
        4: ("127.0.0.1", "224.0.0.1", "0.0.0.0", "255.255.255.255", GW_VTEP[4]),
        6: ("::1", "ff02::1", "::", "ff0e::7", GW_VTEP[6]),
    }[p.outer]
    b.drop("martians", [p.vxlan(src=s) for s in martians], "outer_martian", "wire")
    strangers = [STRANGER[p.outer], {4: "203.0.113.1", 6: "fd00::1"}[p.outer]]
    b.drop("strangers", [p.vxlan(src=s) for s in strangers], "unknown_peer")
    garbage = [p.vxlan(Raw(payload(n)), src=STRANGER[p.outer]) for n in (0, 3, 14, 60)]
    b.drop("strangers, before anything further is read", garbage, "unknown_peer")


@row(22, "altered")
def extreme_vnis(b, p):
    assert (BLUE.vni, GREEN.vni) == (0, 0xFFFFFF)
    b.case("0 is heard", p.vxlan(), {DECAP: 1}, {"native": [delivered(p.udp())]})
    b.case("0 is sent", p.plain(), {ENCAP: 1}, b.to_pod(), place="native",
           judge=lambda got: p.wrapped(got["blue1"][0], routed(p.back()), zero=b.zero(p)))
    across = p.udp(dst=GREEN.pod[p.inner])
    b.case("0xFFFFFF is sent", p.vxlan(p.frame(across)), {TRANSIT: 1}, {"green1": 1},
           judge=lambda got: p.wrapped(got["green1"][0], routed(across), GREEN, zero=b.zero(p), tos=b.tos(GREEN)))
    ends = dict(src=GREEN.pod[p.inner])
    green = p.vxlan(p.frame(p.udp(**ends), GREEN.vtep_mac, GREEN.gw_mac), cluster=GREEN)
    b.case("0xFFFFFF is heard", green, {DECAP: 1}, {"native": [delivered(p.udp(**ends))]}, place="green1")
    b.drop("others are unknown", [p.vxlan(vni=n) for n in (1, 7, 0x800000)], "unknown_vni")
