//! Images in the model.

use super::pool::{Pool, SnapshotName};
use super::{FakeStore, failed, refused, session_name};
use crate::store::{
    Digest, ErrorKind, ImageTree, Images, Outcome, Progress, Result, SessionId, TemplateName, VersionId,
};

const PRISTINE: &str = "pristine";

pub(super) fn dataset(image: &Digest) -> String {
    format!("images/{image}")
}

pub(super) fn snapshot(image: &Digest) -> SnapshotName {
    SnapshotName { dataset: dataset(image), snapshot: PRISTINE.to_owned() }
}

fn origin(pool: &Pool, image: &Digest) -> Result<SnapshotName> {
    let name = snapshot(image);
    match pool.snapshot(&name) {
        Ok(_) => Ok(name),
        Err(_) => Err(refused(ErrorKind::Gone, "clone", &dataset(image), "there is no such image")),
    }
}

impl Images for FakeStore {
    fn images(&self) -> Result<Vec<ImageTree>> {
        let pool = self.pool();
        let mut images = Vec::new();
        for (name, found) in &pool.datasets {
            let Some(Ok(digest)) = name.strip_prefix("images/").map(str::parse::<Digest>) else { continue };
            let clones = pool.clones(&snapshot(&digest)).len() as u64;
            let complete = !found.snapshots.is_empty();
            images.push(ImageTree { digest, complete, created: found.created, clones });
        }
        Ok(images)
    }

    fn image_sessions(&self, image: &Digest) -> Result<Vec<SessionId>> {
        let pool = self.pool();
        let clones = pool.clones(&snapshot(image));
        Ok(clones.iter().filter_map(|name| name.strip_prefix("sessions/")?.parse().ok()).collect())
    }

    fn image_new(&self, image: &Digest) -> Result<()> {
        self.pool().create(&dataset(image)).map_err(failed("make image", &dataset(image)))
    }

    fn image_complete(&self, image: &Digest) -> Result<Outcome> {
        let name = dataset(image);
        let mut pool = self.pool();
        if pool.snapshot(&snapshot(image)).is_ok() {
            return Ok(Outcome::Unchanged);
        }
        pool.take_snapshot(&name, PRISTINE).map_err(failed("complete image", &name))?;
        Ok(Outcome::Changed)
    }

    fn image_drop(&self, image: &Digest) -> Result<Outcome> {
        let (name, pristine) = (dataset(image), snapshot(image));
        let mut pool = self.pool();
        if !pool.clones(&pristine).is_empty() {
            return Err(refused(ErrorKind::Busy, "drop image", &name, "something is cloned from it"));
        }
        if !pool.datasets.contains_key(&name) {
            return Ok(Outcome::Unchanged);
        }
        if pool.snapshot(&pristine).is_ok() {
            pool.destroy_deferred(&pristine).map_err(failed("drop image", &name))?;
        }
        pool.destroy(&name).map_err(failed("drop image", &name)).map(|()| Outcome::Changed)
    }

    fn draft_from_image(
        &self,
        template: &TemplateName,
        draft: &VersionId,
        image: &Digest,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let origin = origin(&self.pool(), image)?;
        self.make_draft(template, draft, |pool, name| {
            pool.clone_snapshot(&origin, name, &mut |bytes| progress.advance(bytes))
        })
    }

    fn session_from_image(&self, image: &Digest, session: &SessionId) -> Result<()> {
        let name = session_name(session);
        let mut pool = self.pool();
        let origin = origin(&pool, image)?;
        pool.clone_snapshot(&origin, &name, &mut |_| {}).map_err(failed("clone", &name))
    }
}
