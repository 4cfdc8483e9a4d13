//! Whose device is left the checksums that are unfinished.

use super::facts::InterfaceFacts;
use super::plan::{Finding, Matched};
use super::{Config, Switch};
use crate::port::Finishing;

/// Drivers to whom it means nothing what else is in a frame of which the kernel says where its checksum lies. Drivers of
/// hardware may look for headers that a frame from a socket does not show them.
const BY_PLACE_ALONE: [&str; 2] = ["veth", "virtio_net"];

/// What may be left to a port's device. Where `ethtool` shows `tx-checksumming` off, frames that the kernel copies leave
/// nothing to it.
pub(super) fn finishing(config: &Config, port: &Matched<'_>, findings: &mut Vec<Finding>) -> Finishing {
    let wanted = config.xdp.tx_checksum;
    let may = allowed(wanted, port.device);
    if wanted == Switch::On && may == Finishing::default() {
        let InterfaceFacts { name, driver, .. } = port.device;
        findings.push(Finding::error(
            format!("{name}: driver `{driver}` finishes no checksums now, but xdp.tx_checksum is \"on\""),
            format!("ethtool -K {name} tx on, or xdp.tx_checksum = \"auto\""),
        ));
    }
    may
}

fn allowed(wanted: Switch, device: &InterfaceFacts) -> Finishing {
    let (on, direct) = (device.tx_checksum == Some(true), device.xsk_tx_checksum == Some(true));
    match wanted {
        Switch::Off => Finishing::default(),
        Switch::Auto => Finishing { copied: on && BY_PLACE_ALONE.contains(&device.driver.as_str()), direct },
        Switch::On => Finishing { copied: on, direct },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_is_left_nothing_unless_its_driver_or_the_operator_says_so() {
        let device = |driver: &str, on, direct| InterfaceFacts {
            driver: driver.into(),
            tx_checksum: on,
            xsk_tx_checksum: direct,
            ..InterfaceFacts::default()
        };
        let of = |wanted, device: &InterfaceFacts| {
            let Finishing { copied, direct } = allowed(wanted, device);
            (copied, direct)
        };
        for (driver, on, direct, auto, insisting) in [
            ("veth", Some(true), Some(false), (true, false), (true, false)),
            ("virtio_net", Some(true), None, (true, false), (true, false)),
            ("veth", Some(false), None, (false, false), (false, false)),
            ("veth", None, None, (false, false), (false, false)),
            ("ixgbe", Some(true), Some(false), (false, false), (true, false)),
            ("mlx5_core", Some(true), Some(true), (false, true), (true, true)),
        ] {
            let device = device(driver, on, direct);
            assert_eq!((of(Switch::Auto, &device), of(Switch::On, &device)), (auto, insisting), "{driver} {on:?}");
            assert_eq!(of(Switch::Off, &device), (false, false));
        }
    }
}
