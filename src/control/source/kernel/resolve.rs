//! From a route to the VTEPs behind it. Everything looked at on the way is noted: when that changes, it is resolved again.

use core::net::IpAddr;
use std::collections::BTreeSet;

use super::fact::{At, Hop, Nexthop, Remote, Way};
use super::mirror::{Lane, Tables};
use crate::control::source::{Claim, Fault, Object, Refusal};
use crate::wire::{Mac, Prefix};

/// What has an answer of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Subject {
    /// The route to a prefix.
    Route(Prefix),
    /// A host that is a neighbour itself.
    Host(At),
}

/// Something that an answer depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Fate {
    /// Whether there are routes to a prefix.
    Routes(Prefix),
    /// The prefixes whose hosts are neighbours on an interface.
    OnLink(u32),
    /// A neighbour.
    Neighbour(At),
    /// Where the device sends frames for a MAC address.
    Forward(Mac),
    /// Where it sends those for all others.
    Flood,
    /// Whether the bridge has a MAC address behind the device in a VLAN.
    Bridged(Mac, u16),
    /// A next-hop object.
    Nexthop(u32),
}

/// An answer: what there is to tell, if anything, and what that depends on.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Answer {
    pub(super) object: Option<Object>,
    pub(super) fates: BTreeSet<Fate>,
}

/// The answer for a subject.
pub(super) fn resolve(tables: &Tables, subject: Subject) -> Answer {
    let mut look = Look { tables, fates: BTreeSet::new() };
    let (key, said) = match subject {
        Subject::Route(prefix) => (format!("{prefix} dev {}", tables.device()), look.route(prefix)),
        // as `ip neigh` shows it: the same address may be a neighbour in several places
        Subject::Host(at) => (format!("{} dev {}", at.addr, tables.name(at.ifindex)), look.host(at)),
    };
    let object = said.map(|Said { claims, faults, .. }| Object {
        key: key.into(),
        claims: claims.into_iter().collect(),
        faults,
    });
    Answer { object, fates: look.fates }
}

/// One look at the tables.
struct Look<'a> {
    tables: &'a Tables,
    fates: BTreeSet<Fate>,
}

/// What comes out of it.
struct Said {
    prefix: Prefix,
    claims: BTreeSet<Claim>,
    faults: Vec<Fault>,
}

impl<'a> Look<'a> {
    /// Nothing if the route does not concern the device.
    fn route(&mut self, prefix: Prefix) -> Option<Said> {
        let hops = match &self.tables.routes.get(&prefix)?.best()?.way {
            Way::Hops(hops) => hops.clone(),
            Way::Nexthop(id) => self.hops(*id),
        };
        let lanes = &self.tables.lanes;
        if !hops.iter().any(|hop| hop.gateway.is_some() && lanes.contains_key(&hop.ifindex)) {
            return None;
        }
        let mut said = Said { prefix, claims: BTreeSet::new(), faults: Vec::new() };
        for hop in hops {
            match self.hop(hop) {
                Ok((mac, vteps)) => said.take(mac, vteps),
                Err(fault) => said.faults.push(fault),
            }
        }
        Some(said)
    }

    /// A host within a prefix whose hosts are neighbours, if it is behind a VTEP. Link-local addresses mean nothing
    /// elsewhere, and a route to the host alone says more.
    fn host(&mut self, at: At) -> Option<Said> {
        let (tables, prefix) = (self.tables, Prefix::host(at.addr));
        let mac = *tables.neighbours.get(&at)?;
        let lane = *tables.lanes.get(&at.ifindex)?;
        if is_link_local(at.addr) {
            return None;
        }
        self.fates.extend([Fate::OnLink(at.ifindex), Fate::Routes(prefix)]);
        if tables.routes.contains_key(&prefix) || !tables.is_on_link(at) {
            return None;
        }
        self.fates.insert(Fate::Forward(mac));
        let remote = *tables.forwards.get(&mac)?;
        self.bridged(lane, mac).ok()?;
        let mut said = Said { prefix, claims: BTreeSet::new(), faults: Vec::new() };
        match self.vteps(mac, remote) {
            Ok(vteps) => said.take(mac, vteps),
            Err(fault) => said.faults.push(fault),
        }
        Some(said)
    }

    /// The hops of a next-hop object. A group's members are no groups (nexthop.c: valid_group_nh).
    fn hops(&mut self, id: u32) -> Vec<Hop> {
        match self.nexthop(id) {
            Some(Nexthop::Hop(hop)) => vec![*hop],
            Some(Nexthop::Group(members)) => {
                let members = members.iter().filter_map(|member| match self.nexthop(*member)? {
                    Nexthop::Hop(hop) => Some(*hop),
                    _ => None,
                });
                members.collect()
            }
            Some(Nexthop::Nowhere) | None => Vec::new(),
        }
    }

