# The main job, told by running it: sessions of a template, an update that nobody sees half done, and nothing left over.
# The same story on the host (store in directories) and in a test machine (store on ZFS). What differs stands before it:
#   ZCHROOT  the program                          PREFIX   the options it gets first, an array
#   STORE    dir | zfs                            POOL     the pool (zfs)
#   FROM     where the first tree comes from      INSTALL  the shell command that installs the package hello
#   ROOT     the directory that configuration and state lie under; empty is /
#   WORK     an empty directory of our own
set -u -o pipefail
export LC_ALL=C.UTF-8
update=''

die() {
    printf '\ndemo: FAILED: %s\n' "$*" >&2
    exit 1
}

title() { printf '\n=== %s\n' "$*"; }

zchroot() { "$ZCHROOT" "${PREFIX[@]}" "$@"; }

# Words as one would type them.
typed() {
    local word text=''
    for word in "$@"; do
        case $word in
            '' | *[!A-Za-z0-9_@%+=:,./-]*) word="'${word//\'/\'\\\'\'}'" ;;
        esac
        text+=" $word"
    done
    printf '%s' "${text# }"
}

# Prints a command, runs it, and keeps its output and status.
show() {
    local since=$SECONDS
    printf '\n$ %s\n' "$(typed "$@")"
    "$@" </dev/null > >(tee "$WORK/output") 2>&1
    status=$?
    wait "$!"
    output=$(<"$WORK/output")
    [ $((SECONDS - since)) -lt 5 ] || echo "(that took $((SECONDS - since)) s)"
}

# The same for a command that has to succeed.
run() {
    show "$@"
    [ "$status" = 0 ] || die "it ended with status $status: $(typed "$@")"
}

# What the last command printed has to have this in it.
says() { [[ $output == *"$1"* ]] || die "$2: the output should have '$1' in it"; }

# The versions of the template, oldest first.
versions() { zchroot history demo --json | grep -oE '"id": *"[^"]*"' | cut -d'"' -f4 | sort; }

