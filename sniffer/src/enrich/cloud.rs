//! Detects the cloud provider of this machine from its firmware (DMI, `/sys/class/dmi/id`). This module does not query metadata services,
//! because then a machine outside a cloud would send such packets, too.

use crate::event::tree::Object;
use serde_json::json;
use std::{fs, path::Path};

/// The chassis tag of every Azure machine. Hyper-V outside of Azure has the same vendor but another tag.
const AZURE_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// The contents of the field `cloud`; empty if no provider is recognised. `root` is `/` except in tests.
pub fn detect(root: &str) -> Object {
    let read = |name: &str| {
        let text = fs::read_to_string(Path::new(root).join("sys/class/dmi/id").join(name)).unwrap_or_default();
        text.trim().to_owned()
    };
    let vendor = read("sys_vendor");
    let (provider, service, id) = match vendor.as_str() {
        "Amazon EC2" => ("aws", "EC2", read("board_asset_tag")),
        "Google" => ("gcp", "GCE", String::new()),
        "Microsoft Corporation" if read("chassis_asset_tag") == AZURE_TAG => ("azure", "Virtual Machines", String::new()),
        "DigitalOcean" => ("digitalocean", "Droplets", read("product_serial")),
        "Hetzner" => ("hetzner", "Cloud", read("product_serial")),
        "Alibaba Cloud" => ("ecs", "ECS", String::new()),
        "OpenStack Foundation" => ("openstack", "Nova", String::new()),
        _ => return Object::new(),
    };
    let mut cloud = Object::from_iter([("provider".to_owned(), json!(provider)), ("service".to_owned(), json!({"name": service}))]);
    if !id.is_empty() {
        cloud.insert("instance".to_owned(), json!({"id": id}));
    }
    cloud
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_recognised_by_the_firmware() {
        let root = std::env::temp_dir().join(format!("sniffer-dmi-{}", std::process::id()));
        let dmi = root.join("sys/class/dmi/id");
        fs::create_dir_all(&dmi).unwrap();
        let root = root.to_str().unwrap();
        assert_eq!(detect(root), Object::new());
        fs::write(dmi.join("sys_vendor"), "Amazon EC2\n").unwrap();
        fs::write(dmi.join("board_asset_tag"), "i-0123456789\n").unwrap();
        let expected = json!({"provider": "aws", "service": {"name": "EC2"}, "instance": {"id": "i-0123456789"}});
        assert_eq!(serde_json::Value::from(detect(root)), expected);
        fs::write(dmi.join("sys_vendor"), "Microsoft Corporation").unwrap();
        assert_eq!(detect(root), Object::new());
        fs::remove_dir_all(root).unwrap();
    }
}
