//! Pressure: images take at most their share of their quota; beyond it those go that were used longest ago.
//!
//! The quota is kept by us and not by the pool, so it holds on both stores. Only images that nothing is cloned from go,
//! and only as many as it takes.

use jiff::Timestamp;

use super::gc::{Action, Item, Object};
use super::images::clones_that_stay;
use crate::import::image::{ImageRecord, Images, Listed};
use crate::session::Sessions;
use crate::store::{Digest, Error, Tree};
use crate::sys::chain;
use crate::template::{Percent, Size};

/// An image, for the choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// What it is called by.
    pub digest: Digest,
    /// What it takes.
    pub bytes: u64,
    /// When it was used last, if that is known.
    pub used: Option<Timestamp>,
    /// Nothing is cloned from it.
    pub idle: bool,
}

/// Which images go so that all together take less than `percent` of `quota`, the one used longest ago first.
#[must_use]
pub fn evicted_by_pressure(images: &[Weighed], quota: u64, percent: Percent) -> Vec<Digest> {
    let mut sum: u128 = images.iter().map(|image| u128::from(image.bytes)).sum();
    let limit = u128::from(quota) * u128::from(percent.get());
    let mut idle: Vec<&Weighed> = images.iter().filter(|image| image.idle).collect();
    idle.sort_by(|one, other| (one.used, &one.digest).cmp(&(other.used, &other.digest)));
    let mut gone = Vec::new();
    for image in idle {
        if sum * 100 < limit {
            break;
        }
        sum -= u128::from(image.bytes);
        gone.push(image.digest.clone());
    }
    gone
}

/// The lines of what pressure evicts, besides what goes by `others`; changes nothing.
///
/// # Errors
/// The images cannot be read.
pub fn pressure(
    sessions: Sessions<'_>,
    quota: Size,
    percent: Percent,
    others: &[Item],
) -> Result<Vec<Item>, Error> {
    let goes = |digest: &Digest| {
        let is_it = |item: &Item| matches!(&item.object, Object::Image { image } if image == digest);
        others.iter().any(|item| item.action == Action::Remove && is_it(item))
    };
    let mut weighed = weigh(sessions, others)?;
    weighed.retain(|image| !goes(&image.digest));
    let bytes = |image: &Digest| weighed.iter().find(|one| one.digest == *image).map(|one| one.bytes);
    let line = |image: Digest| Item {
        bytes: bytes(&image),
        object: Object::Image { image },
        action: Action::Remove,
        reason: format!("nothing is cloned from it, and images take {}% of {quota}", percent.get()),
    };
    Ok(evicted_by_pressure(&weighed, quota.bytes(), percent).into_iter().map(line).collect())
}

/// Evicts it; what would not go is the second list.
///
/// # Errors
/// The images cannot be read.
pub fn relieve(
    sessions: Sessions<'_>,
    quota: Size,
    percent: Percent,
) -> Result<(Vec<Item>, Vec<String>), Error> {
    let mut items = pressure(sessions, quota, percent, &[])?;
    let mut troubles = Vec::new();
    items.retain(|item| {
        let Object::Image { image } = &item.object else { return false };
        let is_unused = |listed: Option<&Listed>| listed.is_some_and(Listed::is_unused);
        let removed = Images::new(sessions).remove_if(image, &is_unused);
        if let Err(error) = &removed {
            troubles.push(format!("image {}: {}", image.short(), chain(error)));
        }
        removed.unwrap_or(false)
    });
    Ok((items, troubles))
}

fn weigh(sessions: Sessions<'_>, others: &[Item]) -> Result<Vec<Weighed>, Error> {
    let store = sessions.store();
    let complete = store.images()?.into_iter().filter(|tree| tree.complete);
    complete
        .map(|tree| {
            let record = ImageRecord::load(sessions.layout(), &tree.digest)?;
            let bytes = match &record {
                Some(record) => record.bytes,
                None => store.used(&Tree::Image(tree.digest.clone()))?,
            };
            let used = record.map(|record| record.last_used);
            let idle = clones_that_stay(store, &tree, others)? == 0;
            Ok(Weighed { digest: tree.digest, bytes, used, idle })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(byte: u8, bytes: u64, used: Option<i64>, idle: bool) -> Weighed {
        let used = used.map(|seconds| Timestamp::from_second(seconds).unwrap());
        Weighed { digest: Digest::from_bytes([byte; 32]), bytes, used, idle }
    }

    fn gone(images: &[Weighed], quota: u64) -> Vec<u8> {
        let all = evicted_by_pressure(images, quota, Percent::try_from(80).unwrap());
        let byte = |digest: &Digest| u8::from_str_radix(&digest.as_str()[..2], 16).unwrap();
        all.iter().map(byte).collect()
    }

    #[test]
    fn eviction_begins_at_the_share_and_ends_below_it() {
        let images =
            [image(1, 40, Some(30), true), image(2, 20, Some(10), true), image(3, 19, Some(20), true)];
        assert_eq!(gone(&images, 100), [] as [u8; 0], "79%");
        let images =
            [image(1, 40, Some(30), true), image(2, 20, Some(10), true), image(3, 20, Some(20), true)];
        assert_eq!(gone(&images, 100), [2], "80%, and 60% after it");
        assert_eq!(gone(&images, 60), [2, 3], "what was used longest ago goes first");
        assert_eq!(gone(&images, 0), [2, 3, 1]);
    }

    #[test]
    fn what_is_in_use_stays_and_what_nothing_is_known_of_goes_first() {
        let images = [image(1, 90, Some(10), false), image(2, 10, Some(20), true), image(3, 10, None, true)];
        assert_eq!(gone(&images, 110), [3, 2]);
        assert_eq!(gone(&images[..1], 90), [] as [u8; 0]);
        assert_eq!(gone(&[], 0), [] as [u8; 0]);
    }

    proptest! {
        #[test]
        fn no_more_goes_than_it_takes(sizes in prop::collection::vec((0..1000_u64, 0..100_i64, any::<bool>()), 0..12), quota in 0..5000_u64) {
            let images: Vec<Weighed> = (1_u8..)
                .zip(&sizes)
                .map(|(byte, (bytes, used, idle))| image(byte, *bytes, Some(*used), *idle))
                .collect();
            let gone = evicted_by_pressure(&images, quota, Percent::try_from(80).unwrap());
            let rest = |left_out: &[Digest]| -> u64 {
                images.iter().filter(|image| !left_out.contains(&image.digest)).map(|image| image.bytes).sum()
            };
            prop_assert!(images.iter().all(|image| image.idle || !gone.contains(&image.digest)));
            if let Some((_, but_one)) = gone.split_last() {
                prop_assert!(rest(but_one) * 100 >= quota * 80, "one too many went");
            }
            let all_idle = images.iter().filter(|image| image.idle).count();
            prop_assert!(gone.len() == all_idle || rest(&gone) * 100 < quota * 80);
        }
    }
}
