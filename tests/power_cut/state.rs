//! What a power cut left on the disk, by name: looked at before anything repairs it.
//!
//! From a listing and the files of the state alone, so that it can be told wherever they come from: the tests look
//! at a copy, `cargo xtask test --lane crash` at what a machine that was killed says when it is up again.

use std::collections::{BTreeMap, BTreeSet};

use zchroot::session::record::{Kind, Record, State};

/// The columns of the listing: `zfs list -Hpr -t filesystem,snapshot -o COLUMNS BASE/zchroot`.
pub const COLUMNS: &str = "name,origin,defer_destroy,zchroot:current";

/// All states that a copy can show, each a line of the table in docs/crash-model.md. A cut shows as many
/// of them as things were going on.
pub const ALL: [&str; 37] = [
    AT_REST,
    "record.temp-file",
    "create.planned",
    "create.draft",
    "create.filled",
    "create.version-file",
    "create.committed-no-pointer",
    "create.committed-record-stays",
    "source.planned",
    "source.draft",
    "source.ready",
    "source.kept",
    "commit.unmounted",
    "commit.version-file",
    "commit.done-pointer-old",
    "commit.done-record-stays",
    "abort.ending",
    "abort.draft-gone",
    "settle.not-promoted",
    "settle.old-head",
    "settle.old-version-leaves",
    "begin.planned",
    "begin.clone",
    "begin.ready",
    "end.ending",
    "end.clone-gone",
    "run.record-empty",
    "run.planned",
    "run.clone",
    "run.ending-or-gone",
    "gc.orphan-clone",
    "gc.orphan-draft",
    "gc.half-done",
    "image.draft",
    "image.record",
    "image.complete",
    "image.record-alone",
];
pub const AT_REST: &str = "at-rest";

/// A head of a template.
#[derive(Default)]
struct Head {
    origin: String,
    snapshots: Vec<(String, bool)>,
}

impl Head {
    /// How many of its versions are not on their way out.
    fn staying(&self) -> usize {
        self.snapshots.iter().filter(|(_, leaving)| !leaving).count()
    }
}

#[derive(Default)]
struct Template {
    current: Option<String>,
    heads: BTreeMap<String, Head>,
}

impl Template {
    fn complete(&self) -> BTreeSet<&str> {
        self.heads.values().flat_map(|head| &head.snapshots).map(|(name, _)| name.as_str()).collect()
    }
}

/// The datasets and files of a store at one instant.
pub struct Seen {
    templates: BTreeMap<String, Template>,
    clones: BTreeSet<String>,
    /// Which there are, and whether they are complete.
    images: BTreeMap<String, bool>,
    records: Vec<Record>,
    damaged: BTreeSet<String>,
    files: BTreeMap<String, String>,
    list: String,
}