# Whatever would betray a session that is gone: mounts, processes, records, trees, control groups.
left_over() {
    local link target dir
    awk -v at="$ROOT/run/zchroot/mount/" 'index($5, at) == 1 { print "mount: " $5 }' /proc/self/mountinfo
    for link in /proc/[0-9]*/{root,cwd}; do
        target=$(readlink "$link") && [[ $target == "$ROOT"/run/zchroot/mount/* ]] && echo "process: $link is $target"
    done 2>/dev/null
    for dir in run/zchroot/mount var/lib/zchroot/sessions var/lib/zchroot/store/sessions; do
        [ ! -d "$ROOT/$dir" ] || find "$ROOT/$dir" -mindepth 1 -maxdepth 1 -printf 'file: %p\n'
    done
    control_groups
    [ "$STORE" = dir ] || zfs list -H -o name -r "$POOL/zchroot/sessions" | sed '1d; s/^/dataset: /'
}

# The control groups of our sessions. Those under another root have its inode in their names.
control_groups() {
    local name='*'
    [ -z "$ROOT" ] || name="*@$(stat -c %i "$ROOT")"
    find /sys/fs/cgroup -type d -path "*/zchroot/$name" -printf 'control group: %p\n' 2>/dev/null
}

nothing_is_left() {
    left_over >"$WORK/left"
    [ ! -s "$WORK/left" ] || die "$1:"$'\n'"$(<"$WORK/left")"
}

# Whatever happened: no process and no mount of ours stays.
clean_up() {
    local code=$? id
    trap '' INT TERM HUP
    trap - EXIT
    exec 9>&-
    if [ -n "$update" ]; then
        kill "$update" 2>/dev/null
        wait "$update"
    fi
    if [ "$code" != 0 ]; then
        zchroot --quiet end --all
        zchroot list --sessions 2>/dev/null | awk '$2 == "source" { print $1 }' | while read -r id; do
            zchroot source abort "$id"
        done
        nothing_is_left 'the demo failed, and this could not be cleaned away'
    fi
    exit "$code"
}

mkdir -p "$WORK"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

title 'A place for trees'
if [ "$STORE" = zfs ]; then
    run zchroot init --pool "$POOL"
else
    run zchroot init
fi

title "A template: a Debian tree, kept as a first version"
run zchroot create demo --from "$FROM" -m 'as Debian made it'
run zchroot list
says demo 'the template is not listed'
first=$(versions)
if [ "$STORE" = zfs ]; then
    run zfs list -r -t all -o name,used,refer,origin "$POOL"
    zfs list -H -r -t all -o name "$POOL" >"$WORK/before"
fi

title 'A throw-away session for one command'
run zchroot run demo -d / -- cat /etc/os-release
says 'VERSION_CODENAME=trixie' 'this is no Debian 13'
run zchroot run demo -d / -- id
says 'uid=0(root)' 'the command does not run as the caller'
run zchroot run demo -d / -- sh -c 'rm -rf /usr/share/doc && touch /here && ls -d /here'
run zchroot run demo -d / -- sh -c 'ls -d /usr/share/doc; test ! -e /here'
says '/usr/share/doc' 'what one session removed is missing in the next'
echo 'What the one session did, the next one does not know.'
nothing_is_left 'a throw-away session left something'
if [ "$STORE" = zfs ]; then
    zfs list -H -r -t all -o name "$POOL" | diff "$WORK/before" - || die 'a throw-away session left a dataset or a snapshot'
    echo 'And the pool holds what it held before, to the last snapshot.'
fi

title 'A named session, for several commands'
run zchroot begin demo -n work
# A store that is low on room is spoken of before, on standard error.
[ "${output##*$'\n'}" = work ] || die 'begin should print the name of the session'
run zchroot exec work -d / -- sh -c 'echo mine >/note'
run zchroot exec work -d / -- cat /note
says mine 'a named session forgets'

title 'An update: it installs a package, and stops half-way until it is told to go on'
mkfifo "$WORK/go"
exec 9<>"$WORK/go"
command="$INSTALL && echo installed, not committed && read answer"
printf '\n$ %s &\n' "$(typed zchroot update demo -m 'with hello' -- sh -c "$command")"
since=$SECONDS
zchroot update demo -m 'with hello' -- sh -c "$command" <"$WORK/go" >"$WORK/update" 2>&1 9>&- &
update=$!
until grep -q '^installed, not committed' "$WORK/update"; do
    if ! kill -0 "$update" 2>/dev/null; then
        cat "$WORK/update"
        die 'the update ended before it was told to'
    fi
    sleep 0.2
done
sed 's/^/    /' "$WORK/update"
echo "(that took $((SECONDS - since)) s)"

title 'Meanwhile: nobody sees any of it'
run zchroot list --sessions
says source 'the source session is not listed'
run zchroot run demo -d / -- sh -c 'test ! -e /usr/bin/hello && echo the old state'
run zchroot exec work -d / -- sh -c 'test ! -e /usr/bin/hello && echo the old state'

title 'The update goes on and is committed'
echo go >&9
wait "$update"
status=$?
update=''
exec 9>&-
tail -n 1 "$WORK/update" | sed 's/^/    /'
[ "$status" = 0 ] || die "the update ended with status $status: $(<"$WORK/update")"
run zchroot run demo -d / -- hello
says 'Hello, world!' 'a new session does not see the new version'
run zchroot exec work -d / -- sh -c 'test ! -e /usr/bin/hello && cat /note && echo still the old state'
run zchroot history demo
says 'as Debian made it' 'the history has lost the first version'
says 'with hello' 'the history lacks the second version'
[ "$(versions | wc -l)" = 2 ] || die "there should be two versions: $(versions)"
second=$(versions | tail -n 1)
run zchroot run demo --at "$first" -d / -- sh -c 'test ! -e /usr/bin/hello && echo the first version, on request'

title 'An update that fails changes nothing'
show zchroot update demo -m 'a bad idea' -- sh -c 'rm -rf /usr/bin/hello /etc/os-release; exit 7'
[ "$status" = 7 ] || die "the status should be that of the command, 7, and not $status"
[ "$(versions | wc -l)" = 2 ] || die "there should be two versions still: $(versions)"
run zchroot run demo -d / -- sh -c 'test -e /etc/os-release && hello'
says 'Hello, world!' 'an update that failed has changed the template'

title 'Each version still is what was committed'
# A process in the background makes a digest of each version after its commit.
for _ in {1..240}; do
    grep -qsx zchroot-digest /proc/[0-9]*/comm || break
    sleep 0.25
done
run zchroot verify demo
says "$first (generation 1): ok" 'the first version is not what was committed'
says "$second (generation 2): ok" 'the second version is not what was committed'

title 'The end: nothing is left over'
run zchroot end work
run zchroot gc
run zchroot gc --dry-run
run zchroot list
nothing_is_left 'something is left over'
if [ "$STORE" = zfs ]; then
    run zfs list -r -t all -o name,used,refer,origin "$POOL"
    head="$POOL/zchroot/templates/demo"
    printf '%s\n' "$head" "$head/$second" "$head/$second@$first" "$head/$second@$second" | sort >"$WORK/expected"
    zfs list -H -r -t all -o name "$head" | sort | diff "$WORK/expected" - ||
        die 'the template should be one head with a snapshot for each version'
    echo 'One head, a snapshot for each of the two versions, no session.'
fi
echo 'No mount, no process, no control group, no session is left over.'
