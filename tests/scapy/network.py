"""The network of `two_clusters`, packets to be sent through it, and what must become of them.

A `Pair` makes and judges packets of one inner and one outer IP version: `Pair("6in4")` are IPv6 packets in VXLAN over
IPv4. Everything here is built and taken apart by scapy, or by hand from the RFCs; nothing is the gateway's own.
"""

import logging
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)
try:
    from scapy.all import (  # noqa: F401
        ARP,
        ICMP,
        IP,
        TCP,
        UDP,
        Dot1Q,
        Ether,
        ICMPv6DestUnreach,
        ICMPv6EchoReply,
        ICMPv6EchoRequest,
        IPOption_NOP,
        IPv6,
        IPv6ExtHdrDestOpt,
        IPv6ExtHdrFragment,
        IPv6ExtHdrHopByHop,
        IPv6ExtHdrRouting,
        Raw,
    )
except ImportError:
    sys.exit("no scapy: install the Debian package python3-scapy")

GW_UL, GW_AC = "02:00:00:00:00:01", "02:00:00:00:00:02"
GW_VTEP = {4: "192.0.2.1", 6: "2001:db8::1"}
GW_ACCESS = {4: "10.9.0.1", 6: "fd00:9::1"}
NATIVE_MAC = "02:00:00:09:00:02"
NATIVE = {4: "10.9.0.2", 6: "fd00:9::2"}
STRANGER = {4: "192.0.2.99", 6: "2001:db8::99"}
PORT = 5555  # bound wherever packets arrive, so that no kernel complains about them

PLAIN = b"\x08\0\0\0"  # the first word of a VXLAN header, by RFC 7348
ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}
LENGTH = {4: 20, 6: 40}  # of an IP header
DF = 2
ICMPV6 = 58


class Cluster:
    """What the first two nodes of a cluster, and the gateway in its overlay, are called."""

    def __init__(self, vni, port, octet, underlay):
        self.vni, self.port, self.octet = vni, port, octet
        self.gw_mac = f"02:53:45:4c:00:{vni:02x}"
        self.gw = {4: f"10.{octet}.255.1", 6: f"fd00:{octet}:ffff::1"}
        self.pod = {4: f"10.{octet}.1.2", 6: f"fd00:{octet}:1::2"}
        self.pod2 = {4: f"10.{octet}.2.2", 6: f"fd00:{octet}:2::2"}
        self.nobody = {4: f"10.{octet}.1.9", 6: f"fd00:{octet}:1::9"}  # behind the first node, too
        self.node = {4: f"192.0.2.{underlay}", 6: f"2001:db8::{underlay:x}"}
        self.node_mac = f"02:00:00:01:{octet:02x}:01"
        self.vtep_mac = f"02:00:00:02:{octet:02x}:01"


BLUE, GREEN = Cluster(1, 8472, 244, 11), Cluster(7, 4789, 245, 21)


def payload(n=64):
    """Bytes that are no pattern of anything."""
    return bytes((i * 37 + 11) & 0xFF for i in range(n))


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def checksum(data):
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def pseudo(packet, protocol, length):
    """The pseudo-header of an IP packet's payload (RFC 768, RFC 8200 §8.1)."""
    if packet[0] >> 4 == 4:
        return packet[12:20] + bytes([0, protocol]) + length.to_bytes(2, "big")
    return packet[8:40] + length.to_bytes(4, "big") + bytes([0, 0, 0, protocol])


def read(packet):
    """The IP packet in these bytes."""
    return (IP if packet[0] >> 4 == 4 else IPv6)(packet)


def family(ip):
    return 4 if bytes(ip)[0] >> 4 == 4 else 6


def routed(ip, tos=None):
    """The bytes of an IP packet after one hop, with another TOS or traffic class if one is given."""
    hop = read(bytes(ip))
    if hop.version == 4:
        hop.ttl -= 1
        hop.tos = hop.tos if tos is None else tos
        del hop.chksum
    else:
        hop.hlim -= 1
        hop.tc = hop.tc if tos is None else tos
    return bytes(hop)


