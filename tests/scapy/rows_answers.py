"""Rows about what the gateway says itself."""

from bench import REPLIED
from network import (
    BLUE,
    ICMP,
    LENGTH,
    NATIVE,
    TCP,
    UDP,
    ICMPv6DestUnreach,
    Raw,
    fragment,
    inside,
    payload,
    to_native,
)
from rows import row


@row(17)
def no_error_about(b, p):
    """RFC 1122 §3.2.2, RFC 4443 §2.4(e). Each exception is shown with a packet whose TTL runs out, and with one that is
    too big; without it either would be answered (rows 16 and 18)."""
    unreachable = ICMP(type=3, code=1) if p.inner == 4 else ICMPv6DestUnreach(code=3)
    group = {4: ("224.0.0.1", "239.1.1.1"), 6: ("ff02::1", "ff0e::1")}[p.inner]
    unspecified = {4: "0.0.0.0", 6: "::"}[p.inner]
    big = p.limit + 16

    def refuse(name, dying, large, reasons):
        b.drop(f"{name}, TTL", [p.vxlan(p.frame(ip)) for ip in dying], reasons[0])
        b.drop(f"{name}, size", [p.plain(ip) for ip in large], reasons[1], "native")

    there, here = (BLUE.pod[p.inner], NATIVE[p.inner]), (NATIVE[p.inner], BLUE.pod[p.inner])
    error = lambda ends, quote, **f: p.header(*ends, **f) / unreachable / Raw(bytes(p.sized(1500))[:quote])
    refuse("an ICMP error", [error(there, 28, ttl=1)], [error(here, big - LENGTH[p.inner] - 8, df=True)],
           ("ttl_expired", "too_big"))
    # with the longest headers there are it is as long as the access network takes
    later = lambda ends, n, **f: fragment(p.header(*ends, **f), payload(n), 72, False)
    refuse("a non-first fragment", [later(there, 64, ttl=1)], [later(here, 1500 - 48, df=True)], ("ttl_expired", "too_big"))
    groups = [p.udp(dst=g, ttl=1) for g in group]
    large = [p.sized(big, src=NATIVE[p.inner], dst=g, df=True) for g in group]
    b.drop("a group as destination, TTL", [p.vxlan(p.frame(ip)) for ip in groups], "martian")
    kernels = {"pass_not_ours": len(large)}
    b.case("a group as destination, size", [p.plain(ip) for ip in large], kernels, place="native")
    if p.inner == 4:
        everybody = p.udp(dst="255.255.255.255", ttl=1)
        b.drop("everybody as destination, TTL", p.vxlan(p.frame(everybody)), "martian")
    nobody = [p.vxlan(p.frame(p.udp(src=unspecified, ttl=1)))]
    b.drop("an unspecified source, TTL", nobody, "inner_source")
    b.drop("an unspecified source, size", p.plain(p.sized(big, src=unspecified, dst=BLUE.pod[p.inner], df=True)),
           "martian", "native")
    # a query is no error: there is an answer
    query = p.echo(*there, ttl=1)
    b.case("an echo request is no error", p.vxlan(p.frame(query)), {REPLIED: 1}, {"blue1": 1, "blue1-pod": 1},
           judge=lambda got: p.time_exceeded(inside(got["blue1"][0]), BLUE.gw[p.inner], bytes(query)))


@row(23)
def echo(b, p):
    longest = p.limit - LENGTH[p.inner] - 8
    ours = BLUE.gw[p.inner]
    extra = dict(id=0, flags=2) if p.inner == 4 else {}

    def reply(ip, to, n, seq):
        want = p.echo(ours, to, n, seq, reply=True, ttl=64)
        for key, value in extra.items():
            setattr(want, key, value)
        return bytes(want)

    for n in (0, 1, 56, 57, longest):
        pod = BLUE.pod[p.inner]
        ask = p.echo(pod, ours, n, n)
        b.case(f"{n} bytes from a pod", p.vxlan(p.frame(ask)), {REPLIED: 1}, {"blue1": 1, "blue1-pod": 1},
               judge=lambda got: p.wrapped(got["blue1"][0], reply(ask, pod, n, n)))
        host = NATIVE[p.inner]
        ask = p.echo(host, ours, n, n)
        b.case(f"{n} bytes from the native host", p.plain(ask), {REPLIED: 1}, {"native": 1}, place="native",
               judge=lambda got: to_native(got["native"][0])
               + ([] if got["native"][0][14:] == reply(ask, host, n, n) else [got["native"][0].hex()]))
    others = [p.header(BLUE.pod[p.inner], ours) / other for other in (UDP(dport=53) / payload(), TCP(dport=22))]
    b.drop("nothing else is answered", [p.vxlan(p.frame(ip)) for ip in others], "not_for_us")
