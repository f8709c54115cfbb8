//! The command `setup`, and the exports of objects for Kibana.

use super::{Error, command_line, export, loaded, opening, plan, runtime};
use crate::{
    cli::{DashboardFlags, Invocation, SetupFlags},
    config::{self, Compatibility, General, Loaded},
    monitor::log::Logger,
    net::OwnConnections,
    opening::Opening,
    output::{
        elasticsearch::Preparation,
        kibana::{self, Loader, Outcome, Wanted},
    },
};
use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
    thread::JoinHandle,
};

/// Executes `setup`. Without flags everything is set up.
///
/// # Errors
/// When the configuration is wrong, or a server cannot be set up.
pub fn setup(invocation: &Invocation, flags: &SetupFlags, stdout: &mut (impl Write + Send)) -> Result<(), Error> {
    let loaded = loaded(invocation)?;
    let all = !(flags.index_management || flags.dashboards || flags.pipelines);
    let (indices, pipelines) = (flags.index_management || all, flags.pipelines || all);
    super::warn(&super::check(&loaded)?.warnings);
    Logger::open(&loaded.root.get("logging"), &command_line(invocation, &loaded.paths))?.install()?;
    let opening = opening(&loaded.root, &loaded.paths);
    let elasticsearch = if indices || pipelines { Some(required(&opening, indices)?) } else { None };
    let loader = if flags.dashboards || all { Some(loader(&opening)?) } else { None };
    runtime()?.block_on(async {
        if let Some(elasticsearch) = &elasticsearch {
            elasticsearch.run(indices).await?;
            if indices {
                if elasticsearch.keeps_policy() {
                    writeln!(stdout, "Overwriting lifecycle policy is disabled. Set `setup.ilm.overwrite: true` to overwrite.")?;
                }
                writeln!(stdout, "Index setup finished.")?;
            }
        }
        if let Some(loader) = loader {
            writeln!(stdout, "Loading dashboards (Kibana must be running and reachable)")?;
            match loader.load(&mut to_stderr).await? {
                Outcome::Loaded(_) => writeln!(stdout, "Loaded dashboards")?,
                Outcome::Skipped(why) => writeln!(stdout, "Skipping loading dashboards, {why}")?,
            }
        }
        if pipelines {
            // The documents of this program need no ingest pipeline.
            writeln!(stdout, "Loaded Ingest pipelines")?;
        }
        Ok(())
    })
}

fn required(opening: &Opening<'_>, indices: bool) -> Result<Preparation, Error> {
    let what = if indices { "index management" } else { "ingest pipelines" };
    let missing = || format!("{what} requested but the Elasticsearch output is not configured/enabled");
    Ok(Preparation::read(opening)?.ok_or_else(missing)?)
}

/// Makes the loader of dashboards for this configuration.
///
/// # Errors
/// When a setting is wrong.
pub fn loader<'a>(opening: &Opening<'a>) -> Result<Loader<'a>, config::Error> {
    let strict = General::read(opening.root)?.compatibility == Compatibility::Strict;
    Loader::read(opening, strict)
}

/// `setup.dashboards.enabled`: loads the dashboards in a thread while the program runs. Capture does not wait for Kibana, and a failure is
/// only a line in the log. Returns the thread, if dashboards are to be loaded.
///
/// `connections`: the connections of this process, if a device is captured.
///
/// # Errors
/// When a setting is wrong.
pub fn load_in_background(loaded: &Loaded, connections: Option<&Arc<OwnConnections>>) -> Result<Option<JoinHandle<()>>, Error> {
    let (root, paths, connections) = (loaded.root.clone(), loaded.paths.clone(), connections.cloned());
    if !loader(&opening(&root, &paths))?.loads_at_start() {
        return Ok(None);
    }
    let thread = std::thread::Builder::new().name("dashboards".into()).spawn(move || {
        let opening = Opening { connections: connections.as_ref(), ..opening(&root, &paths) };
        let result = loader(&opening).map_err(|error| error.to_string()).and_then(|loader| {
            let runtime = runtime().map_err(|error| error.to_string())?;
            runtime.block_on(loader.load(&mut |line: &str| log::info!("{line}")))
        });
        match result {
            Ok(Outcome::Loaded(_)) => log::info!("Loaded dashboards"),
            Ok(Outcome::Skipped(why)) => log::warn!("Skipping loading dashboards, {why}"),
            Err(why) => log::error!("The dashboards are not loaded: {why}; `setup --dashboards` loads them"),
        }
    })?;
    Ok(Some(thread))
}

/// Executes `export index-pattern`.
///
/// # Errors
/// When standard output cannot be written.
pub fn export_index_pattern(stdout: &mut impl Write) -> Result<(), Error> {
    Ok(export(&kibana::index_pattern(plan::declared_fields()), None, "", stdout)?)
}

/// Executes `export dashboard`.
///
/// # Errors
/// When a flag is missing, or Kibana does not deliver the dashboard.
pub fn export_dashboard(invocation: &Invocation, flags: &DashboardFlags, stdout: &mut impl Write) -> Result<(), Error> {
    let Loaded { root, paths, .. } = loaded(invocation)?;
    let opening = opening(&root, &paths);
    if flags.built_in {
        write!(stdout, "{}", kibana::own_dashboards(&opening)?)?;
        return Ok(());
    }
    let Some(folder) = flags.folder.as_deref() else {
        return Err("--folder must be specified; `--built-in` prints the dashboards of this program instead".into());
    };
    let wanted = match (&flags.id, &flags.yml) {
        (Some(id), None) => Wanted::Id(id.clone()),
        (None, Some(yml)) => Wanted::List(yml.clone()),
        _ => return Err("exactly one of --id and --yml must be specified".into()),
    };
    exported(&opening, &wanted, folder, stdout)
}

fn exported(opening: &Opening<'_>, wanted: &Wanted, folder: &Path, stdout: &mut impl Write) -> Result<(), Error> {
    for path in runtime()?.block_on(kibana::export(opening, wanted, folder, &mut to_stderr))? {
        writeln!(stdout, "{}", path.display())?;
    }
    Ok(())
}

/// Shows a line while a command waits for Kibana.
fn to_stderr(line: &str) {
    // An error is ignored: when stderr is closed, the line cannot be shown anywhere.
    let _ = writeln!(io::stderr(), "{line}");
}
