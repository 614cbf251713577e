//! `signetfs export`: a layout and its overlay as one tar, whole or not at all.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::answer::{Answer, Failure, Form};
use super::exit::Exit;
use super::flags::Global;
use super::layouts::{self, Kind};
use super::progress::Bar;
use super::sync::mounted;
use super::terminal;
use crate::audit::{self, Survey};
use crate::export::{ExportError, Exported, Job, export};
use crate::files::replace::{new_file_mode, remove_own_leftovers};
use crate::files::{FileError, Folder, NewFile, Temporary};
use crate::report::Verdict;

/// In a folder with more entries nothing is looked for.
const LEFTOVERS_MAX: usize = 100_000;

/// Flags of `export`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// The layout: a folder, a tar, or a mount of either
    source: String,
    /// The tar to write, or - for standard output; an existing file is replaced once the new one is whole
    output: PathBuf,
    /// Folder with the new signatures of a layout that is not written to (default for a tar: TAR.signetfs beside it)
    #[arg(long, value_name = "DIR")]
    overlay: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Says why there is no archive.
pub fn run(arguments: &Arguments, global: &Global) -> Result<Answer, Failure> {
    let form = global.form();
    let is_stream = arguments.output == Path::new("-");
    if is_stream && form == Form::Json {
        return Err(Failure::usage(
            "the archive and JSON cannot both go to standard output",
            "name a file: signetfs export --json LAYOUT OUT.tar",
        ));
    }
    let reference = layouts::reference(&arguments.source, Kind::Layout)?;
    if reference.name.is_some() {
        return Err(Failure::usage(
            "export writes a whole layout, not one image",
            format!("signetfs export {} OUT.tar", reference.path),
        ));
    }
    let typed = Path::new(&reference.path);
    let mounted::Behind { layout, path, .. } =
        mounted::open(&reference.path, arguments.overlay.as_deref())?;
    let survey = audit::survey(layout.source())?;
    let index = match (&survey.index, &survey.invalid) {
        (Some(index), None) => index,
        (_, problem) => return Err(invalid(problem.as_deref())),
    };
    refuse_half(&survey)?;
    let job = Job {
        source: layout.source(),
        index: &index.bytes,
        listing: &survey.listing,
    };
    let exported = match is_stream {
        true => to_stdout(&job)?,
        false => {
            let sources = [Some(typed), Some(path.as_path()), layout.overlay()];
            refuse_sources(&arguments.output, sources.into_iter().flatten())?;
            to_file(&job, &arguments.output)?
        }
    };
    let mut answer = match form {
        Form::Text => Answer::default(),
        Form::Json => Answer::json(&json!({
            "schema": "signetfs.export/1",
            "output": arguments.output.display().to_string(),
            "bytes": exported.bytes,
            "blobs": exported.blobs,
            "extras": exported.extras,
        })),
    };
    answer.warnings = layouts::overlay_warnings(&survey);
    answer.warnings.extend(missing(&survey));
    answer.limit_warnings();
    Ok(answer)
}

fn invalid(problem: Option<&str>) -> Failure {
    Failure::new(
        Exit::Verdict(Verdict::LayoutInvalid),
        format!(
            "the layout is not valid: {}",
            problem.unwrap_or("it has no index.json")
        ),
        "see what is wrong: signetfs verify PATH",
    )
}

/// Refuses to write the layout without its overlay: who keeps the archive alone would lose the signatures.
fn refuse_half(survey: &Survey) -> Result<(), Failure> {
    let mut ignored = survey.listing.ignored.iter();
    let Some(whole) = ignored.find(|ignored| ignored.is_whole) else {
        return Ok(());
    };
    let path = whole.path.display();
    Err(Failure::new(
        Exit::CouldNot,
        format!("overlay {path} cannot be used: {}", whole.problem),
        format!("mend {path}, or move it away to export the layout without its signatures"),
    ))
}

/// Names the blobs of images that the layout does not store, and so the archive does not.
fn missing(survey: &Survey) -> Vec<String> {
    let mut missing: Vec<String> = Vec::new();
    for image in &survey.graph.images {
        let closure = survey.graph.closure(&image.descriptor);
        for part in closure.manifests.iter().chain(&closure.blobs) {
            let stored = survey
                .listing
                .blobs
                .binary_search_by(|blob| blob.digest.cmp(&part.digest));
            if stored.is_err() {
                missing.push(format!(
                    "Warning: blob {} is not in the layout",
                    part.digest
                ));
            }
        }
    }
    missing.sort();
    missing.dedup();
    missing
}

