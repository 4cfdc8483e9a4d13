//! The heralds as tasks: where the gateway is registered, for what, and how that stands.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::{Advertise, Config, SourceConfig};
use crate::control::herald::{OurEnd, Standing};
use crate::control::source::kind::Attraction;
use crate::control::{Route, Target};
use crate::tables::{Overlay, OverlayId};
use crate::wire::Prefix;

/// Lines about what could not be registered; the others are only counted.
const TOLD: usize = 10;

/// A herald at work.
struct Running {
    config: SourceConfig,
    overlay: Overlay,
    wanted: watch::Sender<Arc<[Prefix]>>,
    /// It has been told what is wanted.
    told: bool,
    standing: watch::Receiver<Standing>,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Heralds {
    running: Vec<Running>,
    /// Those that are taking back what they registered.
    leaving: Vec<JoinHandle<()>>,
    /// The version of the map that what is wanted was made of.
    epoch: Option<u32>,
}

impl Heralds {
    /// Registers what this configuration says, and takes back what it says no longer.
    pub(super) fn follow(&mut self, config: &Config) {
        let stays = |r: &Running| config.sources.iter().any(|source| r.is(source, config));
        let (stay, leave): (Vec<_>, Vec<_>) = core::mem::take(&mut self.running).into_iter().partition(stays);
        self.running = stay;
        self.leaving.retain(|task| !task.is_finished());
        for herald in leave {
            // whoever comes takes over what is registered, as after a restart: nodes notice nothing
            if config.sources.iter().any(|source| herald.is_succeeded_by(source, config)) {
                herald.task.abort();
            } else {
                self.leaving.push(herald.retire());
            }
        }
        for source in config.sources.iter().filter(|source| source.advertise.is_some()) {
            let overlay = config.overlays.get(usize::from(source.rules.overlay.0));
            let known = self.running.iter().any(|r| r.is(source, config));
            let Some(overlay) = overlay.filter(|_| !known) else { continue };
            let (wanted, wishes) = watch::channel(Arc::default());
            let (tell, mut standing) = watch::channel(Standing::Registered(0));
            let (end, ended) = oneshot::channel();
            let attraction = Attraction { wanted: wishes, standing: tell, end: ended };
            let Some(task) = source.kind.attract(overlay, attraction) else { continue };
            standing.mark_unchanged();
            let (config, overlay) = (source.clone(), overlay.clone());
            self.running.push(Running { config, overlay, wanted, told: false, standing, end, task });
        }
        self.epoch = None;
    }

    /// Has what is wanted follow the map, whose version is `epoch`. Who imports what was learnt begins when that
    /// `is_complete`: a gateway that just started must not take back what it will want in a moment.
    pub(super) fn attune<R: Iterator<Item = Route>>(&mut self, epoch: u32, is_complete: bool, routes: impl Fn() -> R) {
        let moved = self.epoch != Some(epoch);
        self.epoch = Some(epoch);
        for herald in self.running.iter_mut().filter(|herald| moved || !herald.told) {
            let prefixes: Arc<[Prefix]> = match &herald.config.advertise {
                Some(Advertise::Imported) if !herald.told && !is_complete => continue,
                Some(Advertise::Imported) => imported(routes(), &herald.overlay, herald.config.rules.overlay),
                Some(Advertise::These(these)) => these.as_slice().into(),
                None => continue,
            };
            let first = !core::mem::replace(&mut herald.told, true);
            herald.wanted.send_if_modified(|wanted| {
                let other = first || **wanted != *prefixes;
                *wanted = prefixes;
                other
            });
        }
    }

    /// A source whose herald ended by itself, if one did: they never do.
    pub(super) fn casualty(&self) -> Option<&str> {
        self.running.iter().find(|r| r.task.is_finished()).map(|r| r.config.name.as_str())
    }

    /// Says how it stands, where that has changed.
    pub(super) fn tell(&mut self) {
        for herald in &mut self.running {
            if herald.standing.has_changed().unwrap_or(false) {
                tell(&herald.config.name, &herald.standing.borrow_and_update());
            }
        }
    }

