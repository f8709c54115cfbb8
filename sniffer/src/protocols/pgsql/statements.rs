//! Applies the server's responses to the waiting statements. A response confirms, describes or completes a statement, or reports its
//! failure.

use super::{
    connection::{Connection, Step, StepKind, Unit},
    event::{self, Columns, Formats, Statement, write_row},
    named::{Portal, Prepared},
    state::{Mode, Turn},
    wire::{self, Failure, Values},
};
use crate::protocols::Context;
use std::sync::Arc;

/// The note of an event whose request is incomplete in the capture.
pub const REQUEST_LOST: &str = "Packet loss while capturing the request";
const RESPONSE_LOST: &str = "Packet loss while capturing the response";
const UNKNOWN: &str = "The actual query being used is unknown";

impl Connection {
    /// Handles the server's start of a COPY. The server does not respond to Syncs sent before the end of the COPY.
    pub(super) fn copy_in(&mut self) {
        let end = self.pending.iter().position(|step| matches!(step.what, StepKind::CopyDone));
        self.mode = if end.is_none() { Mode::CopyIn } else { self.mode.copy_ended() };
        let end = end.unwrap_or(self.pending.len());
        let mut at = 0;
        self.pending.retain(|step| {
            at += 1;
            at - 1 > end || !matches!(step.what, StepKind::Sync | StepKind::CopyDone)
        });
    }

    /// Handles the confirmation of the first step, which now takes effect.
    pub(super) fn confirm(&mut self) {
        let Some(step) = self.pending.pop() else { return };
        self.unit.start.get_or_insert(step.start);
        self.unit.request += step.bytes;
        match step.what {
            StepKind::Parse { name, sql } => {
                let prepared = Prepared { sql, known: true, columns: None };
                self.unit.about = Some(prepared.clone());
                self.statements.insert(name, prepared);
            }
            StepKind::Bind { portal, statement, formats } => {
                let prepared = self.prepared(&statement);
                self.unit.about = Some(prepared.clone());
                self.portals.insert(portal, Portal { prepared, formats });
            }
            StepKind::Close { portal: true, name } => self.portals.remove(&name),
            StepKind::Close { portal: false, name } => self.statements.remove(&name),
            _ => {}
        }
    }

    /// The statement with this name; if it was parsed before the capture began, only the name is known.
    fn prepared(&self, name: &[u8]) -> Prepared {
        self.statements.get(name).cloned().unwrap_or_else(|| {
            let sql = if name.is_empty() { Arc::default() } else { [&b"EXECUTE "[..], name].concat().into() };
            Prepared { sql, known: false, columns: None }
        })
    }

    /// Handles the columns of a described statement or portal.
    pub(super) fn described(&mut self, body: &[u8]) {
        let Some(Step { start, bytes, what: StepKind::Describe { portal, name } }) = self.pending.pop() else { return };
        self.unit.start.get_or_insert(start);
        self.unit.request += bytes;
        let columns = Columns::read(body, self.plugin.common.send_response).map(Arc::new);
        if portal {
            self.portals.change(&name, |portal| portal.prepared.columns = columns);
        } else {
            self.statements.change(&name, |prepared| prepared.columns = columns);
        }
    }

    /// Handles the columns of the next result.
    pub(super) fn result(&mut self, body: &[u8]) {
        let shown = self.plugin.common.send_response;
        let columns = Columns::read(body, shown).unwrap_or_default();
        (self.answer.described, self.answer.fields) = (true, columns.count);
        self.formats = Formats::Described;
        if shown {
            columns.write_header(&mut self.answer.text);
            self.columns = Some(Arc::new(columns));
        }
    }

    /// Starts the result of an Execute, if it has not started.
    pub(super) fn begin(&mut self) {
        let Some(Step { what: StepKind::Execute { portal }, .. }) = self.pending.front() else { return };
        if std::mem::replace(&mut self.answer.described, true) {
            return;
        }
        let shown = self.plugin.common.send_response;
        self.columns = None;
        if let Some(portal) = self.portals.get(portal) {
            self.formats = if shown { portal.formats.clone() } else { Formats::Described };
            if let Some(columns) = &portal.prepared.columns {
                self.answer.fields = columns.count;
                if shown {
                    columns.write_header(&mut self.answer.text);
                    self.columns = Some(Arc::clone(columns));
                }
            }
        } else {
            self.formats = Formats::Unknown;
        }
    }

