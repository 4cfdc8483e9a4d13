//! Explicit congestion notification through a tunnel (RFC 6040).

/// The two ECN bits of a TOS or traffic class octet.
pub const MASK: u8 = 0b11;

const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const CE: u8 = 0b11;

/// The inner packet must be dropped: it cannot say that it met congestion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Congested;

/// The ECN field that leaves the tunnel, from those of both headers (RFC 6040 §4.2, figure 4).
///
/// # Errors
/// [`Congested`] for a Not-ECT packet in a CE header.
#[inline]
pub const fn decapsulate(inner: u8, outer: u8) -> Result<u8, Congested> {
    match (inner & MASK, outer & MASK) {
        (NOT_ECT, CE) => Err(Congested),
        (NOT_ECT, _) => Ok(NOT_ECT),
        (_, CE) => Ok(CE),
        (0b10, ECT_1) => Ok(ECT_1),
        (inner, _) => Ok(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decapsulation_is_figure_4_of_rfc_6040() {
        let ect_0 = 0b10;
        #[rustfmt::skip]
        let figure = [
            //  inner    outer: Not-ECT       ECT(0)        ECT(1)        CE
            (NOT_ECT, [Ok(NOT_ECT), Ok(NOT_ECT), Ok(NOT_ECT), Err(Congested)]),
            (ect_0,   [Ok(ect_0),   Ok(ect_0),   Ok(ECT_1),   Ok(CE)]),
            (ECT_1,   [Ok(ECT_1),   Ok(ECT_1),   Ok(ECT_1),   Ok(CE)]),
            (CE,      [Ok(CE),      Ok(CE),      Ok(CE),      Ok(CE)]),
        ];
        for (inner, row) in figure {
            for (outer, want) in [NOT_ECT, ect_0, ECT_1, CE].into_iter().zip(row) {
                assert_eq!(decapsulate(inner, outer), want, "inner {inner:02b} outer {outer:02b}");
            }
        }
    }
}
