"""Rows about what is no ordinary packet: ARP and neighbour discovery, and what other protocols put where VXLAN is."""

from scapy.all import (
    ARP,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
)

from bench import DECAP, ENCAP, REPLIED, TRANSIT
from network import BLUE, GREEN, Dot1Q, Ether, IPv6, Raw, delivered, inside, routed
from rows import row

EVERYBODY = "ff:ff:ff:ff:ff:ff"


@row(20)
def neighbours(b, p):
    (arp if p.inner == 4 else discovery)(b, p)


def arp(b, p):
    node, ours, pod = BLUE.vtep_mac, BLUE.gw[4], BLUE.pod[4]

    def ask(to=EVERYBODY, src=node, udp=None, **fields):
        fields = {"op": 1, "hwsrc": node, "psrc": pod, "hwdst": "00:00:00:00:00:00", "pdst": ours, **fields}
        return p.vxlan(Ether(src=src, dst=to) / ARP(**fields), udp=udp)

    def told(asker):
        reply = ARP(op=2, hwsrc=BLUE.gw_mac, psrc=ours, hwdst=node, pdst=asker)
        return bytes(Ether(src=BLUE.gw_mac, dst=node) / reply)

    def answered(name, frame, asker=pod):
        b.case(name, frame, {REPLIED: 1}, {"blue1": 1}, judge=lambda got: p.carried(got["blue1"][0], told(asker)))

    answered("ARP for our address", ask())
    answered("ARP to our MAC alone", ask(to=BLUE.gw_mac))
    answered("an ARP probe", ask(psrc="0.0.0.0"), "0.0.0.0")
    tagged = Ether(src=node, dst=EVERYBODY) / Dot1Q(vlan=0, prio=7) / ARP(hwsrc=node, psrc=pod, pdst=ours)
    answered("ARP behind a priority tag", p.vxlan(tagged))
    others = [ask(pdst=pdst) for pdst in (BLUE.pod2[4], BLUE.nobody[4], "10.9.0.1", "192.0.2.1")]
    b.drop("ARP for other addresses", others, "neighbour")
    b.drop("gratuitous ARP", [ask(psrc=pod, pdst=pod), ask(op=2, psrc=pod, pdst=pod)], "neighbour")
    b.drop("an ARP reply", ask(to=BLUE.gw_mac, op=2, hwdst=BLUE.gw_mac), "neighbour")
    odd = [ask(hwtype=6), ask(ptype=0x86DD), ask(op=3), ask(op=8)]
    b.drop("ARP of another kind", odd, "neighbour")
    cut = [bytes(Ether(src=node, dst=EVERYBODY) / ARP(hwsrc=node, psrc=pod, pdst=ours))[:n] for n in range(14, 42)]
    b.drop("ARP cut short", [p.vxlan(Raw(frame)) for frame in cut], "neighbour")
    b.drop("ARP to another MAC", ask(to="02:00:00:00:00:99"), "inner_destination_mac")
    b.drop("ARP from a group", ask(src="01:00:5e:00:00:01"), "inner_source_mac")
    b.drop("ARP with a wrong outer checksum", ask(udp={"chksum": 0x4242}), "outer_udp_checksum")


def group(address):
    """The solicited-node address (RFC 4291 §2.7.1) and its MAC address (RFC 2464 §7)."""
    low = address.rsplit(":", 1)[1].rjust(4, "0")
    return f"ff02::1:ff00:{low}", f"33:33:ff:00:{low[:2]}:{low[2:]}"


