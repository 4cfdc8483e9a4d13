//! The heralds as tasks: where the gateway is registered, for what, and how that stands.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::{Advertise, Config, SourceConfig};
use crate::control::herald::{OurEnd, Standing};
use crate::control::source::kind::Attraction;
use crate::control::{Route, Target};
use crate::tables::{Imports, Overlay, OverlayId};
use crate::wire::Prefix;

/// Lines about what could not be registered; the others are only counted.
const TOLD: usize = 10;

/// A herald at work.
struct Running {
    config: SourceConfig,
    overlay: Overlay,
    /// What of other overlays may be reached from this one.
    imports: Imports,
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
        self.leaving.retain(|task| !task.is_finished());
        for mut herald in core::mem::take(&mut self.running) {
            if let Some(source) = config.sources.iter().find(|source| herald.is(source, config)) {
                herald.imports = imports(config, source);
                herald.config = source.clone();
                self.running.push(herald);
                continue;
            }
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
            let (imports, config, overlay) = (imports(config, source), source.clone(), overlay.clone());
            self.running.push(Running { config, overlay, imports, wanted, told: false, standing, end, task });
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
                Some(Advertise::Imported) => herald.imported(routes()),
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

    /// Takes back what is to be taken back at the end, and waits until that is done or cannot be.
    pub(super) async fn retire(mut self) {
        for herald in self.running {
            match herald.config.deregister {
                true => self.leaving.push(herald.retire()),
                false => herald.task.abort(),
            }
        }
        for task in self.leaving {
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

    /// What of the map is behind other overlays and may be reached from this one, of its family: flannel keeps them apart.
    /// Sorted, none within another.
    fn imported(&self, routes: impl Iterator<Item = Route>) -> Arc<[Prefix]> {
        let mut all: Vec<Prefix> = Vec::new();
        for Route { prefix, target } in routes {
            match target {
                Target::Vtep { overlay, .. } if overlay != self.config.rules.overlay => {
                    all.extend(admitted(&self.imports, overlay, prefix));
                }
                _ => {}
            }
        }
        all.retain(|prefix| prefix.addr().is_ipv4() == self.overlay.local.is_ipv4());
        all.sort_unstable();
        // what lies within a prefix comes right behind it
        all.dedup_by(|inner, outer| outer.overlaps(inner));
        all.into()
    }

    fn retire(self) -> JoinHandle<()> {
        // if it is not there to hear it, it has ended already
        let _ = self.end.send(());
        self.task
    }
}

/// What may be reached from a source's overlay.
fn imports(config: &Config, source: &SourceConfig) -> Imports {
    // the access side comes first
    config.imports.get(usize::from(source.rules.overlay.0) + 1).cloned().unwrap_or_default()
}

/// The parts of a prefix behind a node of another overlay that may be reached.
fn admitted(imports: &Imports, behind: OverlayId, prefix: Prefix) -> Vec<Prefix> {
    match imports {
        Imports::Only(rules) if !rules.overlays.contains(&behind) => {
            let common = rules.prefixes.iter().filter(|rule| rule.overlaps(&prefix));
            common.map(|rule| if rule.len() > prefix.len() { *rule } else { prefix }).collect()
        }
        Imports::All | Imports::Only(_) => vec![prefix],
    }
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
        let told = |import: &str| {
            let text = include_str!("../../../config/flannel-etcd.toml");
            let text = text.replacen("[[overlay]]\n", &format!("[[overlay]]\n{import}\n"), 1);
            let config = Config::parse(&text, "f").unwrap();
            let told = herald(&config).imported(routes.iter().copied());
            told.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(""), ["10.2.0.0/16", "10.3.0.0/24"]);
        assert_eq!(told("import = [\"native\"]"), [""; 0]);
        assert_eq!(told("import = [\"10.2.3.0/24\", \"10.3.0.0/16\"]"), ["10.2.3.0/24", "10.3.0.0/24"]);
    }

    /// The herald of the first source, without a task that does anything.
    fn herald(config: &Config) -> Running {
        let source = config.sources[0].clone();
        assert_eq!(source.rules.overlay, OverlayId(0));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Running {
            imports: imports(config, &source),
            overlay: config.overlays[0].clone(),
            config: source,
            wanted: watch::channel(Arc::default()).0,
            told: false,
            standing: watch::channel(Standing::Registered(0)).1,
            end: oneshot::channel().0,
            task: runtime.spawn(async {}),
        }
    }
}
