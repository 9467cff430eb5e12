# One boot of a machine that will be killed: what the kill before it left is shown, repaired, looked at and tidied, then
# clients work until the next kill. Lines with @ are for the host; they go straight to the console, so that what they
# say is known outside before the next thing is done.
#   NUMBER  of this boot, from 0    LAST  1: look, and do not work any more    ARM  commits before it may be killed
set -u
export LC_ALL=C.UTF-8
POOL=crash BASE=crash/zchroot STATE=/var/lib/zchroot

say() {
    echo "@$*" >/dev/console
    # A serial line is slower than what is done next: stty waits until all of it is out.
    [ "$vm_machine" = uml ] || stty -F /dev/console -opost
}

zchroot() { /scratch/zchroot "$@" </dev/null; }

must() {
    local output
    output=$(zchroot "$@" 2>&1) || say "violation $1 $2: $(echo "$output" | tail -n 3 | tr '\n' ' ')"
}

stamp() { # GENERATION: as the tests do, into 200 files
    cat <<'END'
set -e
rm -rf /srv/moving-*
mkdir -p /srv/moving-$1
for i in 0 1 2 3 4 5 6 7 8 9; do
  mkdir -p /srv/data/$i/deep /usr/lib/part-$i
  for j in 0 1 2 3 4 5 6 7 8; do echo $1 > /srv/data/$i/deep/$j; echo $1 > /usr/lib/part-$i/$j; done
  echo $1 > /srv/moving-$1/$i
done
for j in 0 1 2 3 4 5 6 7 8 9; do echo $1 > /etc/stamp-$j; done
ln -sfn moving-$1 /srv/now
END
}
STAMP=$(stamp)
LOOK='all() { cat /srv/data/*/deep/* /usr/lib/part-*/* /srv/moving-*/* /etc/stamp-*; }
all | wc -l; basename $(readlink /srv/now); all | sort -u'

# The generation that what LOOK printed shows, if it is one and whole.
generation() {
    awk 'NR == 1 { whole = $1 == 200 } NR == 2 { link = $1 } NR == 3 { shown = $1 }
         END { if (whole && NR == 3 && link == "moving-" shown) print shown; else print "half" }'
}

facts() { # NAME
    local file
    {
        echo "@facts $1"
        zfs list -Hpr -t filesystem,snapshot -o "$COLUMNS" $BASE | sed 's/^/@list /'
        cd $STATE && find . -type f -o -type l | while read -r file; do
            echo "@file ${file#./}"
            # A digest is no text, and would swallow the lines after it.
            case $file in
                *.zst*) ;;
                *) if [ -L "$file" ]; then readlink "$file"; else cat "$file"; fi | sed 's/^/@text /' ;;
            esac
        done
        cd /
        echo "@facts-end"
    } >/dev/console
    say "facts-out"
}

configure() { # GRACE
    mkdir -p /etc/zchroot/templates.d $STATE
    printf 'version = 1\nstore = "zfs"\ngrace = "%s"\n[zfs]\npool = "%s"\n' "$1" $POOL >/etc/zchroot/zchroot.toml
    printf 'version = 1\nprofile = "minimal"\nkeep = 1\n' >/etc/zchroot/templates.d/race.toml
}

first() {
    cp /in/zchroot /scratch/zchroot
    truncate -s 6G /scratch/pool.img
    zpool create -O mountpoint=none -o cachefile=none $POOL /scratch/pool.img
    configure 10m
    local name tree=/scratch/tree
    mkdir -p $tree/{dev,etc,proc,root,run,srv,sys,tmp,usr/bin,usr/lib,var/tmp}
    cp "$(command -v busybox)" $tree/usr/bin/busybox
    for name in sh awk basename cat echo ln mkdir readlink rm sort true wc; do
        ln -s busybox $tree/usr/bin/$name
    done
    ln -s usr/bin $tree/bin
    echo root:x:0:0:root:/root:/bin/sh >$tree/etc/passwd
    echo root:x:0: >$tree/etc/group
    must init
    must -q create race --from $tree -m first
    say "commit 1"
    must -q update race -m 'generation 1' -- sh -c "$STAMP" stamp 1
    sync
    say "committed 1"
}

after_a_kill() {
    local name
    # Nobody else works yet: whatever has no record is a left-over, however young it is.
    configure 0s
    zpool import -f -N -d /scratch/pool.img -o cachefile=none $POOL || say "violation the pool cannot be imported"
    mount -i -t zfs $BASE/state $STATE || say "violation the state cannot be mounted"
    facts before
    must recover --quiet
    zchroot recover >/tmp/again || say "violation recover after recover"
    grep -v ': stands$' /tmp/again | while read -r line; do say "violation recover finds more: $line"; done
    facts recovered
    SHOWN=$(zchroot run race -d / -- sh -c "$LOOK" | generation)
    say "shows $SHOWN"
    sed 's/: stands$//' /tmp/again | while read -r name; do
        if grep -q '^kind = "source"' "$STATE/sessions/$name.toml"; then
            must -q source abort "$name"
        else
            say "stands $name $(zchroot exec "$name" -d / -- sh -c "$LOOK" | generation)"
            must end "$name"
        fi
    done
    must gc
    facts after
    configure 10m
}

reader() {
    local shown
    while :; do
        shown=$(zchroot run race -d / -- sh -c "$LOOK" 2>/tmp/reader-"$1" | generation)
        [ "$shown" != half ] || say "violation a reader: $(tail -n 2 /tmp/reader-"$1" | tr '\n' ' ')"
    done
}

keeper() { # of named sessions
    local i name
    for ((i = 0; ; i++)); do
        name=named-$NUMBER-$1-$i
        say "begin $name"
        must begin race -n "$name"
        say "begun $name"
        must exec "$name" -d / -- sh -c "echo mine >/srv/mine"
        say "end $name"
        must end "$name"
        say "ended $name"
    done
}

committer() {
    local next
    for ((next = SHOWN + 1; ; next++)); do
        [ "$next" != $((SHOWN + 1 + ARM)) ] || echo "@@vm:armed" >/dev/console
        say "commit $next"
        must -q update race -m "generation $next" -- sh -c "$STAMP" stamp "$next"
        say "committed $next"
    done
}

collector() {
    while :; do
        zchroot gc >/dev/null 2>&1
        sleep 0.2
    done
}

SHOWN=1
if [ "$NUMBER" = 0 ]; then first; else after_a_kill; fi
[ "$LAST" = 0 ] || exit 0
for client in 1 2 3; do reader $client & done
for client in 1 2; do keeper $client & done
committer &
collector &
wait