    fn nexthop(&mut self, id: u32) -> Option<&'a Nexthop> {
        self.fates.insert(Fate::Nexthop(id));
        self.tables.nexthops.get(&id)
    }

    /// The VTEPs behind a hop, and the MAC address that they listen to.
    fn hop(&mut self, hop: Hop) -> Result<(Mac, Vec<IpAddr>), Fault> {
        let tables = self.tables;
        let name = tables.name(hop.ifindex);
        let malformed = |what: String| Fault::new(Refusal::Malformed, what);
        let Some(lane) = tables.lanes.get(&hop.ifindex) else {
            let device = tables.device();
            return Err(malformed(format!("one of its next hops is on {name}, not on {device}: it has no share")));
        };
        let Some(addr) = hop.gateway else {
            return Err(malformed(format!("one of its next hops, on {name}, has no address (via)")));
        };
        let at = At { ifindex: hop.ifindex, addr };
        self.fates.insert(Fate::Neighbour(at));
        let Some(mac) = tables.neighbours.get(&at).copied() else {
            return Err(malformed(format!("its next hop {addr} is no neighbour with a MAC address on {name}")));
        };
        self.bridged(*lane, mac)?;
        self.fates.insert(Fate::Forward(mac));
        let remote = match tables.forwards.get(&mac) {
            Some(remote) => *remote,
            None => self.flood(mac)?,
        };
        Ok((mac, self.vteps(mac, remote)?))
    }

    /// In a bridge that knows VLANs a MAC address is behind the device in some VLANs, and behind others in the rest.
    fn bridged(&mut self, lane: Lane, mac: Mac) -> Result<(), Fault> {
        let Lane::Vlan(vlan) = lane else { return Ok(()) };
        self.fates.insert(Fate::Bridged(mac, vlan));
        if self.tables.bridged.contains(&(mac, vlan)) {
            return Ok(());
        }
        let device = self.tables.device();
        Err(Fault::new(Refusal::Malformed, format!("the bridge does not have {mac} behind {device} in VLAN {vlan}")))
    }

    /// Where frames go for which there is no entry: that is a VTEP only if it is one.
    fn flood(&mut self, mac: Mac) -> Result<Remote, Fault> {
        self.fates.insert(Fate::Flood);
        let (device, flood) = (self.tables.device(), &self.tables.flood);
        match (flood.first(), flood.len()) {
            (Some(remote), 1) => Ok(*remote),
            (_, 0) => {
                let what = format!("the forwarding table of {device} has no entry for {mac}, nor a default one");
                Err(Fault::new(Refusal::Malformed, what))
            }
            (_, count) => {
                let what = format!(
                    "the forwarding table of {device} has no entry for {mac}, and {count} default ones: it takes one of \
                     either to tell where the node is"
                );
                Err(Fault::new(Refusal::Malformed, what))
            }
        }
    }

    /// The VTEPs that an entry of the forwarding table names.
    fn vteps(&mut self, mac: Mac, remote: Remote) -> Result<Vec<IpAddr>, Fault> {
        let wanted = &self.tables.segment;
        let vteps: Vec<IpAddr> = match remote {
            Remote::Vtep { vni: Some(vni), .. } if vni != wanted.vni.get() => {
                return Err(other(format!("frames for {mac} go out with VNI {vni}, not the overlay's {}", wanted.vni)));
            }
            Remote::Vtep { udp_port: Some(port), .. } if port != wanted.udp_port => {
                let what = format!("frames for {mac} go to UDP port {port}, not the overlay's {}", wanted.udp_port);
                return Err(other(what));
            }
            Remote::Vtep { addr, .. } => vec![addr],
            Remote::Nexthop(id) => self.hops(id).into_iter().filter_map(|hop| hop.gateway).collect(),
            Remote::Nowhere => Vec::new(),
        };
        let usable = |vtep: &&IpAddr| vtep.is_ipv4() == wanted.local.is_ipv4() && !vtep.is_multicast();
        let ours: Vec<IpAddr> = vteps.iter().filter(usable).copied().collect();
        let family = if wanted.local.is_ipv4() { "IPv4" } else { "IPv6" };
        match (ours.is_empty(), vteps.is_empty()) {
            (false, _) => Ok(ours),
            (true, true) => Err(Fault::new(Refusal::Malformed, format!("frames for {mac} go to no VTEP"))),
            (true, false) => {
                let what =
                    format!("frames for {mac} go to {}, which is no VTEP of the overlay's family, {family}", vteps[0]);
                Err(Fault::new(Refusal::NoFamily, what))
            }
        }
    }
}

impl Said {
    fn take(&mut self, mac: Mac, vteps: Vec<IpAddr>) {
        self.claims.extend(vteps.into_iter().map(|vtep| Claim { prefix: self.prefix, vtep, mac }));
    }
}

fn other(what: String) -> Fault {
    Fault::new(Refusal::OtherSegment, what)
}

fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.is_link_local(),
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    }
}