    pub(super) fn row(&mut self, body: &[u8]) {
        self.begin();
        if let (0, Some(&count)) = (self.answer.fields, body.first_chunk()) {
            self.answer.fields = u16::from_be_bytes(count);
        }
        if self.shows_row()
            && let Some(values) = Values::new(body)
        {
            let most = self.plugin.options.max_row_length;
            write_row(&mut self.answer.text, values, self.columns.as_deref(), &self.formats, most);
        }
        self.answer.rows += 1;
    }

    /// Handles the completion of a statement.
    pub(super) fn complete(&mut self, kind: u8, tag: &[u8], cx: &mut Context<'_>) {
        if self.answer.copied > 0 || self.copied > 0 || tag.starts_with(b"COPY ") {
            self.answer.rows = wire::copied(tag).unwrap_or(self.answer.copied);
        }
        let notes: &[&str] = if self.answer.lost { &[RESPONSE_LOST] } else { &[] };
        match self.pending.pop() {
            Some(step @ Step { what: StepKind::Query { .. }, .. }) => self.complete_query(step, None, notes, cx),
            Some(Step { start, bytes, what: StepKind::Execute { portal } }) => {
                self.unit.start.get_or_insert(start);
                self.unit.request += bytes + self.sync_bytes(0);
                let portal = self.portals.get(&portal).map(|portal| portal.prepared.clone());
                let about = portal.unwrap_or_else(|| Prepared { sql: Arc::default(), known: false, columns: None });
                if kind != b'I' {
                    self.report(&about, None, notes, cx);
                }
                self.last = Some(about);
            }
            _ => {}
        }
        self.next_statement();
    }

    /// Handles the completion or failure of the next statement of a simple query. The query remains until a
    /// ReadyForQuery.
    fn complete_query(&mut self, mut step: Step, failure: Option<Failure<'_>>, notes: &[&str], cx: &mut Context<'_>) {
        if let StepKind::Query { text, parts, answered } = &mut step.what {
            self.unit.start = Some(step.start);
            self.unit.request = step.bytes;
            match parts.get(*answered) {
                Some(&(from, to)) => self.report_sql(text.get(from..to).unwrap_or_default(), failure, notes, cx),
                // An empty query is not reported.
                None if parts.is_empty() && failure.is_none() => {}
                None => cx.count("unmatched_responses"),
            }
            *answered += 1;
        }
        self.pending.put_back(step);
    }

    pub(super) fn next_statement(&mut self) {
        self.answer.clear();
        self.columns = None;
        (self.unit, self.copied) = (Unit::default(), 0);
    }

    /// Number of bytes of the step at `at` if it is a Sync, otherwise 0.
    fn sync_bytes(&self, at: usize) -> u64 {
        self.pending.get(at).filter(|step| matches!(step.what, StepKind::Sync)).map_or(0, |step| step.bytes)
    }

