#![no_main]
sniffer_fuzz::target!("dhcpv4");
