//! The files in `packaging/` that users start from: configurations that the program accepts, the manifest for Kubernetes, and the compose file.
//! Their schemas cannot be fetched in a test; the lists here have the required fields, and all fields that the files may use.

use crate::harness::{Home, assert_success, sniffer, tests};
use serde::Deserialize;
use serde_json::Value;
use std::fs;

fn text(name: &str) -> String {
    let path = tests().join("../packaging").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The documents of a YAML file.
fn documents(name: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(&text(name))
        .map(|document| Value::deserialize(document).unwrap_or_else(|e| panic!("{name}: {e}")))
        .collect()
}

/// `test config` accepts the configuration and has no warning.
fn assert_accepted(what: &str, config: &str) {
    let output = Home::with_output(config).command(&["test", "config"]).output().unwrap();
    assert_success(&output);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{what}: warnings");
}

/// Checks the fields of an object: `required` must be there, and others than these and `optional` must not.
fn assert_fields(what: &str, object: &Value, required: &[&str], optional: &[&str]) {
    let object = object.as_object().unwrap_or_else(|| panic!("{what} is no object: {object}"));
    for field in required {
        assert!(object.contains_key(*field), "{what}: {field} is missing");
    }
    for field in object.keys() {
        assert!(required.contains(&field.as_str()) || optional.contains(&field.as_str()), "{what}: {field} is no field of it");
    }
}

#[test]
fn the_shipped_configuration_is_accepted() {
    let config = text("sniffer.yml");
    assert_accepted("sniffer.yml", &config);
    assert!(config.contains("\nreload.enabled: true\n"), "the unit reloads with SIGHUP");
}

#[test]
fn the_printed_reference_is_accepted() {
    let output = sniffer().args(["export", "reference"]).output().unwrap();
    assert_success(&output);
    assert_accepted("sniffer export reference", &String::from_utf8(output.stdout).unwrap());
}

#[test]
fn the_daemon_set_has_what_kubernetes_requires() {
    let all = documents("kubernetes.yml");
    for object in &all {
        let what = object["kind"].as_str().unwrap_or("an object without kind");
        let (version, required): (&str, &[&str]) = match what {
            "Namespace" | "ServiceAccount" => ("v1", &[]),
            "ConfigMap" => ("v1", &["data"]),
            "ClusterRole" => ("rbac.authorization.k8s.io/v1", &["rules"]),
            "ClusterRoleBinding" => ("rbac.authorization.k8s.io/v1", &["roleRef", "subjects"]),
            "DaemonSet" => ("apps/v1", &["spec"]),
            other => panic!("{other} is not known to this test"),
        };
        assert_eq!(object["apiVersion"], version, "{what}");
        assert_fields(what, object, &[&["apiVersion", "kind", "metadata"], required].concat(), &[]);
        assert_fields(what, &object["metadata"], &["name"], &["namespace", "labels"]);
    }
    let set = all.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    assert_fields("spec", &set["spec"], &["selector", "template"], &["updateStrategy", "minReadySeconds"]);
    let (template, wanted) = (&set["spec"]["template"], &set["spec"]["selector"]["matchLabels"]);
    assert_eq!(&template["metadata"]["labels"], wanted, "the selector must match the labels of the pods");
    let pod = &template["spec"];
    let of_pod = ["serviceAccountName", "hostNetwork", "hostPID", "dnsPolicy", "tolerations", "volumes"];
    assert_fields("pod", pod, &["containers"], &of_pod);
    let volumes: Vec<&Value> = pod["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).collect();
    for container in pod["containers"].as_array().unwrap() {
        let of_container = ["args", "env", "livenessProbe", "resources", "securityContext", "volumeMounts"];
        assert_fields("container", container, &["name", "image"], &of_container);
        let of_context = ["runAsUser", "allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"];
        assert_fields("securityContext", &container["securityContext"], &[], &of_context);
        for mount in container["volumeMounts"].as_array().unwrap() {
            assert_fields("volumeMount", mount, &["name", "mountPath"], &["readOnly"]);
            assert!(volumes.contains(&&mount["name"]), "there is no volume {}", mount["name"]);
        }
    }
    let map = all.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
    assert_accepted("the ConfigMap", map["data"]["sniffer.yml"].as_str().unwrap());
}

#[test]
fn the_compose_file_has_what_compose_requires() {
    let all = documents("compose.yml");
    let [file] = all.as_slice() else { panic!("not one document: {all:?}") };
    assert_fields("compose.yml", file, &["services"], &["volumes", "networks"]);
    let of_service =
        ["network_mode", "restart", "read_only", "cap_drop", "cap_add", "security_opt", "ulimits", "command", "volumes", "environment"];
    for (name, service) in file["services"].as_object().unwrap() {
        assert_fields(name, service, &["image"], &of_service);
        for volume in service["volumes"].as_array().unwrap() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            assert!(source.starts_with('.') || file["volumes"].get(source).is_some(), "there is no volume {source}");
        }
    }
}
