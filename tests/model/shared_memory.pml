/* shared_memory.pml - a segment for spin: made, attached to, left, taken away and made anew, by processes that die at any step.
 * Labels are the step names of docs/shared-memory-protocol.md, which also says what is covered. check_model.sh builds and judges it.
 *
 * Every label is one system call, or one store into the segment that others can see; before each of them that changes something
 * for others a contender may be killed (MAY_DIE). C1 and C2 are one, for nobody sees the file before C3.
 *
 *   processes  0 .. N-1 contenders, and N, who comes when all of them have ended, or are attached for good, and tidies up
 *   inode      > 0, and free again when it has neither name nor descriptor nor mapping
 *   byte       one for each record, and one that read-only users share; a remover has all of them
 *   descriptor of the segment that is looked at or used (file), of the one that has no name yet (mine)
 *
 * Settings (-D):
 *   N        contenders, 2 .. 4                ROUNDS   segments that each of them asks for
 *   CRASHES  how many are killed, at most      LOSSES   times that a user closes all its descriptors and goes on (closefrom)
 *   BYTES    records of a segment              STAYS    segments are to stay until they are removed
 *   ONLY_OR_ATTACH, NO_READERS                 fewer kinds of calls; ONE_CREATES: the first one does, the others attach
 *   NO_LEAVING                                 who is attached stays so until it is killed
 *   SEED_... a seeded error; the table is in the document
 */
#ifndef N
#define N 3
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef BYTES
#define BYTES 3
#endif
#ifdef STAYS
#define stays true
#else
#define stays false
#endif

#define p _pid
#define SWEEPER N
#define INODES 7               /* 1 .. 6 */
#define at(i, b) ((i) * BYTES + (b))

mtype = { CREATE, OR_ATTACH, ATTACH, READ, REMOVE, DETACH, FREE, IN_USE, BEING_REMOVED }

/* ---- the folder, the files, the kernel's locks ---- */
byte name;                     /* the inode that bears it, 0: none */
bool complete[INODES];         /* header and sizes are there */
byte record[INODES * BYTES];   /* process + 1 if valid */
byte lock[INODES * BYTES];     /* process + 1 that has the byte */
byte readers[INODES];          /* a bit per process */
byte all[INODES];              /* process + 1 that has all the bytes at once */
byte file[N + 1], mine[N + 1];
bool watched[N + 1], changed[N + 1];   /* the folder has, since it has been watched */

/* ---- ghosts: nobody acts on them ---- */
byte inside[N + 1];            /* the segment that it believes to be attached to */
bool begun[N], gone[N + 1], asleep[N + 1];
byte crashes, losses, attempts;

/* ---- what must hold; named, so that pan's message tells which one did not ---- */
bool M4_complete = true;
bool M5_one_segment = true;
bool M6_live_user = true;
bool M6_record = true;
bool M6_replaced = true;
bool M6_tidy = true;
bool model_too_small = false;

inline check(flag, condition) { flag = (condition); assert(flag) }

#define MAY_DIE p < N && crashes < CRASHES -> crashes++; goto die
#if N == 4
#define everybody(what) (what(0) && what(1) && what(2) && what(3))
#define anybody(what) (what(0) || what(1) || what(2) || what(3) || what(4))
#elif N == 3
#define everybody(what) (what(0) && what(1) && what(2))
#define anybody(what) (what(0) || what(1) || what(2) || what(3))
#else
#define everybody(what) (what(0) && what(1))
#define anybody(what) (what(0) || what(1) || what(2))
#endif

#define has_gone(q) gone[q]
#define settled(q) (gone[q] || asleep[q] || q == p)
#define refers(q) (file[q] == i || mine[q] == i || inside[q] == i)
#define refers_to_d(q) (file[q] == d || mine[q] == d || inside[q] == d)
#define in_segment(q) (inside[q] == i )
#define elsewhere(q) (inside[q] != 0 && inside[q] != i )
#define lives_in_named(q) (name != 0 && inside[q] == name )
#define valid_alive(b) (record[at(i, b)] != 0)
#if BYTES == 3
#define any_byte(what) (what(0) || what(1) || what(2))
#elif BYTES == 2
#define any_byte(what) (what(0) || what(1))
#else
#define any_byte(what) (what(0) || what(1) || what(2) || what(3))
#endif
#define locked(b) lock[at(i, b)]
#define any_lock (readers[i] || any_byte(locked))
#define any_user any_byte(valid_alive)

