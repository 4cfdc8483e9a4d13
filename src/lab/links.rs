//! Links, addresses, routes and neighbours, over netlink.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};

use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};
use rtnetlink::packet_route::neighbour::{NeighbourFlags, NeighbourState};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan, RouteMessageBuilder};

use super::{Doing, LabError, Namespace};
use crate::wire::addr::{Mac, Prefix, Vni};

/// One end of a veth pair.
#[derive(Debug, Clone)]
pub struct End<'a> {
    ns: &'a Namespace,
    name: &'a str,
    mac: Option<Mac>,
    mtu: Option<u16>,
    queues: Option<u32>,
    addresses: Vec<(IpAddr, u8)>,
}

impl<'a> End<'a> {
    /// The end named `name` in `ns`.
    pub fn new(ns: &'a Namespace, name: &'a str) -> Self {
        Self { ns, name, mac: None, mtu: None, queues: None, addresses: Vec::new() }
    }

    /// Where it is.
    pub(super) fn namespace(&self) -> &'a Namespace {
        self.ns
    }

    /// What it is called there.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// Gives it a MAC address instead of a random one.
    #[must_use]
    pub fn mac(self, mac: Mac) -> Self {
        Self { mac: Some(mac), ..self }
    }

    /// Gives it an MTU instead of 1500.
    #[must_use]
    pub fn mtu(self, mtu: u16) -> Self {
        Self { mtu: Some(mtu), ..self }
    }

    /// Gives it that many receive and transmit queues, all of them in use.
    #[must_use]
    pub fn queues(self, queues: u32) -> Self {
        Self { queues: Some(queues), ..self }
    }

    /// Gives it an address, one more if it has some.
    #[must_use]
    pub fn address(mut self, address: impl Into<IpAddr>, prefix_len: u8) -> Self {
        self.addresses.push((address.into(), prefix_len));
        self
    }

    /// Gives it addresses with their lengths.
    #[must_use]
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = (IpAddr, u8)>) -> Self {
        self.addresses.extend(addresses);
        self
    }

    fn attributes<T>(&self, mut message: LinkMessageBuilder<T>) -> LinkMessageBuilder<T> {
        if let Some(mac) = self.mac {
            message = message.address(mac.0.to_vec());
        }
        if let Some(mtu) = self.mtu {
            message = message.mtu(mtu.into());
        }
        if let Some(n) = self.queues {
            message = message
                .append_extra_attribute(LinkAttribute::NumTxQueues(n))
                .append_extra_attribute(LinkAttribute::NumRxQueues(n));
        }
        message
    }

    fn as_peer(&self, ns: RawFd) -> LinkMessage {
        let message = LinkMessageBuilder::<LinkUnspec>::new().name(self.name).setns_by_fd(ns);
        self.attributes(message).build()
    }

    /// What can only be done once both ends exist: an end without its peer refuses to come up.
    fn finish(&self) -> Result<(), LabError> {
        self.ns.up(self.name)?;
        self.addresses.iter().try_for_each(|(address, len)| self.ns.address(self.name, *address, *len))
    }
}

/// A kernel VXLAN device as flannel makes it: no learning, no remote, an FDB entry a peer.
#[derive(Debug, Clone)]
pub struct Vxlan<'a> {
    /// Its name (`flannel.1`).
    pub name: &'a str,
    /// Network identifier.
    pub vni: Vni,
    /// Outer UDP destination port.
    pub port: u16,
    /// Outer source address.
    pub local: IpAddr,
    /// The underlay interface.
    pub dev: &'a str,
    /// Its own (inner) MAC address.
    pub mac: Mac,
    /// MTU of the overlay.
    pub mtu: u16,
    /// Over IPv6: sends no outer UDP checksum, and takes packets without one (RFC 6936).
    pub zero_checksum: bool,
}

