# What is timed, the same for every store. A key is OPERATION_SUBJECT_PROFILE.
# begin and end: the other half of the pair is done before each timed run.
time_zchroot() {
    local z="${zchroot[*]}" name="bench-$2" id="zchroot-bench-s-$2"
    time_one "$1" "run_zchroot_$2" '' '' "$z run $name -d / -- true" ''
    time_one "$1" "begin_zchroot_$2" "$z begin $name -n $id" "$z end $id" "$z begin $name -n $id" "$z end $id"
    time_one "$1" "end_zchroot_$2" '' "$z begin $name -n $id" "$z end $id" ''
    time_one "$1" "exec_zchroot_$2" "$z begin $name -n $id" '' "$z exec $id -d / -- true" "$z end $id"
}

time_schroot() {
    local name="zchroot-bench-$3-$2" id="zchroot-bench-$3-$2-s"
    local begin="schroot -q -b -c $name -n $id" end="schroot -q -e -c session:$id"
    time_one "$1" "run_$3_$2" '' '' "schroot -q -c $name -d / -- true" ''
    time_one "$1" "begin_$3_$2" "$begin" "$end" "$begin" "$end"
    time_one "$1" "end_$3_$2" '' "$begin" "$end" ''
    time_one "$1" "exec_$3_$2" "$begin" '' "schroot -q -r -c session:$id -d / -- true" "$end"
}

time_lists() {
    time_one "$1" list_zchroot_none '' '' "${zchroot[*]} list" ''
    time_one "$1" list_schroot_none '' '' "schroot -q -l --all" ''
}
