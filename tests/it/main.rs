//! offhook as a whole, against real servers: folders by what is promised, and in them one module per promise.

mod batteries;
mod commands;
mod floors;
mod forwarding;
mod harness;
mod house;
mod operate;
mod outlast;
mod people;
mod receive;
mod sending;
mod services;
mod simulator;
mod store;