impl Seen {
    /// From the listing of `base`, which is called `BASE/zchroot`, and the state's files by their path in it, a symlink
    /// being its target.
    pub fn new(base: &str, list: &str, files: BTreeMap<String, String>) -> Self {
        let mut seen = Self {
            templates: BTreeMap::new(),
            clones: BTreeSet::new(),
            images: BTreeMap::new(),
            records: Vec::new(),
            damaged: BTreeSet::new(),
            files: BTreeMap::new(),
            list: list.to_owned(),
        };
        for line in list.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            seen.add(fields[0].strip_prefix(base).unwrap_or_default(), &fields);
        }
        for (path, text) in &files {
            let id = path.strip_prefix("sessions/").and_then(|name| name.strip_suffix(".toml"));
            match id.map(|id| (id, toml::from_str(text))) {
                Some((_, Ok(record))) => seen.records.push(record),
                Some((id, Err(_))) => {
                    seen.damaged.insert(id.to_owned());
                }
                None => {}
            }
        }
        Self { files, ..seen }
    }

    /// All of it as text: what two looks are compared by.
    pub fn whole(&self) -> String {
        let files: Vec<String> = self.files.iter().map(|(path, text)| format!("{path}: {text}")).collect();
        format!("{}\n{}", self.list, files.join("\n"))
    }

    fn temps(&self) -> usize {
        self.files.keys().filter(|path| path.contains(".tmp-")).count()
    }

    fn add(&mut self, name: &str, fields: &[&str]) {
        let parts: Vec<&str> = name.split('/').collect();
        match parts[..] {
            ["", "templates", template] => {
                let current = Some(fields[3]).filter(|value| *value != "-").map(str::to_owned);
                self.templates.insert(template.to_owned(), Template { current, ..Template::default() });
            }
            ["", "templates", template, head] => {
                let heads = &mut self.templates.get_mut(template).unwrap().heads;
                match head.split_once('@') {
                    None => {
                        let origin = fields[1].to_owned();
                        heads.insert(head.to_owned(), Head { origin, ..Head::default() });
                    }
                    Some((head, snapshot)) => {
                        let leaving = fields[2] == "on";
                        heads.get_mut(head).unwrap().snapshots.push((snapshot.to_owned(), leaving));
                    }
                }
            }
            ["", "sessions", session] => {
                self.clones.insert(session.to_owned());
            }
            ["", "images", image] => {
                let (image, complete) = match image.split_once('@') {
                    None => (image, false),
                    Some((image, snapshot)) => (image, snapshot == "pristine"),
                };
                *self.images.entry(image.to_owned()).or_default() |= complete;
            }
            _ => {}
        }
    }

    /// The states that this shows.
    pub fn states(&self) -> BTreeSet<&'static str> {
        let mut states = BTreeSet::new();
        if self.temps() > 0 {
            states.insert("record.temp-file");
        }
        for (name, template) in &self.templates {
            self.settling(name, template, &mut states);
        }
        for record in &self.records {
            states.insert(match record.kind {
                Kind::Source if record.base.is_none() => self.creating(record),
                Kind::Source => self.committing(record),
                Kind::Named => self.named(record),
                Kind::Ephemeral => self.ephemeral(record),
            });
        }
        if !self.damaged.is_empty() {
            states.insert("run.record-empty");
        }
        states.extend(self.images.iter().map(|(image, complete)| match (complete, self.is_known(image)) {
            (true, _) => "image.complete",
            (false, true) => "image.record",
            (false, false) => "image.draft",
        }));
        if self.known_images().any(|image| !self.images.contains_key(image)) {
            states.insert("image.record-alone");
        }
        if !self.clones.iter().all(|id| self.has_record(id)) {
            states.insert("gc.orphan-clone");
        }
        if states.is_empty() {
            states.insert(AT_REST);
        }
        states
    }

    /// What there is to be reclaimed by a collection, if each template keeps so many old versions.
    pub fn garbage(&self, keep: usize) -> usize {
        let clones = self.clones.iter().filter(|id| !self.has_record(id)).count();
        let heads: usize =
            self.templates.values().map(|template| template.heads.len().saturating_sub(1)).sum();
        let snapshots: usize =
            self.templates.values().map(|template| template.complete().len().saturating_sub(1 + keep)).sum();
        clones + heads + snapshots + self.temps()
    }

    /// The sessions that have a record: their names, and whether they are source sessions.
    pub fn sessions(&self) -> Vec<(String, bool)> {
        let told = |record: &Record| (record.id.to_string(), record.kind == Kind::Source);
        self.records.iter().map(told).collect()
    }

    /// Everything that is left when no session is: of each template one head and at most `keep` old versions.
    pub fn is_clean(&self, keep: usize) -> Result<(), String> {
        for (name, template) in &self.templates {
            let heads = template.heads.len();
            let Some(current) = &template.current else {
                if heads == 0 {
                    continue;
                }
                return Err(format!("template {name} has no version and {heads} heads"));
            };
            // After a rollback another head holds what was gone back over, and the version that both have come from
            // can go only when that does.
            let is_right = |(id, head): (&String, &Head)| {
                head.staying() > 0 && (id != current || !head.origin.contains(&format!("/{name}/")))
            };
            let versions: usize = template.heads.values().map(Head::staying).sum();
            if !template.heads.iter().all(is_right) || versions > keep + 1 {
                return Err(format!("template {name} has {heads} heads and {versions} versions"));
            }
        }
        let drafts: Vec<&String> =
            self.images.iter().filter(|(_, complete)| !**complete).map(|(image, _)| image).collect();
        let known: Vec<&str> = self.known_images().collect();
        if !drafts.is_empty() || known.len() != self.images.len() {
            return Err(format!("drafts of images {drafts:?}, records of {known:?}"));
        }
        if self.clones.is_empty() && self.records.is_empty() && self.temps() == 0 {
            return Ok(());
        }
        Err(format!("clones {:?}, {} records, {} temp files", self.clones, self.records.len(), self.temps()))
    }

    /// Whether the pointers say what the pool says.
    pub fn pointers_are_right(&self) -> Result<(), String> {
        for (name, template) in &self.templates {
            let pointer = self.pointer(name);
            if template.current != pointer {
                return Err(format!("{name}: current is {:?}, the pointer {pointer:?}", template.current));
            }
        }
        Ok(())
    }

    /// The images of which something is written down.
    fn known_images(&self) -> impl Iterator<Item = &str> {
        self.files.keys().filter_map(|path| path.strip_prefix("images/")?.strip_suffix(".toml"))
    }

    fn is_known(&self, image: &str) -> bool {
        self.known_images().any(|known| known == image)
    }

    fn has_record(&self, id: &str) -> bool {
        self.damaged.contains(id) || self.records.iter().any(|record| record.id.as_str() == id)
    }

    fn settling(&self, name: &str, template: &Template, states: &mut BTreeSet<&'static str>) {
        let Some(current) = &template.current else { return };
        let complete = template.complete();
        if template.heads.get(current).is_some_and(|head| head.origin.contains(&format!("/{name}/"))) {
            states.insert("settle.not-promoted");
        }
        let leaves = |head: &Head| head.snapshots.iter().any(|(_, leaving)| *leaving);
        if template.heads.values().any(leaves) {
            states.insert("settle.old-version-leaves");
        }
        for (id, head) in &template.heads {
            let is_drafted =
                self.records.iter().any(|record| record.draft.as_ref().is_some_and(|it| it.as_str() == id));
            if id == current || !head.snapshots.is_empty() || is_drafted {
                continue;
            }
            // What was promoted took the snapshot along.
            let is_version = complete.contains(id.as_str());
            states.insert(if is_version { "settle.old-head" } else { "gc.orphan-draft" });
        }
    }

    fn is_described(&self, template: &str, version: &str) -> bool {
        self.files.contains_key(&format!("templates/{template}/versions/{version}.toml"))
    }

    fn pointer(&self, template: &str) -> Option<String> {
        let link = self.files.get(&format!("templates/{template}/current"))?;
        Some(link.strip_prefix("versions/")?.strip_suffix(".toml")?.to_owned())
    }

    /// How far the draft of a record is: there, described, a version, and shown.
    fn draft(&self, record: &Record) -> (bool, bool, bool, bool) {
        let draft = record.draft.as_ref().unwrap().as_str();
        let template = self.templates.get(record.template.as_str());
        let is_there = template.is_some_and(|template| template.heads.contains_key(draft));
        let described = self.is_described(record.template.as_str(), draft);
        let complete = template.is_some_and(|template| template.complete().contains(draft));
        let shown = self.pointer(record.template.as_str()).as_deref() == Some(draft);
        (is_there, described, complete, shown)
    }

    fn creating(&self, record: &Record) -> &'static str {
        match (self.draft(record), record.state) {
            ((_, _, true, true), _) => "create.committed-record-stays",
            ((_, _, true, false), _) => "create.committed-no-pointer",
            ((_, true, ..), _) => "create.version-file",
            ((false, ..), _) => "create.planned",
            (_, State::Planned) => "create.draft",
            _ => "create.filled",
        }
    }

    fn committing(&self, record: &Record) -> &'static str {
        match (self.draft(record), record.state) {
            ((_, _, true, true), _) => "commit.done-record-stays",
            ((_, _, true, false), _) => "commit.done-pointer-old",
            ((true, ..), State::Ending) => "abort.ending",
            ((false, ..), State::Ending) => "abort.draft-gone",
            ((_, true, ..), _) => "commit.version-file",
            ((false, ..), _) => "source.planned",
            (_, State::Planned) => "source.draft",
            (_, State::Ready) => "source.ready",
            (_, State::Unmounted) => "commit.unmounted",
            (_, State::Kept) => "source.kept",
        }
    }

    fn named(&self, record: &Record) -> &'static str {
        match (self.clones.contains(record.id.as_str()), record.state) {
            (false, State::Ending) => "end.clone-gone",
            (true, State::Ending) => "end.ending",
            (false, _) => "begin.planned",
            (true, State::Planned) => "begin.clone",
            (true, _) => "begin.ready",
        }
    }

    /// Its record is not synced: on the disk it may be any number of steps behind the tree.
    fn ephemeral(&self, record: &Record) -> &'static str {
        match (self.clones.contains(record.id.as_str()), record.state) {
            (false, State::Planned) => "run.planned",
            (true, State::Planned | State::Ready) => "run.clone",
            _ => "run.ending-or-gone",
        }
    }
}
