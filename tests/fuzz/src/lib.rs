//! What the fuzz targets share: the drivers, and how a target is made of one.

pub mod drive;
pub use libfuzzer_sys;

/// The target of that name, one of [`drive::targets`].
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::drive::run($name, data));
    };
}
