//! What tests of logs do with what was read of one, and with its files.

use std::path::Path;

use offhook::pipeline::{Delivery, Mark, Pending, Settled};

/// Proof that these are stored. They are not; it is what a mark would say.
pub(crate) fn settled<I: Clone>(deliveries: Vec<Delivery<I>>) -> Settled<I> {
    let pending = Pending::new(deliveries).expect("not empty");
    let all = vec![Some(Mark { fingerprint: None }); pending.events().len()];
    pending.split_marked(&all).0
}

/// Copies a directory, and what is in it: what a process that dies here leaves.
pub(crate) fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("it is ours");
    for entry in std::fs::read_dir(from).expect("it is there") {
        let path = entry.expect("it can be read").path();
        let target = to.join(path.file_name().expect("it has a name"));
        match path.is_dir() {
            true => copy_all(&path, &target),
            false => _ = std::fs::copy(&path, &target).expect("there is room"),
        }
    }
}