def discovery(b, p):
    node, ours, pod = BLUE.vtep_mac, BLUE.gw[6], BLUE.pod[6]
    all_nodes = ("ff02::1", "33:33:00:00:00:01")

    def say(message, src=pod, to=group(ours), hlim=255, udp=None):
        dst, link = to
        return p.vxlan(Ether(src=node, dst=link) / IPv6(src=src, dst=dst, hlim=hlim) / message, udp=udp)

    def ask(target=ours, option=True, chksum=None, **fields):
        message = ICMPv6ND_NS(tgt=target, **({} if chksum is None else {"cksum": chksum}))
        return say(message / ICMPv6NDOptSrcLLAddr(lladdr=node) if option else message, **fields)

    def answered(name, frame, to=pod, link=node, solicited=1):
        advertisement = ICMPv6ND_NA(R=0, S=solicited, O=1, tgt=ours) / ICMPv6NDOptDstLLAddr(lladdr=BLUE.gw_mac)
        told = bytes(Ether(src=BLUE.gw_mac, dst=link) / IPv6(src=ours, dst=to, hlim=255) / advertisement)
        b.case(name, frame, {REPLIED: 1}, {"blue1": 1}, judge=lambda got: p.carried(got["blue1"][0], told))

    answered("a solicitation for our address", ask())
    answered("one to our address alone", ask(to=(ours, BLUE.gw_mac)))
    answered("one from a link-local address", ask(src="fe80::9"), "fe80::9")
    tagged = Ether(src=node, dst=group(ours)[1]) / Dot1Q(vlan=0, prio=7) / IPv6(src=pod, dst=group(ours)[0], hlim=255)
    answered("one behind a priority tag", p.vxlan(tagged / ICMPv6ND_NS(tgt=ours)))
    answered("one of duplicate address detection", ask(src="::", option=False), *all_nodes, solicited=0)
    others = [ask(target=target, to=group(target)) for target in (BLUE.pod2[6], BLUE.nobody[6], "fd00:9::1")]
    b.drop("solicitations for other addresses", others, "neighbour")
    b.drop("one that a router has forwarded", [ask(hlim=n) for n in (0, 64, 254)], "neighbour")
    b.drop("one with a wrong checksum", ask(chksum=0x4242), "neighbour")
    b.drop("one without an address, but with an option", ask(src="::"), "neighbour")
    b.drop("one for a group", ask(target="ff02::1"), "neighbour")
    advertisement = ICMPv6ND_NA(R=0, S=0, O=1, tgt=pod) / ICMPv6NDOptDstLLAddr(lladdr=node)
    b.drop("an advertisement", say(advertisement, to=all_nodes), "neighbour")
    router = ICMPv6ND_RA() / ICMPv6NDOptSrcLLAddr(lladdr=node)
    b.drop("a router advertisement", say(router, src="fe80::9", to=all_nodes), "neighbour")
    b.drop("a router solicitation", say(ICMPv6ND_RS(), src="fe80::9", to=("ff02::2", "33:33:00:00:00:02")), "neighbour")
    redirect = ICMPv6ND_Redirect(tgt="fe80::66", dst="fd00:9::2")
    b.drop("a redirect", say(redirect, src="fe80::9", to=(ours, BLUE.gw_mac)), "neighbour")
    b.drop("one with a wrong outer checksum", ask(udp={"chksum": 0x4242}), "outer_udp_checksum")


@row(21, "usual", "altered")
def other_protocols(b, p):
    """Usual: none of them. Altered: group policies (draft-smith-vxlan-group-policy) in both overlays."""
    vni = BLUE.vni.to_bytes(3, "big") + b"\0"
    policies = (b"\x88\0\x00\x07", b"\x88\x48\x12\x34", b"\x88\x08\x80\x00")
    if b.setting == "altered":
        carried(b, p, policies, vni)
    else:
        b.drop("group policy", [p.vxlan(header=head + vni) for head in policies], "vxlan_extension")
    # draft-ietf-nvo3-vxlan-gpe §3.1: P, and the next protocol in the fourth octet; 1 and 2 are bare IP packets
    bare = lambda kind: p.vxlan(Raw(bytes(p.udp())), header=b"\x0c\0\0" + bytes([kind]) + vni)
    b.drop("GPE", [bare(1), bare(2), p.vxlan(header=b"\x0c\0\0\x03" + vni)], "vxlan_extension")
    # RFC 8926 §3.4: length of the options in words, then the protocol; with eight of them the I flag seems to be set
    geneve = lambda words: p.vxlan(Raw(bytes(4 * words) + bytes(p.frame())), header=bytes([words, 0, 0x65, 0x58]) + vni)
    b.drop("Geneve without options", [geneve(n) for n in (0, 1, 7)], "vxlan_flags")
    b.drop("Geneve with options", [geneve(n) for n in (8, 12, 63)], "vxlan_extension")
    # row 2: one flag alone says nothing
    alone = [p.vxlan(header=bytes([flags, 0, 0, 0]) + vni) for flags in (0x88, 0x0C)]
    b.case("a flag alone is ignored", alone, {DECAP: 2}, {"native": [delivered(p.udp())] * 2})


def carried(b, p, policies, vni):
    for head in policies:
        taken = p.vxlan(header=head + vni)
        b.case(f"policy {head.hex()} is taken", taken, {DECAP: 1}, {"native": [delivered(p.udp())]})
        carried_on(b, p, head, head, vni)
    carried_on(b, p, b"\x88\xff\x00\x07", b"\x88\x48\x00\x07", vni)  # its reserved bits are 0 when sent
    echo = p.echo(BLUE.pod[p.inner], BLUE.gw[p.inner])
    b.case("an answer has no policy", p.vxlan(p.frame(echo), header=policies[0] + vni), {REPLIED: 1}, b.to_pod(),
           judge=lambda got: p.wrapped(got["blue1"][0], inside(got["blue1"][0]), zero=b.zero(p)))
    b.case("what comes from outside has none", p.plain(), {ENCAP: 1}, b.to_pod(), place="native",
           judge=lambda got: p.wrapped(got["blue1"][0], routed(p.back()), zero=b.zero(p)))


def carried_on(b, p, head, want, vni):
    across = p.udp(dst=GREEN.pod[p.inner])
    b.case(f"policy {head.hex()} is carried on", p.vxlan(p.frame(across), header=head + vni), {TRANSIT: 1}, {"green1": 1},
           judge=lambda got: p.wrapped(got["green1"][0], routed(across), GREEN, head=want, zero=b.zero(p), tos=b.tos(GREEN)))
