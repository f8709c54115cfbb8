//! Chooses the answer to a request by its path.

use super::{
    export, operations, overview,
    parameters::{Parameters, Refused},
    state::State,
    tail::{self, Tail},
};

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A JSON text.
    Json(Vec<u8>),
    /// New transactions, or that there are none.
    Tail(Tail),
    /// A file to be saved: its name, its type, its content.
    File(&'static str, &'static str, Vec<u8>),
}

impl State {
    /// Answers a request for a path of the API.
    ///
    /// # Errors
    /// When the path is not known or a parameter is wrong.
    pub fn answer(&mut self, path: &str, parameters: &Parameters) -> Result<Reply, Refused> {
        match path {
            "/api/view" => overview::answer(self, parameters).map(Reply::Json),
            "/api/operations" => operations::answer(self, parameters).map(Reply::Json),
            "/api/tail" => tail::answer(self, parameters, None).map(Reply::Tail),
            "/api/transaction" => tail::transaction(self, parameters).map(Reply::Json),
            "/api/export" => export::answer(self, parameters).map(|(name, kind, body)| Reply::File(name, kind, body)),
            _ => Err(Refused::new(404, "unknown path; docs/web-api.md lists the paths")),
        }
    }

    /// Answers a held request for `/api/tail` again, after `empty`, its last answer.
    ///
    /// # Errors
    /// When a parameter is wrong.
    pub fn tail(&self, parameters: &Parameters, empty: &Tail) -> Result<Tail, Refused> {
        tail::answer(self, parameters, Some(empty))
    }
}