impl Namespace {
    /// Runs netlink requests inside the namespace, on a runtime of their own.
    pub fn netlink<T, F>(&self, requests: F) -> Result<T, LabError>
    where
        T: Send,
        F: AsyncFnOnce(Handle) -> Result<T, rtnetlink::Error> + Send,
    {
        let body = || -> io::Result<T> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
            runtime.block_on(async {
                let (connection, handle, _messages) = rtnetlink::new_connection()?;
                let pump = tokio::spawn(connection);
                let answer = requests(handle).await;
                pump.abort();
                answer.map_err(plain)
            })
        };
        self.run(body)?.doing(|| format!("netlink in {}", self.name()))
    }

    /// The index of an interface.
    pub fn index(&self, link: &str) -> Result<u32, LabError> {
        self.link(link).map(|message| message.header.index)
    }

    /// The MAC address of an interface.
    pub fn mac(&self, link: &str) -> Result<Mac, LabError> {
        let message = self.link(link)?;
        let found = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac),
            _ => None,
        });
        found.ok_or_else(|| LabError::refused(format!("reading the MAC of {link}"), "it has none"))
    }

    /// How many receive and transmit queues an interface was made with.
    pub fn queues(&self, link: &str) -> Result<(u32, u32), LabError> {
        let mut queues = (0, 0);
        for attribute in self.link(link)?.attributes {
            match attribute {
                LinkAttribute::NumRxQueues(n) => queues.0 = n,
                LinkAttribute::NumTxQueues(n) => queues.1 = n,
                _ => {}
            }
        }
        Ok(queues)
    }

    /// Names of all interfaces.
    pub fn links(&self) -> Result<Vec<String>, LabError> {
        self.netlink(async |handle| {
            let all: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
            let names = all.into_iter().flat_map(|link| link.attributes).filter_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name),
                _ => None,
            });
            Ok(names.collect())
        })
    }

    fn link(&self, name: &str) -> Result<LinkMessage, LabError> {
        let found =
            self.netlink(async |handle| handle.link().get().match_name(name).execute().boxed().try_next().await);
        self.blame(found, || format!("looking up {name}"))?
            .ok_or_else(|| LabError::refused(format!("looking up {name} in {}", self.name()), "no such interface"))
    }

    /// Brings an interface up.
    pub fn up(&self, link: &str) -> Result<(), LabError> {
        let up = LinkUnspec::new_with_name(link).up().build();
        self.change(up, || format!("bringing up {link}"))
    }

    /// Brings an interface down.
    pub fn down(&self, link: &str) -> Result<(), LabError> {
        let down = LinkUnspec::new_with_name(link).down().build();
        self.change(down, || format!("bringing down {link}"))
    }

    /// Sets the MTU of an interface.
    pub fn mtu(&self, link: &str, mtu: u16) -> Result<(), LabError> {
        let set = LinkUnspec::new_with_name(link).mtu(mtu.into()).build();
        self.change(set, || format!("setting the MTU of {link}"))
    }

    /// Makes a bridge, up, without spanning tree: its ports forward at once.
    pub fn bridge(&self, name: &str) -> Result<(), LabError> {
        let message = LinkBridge::new(name).up().build();
        let made = self.netlink(async |handle| handle.link().add(message).execute().await);
        self.blame(made, || format!("adding bridge {name}"))
    }

    /// Makes `link` a port of `bridge`.
    pub fn attach(&self, link: &str, bridge: &str) -> Result<(), LabError> {
        let port = LinkUnspec::new_with_name(link).controller(self.index(bridge)?).build();
        self.change(port, || format!("attaching {link} to {bridge}"))
    }

    /// Makes a VXLAN device, up.
    pub fn vxlan(&self, spec: &Vxlan<'_>) -> Result<(), LabError> {
        let message = LinkVxlan::new(spec.name, spec.vni.get()).dev(self.index(spec.dev)?).port(spec.port);
        let message = match spec.local {
            IpAddr::V4(local) => message.local(local),
            IpAddr::V6(local) => message.local6(local),
        };
        let message = message
            .udp_zero_csum6_tx(spec.zero_checksum)
            .udp_zero_csum6_rx(spec.zero_checksum)
            .learning(false)
            .address(spec.mac.0.to_vec())
            .mtu(spec.mtu.into())
            .up()
            .build();
        let made = self.netlink(async |handle| handle.link().add(message).execute().await);
        self.blame(made, || format!("adding vxlan {}", spec.name))
    }

    /// Removes an interface; of a veth pair, both ends.
    pub fn delete(&self, link: &str) -> Result<(), LabError> {
        let index = self.index(link)?;
        let gone = self.netlink(async |handle| handle.link().del(index).execute().await);
        self.blame(gone, || format!("deleting {link}"))
    }

    /// Adds an address to an interface.
    pub fn address(&self, link: &str, address: impl Into<IpAddr>, prefix_len: u8) -> Result<(), LabError> {
        let (index, address) = (self.index(link)?, address.into());
        let added = self.netlink(async |handle| handle.address().add(index, address, prefix_len).execute().await);
        self.blame(added, || format!("adding {address}/{prefix_len} to {link}"))
    }

    /// Adds or replaces a route by a gateway that the kernel finds among its connected networks.
    pub fn route(&self, to: Prefix, via: impl Into<IpAddr>) -> Result<(), LabError> {
        self.add_route(to, via.into(), None)
    }

    /// Adds or replaces a route by a gateway that is on `link` whatever the addresses say (flannel's `onlink`).
    pub fn route_onlink(&self, to: Prefix, via: impl Into<IpAddr>, link: &str) -> Result<(), LabError> {
        let index = self.index(link)?;
        self.add_route(to, via.into(), Some(index))
    }

    fn add_route(&self, to: Prefix, via: IpAddr, onlink: Option<u32>) -> Result<(), LabError> {
        let saying = || format!("routing {to} via {via}");
        let wrong = |e| LabError::refused(saying(), format!("{e:?}"));
        let mut route = RouteMessageBuilder::<IpAddr>::new().destination_prefix(to.addr(), to.len()).map_err(wrong)?;
        route = route.gateway(via).map_err(wrong)?;
        if let Some(index) = onlink {
            route = route.output_interface(index).onlink();
        }
        let message = route.build();
        let added = self.netlink(async |handle| handle.route().add(message).replace().execute().await);
        self.blame(added, saying)
    }

    /// Removes the route to a prefix.
    pub fn unroute(&self, to: Prefix) -> Result<(), LabError> {
        let saying = || format!("removing the route to {to}");
        let wrong = |e| LabError::refused(saying(), format!("{e:?}"));
        let route = RouteMessageBuilder::<IpAddr>::new().destination_prefix(to.addr(), to.len()).map_err(wrong)?;
        let message = route.build();
        let removed = self.netlink(async |handle| handle.route().del(message).execute().await);
        self.blame(removed, saying)
    }

    /// Adds or replaces a permanent neighbour.
    pub fn neighbour(&self, link: &str, address: impl Into<IpAddr>, mac: Mac) -> Result<(), LabError> {
        let (index, address) = (self.index(link)?, address.into());
        let added = self.netlink(async |handle| {
            let request = handle.neighbours().add(index, address).link_layer_address(&mac.0);
            request.state(NeighbourState::Permanent).replace().execute().await
        });
        self.blame(added, || format!("adding neighbour {address} on {link}"))
    }

    /// Adds or replaces a permanent entry of a VXLAN device's own forwarding table: `mac` lives behind `vtep`.
    pub fn fdb(&self, link: &str, mac: Mac, vtep: impl Into<IpAddr>) -> Result<(), LabError> {
        let (index, vtep) = (self.index(link)?, vtep.into());
        let added = self.netlink(async |handle| {
            let request = handle.neighbours().add_bridge(index, &mac.0).destination(vtep);
            request.flags(NeighbourFlags::Own).state(NeighbourState::Permanent).replace().execute().await
        });
        self.blame(added, || format!("adding {mac} behind {vtep} to the FDB of {link}"))
    }

    fn change(&self, message: LinkMessage, what: impl FnOnce() -> String) -> Result<(), LabError> {
        let changed = self.netlink(async |handle| handle.link().change(message).execute().await);
        self.blame(changed, what)
    }

    /// Puts the deed in place of the general sentence of [`Namespace::netlink`].
    fn blame<T>(&self, result: Result<T, LabError>, what: impl FnOnce() -> String) -> Result<T, LabError> {
        result.map_err(|e| LabError::new(format!("{} in {}", what(), self.name()), e.source))
    }
}

impl super::Lab {
    /// Makes a veth pair, each end at once in its own namespace, up and with its address.
    pub fn veth(&self, a: &End<'_>, b: &End<'_>) -> Result<(), LabError> {
        let far = b.ns.open()?;
        let message = a
            .attributes(LinkVeth::new(a.name, b.name))
            .set_info_data(InfoData::Veth(InfoVeth::Peer(b.as_peer(far.as_raw_fd()))))
            .build();
        let made = a.ns.netlink(async |handle| handle.link().add(message).execute().await);
        a.ns.blame(made, || format!("adding veth {} to {} of {}", a.name, b.name, b.ns.name()))?;
        a.finish()?;
        b.finish()
    }
}

/// The error number in a netlink answer as the error it would have been from a system call.
fn plain(error: rtnetlink::Error) -> io::Error {
    match &error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        _ => io::Error::other(error.to_string()),
    }
}
