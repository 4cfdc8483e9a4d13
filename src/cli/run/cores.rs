//! Who runs where.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps the calling thread, and every thread it starts from now on, off the workers' cores, if that leaves it any: what
/// the control plane does in milliseconds would otherwise be milliseconds in which a worker's rings fill. Workers pin
/// themselves. Returns false where the workers have all cores.
///
/// # Errors
/// Those of sched_setaffinity(2).
pub(super) fn leave_to_workers(workers: &[u16]) -> rustix::io::Result<bool> {
    let mut cores = sched_getaffinity(None)?;
    for core in workers.iter().map(|core| usize::from(*core)).filter(|core| *core < CpuSet::MAX_CPU) {
        cores.unset(core);
    }
    match cores.count() {
        0 => Ok(false),
        _ => sched_setaffinity(None, &cores).map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mine() -> Vec<u16> {
        let cores = sched_getaffinity(None).unwrap();
        (0..CpuSet::MAX_CPU).filter(|core| cores.is_set(*core)).map(|core| core as u16).collect()
    }

    /// In a thread of its own: the other tests keep their cores.
    fn left(workers: &'static [u16]) -> (bool, Vec<u16>) {
        let alone = move || (leave_to_workers(workers).unwrap(), mine());
        std::thread::spawn(alone).join().unwrap()
    }

    #[test]
    fn the_control_plane_takes_what_the_workers_leave() {
        let all = mine();
        let others: Vec<u16> = all.iter().copied().filter(|core| *core != all[0]).collect();
        let first: &'static [u16] = vec![all[0]].leak();
        let expected = if others.is_empty() { (false, all.clone()) } else { (true, others) };
        assert_eq!(left(first), expected);
        assert_eq!(left(&[1023, u16::MAX]), (true, all.iter().copied().filter(|core| *core != 1023).collect()));
    }

    #[test]
    fn workers_may_have_all_cores() {
        let all = mine();
        assert_eq!(left(all.clone().leak()), (false, all));
    }
}
