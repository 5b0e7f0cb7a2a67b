mod commands;
mod methods;
mod reading;
mod sending;
mod twins;
