//! placeholder
use crate::Outcome;
/// .
pub fn build_ebpf(_args: &[String]) -> Outcome {
    Err("not yet".into())
}
/// .
pub fn is_fresh() -> Outcome {
    Ok(())
}
