/*
 * Begin, commit, settle and gc of one template, with crashes at every step: what src/source, src/session and
 * src/space do, on what a store promises (src/store/mod.rs). Every variable is on the disk or in the pool, every
 * statement is one step that others may come between, every process may die before any of its steps.
 *
 * Version n is what committer n makes; 0 is there from the start. Generations count commits.
 *
 *     spin -a commit.pml && cc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m100000
 *
 * READERS, GCS and DEATHS say how many there are: -DREADERS=0, say. All of it takes minutes, a part of it seconds.
 *
 * With one of these defined the model is wrong, and pan has to say so (tests/crash_spin.rs):
 *   NO_COMPARE        a commit does not look whether its base is still current
 *   REMEMBERED        who publishes writes into the pointer what he committed, instead of what is current, and the
 *                     lock is taken after the commit
 *   POINTER_FIRST     the pointer is written before the commit
 *   TRUTH_FIRST       a source session is begun on what is current, whether the pointer says so or not
 *   RECORD_LATE       a draft is made before its record
 *   RECORDS_FIRST     gc looks at the records before it looks at the drafts
 *   KEEP_FIRST        settle looks which version is current before it looks which there are, and drops also what
 *                     was committed after that
 *   DROP_BUSY         a version that something is cloned from is destroyed
 */
#ifndef COMMITTERS
#define COMMITTERS 2
#endif
#ifndef READERS
#define READERS    1
#endif
#ifndef GCS
#define GCS        1
#endif
#ifndef DEATHS
#define DEATHS     2
#endif
#define VERSIONS   (COMMITTERS + 1)
#define NONE       255

byte current = 0;                /* the truth: zchroot:current, or the pointer of the dir store */
byte pointer = 0;                /* what readers follow */
bool draft[VERSIONS];            /* a tree that is no version yet */
bool complete[VERSIONS];         /* a version whose tree is there */
bool lost[VERSIONS];             /* a draft that was taken away under its maker */
byte clones[VERSIONS];           /* sessions' trees cloned from it */
byte base_of[VERSIONS];          /* of a draft's record; NONE: no record */
byte reader_base[READERS + 1];       /* of a session's record; NONE: no record */
byte generation[VERSIONS];
byte reported = 0;               /* the newest generation that somebody was told of: its maker, or who began from it */
bool pointer_lock, settle_lock;
byte running = 0;
byte deaths = 0;                 /* processes that were killed: at most DEATHS */

inline maybe_die() {
    if
    :: skip
    :: atomic { deaths < DEATHS -> deaths++; goto dead }
    fi
}

/* What nobody reads any more tells no states apart. */
inline clear() {
    truth = 0; v = 0; do :: v < VERSIONS -> goes[v] = false; v++ :: else -> v = 0; break od
}

/* pointer::Held::take. A lock goes with its holder. */
inline hold() {
    atomic { !pointer_lock -> pointer_lock = true }
}

/* pointer::Held::follow, which lets go of it. */
inline follow(mine) {
#ifdef REMEMBERED
    truth = mine;
#else
    truth = current;
#endif
    if
    :: skip
    :: atomic { deaths < DEATHS -> deaths++; pointer_lock = false; goto dead }
    fi;
    atomic { pointer = truth; pointer_lock = false }
}

/* Somebody was told of this generation. */
inline tell(g) {
    if :: g > reported -> reported = g :: else fi
}

#ifdef KEEP_FIRST
#define OLD(v) true
#else
#define OLD(v) (generation[v] <= generation[truth])
#endif

/* Sources::settle: of what was there when it looked, what is neither current nor some record's base goes. */
inline settle() {
    atomic { !settle_lock -> settle_lock = true };
#ifdef KEEP_FIRST
    truth = current;
#endif
    atomic { v = 0; do :: v < VERSIONS -> goes[v] = complete[v]; v++ :: else -> break od };
    atomic {
        v = 0;
        do
        :: v < READERS -> if :: reader_base[v] != NONE -> goes[reader_base[v]] = false :: else fi; v++
        :: else -> break
        od
    };
    atomic {
        v = 0;
        do
        :: v < VERSIONS -> if :: base_of[v] != NONE -> goes[base_of[v]] = false :: else fi; v++
        :: else -> v = 0; break
        od
    };
#ifndef KEEP_FIRST
    truth = current;
#endif
    do
    /* the store drops one at a time, and none that something is cloned from (destroy with defer) */
    :: atomic {
        v < VERSIONS ->
            if
#ifdef DROP_BUSY
            :: goes[v] && v != truth && OLD(v) ->
#else
            :: goes[v] && v != truth && OLD(v) && clones[v] == 0 ->
#endif
                complete[v] = false
            :: else
            fi;
            v++
        }
    :: atomic { v == VERSIONS -> settle_lock = false; clear(); break }
    od
}

