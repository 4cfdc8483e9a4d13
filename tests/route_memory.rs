//! What routes weigh, counted by the allocator: a million pods' routes fit in 32 MiB, RIB, tables and all.

#[path = "support/mod.rs"]
mod gateway;
#[path = "../perf/updates/world.rs"]
#[allow(dead_code)]
mod world;

use allocation_counter::measure;
use selvedge::control::source::Change;
use selvedge::control::source::file::listing;
use selvedge::tables::{Action, PeerId, Tables};
use world::{Control, PODS, rib, route, routes, writer};

/// A quarter of a million; what does not grow with routes weighs against the bar all the same.
const ROUTES: usize = 250_000;
/// 32 MiB for a million routes.
const BAR: usize = (32 << 20) / 1_000_000;

/// Prints what something weighs, for `--nocapture`, and returns it in bytes a route.
fn weigh<T>(what: &str, make: impl FnOnce() -> T) -> (T, f64) {
    let mut made = None;
    let bytes = measure(|| made = Some(make())).bytes_current as f64 / ROUTES as f64;
    println!("{what:<40} {bytes:>6.2} bytes a route");
    (made.expect("just made"), bytes)
}

#[test]
fn a_million_pod_routes_fit_in_32_mib() {
    let routes = routes(ROUTES);
    let ((control, home), bytes) = weigh("control plane and tables", || {
        let mut control = Control::new();
        listing(&routes).for_each(|event| control.take(event));
        let tables = control.publish();
        (control, tables)
    });
    assert!(bytes <= BAR as f64, "{bytes} bytes a route");
    // pods do not stay where they are: no two neighbours on one node
    let (_all, moved) = weigh("more, when every pod is elsewhere", || move_all(control, home));
    assert!(bytes + moved <= BAR as f64, "{} bytes a route", bytes + moved);
}

/// Every pod moves, to one of many nodes that its neighbours are not on.
fn move_all(mut control: Control, home: Tables) -> (Control, Tables) {
    let nodes = ROUTES / PODS;
    (0..ROUTES).for_each(|n| control.change(Change::Announce(route(n, n.wrapping_mul(7919) % nodes))));
    drop(home);
    let tables = control.publish();
    (control, tables)
}

#[test]
fn the_parts_are_what_their_layout_says() {
    let routes = routes(ROUTES);
    let (_, rib) = weigh("RIB", || {
        let mut rib = rib();
        listing(&routes).for_each(|event| rib.apply(event, drop));
        rib
    });
    // 9 bytes of a row, and the tree above
    assert!((9.0..11.5).contains(&rib), "{rib}");
    let (_, tables) = weigh("tables and the list of their writer", || {
        let mut writer = writer();
        let node = |n: usize| Action::Encap(PeerId((n * 7919 % (ROUTES / PODS)) as u32));
        routes.iter().enumerate().for_each(|(n, route)| writer.set_route(route.prefix, node(n)));
        (writer.publish(), writer)
    });
    // the same, and 4 bytes of a leaf, of which a /24 of pods fills 250 of 256
    assert!((13.0..17.0).contains(&tables), "{tables}");
}
