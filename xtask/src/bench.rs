//! `bench`: placeholder until the measurements are in.
use crate::Outcome;
/// .
pub fn bench(_args: &[String]) -> Outcome {
    Err("not yet".into())
}
