//! `web`: serves a page about live traffic or a capture file. Like `top`, it needs no configuration.

use super::{
    Error, documents,
    page::{self, Serving},
    privileges::{self, Needs, Seccomp},
    run::Job,
    shared::host_name,
    top::file_name,
    watch::{
        self,
        asked::{self, ForScreens},
    },
};
use crate::{
    capture::sockets,
    cli::{Invocation, WebFlags},
    net::OwnConnections,
    opening::Opening,
    output,
    web::Options,
};
use std::{io::Write, sync::Arc, time::Duration};

/// Serves the page until a signal arrives.
pub fn web(invocation: &Invocation, flags: &WebFlags, stdout: &mut impl Write) -> Result<bool, Error> {
    if flags.url {
        let paths = super::loaded(invocation)?.paths;
        writeln!(stdout, "{}", page::read_link(&paths.data)?)?;
        return Ok(true);
    }
    let options = Options::of_command_line(flags.listen.as_deref())?;
    let ForScreens { asked, plan, documents, notices } = asked::read_for_screens(&invocation.load, &flags.source, true)?;
    let (root, paths) = (&asked.loaded.root, &asked.loaded.paths);
    let is_live = plan.is_live();
    // The port may need a privilege that is given up afterwards.
    let listener = options.listen()?;
    privileges::become_user(flags.user.as_deref(), &[])?;
    privileges::restrict(&Needs::of(&plan, true), &Seccomp::read(root)?)?;
    let connections = is_live.then(|| Arc::new(OwnConnections::new(Box::new(sockets::own_sockets))));
    let output = output::open(&Opening { connections: connections.as_ref(), ..super::opening(&asked.delivery, paths) })?;
    let host = flags.source.file.as_deref().map_or_else(host_name, file_name);
    let mut serving = Serving::prepare(listener, &plan, host, options.allowed_hosts, Some(notices))?;
    let link = serving.link.with_filter(&asked.text);
    let server = serving.start()?;
    let (status, view) = (serving.shared.status(), serving.view(!is_live));
    writeln!(stdout, "{link}")?;
    stdout.flush()?;
    watch::NOT_READ.iter().for_each(|section| root.get(section).accept());
    let result = match documents {
        Some(documents) => {
            let counting = serving.shared.clone();
            documents::show(documents, view, Duration::ZERO, move |counts| counting.set_documents(counts))
        }
        None => {
            let listens = serving.listens.clone();
            Job { status: Some(status), view: Some(view), connections, listens, ..Job::for_view(plan, paths) }.run(output)
        }
    };
    drop(server);
    result.map(|()| true)
}
