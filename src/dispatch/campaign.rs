//! Campaigns, of values alone: the list of recipients, what it costs and how long it takes, and when a campaign stops
//! itself.

pub mod brake;
pub mod estimate;
pub mod list;
pub mod price;
