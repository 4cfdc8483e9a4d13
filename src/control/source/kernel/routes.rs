//! The routes to a prefix, in the kernel's order.

use super::fact::{Hop, Place, Route, Way};

/// All routes to one prefix in one table.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Routes(Vec<Route>);

impl Routes {
    /// The one in force.
    pub(super) fn best(&self) -> Option<&Route> {
        self.0.iter().min_by_key(|route| route.metric) // the first of several
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// Takes in a route that was added. One that is there already takes its new place.
    pub(super) fn add(&mut self, route: Route, place: Place, v6: bool) {
        self.0.retain(|known| *known != route);
        let first = self.0.iter().position(|known| known.metric == route.metric);
        // IPv6 keeps the ways of one route as a route each and announces, when one is added, all there are then
        // (fib6_add_rt2node, rt6_fill_node).
        let grown =
            self.0.iter().position(|known| v6 && known.metric == route.metric && within(&known.way, &route.way));
        match (place, first, grown) {
            (Place::Instead, Some(at), _) | (_, _, Some(at)) => self.0[at] = route,
            (Place::First, Some(at), None) if !v6 => self.0.insert(at, route),
            _ => self.0.push(route),
        }
    }

    /// Takes in that a route was deleted; of IPv6, perhaps only some ways of one.
    pub(super) fn remove(&mut self, route: &Route, v6: bool) {
        if let Some(at) = self.0.iter().position(|known| known == route) {
            self.0.remove(at);
            return;
        }
        let Way::Hops(gone) = &route.way else { return };
        let shrinks = |known: &&mut Route| v6 && known.metric == route.metric && within(&route.way, &known.way);
        if let Some(Route { way: Way::Hops(hops), .. }) = self.0.iter_mut().find(shrinks) {
            hops.retain(|hop| !gone.contains(hop));
        }
    }

    /// Drops routes for good.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Route) -> bool) {
        self.0.retain(keep);
    }
}

/// True if all hops of one are hops of the other.
fn within(some: &Way, all: &Way) -> bool {
    match (some, all) {
        (Way::Hops(some), Way::Hops(all)) => !some.is_empty() && some.iter().all(|hop: &Hop| all.contains(hop)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(metric: u32, hops: &[u8]) -> Route {
        let hop = |last: &u8| Hop { ifindex: 7, gateway: Some([10, 0, 0, *last].into()) };
        Route { metric, way: Way::Hops(hops.iter().map(hop).collect()) }
    }

    fn of(routes: &[Route]) -> Routes {
        let mut all = Routes::default();
        routes.iter().for_each(|route| all.add(route.clone(), Place::Last, false));
        all
    }

    #[test]
    fn the_first_of_the_least_metric_is_in_force() {
        let mut routes = of(&[via(20, &[1]), via(10, &[2]), via(10, &[3])]);
        assert_eq!(routes.best(), Some(&via(10, &[2])));
        routes.add(via(10, &[4]), Place::First, false);
        assert_eq!(routes.best(), Some(&via(10, &[4])), "prepended");
        routes.add(via(10, &[5]), Place::Instead, false);
        assert_eq!(routes, of(&[via(20, &[1]), via(10, &[5]), via(10, &[2]), via(10, &[3])]), "replaced");
        routes.add(via(10, &[2]), Place::Last, false);
        assert_eq!(routes.iter().count(), 4, "said again");
        routes.remove(&via(10, &[9]), false);
        assert_eq!(routes.iter().count(), 4, "not there");
        for hop in [5, 3, 2] {
            assert_eq!(routes.best(), Some(&via(10, &[hop])));
            routes.remove(&via(10, &[hop]), false);
        }
        assert_eq!(routes, of(&[via(20, &[1])]));
    }

    #[test]
    fn ways_of_an_ipv6_route_come_and_go_one_by_one() {
        let mut routes = of(&[via(1024, &[1])]);
        routes.add(via(1024, &[1, 2]), Place::Last, true);
        assert_eq!(routes, of(&[via(1024, &[1, 2])]), "grown");
        routes.add(via(1024, &[3]), Place::Last, true);
        assert_eq!(routes, of(&[via(1024, &[1, 2]), via(1024, &[3])]), "beside it");
        routes.remove(&via(1024, &[1]), true);
        assert_eq!(routes, of(&[via(1024, &[2]), via(1024, &[3])]), "shrunk");
        routes.remove(&via(1024, &[2]), true);
        assert_eq!(routes, of(&[via(1024, &[3])]));
        routes.add(via(1024, &[8, 9]), Place::Instead, true);
        assert_eq!(routes, of(&[via(1024, &[8, 9])]), "replaced");
    }
}
