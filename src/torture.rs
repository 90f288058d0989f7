//! Faults under load, and the proof that nothing was lost: what `offhook torture` runs.

pub mod servers;
