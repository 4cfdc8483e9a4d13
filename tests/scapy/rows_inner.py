"""Rows about what is inside: the inner Ethernet header, marks, and how a packet ages."""

import time

from bench import DECAP, ENCAP, REPLIED, TRANSIT
from network import (
    BLUE,
    GREEN,
    GW_ACCESS,
    LENGTH,
    NATIVE,
    Dot1Q,
    Ether,
    delivered,
    inside,
    payload,
    routed,
    to_native,
)
from rows import row


@row(8, "usual", "altered")
def vlan_tags(b, p):
    """Usual: no VLAN. Altered: VLAN 5 of blue."""
    ip = p.udp()
    tagged = lambda *tags: p.vxlan(stack(p, tags, ip))
    b.drop("a VLAN", [tagged(dict(vlan=n)) for n in (1, 4, 6, 1029, 4095)], "inner_vlan")
    b.drop("a VLAN in a VLAN", tagged(dict(type=0x88A8, vlan=5), dict(vlan=7)), "inner_vlan")
    b.drop("a VLAN twice", tagged(dict(vlan=5), dict(vlan=5)), "inner_vlan")
    fives = [tagged(dict(vlan=5, prio=n)) for n in (0, 7)]
    if b.setting == "altered":
        b.case("its VLAN's tag is taken off", fives, {DECAP: 2}, {"native": [delivered(ip)] * 2})
        across = p.udp(dst=GREEN.pod[p.inner])
        onward = p.vxlan(stack(p, [dict(vlan=5)], across))
        b.case("what is sent on has no tag", onward, {TRANSIT: 1}, {"green1": 1},
               judge=lambda got: p.wrapped(got["green1"][0], routed(across), GREEN, zero=b.zero(p), tos=b.tos(GREEN)))
        greens = stack(p, [dict(vlan=5)], p.udp(src=GREEN.pod[p.inner]), GREEN)
        b.drop("another overlay's VLAN", p.vxlan(greens, cluster=GREEN), "inner_vlan", place="green1")
    else:
        b.drop("VLAN 5", fives, "inner_vlan")
    b.drop("a VLAN behind a priority tag", tagged(dict(vlan=0, prio=3), dict(vlan=7)), "inner_vlan")
    priority = [tagged(dict(vlan=0, prio=n)) for n in range(8)]
    b.case("a priority tag is taken off", priority, {DECAP: 8}, {"native": [delivered(ip)] * 8})


def stack(p, tags, ip, cluster=BLUE):
    """An inner frame with these tags, the outermost first; `type` is the tag protocol."""
    frame = Ether(src=cluster.vtep_mac, dst=cluster.gw_mac, type=tags[0].get("type", 0x8100))
    for n, tag in enumerate(tags):
        inner_type = 0x8100 if n + 1 < len(tags) else 0x0800 if p.inner == 4 else 0x86DD
        frame = frame / Dot1Q(vlan=tag["vlan"], prio=tag.get("prio", 0), type=inner_type)
    return frame / ip


@row(12)
def inner_sources(b, p):
    from_mac = lambda mac: p.vxlan(p.frame(src=mac))
    groups = ("01:00:5e:00:00:01", "33:33:00:00:00:01", "03:00:00:00:00:01", "ff:ff:ff:ff:ff:ff")
    b.drop("group addresses", [from_mac(mac) for mac in groups], "inner_source_mac")
    b.drop("zero", from_mac("00:00:00:00:00:00"), "inner_source_mac")
    b.drop("our own", from_mac(BLUE.gw_mac), "inner_source_mac")


NAMES = ("Not-ECT", "ECT(1)", "ECT(0)", "CE")
DROPPED = None
# RFC 6040 §4.2, figure 4, as it stands there: by the inner field, then by the outer one
FIGURE_4 = {
    #           Not-ECT    ECT(0)     ECT(1)     CE
    "Not-ECT": ("Not-ECT", "Not-ECT", "Not-ECT", DROPPED),
    "ECT(0)": ("ECT(0)", "ECT(0)", "ECT(1)", "CE"),
    "ECT(1)": ("ECT(1)", "ECT(1)", "ECT(1)", "CE"),
    "CE": ("CE", "CE", "CE", "CE"),
}


@row(13)
def congestion_out(b, p):
    for inner, outcomes in FIGURE_4.items():
        for outer, outcome in zip(("Not-ECT", "ECT(0)", "ECT(1)", "CE"), outcomes):
            name = f"inner {inner}, outer {outer}"
            ip = p.udp(tos=0x48 | NAMES.index(inner))
            frame = p.vxlan(p.frame(ip), tos=0xB8 | NAMES.index(outer))
            if outcome is DROPPED:
                b.drop(f"{name}: dropped", frame, "congestion")
            else:
                want = delivered(ip, tos=0x48 | NAMES.index(outcome))
                b.case(f"{name}: {outcome}", frame, {DECAP: 1}, {"native": [want]})
    ip = p.udp(dst=GREEN.pod[p.inner], tos=NAMES.index("ECT(0)"))
    b.case("a mark on one tunnel goes on in the next", p.vxlan(p.frame(ip), tos=3), {TRANSIT: 1}, {"green1": 1},
           judge=lambda got: p.wrapped(got["green1"][0], routed(ip, tos=3), GREEN, tos=3))


