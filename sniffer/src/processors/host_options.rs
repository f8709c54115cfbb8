//! The options `geo`, `netinfo` and `cache` of the processors that describe this host.

use super::{kit::Span, options::options};
use crate::event::tree::Object;
use serde::{Deserialize, Deserializer, de};
use std::time::Duration;

options! {
    /// The location of a host: the option `geo`.
    #[derive(Debug)]
    pub(super) struct Geo {
        /// The name of the place.
        name: String = String::new(),
        /// Latitude and longitude, `'40.7128, -74.0060'`.
        location: Location = Location(String::new()),
        /// The name of the continent.
        continent_name: String = String::new(),
        /// The code of the country (ISO 3166-1).
        country_iso_code: String = String::new(),
        /// The name of the region.
        region_name: String = String::new(),
        /// The code of the region (ISO 3166-2).
        region_iso_code: String = String::new(),
        /// The name of the city.
        city_name: String = String::new(),
    }
}

/// Latitude and longitude.
#[derive(Debug)]
pub(super) struct Location(String);

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_number = |part: &str| part.trim().parse::<f64>().is_ok_and(f64::is_finite);
        match text.split_once(',') {
            Some((latitude, longitude)) if is_number(latitude) && is_number(longitude) => Ok(Self(text)),
            _ => Err(de::Error::custom(format_args!("expected latitude and longitude, such as '40.7128, -74.0060', got `{text}`"))),
        }
    }
}

impl Geo {
    /// The fields that are set.
    pub(super) fn fields(&self) -> Object {
        let Self { name, location: Location(location), continent_name, country_iso_code, region_name, region_iso_code, city_name } = self;
        let all = [
            ("name", name),
            ("location", location),
            ("continent_name", continent_name),
            ("country_iso_code", country_iso_code),
            ("region_name", region_name),
            ("region_iso_code", region_iso_code),
            ("city_name", city_name),
        ];
        let set = all.into_iter().filter(|(_, text)| !text.is_empty());
        set.map(|(key, text)| (key.to_owned(), text.as_str().into())).collect()
    }
}

options! {
    /// Whether addresses are added.
    #[derive(Debug)]
    pub(super) struct NetInfo {
        /// Adds the addresses of this host.
        enabled: bool = true,
    }
}

impl NetInfo {
    pub(super) const ON: Self = Self { enabled: true };

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }
}

options! {
    /// How often the data about this host are read.
    #[derive(Debug)]
    pub(super) struct Cache {
        /// The interval; at least one second.
        ttl: Span = Span(Duration::from_secs(300)),
    }
}

impl Cache {
    pub(super) const FIVE_MINUTES: Self = Self { ttl: Span(Duration::from_secs(300)) };

    /// The interval at which the data are read. With 0, Packetbeat reads them for every event. That would cost more than the event itself.
    pub(super) fn interval(&self) -> Duration {
        self.ttl.0.max(Duration::from_secs(1))
    }
}
