mod reading;
mod sending;