    /// Handles an ErrorResponse: the current statement has failed, and nothing more is executed before the next Sync.
    pub(super) fn fail(&mut self, failure: Failure<'_>, length: u64, cx: &mut Context<'_>) {
        self.unit.response += length;
        self.mode = self.mode.copy_ended();
        let Some(step) = self.pending.pop() else { return };
        match &step.what {
            StepKind::Query { .. } => {
                let notes: &[&str] = if self.answer.lost { &[RESPONSE_LOST] } else { &[] };
                self.complete_query(step, Some(failure), notes, cx);
                self.next_statement();
                return;
            }
            // The implicit COMMIT of the query has failed.
            StepKind::Sync | StepKind::Gap => {
                self.unit.request += step.bytes;
                let notes: &[&str] = if matches!(step.what, StepKind::Gap) { &[REQUEST_LOST] } else { &[] };
                self.unit.start.get_or_insert(step.start);
                match self.last.take().or(self.unit.about.take()) {
                    Some(about) => self.report(&about, Some(failure), notes, cx),
                    None => cx.count("unmatched_responses"),
                }
                self.pending.put_back(step);
                return self.next_statement();
            }
            StepKind::Other | StepKind::CopyDone => {
                cx.count("unmatched_responses");
                self.pending.put_back(step);
                return self.next_statement();
            }
            _ => {}
        }
        self.unit.start.get_or_insert(step.start);
        self.unit.request += step.bytes;
        let of_portal = |name: &[u8]| self.portals.get(name).map(|portal| portal.prepared.clone());
        let about = match &step.what {
            StepKind::Parse { sql, .. } => Some(Prepared { sql: Arc::clone(sql), known: true, columns: None }),
            StepKind::Bind { statement, .. } => Some(self.prepared(statement)),
            StepKind::Execute { portal } => of_portal(portal),
            StepKind::Describe { portal: true, name } => of_portal(name),
            StepKind::Describe { portal: false, name } => Some(self.prepared(name)),
            _ => None,
        };
        // The rest of the statement, up to its Execute, belongs to the request; later steps before the Sync were not
        // executed.
        let (mut mine, mut others) = (!matches!(step.what, StepKind::Execute { .. }), false);
        self.mode = Mode::SkipToSync;
        while let Some(next) = self.pending.front() {
            if matches!(next.what, StepKind::Sync | StepKind::Gap) {
                self.mode = Mode::Statements;
                break;
            }
            let Some(next) = self.pending.pop() else { break };
            if mine {
                self.unit.request += next.bytes;
                mine = !matches!(next.what, StepKind::Execute { .. });
            } else {
                others = true;
                self.unanswered(&next, cx);
            }
        }
        if !others {
            self.unit.request += self.sync_bytes(0);
        }
        match about.or(self.unit.about.take()) {
            Some(about) => self.report(&about, Some(failure), &[], cx),
            None => cx.count("unmatched_responses"),
        }
        self.last = None;
        self.next_statement();
    }

    /// Handles a ReadyForQuery: the server has responded to everything up to the next end of a query.
    pub(super) fn on_ready(&mut self, idle: bool, cx: &mut Context<'_>) {
        self.turn = Turn::Client;
        let was_lost = self.pairing.is_lost();
        self.pairing = self.pairing.ready();
        if was_lost {
            return self.start_over();
        }
        while let Some(step) = self.pending.pop() {
            self.unanswered(&step, cx);
            if step.ends() {
                break;
            }
        }
        if idle {
            self.portals.clear();
        }
        self.mode = self.mode.copy_ended();
        self.start_over();
    }

    /// Reports a result of which some rows were captured, but of which the end will not be captured.
    pub(super) fn report_partial(&mut self, cx: &mut Context<'_>) {
        if self.answer.rows == 0 || self.pairing.is_lost() {
            return;
        }
        self.begin();
        let notes = &[RESPONSE_LOST];
        match self.pending.pop() {
            Some(step @ Step { what: StepKind::Query { .. }, .. }) => self.complete_query(step, None, notes, cx),
            Some(Step { start, bytes, what: StepKind::Execute { portal } }) => {
                self.unit.start.get_or_insert(start);
                self.unit.request += bytes + self.sync_bytes(0);
                if let Some(about) = self.portals.get(&portal).map(|portal| portal.prepared.clone()) {
                    self.report(&about, None, notes, cx);
                }
            }
            _ => {}
        }
        self.next_statement();
    }

    /// Reports a statement of an extended query.
    pub(super) fn report(&self, about: &Prepared, failure: Option<Failure<'_>>, notes: &[&str], cx: &mut Context<'_>) {
        // Drivers send SET statements when a session begins. They are not reported, as in Packetbeat.
        if about.sql.starts_with(b"SET ") {
            return;
        }
        let sql = &about.sql;
        if about.known {
            return self.report_sql(sql, failure, notes, cx);
        }
        let with: smallvec::SmallVec<[&str; 2]> = notes.iter().copied().chain([UNKNOWN]).collect();
        self.report_sql(sql, failure, &with, cx);
    }

    fn report_sql(&self, sql: &[u8], failure: Option<Failure<'_>>, notes: &[&str], cx: &mut Context<'_>) {
        let (unit, answer) = (&self.unit, &self.answer);
        let statement = Statement {
            sql,
            start: unit.start,
            end: unit.answered,
            request: unit.request.saturating_add(self.copied),
            response: unit.response,
            fields: answer.fields,
            rows: answer.rows,
            text: &answer.text,
            failure,
            notes,
        };
        event::emit(&statement, &self.plugin.common, cx);
    }
}
