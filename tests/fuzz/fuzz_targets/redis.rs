#![no_main]
sniffer_fuzz::target!("redis");
