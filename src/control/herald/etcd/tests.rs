//! The form of entries, and what is done about which.

use super::book::{Book, Deed};
use super::entry::{Form, Holder};
use crate::control::herald::OurEnd;
use crate::control::source::flannel::{Family, Half, Subnets};
use crate::wire::{Prefix, Vni};

fn form(vtep: &str, dual: bool) -> Form {
    let mac = "02:00:00:00:00:01".parse().unwrap();
    Form::new(OurEnd { vtep: vtep.parse().unwrap(), mac, vni: Vni::new(1).unwrap(), udp_port: 8472 }, dual)
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// A node's value.
fn theirs(vtep: &str) -> Vec<u8> {
    let data = r#"{"VNI":1,"VtepMAC":"b6:9f:ea:8c:6e:16"}"#;
    format!(r#"{{"PublicIP":"{vtep}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{data}}}"#).into_bytes()
}

#[test]
fn entries_are_of_the_form_that_flannel_reads() {
    let plain = form("192.0.2.1", false);
    assert_eq!(plain.key(prefix("10.2.0.0/16")).unwrap(), "10.2.0.0-16");
    let value = r#"{"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"},"BackendType":"vxlan","PublicIP":"192.0.2.1","PublicIPv6":null}"#;
    assert_eq!(String::from_utf8(plain.value()).unwrap(), value);
    for (bad, why) in
        [("0.0.0.0/0", "1 to 31 bits"), ("10.2.0.1/32", "1 to 31 bits"), ("fd00::/64", "no IPv6 prefixes")]
    {
        assert!(plain.key(prefix(bad)).unwrap_err().contains(why), "{bad}");
    }
    let v6 = form("fd00::1", true);
    for (bad, why) in [("fd01::1/128", "1 to 127 bits"), ("10.2.0.0/16", "no IPv4"), ("::ffff:0:0/96", "IPv4-mapped")] {
        assert!(v6.key(prefix(bad)).unwrap_err().contains(why), "{bad}");
    }
}

#[test]
fn with_both_families_each_entry_has_two_halves_of_which_one_leads_nowhere() {
    let keys = [
        (form("192.0.2.1", true), "10.2.0.0/16", "10.2.0.0-16&100::a:200:0-127"),
        (form("fd00::1", true), "fd01::/48", "253.1.0.0-31&fd01::-48"),
        (form("fd00::1", false), "fd01:0:0:1::/64", "253.1.0.0-31&fd01:0:0:1::-64"),
    ];
    for (form, of, _) in &keys {
        let key = form.key(prefix(of)).unwrap();
        let value = form.value();
        let ours = Family::of(prefix(of).addr());
        assert_eq!(form.holder(&key, &value), Holder::Us);
        assert_eq!(form.prefix(&key), Some(prefix(of)));
        // the gateway's own reader of the other half takes nothing from it
        let other = if ours == Family::V4 { Family::V6 } else { Family::V4 };
        assert!(Subnets::parse(&key).unwrap().of(other).is_some());
        let other = Half { family: other, vni: Vni::new(1).unwrap(), udp_port: 8472 };
        assert!(other.lease(&key, &value).is_err());
    }
}

#[test]
fn only_what_is_ours_is_changed() {
    let form = form("192.0.2.1", false);
    let wanted = ["10.2.1.0/24", "10.2.2.0/24", "10.2.3.0/24", "10.2.4.0/24", "fd00::/64"].map(prefix);
    let mut book = Book::default();
    // right; of an earlier process; somebody else's; missing; ours but not wanted any more; nobody's business
    book.is(&form, "10.2.1.0-24", &form.value(), 7, 11);
    book.is(&form, "10.2.2.0-24", &form.value(), 6, 12);
    book.is(&form, "10.2.3.0-24", &theirs("192.0.2.9"), 5, 13);
    book.is(&form, "10.2.5.0-24", &form.value(), 7, 14);
    book.is(&form, "10.2.6.0-24", &theirs("192.0.2.8"), 4, 15);
    book.is(&form, "nonsense", b"", 4, 15);
    let plan = book.plan(&form, &wanted, 7);
    let deed = |key: &str, revision, write| Deed { key: key.into(), revision, write };
    let deeds = [deed("10.2.2.0-24", 12, true), deed("10.2.4.0-24", 0, true), deed("10.2.5.0-24", 14, false)];
    assert_eq!((plan.deeds.as_slice(), plan.registered), (&deeds[..], 1));
    assert_eq!(plan.refused[0], "10.2.3.0/24: `10.2.3.0-24` belongs to 192.0.2.9");
    assert!(plan.refused[1].contains("no IPv6 prefixes") && plan.refused.len() == 2);

    // what is known already is not undone by older news
    book.is(&form, "10.2.1.0-24", &theirs("192.0.2.7"), 3, 10);
    book.gone(&form, "10.2.1.0-24", 10);
    assert_eq!(book.plan(&form, &wanted[..1], 7).registered, 1);
    // and newer news counts: the holder of one leaves, another takes one of ours
    book.gone(&form, "10.2.3.0-24", 16);
    book.is(&form, "10.2.1.0-24", &theirs("192.0.2.7"), 3, 17);
    let plan = book.plan(&form, &[prefix("10.2.1.0/24"), prefix("10.2.3.0/24")], 7);
    assert!(plan.deeds.contains(&deed("10.2.3.0-24", 0, true)), "{plan:?}");
    assert!(!plan.deeds.iter().any(|d| d.key == "10.2.1.0-24") && plan.refused.len() == 1, "{plan:?}");
}

#[test]
fn an_entry_of_other_form_for_the_same_prefix_is_a_conflict() {
    let form = form("192.0.2.1", true);
    let mut book = Book::default();
    book.is(&form, "10.2.1.0-24&fd00:9::-64", &theirs("192.0.2.9"), 5, 13);
    let plan = book.plan(&form, &[prefix("10.2.1.0/24")], 7);
    assert!(
        plan.deeds.is_empty() && plan.refused == ["10.2.1.0/24: `10.2.1.0-24&fd00:9::-64` belongs to 192.0.2.9"],
        "{plan:?}"
    );
}