fn to_stdout(job: &Job<'_>) -> Result<Exported, Failure> {
    let mut stdout = terminal::stdout_for_bytes()?;
    let exported =
        export(job, &mut stdout, &Bar::named("exporting")).map_err(|error| failure(&error))?;
    stdout
        .flush()
        .map_err(|source| failure(&ExportError::Write(source)))?;
    Ok(exported)
}

/// Refuses to write over what is read: an archive, a file in the layout or in its overlay, the overlay's own name.
fn refuse_sources<'a>(
    output: &Path,
    sources: impl Iterator<Item = &'a Path>,
) -> Result<(), Failure> {
    let irregular = || {
        Failure::usage(
            format!("{} is not a regular file", output.display()),
            "name a file, or - for standard output",
        )
    };
    // The system would drop the slash only at the last call.
    if output.as_os_str().as_bytes().ends_with(b"/") {
        return Err(irregular());
    }
    let own = match std::fs::symlink_metadata(output) {
        Ok(own) if !own.is_file() => return Err(irregular()),
        Ok(own) => Some((own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            let error = FileError::io("examining", output)(source);
            return Err(Failure::because(&error, ANOTHER_PLACE));
        }
    };
    let place = layouts::canonical_place(output).ok();
    // By device and inode: a bind mount gives a folder another name.
    let around: Vec<_> = place
        .iter()
        .flat_map(|place| place.ancestors().skip(1))
        .filter_map(|folder| std::fs::metadata(folder).ok())
        .map(|folder| (folder.dev(), folder.ino()))
        .collect();
    for source in sources {
        let harms = match std::fs::metadata(source) {
            Ok(facts) => {
                let source = (facts.dev(), facts.ino());
                own == Some(source) || around.contains(&source)
            }
            Err(_) => place.is_some() && layouts::canonical_place(source).ok() == place,
        };
        if harms {
            return Err(Failure::usage(
                format!("{} would change the layout that is read", output.display()),
                "name another file",
            ));
        }
    }
    Ok(())
}

/// What to do where an archive cannot be.
const ANOTHER_PLACE: &str = "name another place for the archive";

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Writes beside the name, and takes the name when all of it is on the disk.
fn to_file(job: &Job<'_>, output: &Path) -> Result<Exported, Failure> {
    let failed = |error: FileError| Failure::because(&error, ANOTHER_PLACE);
    let Some(name) = output.file_name() else {
        return Err(Failure::usage(
            format!("{} is no name for a file", output.display()),
            "name a file, or - for standard output",
        ));
    };
    let folder = Folder::open(folder_of(output)).map_err(failed)?;
    // A kill between the first name of an archive and its last leaves all of it. Not worth an error, whatever keeps it there.
    let _ = remove_own_leftovers(&folder, LEFTOVERS_MAX);
    let mut file = File(Temporary::unnamed(&folder).map_err(failed)?);
    let exported =
        export(job, &mut file, &Bar::named("exporting")).map_err(|error| failure(&error))?;
    let mut file = file.0;
    let new = NewFile {
        mode: new_file_mode(),
        owner: None,
    };
    file.finish(&new).map_err(failed)?;
    file.sync().map_err(failed)?;
    file.rename(&folder, Path::new(name)).map_err(failed)?;
    folder.sync().map_err(failed)?;
    Ok(exported)
}

/// Is a temporary file that is written to.
struct File<'a>(Temporary<'a>);

impl Write for File<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failure(error: &ExportError) -> Failure {
    let (exit, hint) = match error {
        ExportError::Corrupt { .. } => (
            Some(Exit::Verdict(Verdict::Corrupt)),
            "write the image into the layout again; nothing is exported of one that is corrupt",
        ),
        ExportError::Write(source) if source.kind() == io::ErrorKind::BrokenPipe => {
            return Failure::silent(Exit::CouldNot);
        }
        ExportError::Write(_) => (None, "look at where the archive goes"),
        ExportError::Changed { .. } => (None, "try again when nobody writes the layout"),
        ExportError::Name { .. } => (None, "remove that file, or give it a shorter name"),
        ExportError::Source(_) | ExportError::Read { .. } => {
            (None, "see what is wrong: signetfs verify PATH")
        }
    };
    let mut failure = Failure::because(error, hint);
    if let Some(exit) = exit {
        failure.exit = exit;
    }
    failure
}