def fragment(head, data, at, more):
    """A fragment of a UDP datagram behind this IP header: the bytes `data`, which begin at `at` of it."""
    head = head.copy()
    if head.version == 4:
        head.flags, head.frag, head.proto = int(more), at // 8, 17
        return head / Raw(data)
    return head / IPv6ExtHdrFragment(nh=17, offset=at // 8, m=int(more), id=9) / Raw(data)


def differences(got, want):
    return [f"{k}: {got[k]!r}, not {want[k]!r}" for k in want if got[k] != want[k]]


def delivered(ip, tos=None):
    """The frame in which the native host gets the packet."""
    return mac(NATIVE_MAC) + mac(GW_AC) + ETHERTYPE[family(ip)] + routed(ip, tos)


def inside(frame):
    """The inner IP packet of a VXLAN frame."""
    return frame[14 + LENGTH[frame[14] >> 4] + 8 + 8 + 14 :]


def source_port(frame):
    return int.from_bytes(frame[14 + LENGTH[frame[14] >> 4] :][:2], "big")


def flow_label(frame):
    """The outer flow label of a VXLAN frame over IPv6."""
    return int.from_bytes(frame[14:18], "big") & 0xFFFFF


def udp_checksum(frame):
    """The checksum of the outer UDP header, and whether it is right."""
    packet = frame[14:]
    datagram = packet[LENGTH[packet[0] >> 4] :]
    field = int.from_bytes(datagram[6:8], "big")
    return field, checksum(pseudo(packet, 17, len(datagram)) + datagram) == 0


class Pair:
    """Packets of one inner and one outer IP version."""

    def __init__(self, name):
        self.name, self.inner, self.outer = name, int(name[0]), int(name[-1])

    @property
    def limit(self):
        """The largest inner packet that fits an underlay of 1500 bytes."""
        return 1500 - (50 if self.outer == 4 else 70)

    def header(self, src, dst, ttl=63, tos=0, df=False, protocol=None, **fields):
        """An inner IP header."""
        if self.inner == 4:
            fields.update({} if protocol is None else {"proto": protocol})
            return IP(src=src, dst=dst, ttl=ttl, tos=tos, id=7, flags=DF if df else 0, **fields)
        fields.update({} if protocol is None else {"nh": protocol})
        return IPv6(src=src, dst=dst, hlim=ttl, tc=tos, **fields)

    def udp(self, dst=None, src=None, data=None, sport=4444, **fields):
        """A UDP packet of blue's pod to the native host, unless told otherwise."""
        src, dst = src or BLUE.pod[self.inner], dst or NATIVE[self.inner]
        return self.header(src, dst, **fields) / UDP(sport=sport, dport=PORT) / Raw(payload() if data is None else data)

    def sized(self, size, **fields):
        """The same, that many bytes long."""
        return self.udp(data=payload(size - LENGTH[self.inner] - 8), **fields)

    def back(self, size=None, **fields):
        """A packet of the native host to blue's pod."""
        fields = {"src": NATIVE[self.inner], "dst": BLUE.pod[self.inner], **fields}
        return self.udp(**fields) if size is None else self.sized(size, **fields)

    def pieces(self, src, dst, ttl=63):
        """A datagram of 1448 bytes in two fragments (RFC 791, RFC 8200 §4.5)."""
        head = self.header(src, dst, ttl=ttl)
        datagram = bytes(head / UDP(sport=4444, dport=PORT) / Raw(payload(1440)))[LENGTH[self.inner] :]
        return [fragment(head, datagram[:1200], 0, True), fragment(head, datagram[1200:], 1200, False)]

    def deep_pieces(self, src, dst):
        """The same over IPv6 with destination options behind the fragment header: later fragments do not show that UDP
        follows them."""
        head = self.header(src, dst)
        options = bytes(IPv6ExtHdrDestOpt(nh=17))
        datagram = bytes(head / UDP(sport=4444, dport=PORT) / Raw(payload(1440)))[LENGTH[6] :]
        piece = lambda at, end, more: head.copy() / IPv6ExtHdrFragment(nh=60, offset=at // 8, m=more, id=11) / Raw(
            (options + datagram)[at:end])
        return [piece(0, 1200, 1), piece(1200, None, 0)]

    def echo(self, src, dst, n=56, seq=1, reply=False, **fields):
        if self.inner == 4:
            message = ICMP(type=0 if reply else 8, id=77, seq=seq)
        else:
            message = (ICMPv6EchoReply if reply else ICMPv6EchoRequest)(id=77, seq=seq)
        return self.header(src, dst, **fields) / message / Raw(payload(n))

    def plain(self, ip=None, src=NATIVE_MAC, dst=GW_AC):
        """A plain frame of the native host to the gateway."""
        return Ether(src=src, dst=dst) / (self.back() if ip is None else ip)

    def frame(self, ip=None, src=BLUE.vtep_mac, dst=BLUE.gw_mac):
        """An inner frame of blue's node."""
        return Ether(src=src, dst=dst) / (self.udp() if ip is None else ip)

    def vxlan(self, frame=None, header=None, vni=None, udp=None, tos=0, src=None, outer=None, cluster=BLUE):
        """A VXLAN packet of blue's node to the gateway. Its UDP checksum is 0 over IPv4 and right over IPv6 unless `udp`
        says otherwise. `header` gives the eight bytes of the VXLAN header; `outer` goes to the outer IP header."""
        vni = cluster.vni if vni is None else vni
        header = PLAIN + vni.to_bytes(3, "big") + b"\0" if header is None else header
        fields = dict(sport=50000, dport=cluster.port, chksum=0 if self.outer == 4 else None)
        fields.update(udp or {})
        if fields["chksum"] is None:
            del fields["chksum"]
        inner = bytes(self.frame() if frame is None else frame)
        ip = self.outer_header(cluster, tos, src=src or cluster.node[self.outer], **(outer or {}))
        return Ether(src=cluster.node_mac, dst=GW_UL) / ip / UDP(**fields) / Raw(header + inner)

    def outer_header(self, cluster=BLUE, tos=0, **fields):
        ends = {"src": cluster.node[self.outer], "dst": GW_VTEP[self.outer], **fields}
        return IP(id=1, tos=tos, **ends) if self.outer == 4 else IPv6(tc=tos, **ends)

    def carrying(self, data, **udp):
        """A UDP packet of blue's node to the gateway that carries just these bytes."""
        fields = {"sport": 50000, "dport": BLUE.port, **({"chksum": 0} if self.outer == 4 else {}), **udp}
        return Ether(src=BLUE.node_mac, dst=GW_UL) / self.outer_header() / UDP(**fields) / Raw(data)

    def outer_fragment(self, data, at, more):
        """A fragment of a datagram of blue's node to the gateway."""
        return Ether(src=BLUE.node_mac, dst=GW_UL) / fragment(self.outer_header(), data, at, more)

    def wrapped(self, frame, ip, cluster=BLUE, tos=0, zero=None, head=PLAIN):
        """What is wrong with a frame that must carry exactly the IP packet `ip` (bytes) from the gateway to the first
        node of a cluster."""
        link = mac(cluster.vtep_mac) + mac(cluster.gw_mac) + ETHERTYPE[ip[0] >> 4]
        return self.carried(frame, link + ip, cluster, tos, zero, head)

    def carried(self, frame, inner, cluster=BLUE, tos=0, zero=None, head=PLAIN):
        """The same for an inner frame (bytes). `zero`: the outer UDP checksum is 0; if nothing is said, over IPv4 it is,
        over IPv6 not. `head`: the first word of the VXLAN header."""
        length, packet = LENGTH[self.outer], frame[14:]
        datagram = packet[length:]
        field, right = udp_checksum(frame)
        zero = self.outer == 4 if zero is None else zero
        want = dict(
            link=mac(cluster.node_mac) + mac(GW_UL) + ETHERTYPE[self.outer],
            addresses=(GW_VTEP[self.outer], cluster.node[self.outer]),
            length=14 + length + 16 + len(inner),
            udp=(cluster.port, 8 + 8 + len(inner)),
            udp_sum="zero" if zero else "right",
            vxlan=head + cluster.vni.to_bytes(3, "big") + b"\0",
            inner=inner,
        )
        outer = read(packet)
        got = dict(
            link=frame[:14],
            addresses=(outer.src, outer.dst),
            length=len(frame),
            udp=(int.from_bytes(datagram[2:4], "big"), int.from_bytes(datagram[4:6], "big")),
            udp_sum="zero" if field == 0 else "right" if right else f"wrong ({field:#06x})",
            vxlan=datagram[8:16],
            inner=datagram[16:],
        )
        if self.outer == 4:  # no options, not to be fragmented, no identification
            want["head"] = (4, 5, tos, len(frame) - 14, 0, DF, 0, 64, 17, 0)
            got["head"] = (outer.version, outer.ihl, outer.tos, outer.len, outer.id, int(outer.flags), outer.frag)
            got["head"] += (outer.ttl, outer.proto, checksum(packet[:20]))
        else:
            want["head"] = (6, tos, len(frame) - 54, 17, 64)
            got["head"] = (outer.version, outer.tc, outer.plen, outer.nh, outer.hlim)
        wrong = differences(got, want)
        if not 49152 <= source_port(frame):
            wrong.append(f"source port {source_port(frame)}")
        return wrong

    def icmp_error(self, packet, src, kind, code, rest, original):
        """What is wrong with an ICMP error (bytes of an IP packet) about `original` (bytes as the gateway got them);
        `rest` is its second word. RFC 1812 §4.3.2.3: an IPv4 one quotes as much as fits 576 bytes; RFC 4443 §2.4(c): an
        IPv6 one as much as fits 1280."""
        length, ip = LENGTH[self.inner], read(packet)
        quote = original[: (576 if self.inner == 4 else 1280) - length - 8]
        message = packet[length:]
        sender = read(original).src
        want = dict(
            addresses=(src, sender),
            protocol=1 if self.inner == 4 else ICMPV6,
            size=(len(quote) + 8, len(quote) + 8 + length),
            ip_sum=0,
            icmp_sum=0,
            head=(kind, code),
            rest=rest,
            quote=quote,
        )
        got = dict(
            addresses=(ip.src, ip.dst),
            protocol=ip.proto if self.inner == 4 else ip.nh,
            size=(len(message), ip.len if self.inner == 4 else ip.plen + length),
            ip_sum=checksum(packet[:20]) if self.inner == 4 else 0,
            icmp_sum=checksum(message if self.inner == 4 else pseudo(packet, ICMPV6, len(message)) + message),
            head=(message[0], message[1]),
            rest=int.from_bytes(message[4:8], "big"),
            quote=message[8:],
        )
        return differences(got, want)

    def time_exceeded(self, packet, src, original):
        return self.icmp_error(packet, src, *((11, 0) if self.inner == 4 else (3, 0)), 0, original)

    def too_big(self, packet, src, limit, original):
        """ICMP Fragmentation Needed (RFC 1191 §4), or ICMPv6 Packet Too Big (RFC 4443 §3.2)."""
        return self.icmp_error(packet, src, *((3, 4) if self.inner == 4 else (2, 0)), limit, original)


def to_native(frame):
    """What is wrong with the Ethernet header of an answer to the native host."""
    return differences({"macs": frame[:12]}, {"macs": mac(NATIVE_MAC) + mac(GW_AC)})