proctype committer(byte n) {
    byte base = NONE, truth, v, told;
    bool goes[VERSIONS];

#ifdef TRUTH_FIRST
    base = current;
#else
    base = current;
    hold();
    follow(base);
    base = truth;
#endif
    atomic { told = generation[base]; tell(told); told = 0; truth = 0 };
#ifdef RECORD_LATE
    draft[n] = true;
    maybe_die();
    base_of[n] = base;
#else
    base_of[n] = base;
    maybe_die();
    draft[n] = true;
#endif
    maybe_die();
#ifdef POINTER_FIRST
    pointer = n;
    maybe_die();
#endif
#ifndef REMEMBERED
    hold();
    if :: skip :: atomic { deaths < DEATHS -> deaths++; pointer_lock = false; goto dead } fi;
#endif
    /* COMMIT: one step in every store */
    atomic {
        if
#ifdef NO_COMPARE
        :: draft[n] ->
#else
        :: draft[n] && current == base ->
#endif
            assert(base == current);                                    /* no lost update: history is a line */
            generation[n] = generation[current] + 1; draft[n] = false; complete[n] = true; current = n
        :: else ->                                                      /* conflict, then abort */
#ifndef REMEMBERED
            pointer_lock = false;
#endif
            base_of[n] = NONE; draft[n] = false; goto done
        fi
    };
#ifdef REMEMBERED
    maybe_die();
    hold();
#endif
    follow(n);
    maybe_die();
    atomic { tell(generation[n]); truth = 0 };
    base_of[n] = NONE;
    maybe_die();
    settle();
    goto done;
dead:
    skip;
done:
    atomic { assert(!lost[n]); running-- }
}

proctype reader(byte s) {
    byte v = NONE, gone = NONE, told, truth, tries = 0;

    told = reported;
again:
    v = pointer;
    if
    :: atomic { v == gone && !pointer_lock -> pointer_lock = true };     /* the pointer is behind: mend it */
        follow(v); v = truth
    :: atomic { v == gone && pointer_lock -> v = current }               /* somebody does: what is true is enough */
    :: v != gone
    fi;
    reader_base[s] = v;
    maybe_die();
    atomic {
        if
        :: complete[v] -> clones[v]++
        :: else -> reader_base[s] = NONE; gone = v; tries++; assert(tries <= COMMITTERS + 1); goto again
        fi
    };
    /* real time: never older than what was reported before we began; and the tree stays while we live */
    assert(generation[v] >= told);
    assert(complete[v]);
    tell(generation[v]);
    maybe_die();
    assert(complete[v]);
    clones[v]--;
    reader_base[s] = NONE;
    goto done;
dead:
    skip;
done:
    running--
}

/* gc: a draft without a record goes. What is complete by then is refused by the store. */
proctype gc() {
    bool seen[VERSIONS], known[VERSIONS];
    byte v;
#ifdef RECORDS_FIRST
    atomic { v = 0; do :: v < VERSIONS -> known[v] = (base_of[v] != NONE); v++ :: else -> break od };
#endif
    atomic { v = 0; do :: v < VERSIONS -> seen[v] = draft[v]; v++ :: else -> break od };
#ifndef RECORDS_FIRST
    atomic { v = 0; do :: v < VERSIONS -> known[v] = (base_of[v] != NONE); v++ :: else -> break od };
#endif
    v = 0;
    do
    :: atomic {
        v < VERSIONS ->
            if :: seen[v] && !known[v] && draft[v] -> draft[v] = false; lost[v] = true :: else fi;
            v++
        }
    :: atomic { v == VERSIONS -> running--; break }
    od
}

/* After everything has ended or died: recover, by a process that nobody is beside. */
init {
    byte i;
    atomic {
        complete[0] = true;
        i = 0; do :: i < VERSIONS -> base_of[i] = NONE; i++ :: else -> break od;
        i = 0; do :: i < READERS -> reader_base[i] = NONE; i++ :: else -> break od;
        running = COMMITTERS + READERS + GCS;
        i = 1; do :: i <= COMMITTERS -> run committer(i); i++ :: else -> break od;
        i = 0; do :: i < READERS -> run reader(i); i++ :: else -> break od;
        i = 0; do :: i < GCS -> run gc(); i++ :: else -> break od
    };
    running == 0;
    atomic {
        assert(complete[current]);                       /* one current version, and its tree is there */
        assert(generation[current] >= reported);         /* what was reported is not taken back */
        pointer = current;                               /* recover: the pointer follows */
        assert(complete[pointer])
    }
}
