//! Room `drops`.