    /// Takes everything back, and waits until that is done or cannot be.
    pub(super) async fn retire(self) {
        let tasks: Vec<_> = self.running.into_iter().map(Running::retire).chain(self.leaving).collect();
        for task in tasks {
            // that it panicked is on standard error already
            let _ = task.await;
        }
    }
}

impl Running {
    /// Would this source be registered in the same way?
    fn is(&self, source: &SourceConfig, config: &Config) -> bool {
        let overlay = config.overlays.get(usize::from(source.rules.overlay.0));
        let same = |a: &SourceConfig, b: &SourceConfig| {
            (&a.name, &a.kind, &a.advertise, a.rules.overlay) == (&b.name, &b.kind, &b.advertise, b.rules.overlay)
        };
        same(&self.config, source) && overlay == Some(&self.overlay)
    }

    /// Would this source take what this one has registered for its own?
    fn is_succeeded_by(&self, source: &SourceConfig, config: &Config) -> bool {
        let end = |o: &Overlay| (o.name.clone(), OurEnd::of(o));
        let overlay = config.overlays.get(usize::from(source.rules.overlay.0));
        source.advertise.is_some()
            && source.kind.origin() == self.config.kind.origin()
            && overlay.map(end) == Some(end(&self.overlay))
    }

    fn retire(self) -> JoinHandle<()> {
        // if it is not there to hear it, it has ended already
        let _ = self.end.send(());
        self.task
    }
}

/// What of the map is behind other overlays, of the family of this one: flannel keeps them apart. Sorted, none within
/// another.
fn imported(routes: impl Iterator<Item = Route>, overlay: &Overlay, id: OverlayId) -> Arc<[Prefix]> {
    let of_others = |route: &Route| match route.target {
        Target::Vtep { overlay, .. } => overlay != id,
        Target::Native { .. } => false,
    };
    let of_family = |prefix: &Prefix| prefix.addr().is_ipv4() == overlay.local.is_ipv4();
    let mut all: Vec<Prefix> = routes.filter(of_others).map(|route| route.prefix).filter(of_family).collect();
    all.sort_unstable();
    // what lies within a prefix comes right behind it
    all.dedup_by(|inner, outer| outer.overlaps(inner));
    all.into()
}

fn tell(source: &str, standing: &Standing) {
    match standing {
        Standing::Registered(prefixes) => tracing::info!(source, prefixes, "nodes are told to send here"),
        Standing::Partly(refused) => {
            for why in refused.iter().take(TOLD) {
                tracing::error!(source, "not advertised: {why}");
            }
            if let Some(more) = refused.len().checked_sub(TOLD).filter(|more| *more > 0) {
                tracing::error!(source, more, "not advertised");
            }
        }
        Standing::Lost(why) => tracing::warn!(source, "cannot advertise at present: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::PortId;

    #[test]
    fn what_others_have_is_imported_without_what_lies_within_it() {
        let overlay = crate::config::Config::parse(include_str!("../../../config/one-arm.toml"), "f").unwrap().overlays;
        let vtep = |overlay: u16| Target::Vtep {
            overlay: OverlayId(overlay),
            vtep: "192.0.2.9".parse().unwrap(),
            mac: "02:00:00:00:00:09".parse().unwrap(),
            zero_checksum: false,
        };
        let native = Target::Native { port: PortId(1), next_hop: "198.51.100.1".parse().unwrap() };
        let routes = [
            ("10.1.0.0/16", vtep(0)),
            ("10.2.1.0/24", vtep(1)),
            ("10.2.0.0/16", vtep(1)),
            ("10.2.2.0/24", vtep(2)),
            ("10.3.0.0/24", vtep(2)),
            ("fd00:2::/64", vtep(1)),
            ("0.0.0.0/0", native),
        ];
        let routes = routes.map(|(prefix, target)| Route { prefix: prefix.parse().unwrap(), target });
        let told = imported(routes.into_iter(), &overlay[0], OverlayId(0));
        assert_eq!(told.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.2.0.0/16", "10.3.0.0/24"]);
    }
}
