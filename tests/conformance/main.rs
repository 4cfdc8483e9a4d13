//! What a correct VXLAN gateway does: 23 rules, each with a test named after it, held against the real program between
//! real kernels.
//!
//! The cases of a row are in `tests/scapy/rows_*.py`: scapy, which nobody here wrote, makes the packets and checks what
//! becomes of them, and the gateway's counters must tell the same story. What the gateway sent is recorded, and read
//! by tshark, which verifies every checksum. One gateway serves many rows; at the end the books of each must balance.
//! The verdicts are printed as a table; what does not hold yet is on one list ([`rows::OPEN`]) with its reason.

use std::sync::{Arc, Mutex, MutexGuard};

use libtest_mimic::{Arguments, Failed, Trial};

#[path = "../support/capture.rs"]
mod capture;
#[path = "../support/netns.rs"]
mod netns;
mod rows;
mod script;
mod stage;
mod table;

use rows::{Pair, ROWS, Row};
use stage::Stages;
use table::Table;

/// What the rows share.
#[derive(Clone, Default)]
struct Shared {
    stages: Arc<Mutex<Stages>>,
    table: Arc<Mutex<Table>>,
}

/// A row that panicked says so; the next ones go on with what it left.
fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn row_test(row: &'static Row, shared: Shared) -> Trial {
    let test = move || {
        locked(&shared.table).begin(row);
        let pairs: Vec<Pair> = rows::pairs().collect();
        let cases = locked(&shared.stages).play(row, &pairs);
        locked(&shared.table).note(row, &cases).map_err(Failed::from)
    };
    Trial::test(format!("row_{:02}_{}", row.number, row.name), test).with_ignored_flag(rows::open(row).is_some())
}

fn main() {
    let mut arguments = Arguments::from_args();
    if !arguments.list && !netns::root() {
        return;
    }
    arguments.test_threads = Some(1); // they share gateways and count packets
    let shared = Shared::default();
    let mut trials: Vec<Trial> = ROWS.iter().map(|row| row_test(row, shared.clone())).collect();
    let stages = shared.stages.clone();
    trials.push(Trial::test("the_books_balance", move || {
        locked(&stages).finish();
        Ok(())
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    // gateways and namespaces go, whichever tests were asked for
    drop(std::mem::take(&mut *locked(&shared.stages)));
    if !arguments.list {
        println!("{}", locked(&shared.table).print());
    }
    conclusion.exit();
}
