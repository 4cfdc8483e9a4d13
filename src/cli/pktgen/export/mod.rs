//! `selvedge pktgen export`: the same traffic as a scenario for another generator.

use super::PktgenError;
use super::options::ExportOptions;

pub(super) fn export(_: &ExportOptions) -> Result<String, PktgenError> {
    Err(PktgenError::Usage("not yet".into()))
}
