//! Whose device is left the checksums that are unfinished.

use super::facts::{HostFacts, InterfaceFacts};
use super::plan::{Finding, Matched};
use super::{Config, Switch};
use crate::port::{Finishes, Finishing};

/// The first kernel that takes TX metadata as it is now (`XDP_UMEM_TX_METADATA_LEN`).
const METADATA: (u32, u32) = (6, 11);

/// What may be left to a port's device, whose sockets will be bound zero-copy or not.
pub(super) fn finishing(
    config: &Config,
    host: &HostFacts,
    port: &Matched<'_>,
    zero_copy: bool,
    findings: &mut Vec<Finding>,
) -> Finishing {
    let wanted = config.xdp.tx_checksum;
    if wanted == Switch::Off {
        return Finishing::NONE;
    }
    let InterfaceFacts { name, driver, .. } = port.device;
    let can = able(port.device);
    let why_not = match (if zero_copy { can.direct } else { can.copied }, host.kernel < METADATA) {
        (Finishes::None, _) if zero_copy => Some(format!("driver `{driver}` takes none from zero-copy sockets")),
        (Finishes::None, _) => {
            Some(format!("driver `{driver}` is left none of frames that are copied, or none at all now"))
        }
        (_, true) => Some("that takes Linux 6.11".to_owned()),
        _ => None,
    };
    if let (Switch::On, Some(why)) = (wanted, why_not) {
        let what = format!("{name}: checksums cannot be left to the device, but xdp.tx_checksum is \"on\": {why}");
        findings.push(Finding::error(what, format!("xdp.tx_checksum = \"auto\"; on a veth ethtool -K {name} tx on")));
    }
    can
}

/// Where `ethtool` shows `tx-checksumming` off, nothing is left to the device. Of copied frames a veth alone is left any: its
/// peer is told which checksums are unfinished, wherever they lie. Drivers of hardware look for headers in frames which those
/// of a socket do not show them, and before Linux 6.18 virtio was not told. What drivers read by themselves is another matter:
/// but they, too, may find the checksum by themselves (mlx5), and not in a tunnel.
fn able(device: &InterfaceFacts) -> Finishing {
    if device.tx_checksum != Some(true) {
        return Finishing::NONE;
    }
    Finishing {
        copied: if device.driver == "veth" { Finishes::All } else { Finishes::None },
        direct: if device.xsk_tx_checksum == Some(true) { Finishes::Plain } else { Finishes::None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_is_left_what_its_driver_says_and_no_more() {
        use Finishes::{All, None as Nothing, Plain};
        for (driver, on, direct, expected) in [
            ("veth", Some(true), Some(false), (All, Nothing)),
            ("veth", Some(false), None, (Nothing, Nothing)),
            ("veth", None, None, (Nothing, Nothing)),
            ("virtio_net", Some(true), None, (Nothing, Nothing)),
            ("ixgbe", Some(true), Some(false), (Nothing, Nothing)),
            ("mlx5_core", Some(true), Some(true), (Nothing, Plain)),
            ("mlx5_core", Some(false), Some(true), (Nothing, Nothing)),
        ] {
            let device = InterfaceFacts {
                driver: driver.into(),
                tx_checksum: on,
                xsk_tx_checksum: direct,
                ..InterfaceFacts::default()
            };
            let Finishing { copied, direct } = able(&device);
            assert_eq!((copied, direct), expected, "{driver} {on:?}");
        }
    }
}
