//! Loads the index pattern and the dashboards into Kibana.

use super::{
    Kibana, Say,
    answer::Server,
    dashboards,
    files::{self, File},
    pattern::{Form, pattern},
};
use crate::{config, event::Field, opening::Opening};
use std::path::PathBuf;

/// A configured Kibana, and the dashboards for it.
pub struct Loader<'a> {
    kibana: Kibana,
    /// The folder with the dashboards; `None` for the program's own dashboards.
    directory: Option<PathBuf>,
    /// Whether the folder may be missing.
    lenient: bool,
    declared: &'a [Field],
}

/// What was loaded.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The index pattern was loaded, and this number of dashboards, or of files with dashboards and parts of dashboards.
    Loaded(usize),
    /// Only the index pattern was loaded, for this reason.
    Skipped(String),
}

impl<'a> Loader<'a> {
    /// Reads `setup.kibana` and `setup.dashboards`. With `strict` only dashboards of a folder are loaded, as in Packetbeat.
    ///
    /// # Errors
    /// When a setting is wrong. The error names file, line and key.
    pub fn read(opening: &Opening<'a>, strict: bool) -> Result<Self, config::Error> {
        let kibana = Kibana::read(opening)?;
        let default = opening.paths.home.join("kibana");
        let directory = match &kibana.dashboards.directory {
            Some(directory) => Some(directory.into()),
            None => (strict || files::has_objects(&default)).then_some(default),
        };
        let lenient = strict && kibana.dashboards.directory.is_none();
        Ok(Self { kibana, directory, lenient, declared: opening.fields })
    }

    /// Whether dashboards are to be loaded when the program starts: `setup.dashboards.enabled`.
    pub fn loads_at_start(&self) -> bool {
        self.kibana.loads_at_start()
    }

    /// Waits until Kibana is ready, and imports the index pattern and the dashboards.
    ///
    /// # Errors
    /// When Kibana cannot be reached, or refuses something. The message is one sentence for the user.
    pub async fn load(&self, say: Say<'_>) -> Result<Outcome, String> {
        let files = match self.directory.as_ref().map(|directory| files::read(directory, self.kibana.dashboards.index())) {
            Some(Err(why)) if !self.lenient => return Err(why),
            files => files,
        };
        let server = self.kibana.ready(say).await?;
        let index = self.kibana.dashboards.index();
        let form = if server.is_opensearch { Form::OpenSearch } else { Form::Kibana(&server.version) };
        self.kibana.import(&server, "index-template", &pattern(index, self.declared, form).to_string()).await?;
        match files {
            Some(Err(why)) => Ok(Outcome::Skipped(why)),
            Some(Ok(files)) => self.import_all(&server, &files).await,
            None => self.import_all(&server, &dashboards::files(index)).await,
        }
    }

    async fn import_all(&self, server: &Server, files: &[File]) -> Result<Outcome, String> {
        for file in files {
            self.kibana.import(server, &file.name, &file.objects).await?;
        }
        Ok(Outcome::Loaded(files.len()))
    }
}

/// Returns the text for `export dashboard --built-in`: the index pattern and the program's own dashboards, one saved object per line, for
/// the import page of Kibana or of OpenSearch Dashboards.
pub(super) fn built_in(index: &str, declared: &[Field]) -> String {
    let objects = dashboards::files(index).into_iter().map(|file| file.objects);
    let lines: Vec<String> = std::iter::once(pattern(index, declared, Form::OpenSearch).to_string()).chain(objects).collect();
    lines.join("\n") + "\n"
}
