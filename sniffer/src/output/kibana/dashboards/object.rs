//! The saved object of a panel.

use super::{
    FORM, chart,
    panel::{Panel, Shows},
};
use crate::output::kibana::pattern::INDEX;
use serde_json::{Value, json};

/// The version of the form of saved visualizations, see [`FORM`].
const VISUALIZATION_FORM: &str = "7.10.0";

impl Panel {
    /// The type of the panel's saved object.
    pub(super) fn object_type(&self) -> &'static str {
        if matches!(self.shows, Shows::Events(_)) { "search" } else { "visualization" }
    }

    /// Makes the saved object of a panel. `dashboard`: the title of the dashboard.
    pub(super) fn object(&self, id: &str, dashboard: &str) -> Value {
        let title = format!("{} [sniffer {dashboard}]", self.title);
        let index = "kibanaSavedObjectMeta.searchSourceJSON.index";
        let source = json!({"filter": [], "indexRefName": index, "query": {"language": "kuery", "query": self.filter}}).to_string();
        let (attributes, form) = match &self.shows {
            Shows::Events(columns) => (
                json!({
                    "title": title,
                    "description": "",
                    "columns": columns,
                    "sort": [["@timestamp", "desc"]],
                    "version": 1,
                    "kibanaSavedObjectMeta": {"searchSourceJSON": source},
                }),
                FORM,
            ),
            shows => (
                json!({
                    "title": title,
                    "description": "",
                    "visState": chart::state(&title, shows).to_string(),
                    "uiStateJSON": "{}",
                    "version": 1,
                    "kibanaSavedObjectMeta": {"searchSourceJSON": source},
                }),
                VISUALIZATION_FORM,
            ),
        };
        json!({
            "id": id,
            "type": self.object_type(),
            "attributes": attributes,
            "references": [{"name": index, "type": "index-pattern", "id": INDEX}],
            "migrationVersion": {(self.object_type()): form},
        })
    }
}
