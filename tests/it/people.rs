//! What people see of it, and what is theirs.

mod console;
mod help;
mod privacy;
mod purge;
mod samples;
mod verdict;