@row(14)
def congestion_in(b, p):
    for mark, name in enumerate(NAMES):
        ip = p.back(tos=0x48 | mark)
        b.case(f"{name} is copied", p.plain(ip), {ENCAP: 1}, b.to_pod(), place="native",
               judge=lambda got: p.wrapped(got["blue1"][0], routed(ip), tos=mark))


@row(15, "usual", "altered")
def code_points(b, p):
    """Usual: the pipe model with 0. Altered: uniform for blue, the pipe model with 46 for green."""
    uniform = b.setting == "altered"
    for code in (0, 10, 46, 63):
        ip = p.back(tos=code << 2)
        b.case(f"{code} from outside", p.plain(ip), {ENCAP: 1}, b.to_pod(), place="native",
               judge=lambda got: p.wrapped(got["blue1"][0], routed(ip), tos=code << 2 if uniform else 0, zero=b.zero(p)))
        ip = p.udp(tos=22 << 2)
        frame = p.vxlan(p.frame(ip), tos=code << 2)
        want = delivered(ip, tos=code << 2 if uniform else 22 << 2)
        b.case(f"{code} on the tunnel", frame, {DECAP: 1}, {"native": [want]})
        across = p.udp(dst=GREEN.pod[p.inner], tos=22 << 2)
        after = routed(across, tos=code << 2 if uniform else 22 << 2)
        b.case(f"{code} across", p.vxlan(p.frame(across), tos=code << 2), {TRANSIT: 1}, {"green1": 1},
               judge=lambda got: p.wrapped(got["green1"][0], after, GREEN, tos=46 << 2 if uniform else 0, zero=b.zero(p)))


@row(16)
def hops(b, p):
    for ttl in (2, 64, 128, 255):
        ip = p.udp(ttl=ttl)
        b.case(f"{ttl} is lowered, out of the tunnel", p.vxlan(p.frame(ip)), {DECAP: 1}, {"native": [delivered(ip)]})
    for ttl in (3, 64, 255):  # it has a node to pass yet
        into = p.back(ttl=ttl)
        b.case(f"{ttl} is lowered, into it", p.plain(into), {ENCAP: 1}, b.to_pod(), place="native",
               judge=lambda got: p.wrapped(got["blue1"][0], routed(into)))
        across = p.udp(dst=GREEN.pod[p.inner], ttl=ttl)
        b.case(f"{ttl} is lowered, across", p.vxlan(p.frame(across)), {TRANSIT: 1}, {"green1": 1},
               judge=lambda got: p.wrapped(got["green1"][0], routed(across), GREEN))
    checksums(b, p)
    for ttl in (0, 1):
        ip = p.udp(ttl=ttl, data=payload(1300))
        b.case(f"{ttl} of a pod", p.vxlan(p.frame(ip)), {REPLIED: 1}, {"blue1": 1, "blue1-pod": 1},
               judge=lambda got: p.wrapped(got["blue1"][0], inside(got["blue1"][0]))
               + p.time_exceeded(inside(got["blue1"][0]), BLUE.gw[p.inner], bytes(ip)))
        ip = p.back(ttl=ttl)
        b.case(f"{ttl} of the native host", p.plain(ip), {REPLIED: 1}, {"native": 1}, place="native",
               judge=lambda got: to_native(got["native"][0])
               + p.time_exceeded(got["native"][0][14:], GW_ACCESS[p.inner], bytes(ip)))
    limited(b, p)


def checksums(b, p):
    """The header checksum is patched, not computed: over all values that it takes when one field counts up."""
    if p.inner == 4:
        many = [p.back(ttl=ttl, tos=tos) for ttl in (3, 63, 255) for tos in range(0, 256, 4)]
        count = {"blue1": len(many), "blue1-pod": len(many)}
        b.case("the checksum of many headers", [p.plain(ip) for ip in many], {ENCAP: len(many)}, count, place="native",
               judge=lambda got: differing([inside(f) for f in got["blue1"]], [routed(ip) for ip in many]))


def differing(got, want):
    return [] if sorted(got) == sorted(want) else [f"{[g.hex() for g in got if g not in want]}"]


def limited(b, p):
    """RFC 1812 §4.3.2.8, RFC 4443 §2.4(f): errors are rate limited. 200 at once are more than a sender's share."""
    dying = [p.vxlan(p.frame(p.udp(ttl=1)))] * 200
    b.burst("200 at once are not all answered", dying, (REPLIED, "dropped ttl_expired"),
            lambda moved: [] if 10 < moved.get(REPLIED, 0) < 150 else [f"{moved}"])
    time.sleep(0.8)  # until errors may be sent again
