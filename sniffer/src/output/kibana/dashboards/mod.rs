//! The program's own dashboards, as saved objects for Kibana 7 to 9 and OpenSearch Dashboards. [`list`] has the content of the dashboards;
//! [`object`] makes the saved object of a panel.

mod chart;
mod list;
mod object;
mod panel;
#[cfg(test)]
mod tests;

use super::files::{File, of_index};
use list::DASHBOARDS;
use panel::Panel;
use serde_json::{Value, json};

/// The version of the form of saved dashboards. It is the newest that OpenSearch Dashboards supports, and Kibana converts older forms.
const FORM: &str = "7.9.3";
/// Width of a dashboard, in units of its grid.
const WIDTH: u32 = 48;

/// A dashboard. The panels are laid out in rows, from left to right.
pub(super) struct Dashboard {
    /// Part of the identifier, which is `sniffer-ID`.
    id: &'static str,
    title: &'static str,
    description: &'static str,
    panels: &'static [Panel],
}

/// Returns one file of saved objects for each dashboard. `index`: the indices that the dashboards show.
pub(super) fn files(index: &str) -> Vec<File> {
    let file = |dashboard: &Dashboard| {
        let mut objects = dashboard.objects();
        objects.iter_mut().for_each(|object| of_index(object, index));
        let lines: Vec<String> = objects.iter().map(Value::to_string).collect();
        File { name: dashboard.identifier(), objects: lines.join("\n") }
    };
    DASHBOARDS.iter().map(file).collect()
}

impl Dashboard {
    fn identifier(&self) -> String {
        format!("sniffer-{}", self.id)
    }

    /// Returns the saved objects of the panels, and then that of the dashboard, which refers to them.
    fn objects(&self) -> Vec<Value> {
        let (mut objects, mut placed, mut references) = (Vec::new(), Vec::new(), Vec::new());
        let (mut x, mut y, mut height) = (0, 0, 0);
        for (n, panel) in self.panels.iter().enumerate() {
            if x + panel.width > WIDTH {
                (x, y, height) = (0, y + height, 0);
            }
            let (n, name) = ((n + 1).to_string(), format!("panel_{n}"));
            placed.push(json!({
                "version": FORM,
                "type": panel.object_type(),
                "gridData": {"x": x, "y": y, "w": panel.width, "h": panel.height, "i": n},
                "panelIndex": n,
                "embeddableConfig": {},
                "panelRefName": name,
            }));
            let object = panel.object(&format!("{}-{}", self.identifier(), panel.id), self.title);
            references.push(json!({"name": name, "type": panel.object_type(), "id": object["id"]}));
            objects.push(object);
            x += panel.width;
            height = height.max(panel.height);
        }
        objects.push(json!({
            "id": self.identifier(),
            "type": "dashboard",
            "attributes": {
                "title": format!("[sniffer] {}", self.title),
                "description": self.description,
                "hits": 0,
                "panelsJSON": Value::Array(placed).to_string(),
                "optionsJSON": json!({"hidePanelTitles": false, "useMargins": true}).to_string(),
                "timeRestore": false,
                "version": 1,
                "kibanaSavedObjectMeta": {"searchSourceJSON": json!({"filter": [], "query": {"language": "kuery", "query": ""}}).to_string()},
            },
            "references": references,
            "migrationVersion": {"dashboard": FORM},
        }));
        objects
    }
}
