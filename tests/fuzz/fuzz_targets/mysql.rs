#![no_main]
sniffer_fuzz::target!("mysql");
