"""What the suites of other gateways try, against ours: `suites.py INSTANCE OUTER`. tests/PEERS.md maps case to case.

Where such a suite expects what an RFC forbids, these expect the RFC.
"""

import sys

from bench import DECAP, ENCAP, REPLIED, TRANSIT, Bench
from network import (
    BLUE,
    GREEN,
    GW_VTEP,
    IP,
    LENGTH,
    NATIVE_MAC,
    UDP,
    Ether,
    IPv6,
    Pair,
    Raw,
    delivered,
    differences,
    inside,
    payload,
    read,
    routed,
)

GROUP = {4: "239.1.1.1", 6: "ff0e::1"}
GROUP_MAC = {4: "01:00:5e:01:01:01", 6: "33:33:00:00:00:01"}


def csit(b, p):
    """FD.io CSIT: a VXLAN packet in, a VXLAN packet out."""
    ways = ((BLUE, GREEN, "blue1", "green1"), (GREEN, BLUE, "green1", "blue1"))
    for here, there, near, far in ways:
        # frames of 64 bytes and more, up to the largest that fit
        for size in (46, 128, 256, 512, 1024, p.limit):
            size = max(size, LENGTH[p.inner] + 8)
            ip = p.sized(size, src=here.pod[p.inner], dst=there.pod[p.inner])
            sent = p.vxlan(p.frame(ip, here.vtep_mac, here.gw_mac), cluster=here)
            arrives = {far: 1, **({"blue1-pod": 1} if far == "blue1" else {})}
            # all that is compared: link, addresses, ports, VNI, inner MACs, and the inner packet byte by byte
            b.case(f"csit transit, {size} bytes from {near}", sent, {TRANSIT: 1}, arrives, place=near,
                   judge=lambda got: p.wrapped(got[far][0], routed(ip), there))
    # green's pod answers, so the echo crosses both tunnels twice
    echo = p.echo(BLUE.pod[p.inner], GREEN.pod[p.inner])
    b.case("csit echo through two tunnels, both ways", p.vxlan(p.frame(echo)), {TRANSIT: 2},
           {"green1": 1, "blue1": 1, "blue1-pod": 1}, judge=lambda got: answered(p, got, echo))
    # split horizon: what comes from a peer never goes back to it
    b.drop("csit split horizon", p.vxlan(p.frame(p.udp(dst=BLUE.nobody[p.inner]))), "back_to_sender")


def answered(p, got, echo):
    there, back = got["green1"][0], got["blue1"][0]
    want = p.echo(GREEN.pod[p.inner], BLUE.pod[p.inner], reply=True)
    ends = lambda ip: {"ends": (ip.src, ip.dst), "message": bytes(ip.payload)}
    wrong = p.wrapped(there, routed(echo), GREEN) + p.wrapped(back, inside(back), BLUE)
    return wrong + differences(ends(read(inside(back))), ends(read(bytes(want))))


def vpp(b, p):
    """VPP: test_vxlan.py and test_vxlan6.py. 4789 is their default, 8472 in the place of a port of one's own."""
    for cluster, place in ((GREEN, "green1"), (BLUE, "blue1")):
        port = cluster.port
        ip = p.udp(src=cluster.pod[p.inner])
        inner = p.frame(ip, cluster.vtep_mac, cluster.gw_mac)
        whole = p.vxlan(inner, udp={"sport": port}, cluster=cluster)
        b.case(f"vpp decap from and to port {port}", whole, {DECAP: 1}, {"native": [delivered(ip)]}, place=place)
        if p.outer == 6:
            # they send it, and VPP takes it; RFC 8200 §8.1: only by agreement
            zero = p.vxlan(inner, udp={"sport": port, "chksum": 0}, cluster=cluster)
            b.drop(f"vpp decap without a checksum, port {port}", zero, "outer_udp_zero_checksum", place)
        back = p.back(dst=cluster.pod[p.inner])
        arrives = {place: 1, **({"blue1-pod": 1} if place == "blue1" else {})}
        b.case(f"vpp encap to port {port}", p.plain(back), {ENCAP: 1}, arrives, place="native",
               judge=lambda got: p.wrapped(got[place][0], routed(back), cluster))
    big(b, p)
    floods(b, p)


def big(b, p):
    """They expect two outer fragments. RFC 7348 §4.3: VTEPs must not fragment."""
    data = payload(1450)
    ip = p.back(data=data, df=True)
    b.case("vpp encap of a big packet: its sender is told", p.plain(ip), {REPLIED: 1}, {"native": 1}, place="native")
    if p.inner == 4:
        b.drop("vpp encap of a big packet: no fragments", p.plain(p.back(data=data)), "too_big", "native")


def floods(b, p):
    """There is no bridge domain here: nothing is flooded, and no group is listened to."""
    everybody, unknown = "ff:ff:ff:ff:ff:ff", "02:00:00:00:00:99"
    for name, dst in (("broadcast", everybody), ("an unknown MAC", unknown)):
        b.case(f"vpp unicast flood: {name}", p.plain(dst=dst), {"pass_other_mac": 1}, place="native")
        b.drop(f"vpp unicast flood: {name} in a tunnel", p.vxlan(p.frame(dst=dst)), "inner_destination_mac")
    to_group = Ether(src=NATIVE_MAC, dst=GROUP_MAC[p.inner]) / p.back(dst=GROUP[p.inner])
    b.case("vpp multicast flood", to_group, {"pass_other_mac": 1}, place="native")
    net = GW_VTEP[p.outer][:-1]
    sources = [f"{net}{n}" if p.outer == 4 else f"{net}{n:x}" for n in range(10, 30)]
    header = b"\x08\0\0\0" + BLUE.vni.to_bytes(3, "big") + b"\0"
    received = []
    for source in sources:
        outer = (IP if p.outer == 4 else IPv6)(src=source, dst=GROUP[p.outer])
        datagram = UDP(sport=BLUE.port, dport=BLUE.port) / Raw(header + bytes(p.frame()))
        received.append(Ether(src=BLUE.node_mac, dst=GROUP_MAC[p.outer]) / outer / datagram)
    b.case("vpp multicast receive, peers among 20 sources", received, {"pass_other_mac": 20}, place="wire")


class Suites(Bench):
    """A bench that says for which pair it speaks."""

    pair = None

    def verdict(self, name, wrong):
        super().verdict(f"{self.pair.name}: {name}", wrong)


if __name__ == "__main__":
    bench, outer = Suites(sys.argv[1]), sys.argv[2]
    for bench.pair in (Pair(f"4in{outer}"), Pair(f"6in{outer}")):
        for suite in (csit, vpp):
            suite(bench, bench.pair)
    sys.exit(1 if bench.failures else 0)
