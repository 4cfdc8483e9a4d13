//! Whether a test that needs root can run.

/// True when it can. Without root it fails, unless told to be skipped: a silent pass proves nothing.
pub(crate) fn root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("SELVEDGE_SKIP_ROOT_TESTS").is_some_and(|v| v == "1"), "needs root");
    println!("SKIPPED: needs root");
    false
}
