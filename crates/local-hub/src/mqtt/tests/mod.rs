mod commands;
mod connecting;
mod events;
mod strangers;
