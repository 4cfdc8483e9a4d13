//! ARP (RFC 826) and neighbour discovery (RFC 4861): who asks for one of the gateway's own addresses inside an overlay is
//! told its VTEP MAC there; and who asks on an access port that stands in for the pods is told the port's.
//!
//! Nothing is learnt from what others say: nodes and next hops are the control plane's business.

use core::net::IpAddr;

use zerocopy::{FromBytes, IntoBytes};

use super::forward::{Payload, push_ethernet, push_outer, put};
use super::parse::{Ip, Outer, is_forwardable};
use super::{Path, Verdict, parse, partial};
use crate::drops::DropReason;
use crate::tables::{Action, Domain, OverlayId, PortId};
use crate::wire::arp::{self, Arp};
use crate::wire::ipv4::protocol;
use crate::wire::nd::{self, Advertisement, Solicitation};
use crate::wire::{Ethernet, Ipv6, Mac, Packet, eth, ipv6};

/// The type of an ICMPv6 message.
fn message(ip: &Ip, packet: &[u8]) -> Option<u8> {
    let is_one = ip.protocol == protocol::ICMPV6 && ip.dst.is_ipv6() && !ip.later;
    packet.get(ip.payload())?.first().copied().filter(|_| is_one)
}

/// Who asks, and for what.
struct Asked {
    target: IpAddr,
    /// The asker's own address; unspecified if it has none yet.
    from: IpAddr,
    what: Question,
}

enum Question {
    Arp(Arp),
    Nd(Solicitation),
}

impl Asked {
    /// What a frame with this link header and payload asks.
    fn read(link: &Ethernet, payload: &[u8]) -> Option<Self> {
        if link.ethertype.get() == eth::ARP {
            let arp = *Arp::request(payload)?;
            let (target, from) = (arp.target_address().into(), arp.sender_address().into());
            return Some(Self { target, from, what: Question::Arp(arp) });
        }
        let ip = Ipv6::parse(payload).ok()?;
        let message = payload.get(ipv6::LEN..ip.packet_len())?;
        let asked = Solicitation::read(ip, message).filter(|_| ip.next_header == protocol::ICMPV6)?;
        Some(Self { target: asked.target.into(), from: asked.from.into(), what: Question::Nd(asked) })
    }

    /// Puts the answer, that the target is at `mac`, in place of the packet.
    fn answer(&self, mac: Mac, overriding: bool, to: Mac, pkt: &mut Packet<'_>) -> Result<Payload, DropReason> {
        pkt.truncate(0);
        match &self.what {
            Question::Arp(request) => {
                put::<{ arp::LEN }>(request.reply(mac).as_bytes(), pkt)?;
                Ok(Payload::link_layer(eth::ARP, to))
            }
            Question::Nd(asked) => {
                let (ip, message): (Ipv6, Advertisement) = nd::advertise(asked, mac, overriding);
                put::<{ nd::LEN }>(message.as_bytes(), pkt)?;
                put::<{ ipv6::LEN }>(ip.as_bytes(), pkt)?;
                // RFC 2464 §7: a group has its own address on the link
                let to = if ip.destination().is_multicast() { Mac::of_group(ip.destination()) } else { to };
                Ok(Payload::link_layer(eth::IPV6, to))
            }
        }
    }
}

impl Path<'_> {
    /// Is the packet neighbour discovery for this link? Messages that somebody sends across routers are forwarded like any
    /// other.
    pub(super) fn is_discovery(&self, ip: &Ip, packet: &[u8]) -> bool {
        message(ip, packet).is_some_and(nd::is_discovery)
            && (!is_forwardable(ip.dst) || self.tables.lookup(Domain(0), ip.dst) == Some(Action::Local))
    }

    /// Does a neighbour on a port that stands in for pods ask one of them, by its own address, whether it is still there
    /// (RFC 4861 §7.3.1)? The pod would not take such a question from beyond its link.
    pub(super) fn is_probe(&self, port: PortId, ip: &Ip, packet: &[u8]) -> bool {
        ip.ttl == nd::HOP_LIMIT
            && message(ip, packet) == Some(nd::SOLICITATION)
            && self.tables.port(port).is_some_and(|port| port.proxy)
    }

    /// A frame inside an overlay that is ARP or neighbour discovery.
    #[cold]
    pub(super) fn asked_inside(
        &mut self,
        id: OverlayId,
        outer: &Outer,
        pkt: &mut Packet<'_>,
    ) -> Result<Verdict, DropReason> {
        let peer = self.peer(id, outer)?;
        let overlay = self.tables.overlay(id).ok_or(DropReason::UnknownVni)?;
        let frame = pkt.bytes().get(outer.inner.clone()).unwrap_or_default();
        let (link, payload) = parse::link(frame, overlay.inner_vlan)?;
        let asker = link.src;
        if !asker.is_station() || asker == overlay.mac {
            return Err(DropReason::InnerSourceMac);
        }
        if link.dst != overlay.mac && !link.dst.is_multicast() {
            return Err(DropReason::InnerDestinationMac);
        }
        self.is_checked(peer, outer)?;
        partial::verify_whole(outer, pkt.bytes())?;
        let asked = Asked::read(&link, payload).ok_or(DropReason::Neighbour)?;
        if !overlay.addresses.contains(asked.target) {
            return Err(DropReason::Neighbour);
        }
        let (mac, tables) = (overlay.mac, self.tables);
        let payload = asked.answer(mac, true, asker, pkt)?;
        let peer = tables.peer(peer).ok_or(DropReason::NoNeighbour)?;
        push_outer(peer, payload, pkt).map(Verdict::Reply)
    }

    /// A plain frame that is ARP or neighbour discovery: answered for pods, where the port stands in for them. Not for who
    /// finds out whether its own address is free, or says that it has it: that may be the pod.
    #[cold]
    pub(super) fn asked_outside(&mut self, port: PortId, pkt: &mut Packet<'_>) -> Result<Verdict, DropReason> {
        let own = self.tables.port(port).filter(|port| port.proxy).ok_or(DropReason::NotIp)?;
        let (link, payload) = Ethernet::ref_from_prefix(pkt.bytes()).map_err(|_| DropReason::ShortFrame)?;
        let asker = link.src;
        if !asker.is_station() {
            return Err(DropReason::SourceMac);
        }
        let asked = Asked::read(link, payload).ok_or(DropReason::Neighbour)?;
        let advice = self.tables.lookup(Domain(0), asked.target).into();
        let behind_us = self.tables.ways(&advice).iter().any(|way| way.peer().is_some());
        if !behind_us || asked.from.is_unspecified() || asked.from == asked.target || !is_forwardable(asked.target) {
            return Err(DropReason::Neighbour);
        }
        let payload = asked.answer(own.mac, false, asker, pkt)?;
        push_ethernet(&payload.link(Ethernet::ipv4(asker, own.mac)), pkt)?;
        Ok(Verdict::Reply(port))
    }
}
