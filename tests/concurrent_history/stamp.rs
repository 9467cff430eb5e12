//! What a version is known by: 200 files all over the tree that all say the same, among them a directory that is
//! renamed each time, one that is made and removed, two names of one file; and a symlink.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::history::{FIRST, Look, Stamp};

pub(crate) const FILES: usize = 200;

/// Says in one line what there is: COUNT GENERATION TOKEN ... | where the symlink leads | whose marks. One process.
const LOOK: &str = r#"
look() {
  cd -P /srv/now; now=${PWD##*/}
  cd /srv/marks; set -- *
  [ -e "$1" ] || shift
  cd /
  says=$(awk '{ n[$0]++ } END { for (line in n) print n[line], line }' /srv/data/*/deep/* /usr/lib/part-*/* \
    /srv/moving-*/* /srv/made-*/* /etc/stamp-* /etc/linked) || true
  echo "look|"$says"|$now|$*"
}
"#;

/// In a session: leaves the mark $1, looks, and looks again after $2 seconds.
const READ: &str = "
set -e
echo > /srv/marks/$1
look
sleep $2
look
";

/// In a draft: looks, then makes the next generation in the name of $1, with a pause of $2 in the middle.
///
/// What cannot be written is written once more, and that is told: OpenZFS 2.3.9 fails a write to a file that was just
/// truncated with EINVAL, once in some 300,000, when the old block's pointer is cleared between two looks at it
/// (docs/zfs.md, "Known faults of the file system").
const WRITE: &str = "
set -e
look
read last before < /etc/stamp-0
next=$((last + 1))
by=$1
say() { echo $next $by > $1; }
put() { say $1 || { echo again; say $1; }; }
mv /srv/moving-$last /srv/moving-$next
rm -rf /srv/made-*
mkdir /srv/made-$next
for i in 0 1 2 3 4 5 6 7 8 9; do
  for j in 0 1 2 3 4 5 6 7 8; do put /srv/data/$i/deep/$j; done
done
sleep $2
for i in 0 1 2 3 4 5 6 7 8 9; do
  for j in 0 1 2 3 4 5 6 7 8; do put /usr/lib/part-$i/$j; done
done
for i in 0 1 2 3 4; do put /srv/moving-$next/$i; put /srv/made-$next/$i; done
for j in 0 1 2 3 4 5 6 7 8; do put /etc/stamp-$j; done
ln -sfn moving-$next /srv/now
";

pub(crate) fn reading() -> String {
    format!("{LOOK}{READ}")
}

pub(crate) fn writing() -> String {
    format!("{LOOK}{WRITE}")
}

/// Stamps the tree that a template is created from.
pub(crate) fn first(tree: &Path) {
    let say = |path: String| {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("1 {FIRST}\n")).unwrap();
    };
    for i in 0..10 {
        (0..9).for_each(|j| say(format!("srv/data/{i}/deep/{j}")));
        (0..9).for_each(|j| say(format!("usr/lib/part-{i}/{j}")));
    }
    (0..5).for_each(|i| say(format!("srv/moving-1/{i}")));
    (0..5).for_each(|i| say(format!("srv/made-1/{i}")));
    (0..9).for_each(|j| say(format!("etc/stamp-{j}")));
    fs::hard_link(tree.join("etc/stamp-0"), tree.join("etc/linked")).unwrap();
    std::os::unix::fs::symlink("moving-1", tree.join("srv/now")).unwrap();
    fs::create_dir_all(tree.join("srv/marks")).unwrap();
}

/// How often a script wrote a file once more.
pub(crate) fn written_again(printed: &str) -> usize {
    printed.lines().filter(|line| *line == "again").count()
}

/// The looks in what a script printed; a line that was cut off is none.
pub(crate) fn looks(printed: &str) -> Vec<Look> {
    printed.split_inclusive('\n').filter_map(|line| look(line.strip_suffix('\n')?)).collect()
}

fn look(line: &str) -> Option<Look> {
    let mut parts = line.strip_prefix("look|")?.split('|');
    let words: Vec<&str> = parts.next()?.split_whitespace().collect();
    let mut files = BTreeMap::new();
    for three in words.chunks(3) {
        let [count, generation, token] = three else { return None };
        files.insert(Stamp::new(generation.parse().ok()?, token), count.parse().ok()?);
    }
    let link = parts.next()?.to_owned();
    let marks = parts.next()?.split_whitespace().map(str::to_owned).collect();
    Some(Look { files, link, marks })
}

#[test]
fn history_lines_of_a_script_become_looks_and_a_line_cut_off_does_not() {
    let text = "noise\nagain\nlook|199 7 c1 1 8 c2|moving-7|a b\nlook|200 8 c2|moving-8|\nlook|200 8 c";
    let looks = looks(text);
    assert_eq!((looks.len(), written_again(text)), (2, 1));
    assert_eq!(looks[0].files, [(Stamp::new(7, "c1"), 199), (Stamp::new(8, "c2"), 1)].into());
    assert_eq!((looks[0].link.as_str(), looks[0].marks.join("+")), ("moving-7", "a+b".to_owned()));
    assert_eq!(looks[1].files.len(), 1);
    assert!(looks[1].marks.is_empty());
}
