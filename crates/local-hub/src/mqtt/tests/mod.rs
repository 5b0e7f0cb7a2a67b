mod commands;
mod connecting;
mod events;
mod faults;
mod strangers;
