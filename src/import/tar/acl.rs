//! ACLs as text, as GNU tar and star write them (`SCHILY.acl.access`), as the kernel has them.
//!
//! Entries are `TAG:WHO:PERMISSIONS[:NUMBER]`, one a line or with commas between; star adds the number. Who is a name and
//! no number cannot be told: names are of the host that the archive was made on.

const VERSION: u32 = 2;
const NOBODY: u32 = u32::MAX;
/// Of these a file may have one each, and must have all but the mask.
const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// One entry, in the order of the kernel: owner, users, owning group, groups, mask, other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    tag: u16,
    id: u32,
    permissions: u16,
}

/// The value of the extended attribute; `None` if there is a name without a number in it, or something else that is no
/// ACL.
pub(super) fn value(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let lines = text.split(['\n', ',']).map(|line| line.split('#').next().unwrap_or_default().trim());
    let mut entries: Vec<Entry> = lines.filter(|line| !line.is_empty()).map(entry).collect::<Option<_>>()?;
    entries.sort_unstable();
    let count = |tag| entries.iter().filter(|entry| entry.tag == tag).count();
    let named = count(USER) + count(GROUP);
    let whole = [OWNER, OWNING_GROUP, OTHER].iter().all(|tag| count(*tag) == 1);
    let ordered = entries.is_sorted_by(|one, next| (one.tag, one.id) < (next.tag, next.id));
    if !whole || !ordered || count(MASK) > 1 || (named > 0 && count(MASK) == 0) {
        return None;
    }
    let mut value = VERSION.to_le_bytes().to_vec();
    for Entry { tag, id, permissions } in entries {
        value.extend(tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()));
        value.extend(id.to_le_bytes());
    }
    Some(value)
}

fn entry(line: &str) -> Option<Entry> {
    let line = line.strip_prefix("default:").unwrap_or(line);
    let mut fields = line.split(':');
    let (tag, who, permissions, number) = (fields.next()?, fields.next()?, fields.next()?, fields.next());
    if fields.next().is_some() {
        return None;
    }
    let tag = match (tag, who.is_empty()) {
        ("user" | "u", true) => OWNER,
        ("user" | "u", false) => USER,
        ("group" | "g", true) => OWNING_GROUP,
        ("group" | "g", false) => GROUP,
        ("mask" | "m", true) => MASK,
        ("other" | "o", true) => OTHER,
        _ => return None,
    };
    let id = match tag {
        USER | GROUP => number.unwrap_or(who).parse().ok().filter(|id| *id != NOBODY)?,
        _ => NOBODY,
    };
    Some(Entry { tag, id, permissions: bits(permissions)? })
}

fn bits(permissions: &str) -> Option<u16> {
    permissions.chars().try_fold(0, |bits, letter| {
        Some(match letter {
            'r' => bits | 4,
            'w' => bits | 2,
            'x' => bits | 1,
            '-' => bits,
            _ => return None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_what_the_kernel_has() {
        let entry = |tag: u8, bits: u8, id: u32| [&[tag, 0, bits, 0][..], &id.to_le_bytes()].concat();
        let all = [
            vec![2, 0, 0, 0],
            entry(1, 6, NOBODY),
            entry(2, 7, 5),
            entry(2, 4, 1000),
            entry(4, 4, NOBODY),
            entry(8, 0, 7),
            entry(16, 6, NOBODY),
            entry(32, 0, NOBODY),
        ]
        .concat();
        let texts = [
            "user::rw-\nuser:1000:r--\nuser:5:rwx\t#effective:rw-\ngroup::r--\ngroup:7:---\nmask::rw-\nother::---\n",
            "u::rw,u:1000:r,u:daemon:rwx:5,g::r,g:lp:-:7,m::rw,o::-",
            "default:user::rw-,default:user:5:rwx,user:1000:r--,group::r--,group:7:---,mask::rw-,other::---",
        ];
        for text in texts {
            assert_eq!(value(text.as_bytes()).as_deref(), Some(&all[..]), "{text}");
        }
        assert_eq!(value(b"user::rw-,group::r--,other::r--").unwrap().len(), 4 + 3 * 8);
    }

    #[test]
    fn names_without_numbers_and_what_is_no_acl_are_left_out() {
        let base = "user::rw-,group::r--,other::r--";
        let texts = [
            "",
            "user::rw-",
            "user::rw-,group::r--,other::rz-",
            &format!("{base},other::r--"),
            &format!("{base},user:5:rw-"),
            &format!("{base},mask::rw-,user:daemon:rw-"),
            &format!("{base},mask::rw-,user:5:rw-,user:5:r--"),
            &format!("{base},mask::rw-,user:4294967295:rw-"),
            &format!("{base},mask::rw-,user:5:rw-:5:5"),
            &format!("{base},mask:5:rw-"),
            &format!("{base},mask::rw-,mask::r--"),
            &format!("{base},everybody::rw-"),
            &format!("{base},user"),
        ];
        for text in texts {
            assert_eq!(value(text.as_bytes()), None, "{text}");
        }
        assert_eq!(value(b"user::\xff"), None);
    }
}
