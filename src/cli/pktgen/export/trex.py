"""TRex, stateless: @SUMMARY@

Written by `selvedge pktgen export`. To send, on a TRex server started with `./t-rex-64 -i`:

    trex-console
    trex> start -f trex.py -p 0 -d @SECONDS@
    trex> start -f trex.py -p 0 -d @SECONDS@ -t --latency    with a thousand packets a second that TRex measures

To look at the frames without TRex (Debian: python3-scapy), one in hexadecimal a line for each length:

    python3 trex.py

What this generator cannot express:
  * sequence numbers and times in the payload: every packet carries those of the first one, so losses and latency are
    what TRex counts on its ports and in its latency stream, not what `selvedge pktgen` would say
  * flows take turns: no Zipf, no seed; their addresses and ports are ranges, not those of `selvedge pktgen`
@LIMITS@
"""

import argparse

try:
    from trex_stl_lib.api import *  # noqa: F403: within TRex, with the scapy it brings along
except ImportError:
    from scapy.all import *  # noqa: F403

FAMILY = @FAMILY@  # of the (inner) IP packets
LINK = @LINK@  # destination and source MAC
TUNNEL = @TUNNEL@
SIZES = @SIZES@  # bytes of the IP packet, and its share
RANGE = @RANGE@  # or any length from here to there
SRC, DST = "@SRC@", "@DST@"  # of the first flow
PORTS = @PORTS@  # of the first flow
SOURCES, DESTINATIONS = @SOURCES@, @DESTINATIONS@  # first address as a number, how many
FLOWS = @FLOWS@
PPS = @PPS@  # None: as fast as it goes
STAMP = bytes.fromhex("@STAMP@")

ETH, UDP_LEN, VXLAN_LEN = 14, 8, 8
IP_LEN = {4: 20, 6: 40}
# offset of the last four bytes of source and destination, and of the total or payload length, in an IP header
ADDRESSES, LENGTH = {4: (12, 16), 6: (20, 36)}, {4: 2, 6: 4}


def ip(family, src, dst):
    if family == 4:
        return IP(src=src, dst=dst, id=0, flags="DF", ttl=64)
    return IPv6(src=src, dst=dst, hlim=64)


def filler(length):
    return bytes((n ^ ((n >> 8) * 37)) & 0xFF for n in range(length))


def front():
    """Bytes in front of the (inner) IP packet."""
    return ETH if not TUNNEL else ETH + IP_LEN[TUNNEL["family"]] + UDP_LEN + VXLAN_LEN + ETH


def frame(length, vtep=0):
    """A frame of the first flow of a VTEP whose (inner) IP packet has `length` bytes."""
    room = length - IP_LEN[FAMILY] - UDP_LEN - len(STAMP)
    inner = ip(FAMILY, SRC, DST) / UDP(sport=PORTS[0], dport=PORTS[1]) / Raw(STAMP + filler(room))
    if not TUNNEL:
        return Ether(dst=LINK[0], src=LINK[1]) / inner
    vxlan = b"\x08\x00\x00\x00" + TUNNEL["vnis"][0].to_bytes(3, "big") + b"\x00"
    outer = UDP(sport=TUNNEL["sport"], dport=TUNNEL["dport"])
    if TUNNEL["family"] == 4:
        outer.chksum = 0
    return (
        Ether(dst=LINK[0], src=LINK[1])
        / ip(TUNNEL["family"], TUNNEL["srcs"][vtep], TUNNEL["dst"])
        / outer
        / Raw(vxlan)
        / Ether(dst=TUNNEL["inner"][0], src=TUNNEL["inner"][1])
        / inner
    )


def divisor(number, most):
    """The largest divisor of `number` that is not above `most`: ranges of it step together."""
    return next(n for n in range(min(number, most), 0, -1) if number % n == 0)


