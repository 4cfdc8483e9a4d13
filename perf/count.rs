//! What perf/instructions counts: the cases of `cargo bench --bench cycles`. An example, for with a bench cargo builds and
//! links the whole program as well.

#[path = "../benches/cycles.rs"]
mod cycles;

fn main() {
    cycles::main();
}
