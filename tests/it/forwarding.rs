//! What is stored reaches the URLs of `[[forward]]`.

mod handlers;