def pairs(flows):
    """How many source and destination ports make that many flows by stepping together: above 60,000 a few more."""
    if flows <= 60000:
        return flows, 1
    destinations = next(prime for prime in (7, 11, 13, 17) if flows <= 60000 * prime)
    sources = -(-flows // (destinations * 240)) * 240  # with many divisors, for the addresses
    return (sources if sources % destinations else sources + 240), destinations


def program(flows, vtep):
    """What the field engine changes from packet to packet: `flows` flows, one after the other."""
    at, vm = front(), []

    def vary(name, offset, size, first, count, add=0):
        if count > 1:
            vm.append(STLVmFlowVar(name=name, min_value=first, max_value=first + count - 1, size=size, op="inc"))
            vm.append(STLVmWrFlowVar(fv_name=name, pkt_offset=offset, add_val=add))

    udp = at + IP_LEN[FAMILY]
    sports, dports = pairs(flows)
    vary("sport", udp, 2, PORTS[0], sports)
    vary("dport", udp + 2, 2, PORTS[1], dports)
    low = 0xFFFFFFFF
    source, destination = (at + n for n in ADDRESSES[FAMILY])
    first = (SOURCES[0] + vtep * SOURCES[2]) & low
    vary("src", source, 4, first, divisor(sports, min(SOURCES[1], low - first + 1)))
    first = DESTINATIONS[0] & low
    vary("dst", destination, 4, first, divisor(sports, min(DESTINATIONS[1], low - first + 1)))
    if TUNNEL and len(TUNNEL["vnis"]) > 1:
        vnis = [vni << 8 for vni in TUNNEL["vnis"]]
        vm.append(STLVmFlowVar(name="vni", value_list=vnis, size=4, op="inc"))
        vm.append(STLVmWrFlowVar(fv_name="vni", pkt_offset=at - ETH - 4))
    if RANGE:
        vm.append(STLVmFlowVar(name="len", min_value=at + RANGE[0], max_value=at + RANGE[1], size=2, op="random"))
        vm.append(STLVmTrimPktSize("len"))
        lengths = [(at, FAMILY)] + ([(ETH, TUNNEL["family"])] if TUNNEL else [])
        for header, family in lengths:
            whole = header if family == 4 else header + IP_LEN[6]
            vm.append(STLVmWrFlowVar(fv_name="len", pkt_offset=header + LENGTH[family], add_val=-whole))
            datagram = header + IP_LEN[family]
            vm.append(STLVmWrFlowVar(fv_name="len", pkt_offset=datagram + 4, add_val=-datagram))
    if not vm:
        return vm
    if TUNNEL and TUNNEL["family"] == 4:
        vm.append(STLVmFixIpv4(offset=ETH))
    if FAMILY == 4 and TUNNEL:
        vm.append(STLVmFixIpv4(offset=at))  # the inner UDP checksum is 0: none
    else:
        udp_type = CTRexVmInsFixHwCs.L4_TYPE_UDP
        vm.append(STLVmFixChecksumHw(l3_offset=at, l4_offset=at + IP_LEN[FAMILY], l4_type=udp_type))
    return vm


class Traffic(object):
    def streams(self, vtep, vteps, latency):
        flows = max(1, FLOWS // vteps)
        vm = program(flows, vtep)
        total = sum(share for _, share in SIZES)
        for length, share in SIZES:
            packet = frame(length, vtep)
            if vm and TUNNEL:
                # checksums that nobody mends behind the field engine: none instead of wrong ones
                packet.getlayer(UDP, 1).chksum = 0
                if FAMILY == 4:
                    packet.getlayer(UDP, 2).chksum = 0
            part = share / float(total * vteps)
            mode = STLTXCont(pps=PPS * part) if PPS else STLTXCont(percentage=100.0 * part)
            yield STLStream(packet=STLPktBuilder(pkt=packet, vm=vm), mode=mode)
        if latency and vtep == 0:
            probe = STLPktBuilder(pkt=frame(SIZES[0][0]))
            yield STLStream(packet=probe, mode=STLTXCont(pps=1000), flow_stats=STLFlowLatencyStats(pg_id=1))

    def get_streams(self, direction=0, tunables=(), **kwargs):
        parser = argparse.ArgumentParser()
        parser.add_argument("--latency", action="store_true")
        args = parser.parse_args(tunables)
        vteps = len(TUNNEL["srcs"]) if TUNNEL else 1
        return [stream for vtep in range(vteps) for stream in self.streams(vtep, vteps, args.latency)]


def register():
    return Traffic()


if __name__ == "__main__":
    for length, _ in SIZES:
        print(bytes(frame(length)).hex())
