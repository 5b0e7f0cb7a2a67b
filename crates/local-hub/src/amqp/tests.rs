mod commands;
mod faults;
mod methods;
mod reading;
mod sending;
mod twins;