inline folder_changes() { d_step { u = 0; do :: u <= N -> changed[u] = watched[u]; u++ :: u > N -> break od; u = 0 } }
/* The last copy of a descriptor: its locks end with it. */
inline close(d) {
  d_step {
    if :: d -> 
      u = 0;
      do
      :: u < BYTES -> if :: lock[at(d, u)] == p + 1 -> lock[at(d, u)] = 0 :: else fi; u++
      :: u == BYTES -> break
      od;
      readers[d] = readers[d] & ~(1 << p);
      if :: all[d] == p + 1 -> all[d] = 0 :: else fi;
      if
      :: name != d && !anybody(refers_to_d) ->
        complete[d] = false;
        u = 0; do :: u < BYTES -> record[at(d, u)] = 0; u++ :: u == BYTES -> break od
      :: else
      fi;
      u = 0
    :: else
    fi;
    d = 0
  }
}
inline enters() {
  inside[p] = i;
  check(M4_complete, complete[i]);
  check(M5_one_segment, !anybody(elsewhere))
}

active [N + 1] proctype contender() {
  mtype call, use;
  byte i;                      /* the inode of `file` */
  byte own;                    /* the segment that is being left */
  byte b;
  byte u, d;
  byte rounds;
  bool crowded, seen;

idle: atomic {
    i = 0; own = 0; b = 0; crowded = false; watched[p] = false; changed[p] = false; seen = false;
    if
    :: p == SWEEPER && everybody(has_gone) ->
      attempts = 0;
      if
      :: rounds == 0 -> call = OR_ATTACH
      :: rounds == 0 -> call = CREATE
      :: rounds == 0 -> call = REMOVE
      :: rounds == 1 -> goto swept
      fi
    :: p < N && rounds < ROUNDS && (p == 0 || begun[p - 1]) ->
      begun[p] = true;     /* they are all alike: so one order of beginning is enough */
      if
#ifdef ONE_CREATES
      :: p == 0 -> call = OR_ATTACH
      :: p != 0 -> call = ATTACH
#else
      :: call = OR_ATTACH
#endif
#if !defined(ONLY_OR_ATTACH) && !defined(ONE_CREATES)
      :: call = CREATE
      :: call = ATTACH
      :: call = REMOVE
#ifndef NO_READERS
      :: call = READ
#endif
#endif
      fi
    :: p < N && rounds == ROUNDS -> call = 0; goto end
    fi;
    rounds++
  }

A1: atomic {
    if
    :: MAY_DIE
    :: true ->
      close(file[p]); i = name; file[p] = i; use = FREE;
      if
      :: p == SWEEPER -> attempts++; check(M6_replaced, attempts <= 3)
      :: else
      fi
    fi;
    if
    :: i == 0 ->
      if
      :: call == CREATE || call == OR_ATTACH -> if :: mine[p] == 0 -> goto C2 :: mine[p] != 0 -> goto C3 fi
      :: call == REMOVE || call == DETACH -> goto done
      :: call == ATTACH || call == READ -> goto A_sleep
      fi
    :: i != 0 ->
      check(M4_complete, complete[i]);
      if
      :: call == DETACH -> if :: i == own -> goto T1 :: i != own -> goto done fi
      :: call == CREATE && stays -> goto done
      :: (call == OR_ATTACH || call == ATTACH) && stays -> goto A2
      :: call == READ && stays -> goto A2_reader
      :: call == REMOVE || (call != DETACH && !stays)
      fi
    fi
  }
U1: atomic {                   /* what is locked: one byte, or all of them? */
    if
    :: all[i] -> use = BEING_REMOVED
    :: !all[i] && any_lock -> use = IN_USE
    :: !all[i] && !any_lock -> goto U2
    fi;
    if
    :: call == ATTACH -> goto A2
    :: call == READ -> goto A2_reader
    :: call == OR_ATTACH && use == IN_USE -> goto A2
    :: (call == CREATE || call == REMOVE) && use == IN_USE -> goto done
    :: (call == CREATE || call == REMOVE || call == OR_ATTACH) && use == BEING_REMOVED -> goto wait
    fi
  }
U2: atomic {                   /* is there a valid record of a live process? */
    if
    :: any_user ->
      if
      :: call == ATTACH || call == OR_ATTACH -> goto A2
      :: call == READ -> goto A2_reader
      :: call == CREATE || call == REMOVE -> goto done
      fi
    :: !any_user -> if :: call == ATTACH || call == READ -> goto A_sleep :: else -> goto T1 fi
    fi
  }
wait: atomic { if :: MAY_DIE :: !all[i] -> goto A1 fi }

  /* ---- making ---- */
C2: atomic {
    if
    :: MAY_DIE
    :: true ->
      d_step {
        i = 1;
        do
        :: i < INODES && (name == i || anybody(refers)) -> i++
        :: else -> break
        od;
        model_too_small = (i == INODES); assert(!model_too_small);
        b = 0; do :: b < BYTES -> record[at(i, b)] = 0; b++ :: b == BYTES -> break od; b = 0;
        mine[p] = i; i = 0;
#ifndef SEED_NAMEFIRST
        complete[mine[p]] = true;
#else
        complete[mine[p]] = false;
#endif
#ifndef SEED_LOCKLATE
        lock[at(mine[p], 0)] = p + 1; record[at(mine[p], 0)] = p + 1
#endif
      }
    fi
  }
C3: atomic {
    if
    :: MAY_DIE
    :: name != 0 -> goto A1
    :: name == 0 ->
      name = mine[p]; folder_changes();
#if !defined(SEED_LOCKLATE) && !defined(SEED_NAMEFIRST)
      i = mine[p]; file[p] = i; mine[p] = 0; enters(); goto attached
#endif
    fi
  }
#ifdef SEED_LOCKLATE
C2_late: atomic { if :: MAY_DIE :: true -> lock[at(mine[p], 0)] = p + 1; record[at(mine[p], 0)] = p + 1 fi }
#endif
#ifdef SEED_NAMEFIRST
C2_late: atomic { if :: MAY_DIE :: true -> complete[mine[p]] = true fi }
#endif
#if defined(SEED_LOCKLATE) || defined(SEED_NAMEFIRST)
C3_inside: atomic { i = mine[p]; file[p] = i; mine[p] = 0; enters(); goto attached }
#endif

  /* ---- entering ---- */
A2_reader: atomic {
    if
    :: MAY_DIE
    :: !all[i] -> readers[i] = readers[i] | (1 << p); crowded = false; goto A3
    :: all[i] -> use = BEING_REMOVED; goto A3
    fi
  }
A2: atomic {
    if
    :: use == FREE || use == IN_USE || use == BEING_REMOVED -> close(mine[p]); crowded = true; b = 0; use = 0
    :: use == 0
    fi;
    if
    :: b == BYTES && crowded -> b = 0; goto done      /* too many participants */
    :: b == BYTES && !crowded -> b = 0; use = BEING_REMOVED; goto A3
    :: b < BYTES ->
      if
      :: MAY_DIE
      :: !all[i] && !lock[at(i, b)] -> lock[at(i, b)] = p + 1; goto A4
      :: all[i] || lock[at(i, b)]
      fi
    fi
  }
A2_whose: atomic { if :: true -> crowded = (crowded && !all[i] && lock[at(i, b)]); b++; goto A2 fi }
#ifdef SEED_NOALIVE
A4: skip;
#else
A4: atomic {                   /* that of a live process that has closed its descriptors */
    if
    :: valid_alive(b) -> lock[at(i, b)] = 0; b++; goto A2
    :: !valid_alive(b)
    fi
  }
#endif
A5: atomic { if :: MAY_DIE :: true -> check(M6_record, !valid_alive(b)); record[at(i, b)] = p + 1; b = 0; crowded = false fi }
#ifdef SEED_NOSECONDLOOK
A3: atomic { enters(); goto attached }
#else
A3: atomic {
    if
    :: MAY_DIE
    :: name == i && use != BEING_REMOVED -> enters(); goto attached
    :: name == i && use == BEING_REMOVED -> goto wait
    :: name != i -> if :: call == READ || use == BEING_REMOVED -> goto A1 :: else -> goto A3_record fi
    fi
  }
#endif
A3_record: atomic {            /* as D1 */
    if
    :: MAY_DIE
    :: true ->
      b = 0;
      do
      :: b < BYTES -> if :: record[at(i, b)] == p + 1 -> record[at(i, b)] = 0 :: else fi; b++
      :: b == BYTES -> break
      od;
      b = 0; goto A1
    fi
  }
A_sleep: atomic {
    if
#ifndef SEED_WATCHLATE
    :: !watched[p] -> watched[p] = true; changed[p] = false; goto A1
    :: watched[p]
#else
    :: true -> watched[p] = true; changed[p] = false
#endif
    fi;
    seen = (i != 0); asleep[p] = true
  }
A_asleep: atomic {
    if
    :: MAY_DIE
    :: changed[p] -> asleep[p] = false; changed[p] = false; goto A1
#ifndef SEED_SLEEPBYORPHAN
    :: seen && anybody(lives_in_named) -> asleep[p] = false; goto A1
#endif
    :: !changed[p] && everybody(settled) && !anybody(lives_in_named) -> asleep[p] = false; goto done
    fi
  }

attached: atomic {
    mine[p] = 0; crowded = false; watched[p] = false; changed[p] = false; seen = false; use = 0;
    if
    :: MAY_DIE
    :: p < N -> goto end
    :: losses < LOSSES && file[p] && call != READ -> losses++; close(file[p]); goto attached
#ifdef NO_LEAVING
    :: p == SWEEPER -> own = inside[p]; goto D1
#else
    :: true -> own = inside[p]; goto D1
#endif
    fi
  }

  /* ---- leaving ---- */
D1: atomic {
    if
    :: MAY_DIE
    :: true ->
      b = 0;
      do
      :: b < BYTES -> if :: record[at(own, b)] == p + 1 -> record[at(own, b)] = 0 :: else fi; b++
      :: b == BYTES -> break
      od;
      b = 0; inside[p] = 0;
      close(file[p]); i = 0;
      if :: stays -> goto done :: !stays -> call = DETACH; goto A1 fi
    fi
  }

  /* ---- taking away ---- */
#ifdef SEED_NOLOCKALL
T1: skip;
#else
T1: atomic {
    if
    :: MAY_DIE
    :: all[i] || any_lock -> goto T_changed
    :: !all[i] && !any_lock -> all[i] = p + 1
    fi
  }
#endif
T2: atomic {
    if
#ifndef SEED_BYNAME
    :: name != i -> goto T4
#endif
#ifndef SEED_NOUSERS
    :: any_user -> goto T4
    :: !any_user &&
#else
    ::
#endif
#ifndef SEED_BYNAME
      name == i ->
#else
      true ->
#endif
      use = FREE
    fi
  }
#ifdef SEED_UNLOCKFIRST
T4_first: atomic { if :: MAY_DIE :: true -> all[i] = 0 fi }
#endif
T3: atomic {                   /* the name still means this file, and is removed: nobody can get between */
    if
    :: MAY_DIE
#ifdef SEED_BYNAME
    :: name == 0 -> goto T4
    :: name != 0 -> i = name;
#else
    :: name != i -> goto T4
    :: name == i ->
#endif
      check(M6_live_user, !anybody(in_segment));
      name = 0; i = file[p]; folder_changes(); use = BEING_REMOVED
    fi
  }
T4: atomic {
    if
    :: MAY_DIE
    :: true ->
      if :: all[i] == p + 1 -> all[i] = 0 :: else fi;
      if
      :: call == DETACH || (call == REMOVE && use == BEING_REMOVED) -> goto done
      :: else -> goto A1
      fi
    fi
  }
T_changed: atomic { if :: call == DETACH -> goto done :: call != DETACH -> goto A1 fi }

done: atomic {
    if
    :: p == SWEEPER -> check(M6_replaced, call != CREATE || stays || anybody(in_segment))
    :: else
    fi;
    close(file[p]); close(mine[p]); call = 0; use = 0;
    goto idle
  }
swept: atomic {                /* what live users are in is theirs; else nothing is left */
    i = name;
    check(M6_tidy, stays || name == 0 || anybody(in_segment));
    d_step {
      i = 1;
      do
      :: i < INODES -> check(M6_tidy, !all[i] && (name == i || anybody(in_segment) || !any_lock)); i++
      :: i == INODES -> break
      od
    }
    goto end
  }
die: atomic {                  /* its locks end; a record says nothing any more, for its process is known to be dead */
    close(file[p]); close(mine[p]); inside[p] = 0; asleep[p] = false;
    u = 0;
    do
    :: u < INODES * BYTES -> if :: record[u] == p + 1 -> record[u] = 0 :: else fi; u++
    :: u == INODES * BYTES -> break
    od;
    u = 0
  }
end: atomic { call = 0; use = 0; i = 0; own = 0; b = 0; crowded = false; seen = false; watched[p] = false; changed[p] = false; rounds = 0; gone[p] = true }
}
