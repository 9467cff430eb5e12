# Shared by the two stages of the benchmark. The variables are set above by xtask, cases are functions' arguments:
#   WORK RESULTS ZCHROOT TREE PROFILES RUNS ROUNDS
set -eu
export LC_ALL=C.UTF-8
# Each of the many programs that schroot starts would search there.
unset LD_LIBRARY_PATH LD_PRELOAD
CONFIG=/etc/schroot/chroot.d

# Everything that is measured exists only for the run. No step may stop the ones after it.
undo=()
finish() {
    local status=$? i
    trap '' INT TERM HUP
    for ((i = ${#undo[@]} - 1; i >= 0; i--)); do
        eval "${undo[i]}" >>"$RESULTS/undo.log" 2>&1 || echo "clean-up failed: ${undo[i]} (see undo.log)" >&2
    done
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# schroot_chroot NAME PROFILE LINE... : what a run that was killed left under the name is replaced.
schroot_chroot() {
    local name=$1 profile=$2 file=$CONFIG/$1
    shift 2
    undo+=("rm -f -- '$file'" "end_schroot '$name'")
    {
        printf '[%s]\ndescription=zchroot benchmark, may be removed\nroot-users=root\nprofile=%s\n' "$name" "$profile"
        printf '%s\n' "$@"
    } >"$file"
}

end_schroot() {
    local session
    for session in $(schroot -l --all-sessions -q | grep "^session:$1-" || true); do
        schroot -e -c "$session"
    done
}

# time_one ROUND KEY SETUP PREPARE COMMAND CLEANUP ; empty words are left out.
time_one() {
    local round=$1 key=$2 options=()
    [ -z "$3" ] || options+=(--setup "$3")
    [ -z "$4" ] || options+=(--prepare "$4")
    [ -z "$6" ] || options+=(--cleanup "$6")
    local warmup=1
    [ "$round" -gt 1 ] || warmup=3
    warmup=${WARMUP:-$warmup}
    if ! hyperfine -N --style none --warmup "$warmup" --runs "$RUNS" "${options[@]}" \
        --export-json "$RESULTS/$key-$round.json" -- "$5" >"$RESULTS/hyperfine.log" 2>&1; then
        cat "$RESULTS/hyperfine.log" >&2
        echo "measuring failed: $5" >&2
        return 1
    fi
}

# Each round measures every case: what changes on the machine meanwhile changes all of them.
measure() {
    local round
    for ((round = 1; round <= ROUNDS; round++)); do
        echo "round $round of $ROUNDS" >&2
        cases "$round"
    done
}
