/* slot_group_life.pml - the slot protocol for spin: the lives of a group, and the lock of those who adopt in it.
 * Labels are the step names of docs/slot-protocol.md, which also says what is covered. check_model.sh builds and judges it.
 *
 * Every label is one load, one store or one compare-and-swap; before each store a member may be killed (MAY_DIE).
 * Taking is G1 to G5 in slot_group.pml; here it is one step, G3, so that the steps of joining, adopting and ending can be two
 * members' at once. Members join one after the other (`registry`, a lock of the kernel), and each once.
 *
 *   processes  1 .. MEMBERS members; 0 the producer, who commits and looks who is dead. Payloads are not in here: while the
 *              group has no active member they may be overwritten (`lapsed`), and nobody may take or adopt
 *   member     kind, first, count: up to BATCH sequences, and given out one by one where they were another one's
 *
 * Settings (-D):
 *   MEMBERS  2 or 3                            LAST     sequences 0 .. LAST-1
 *   CRASHES  how many are killed, at most      LEAVES   how many leave before there is nothing left, at most
 *   BATCH    sequences that are taken at once  VOIDS    each second sequence is a void
 *   SEED_... a seeded error; the table is in the document
 */
#ifndef MEMBERS
#define MEMBERS 3
#endif
#ifndef LAST
#define LAST 2
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef BATCH
#define BATCH 1
#endif
#ifndef LEAVES
#define LEAVES 0
#endif
#ifdef VOIDS
#define is_void(s) ((s) % 2 == 0)
#else
#define is_void(s) false
#endif

#define p _pid

mtype = { FREE, JOINING, ACTIVE, LEFT, DEAD }    /* states of an entry */
mtype = { IDLE, TAKEN, AGAIN }                   /* of its member word */

/* ---- memory ---- */
byte head;
byte next;                     /* `word` of the group */
byte adopter;
bool hint[4];                  /* `orphans` */
mtype state[4] = FREE;
mtype kind[4] = IDLE;
byte first[4], count[4];
byte registry;                 /* the kernel's lock of those who join */

/* ---- ghosts: nobody acts on them ---- */
bool killed[4], gone[4];
bool released[LAST];           /* in this life */
bool unmarked[LAST];           /* was given out in this life, not marked as given out before */
bool lapsed = true;            /* there has been no active member for a moment */
byte begun;                    /* where this life began */
byte crashes, leaves;

/* ---- what must hold; named, so that pan's message tells which one did not ---- */
bool S3_not_lost = true;
bool S5_once = true;
bool I1_incarnation = true;
bool I3_held = true;

inline check(flag, condition) { flag = (condition); assert(flag) }

#define MAY_DIE crashes < CRASHES -> crashes++; goto die
#define lives (state[1] == ACTIVE || state[2] == ACTIVE || state[3] == ACTIVE)
#define has(m) ((state[m] == ACTIVE || state[m] == DEAD) && kind[m] != IDLE)
#define names(m, s) (has(m) && first[m] <= (s) && (s) < first[m] + count[m])
#define unseen(m) (killed[m] && state[m] == ACTIVE)
#define unhinted(m) (state[m] == DEAD && kind[m] != IDLE && !hint[m])
#define left_by(m) (killed[m] && has(m))

/* Whatever has been taken in this life is released, or named by somebody. */
inline look_at_all() {
  d_step {
    x = begun;
    do
    :: x < next && !lapsed -> check(S3_not_lost, released[x] || names(1, x) || names(2, x) || names(3, x)); x++
    :: else -> break
    od;
    x = 0
  }
}
inline stops_being_active() { if :: !lives -> lapsed = true :: lives fi }

active proctype producer() {
  byte d, x;

P9: atomic {
    d = 0;
    if
    :: head < LAST -> head++; goto P9
    :: unseen(1) -> d = 1
    :: unseen(2) -> d = 2
    :: unseen(3) -> d = 3
    :: gone[1] && gone[2] && gone[3] && head == LAST && !unseen(1) && !unseen(2) && !unseen(3) -> goto over
    fi
  }
D1: atomic {
    if
    :: state[d] == ACTIVE -> check(I1_incarnation, killed[d]); state[d] = DEAD; stops_being_active(); look_at_all()
    :: state[d] != ACTIVE -> goto P9
    fi
  }
D2: atomic { hint[d] = true; goto P9 }
over: skip
}

active [3] proctype member() {
  byte d, m, x;
  byte before;                 /* bits: who was active */
  bool redelivered;

start: atomic { if :: p > MEMBERS -> goto gone_ :: p <= MEMBERS fi }
J: atomic { if :: MAY_DIE :: registry == 0 -> state[p] = JOINING; registry = p fi }
J_drop: atomic {               /* whoever is dead is so from here on */
    if
    :: unseen(1) -> d = 1
    :: unseen(2) -> d = 2
    :: unseen(3) -> d = 3
    :: !unseen(1) && !unseen(2) && !unseen(3) -> d = 0; before = 0; m = 1; if :: lives -> goto J_before :: !lives -> goto L1 fi
    fi
  }
J_dead: atomic {
    if
    :: MAY_DIE
    :: state[d] == ACTIVE -> state[d] = DEAD; stops_being_active(); look_at_all()
    :: state[d] != ACTIVE -> goto J_drop
    fi
  }
J_hint: atomic { if :: MAY_DIE :: true -> hint[d] = true; goto J_drop fi }
J_before: atomic {
    if
    :: m <= 3 -> if :: m != p && state[m] == ACTIVE -> before = before | (1 << m) :: else fi; m++; goto J_before
    :: m > 3 -> m = 1
    fi
  }
J2: atomic { if :: MAY_DIE :: true -> state[p] = ACTIVE fi }
#ifdef SEED_NOBREAKCHECK
J4: goto J_done;
#endif
J4_same: atomic {
    if
    :: m > 3 -> m = 0
    :: m <= 3 ->
      if
      :: (before & (1 << m)) && state[m] == ACTIVE -> goto J_done
      :: else -> m++; goto J4_same
      fi
    fi
  }
J4_back: atomic { if :: MAY_DIE :: true -> state[p] = JOINING; stops_being_active(); goto J_drop fi }
J_done: atomic { if :: MAY_DIE :: true -> registry = 0; before = 0; m = 0; goto G fi }

  /* ---- a new life: nobody else is in it ---- */
L1: atomic {
#ifdef SEED_OLDWORDS
    goto L2
#else
    if
    :: m > 3 -> m = 0; goto L2
    :: m <= 3 -> if :: m != p && state[m] == DEAD :: else -> m++; goto L1 fi
    fi
#endif
  }
L1_idle: atomic { if :: MAY_DIE :: true -> kind[m] = IDLE; first[m] = 0; count[m] = 0 fi }
L1_left: atomic { if :: MAY_DIE :: true -> state[m] = LEFT; m++; goto L1 fi }
L2: atomic { if :: MAY_DIE :: true -> hint[1] = false; hint[2] = false; hint[3] = false fi }
L3: atomic { if :: MAY_DIE :: true -> adopter = 0 fi }
L4: atomic {
    if
    :: MAY_DIE
    :: true ->
      check(S5_once, lapsed || !lives);
      next = head; begun = head;
      x = 0; do :: x < LAST -> released[x] = false; unmarked[x] = false; x++ :: x == LAST -> break od; x = 0
    fi
  }
L5: atomic { if :: MAY_DIE :: true -> state[p] = ACTIVE; lapsed = false; goto J_done fi }

  /* ---- taking ---- */
G: atomic {
    d = 0; m = 0; redelivered = false;
    if
    :: MAY_DIE
#ifndef SEED_RESTLOST
    :: kind[p] != IDLE -> redelivered = true; goto give
    :: kind[p] == IDLE && (hint[1] || hint[2] || hint[3]) -> goto A1
    :: kind[p] == IDLE && next < head -> goto G3
#else
    :: (hint[1] || hint[2] || hint[3]) -> goto A1
    :: next < head -> goto G3
    :: kind[p] != IDLE && next == head && !(hint[1] || hint[2] || hint[3]) -> redelivered = true; goto give
#endif
    :: unseen(1) || unhinted(1) -> d = 1
    :: unseen(2) || unhinted(2) -> d = 2
    :: unseen(3) || unhinted(3) -> d = 3
    :: leaves < LEAVES -> leaves++; goto leave
    :: next == LAST && kind[p] == IDLE && !left_by(1) && !left_by(2) && !left_by(3) && !unseen(1) && !unseen(2) && !unseen(3) -> goto leave
    fi
  }
G_dead: atomic {
    if
    :: MAY_DIE
    :: state[d] == ACTIVE && killed[d] -> state[d] = DEAD; stops_being_active(); look_at_all()
    :: state[d] != ACTIVE || !killed[d]
    fi
  }
G_hint: atomic { if :: MAY_DIE :: true -> if :: state[d] == DEAD -> hint[d] = true :: else fi; goto G fi }
G3: atomic {
    if
    :: MAY_DIE
    :: next == head -> goto G
    :: next < head ->
      check(I3_held, !lapsed);
      kind[p] = TAKEN; first[p] = next; count[p] = (head - next < BATCH -> head - next : BATCH); next = next + count[p];
      look_at_all()
    fi
  }
give: atomic {                 /* one by one if they were another one's; what is void is not given out, but released */
    m = (redelivered -> 1 : count[p]);
    check(I3_held, !lapsed);
    x = first[p];
    do
    :: x < first[p] + m ->
      if
      :: !is_void(x) && !redelivered -> check(S5_once, !unmarked[x]); unmarked[x] = true
      :: else
      fi;
      x++
    :: x == first[p] + m -> break
    od;
    x = 0
  }
G5: atomic {
    if
    :: MAY_DIE
    :: leaves < LEAVES -> leaves++; m = 0; goto leave
    :: true ->
      x = first[p];
      do
      :: x < first[p] + m -> check(S5_once, !released[x]); released[x] = true; x++
      :: x == first[p] + m -> break
      od;
      first[p] = first[p] + m; count[p] = count[p] - m; x = 0;
      if
      :: count[p] == 0 -> kind[p] = IDLE; first[p] = 0
      :: count[p] != 0 -> kind[p] = AGAIN
      fi;
      look_at_all();
      goto G
    fi
  }

  /* ---- adopting ---- */
#ifdef SEED_NOADOPTER
A1: skip;
#else
A1: atomic { d = adopter; if :: d != 0 && !killed[d] && !gone[d] -> goto A1_wait :: else fi }
A1_lock: atomic {
    if
    :: MAY_DIE
    :: adopter == d -> adopter = p; check(I1_incarnation, d == 0 || killed[d] || gone[d])
    :: adopter != d -> goto G
    fi
  }
#endif
A_next: atomic { d = 1; m = 0 }
A_scan: atomic {
    if
    :: d > 3 || (kind[p] == AGAIN && m) -> goto A6
    :: d <= 3 && (d == p || state[d] != DEAD) -> d++; goto A_scan
    :: d <= 3 && d != p && state[d] == DEAD && !m && kind[d] == IDLE -> goto A5
    :: d <= 3 && d != p && state[d] == DEAD && !m && kind[d] != IDLE -> x = 1
    fi
  }
A_look: atomic {
    if
    :: x > 3 -> x = 0
    :: x <= 3 && x != p && x != d && has(x) && first[x] == first[d] -> x = 0; goto A4
    :: x <= 3 && !(x != p && x != d && has(x) && first[x] == first[d]) -> x++; goto A_look
    fi
  }
#ifdef SEED_CLEARFIRST
A4_first: atomic { if :: MAY_DIE :: true -> before = first[d]; x = count[d]; kind[d] = IDLE; first[d] = 0; count[d] = 0; first[p] = before; count[p] = x; before = 0; look_at_all() fi }
A2: atomic { if :: MAY_DIE :: true -> kind[p] = AGAIN; m = 1; look_at_all(); goto A5 fi }
#else
A2: atomic {
    if
    :: MAY_DIE
    :: true ->
      check(I3_held, !lapsed && first[d] >= begun);
      kind[p] = AGAIN; first[p] = first[d]; count[p] = count[d]; m = 1; look_at_all()
    fi
  }
#endif
A4: atomic { if :: MAY_DIE :: true -> kind[d] = IDLE; first[d] = 0; count[d] = 0; look_at_all() fi }
A5: atomic { if :: MAY_DIE :: true -> if :: state[d] == DEAD -> state[d] = LEFT :: else fi fi }
A5_hint: atomic { if :: MAY_DIE :: true -> hint[d] = false; if :: m -> goto A6 :: !m -> d++; goto A_scan fi fi }
A6: atomic {
    if
    :: MAY_DIE
    :: true ->
#ifndef SEED_NOADOPTER
      check(I1_incarnation, adopter == p);
      adopter = 0;
#endif
      if :: m -> d = 0; redelivered = true; goto give :: !m fi
    fi
  }
A6_hints: atomic {             /* to what is no orphan */
    if
    :: MAY_DIE
    :: true ->
      if :: state[1] != DEAD -> hint[1] = false :: else fi;
      if :: state[2] != DEAD -> hint[2] = false :: else fi;
      if :: state[3] != DEAD -> hint[3] = false :: else fi;
      goto G
    fi
  }
A1_wait: atomic { if :: MAY_DIE :: adopter == 0 || killed[adopter] || gone[adopter] -> goto G fi }

leave: atomic {
    if
    :: MAY_DIE
    :: true ->
      state[p] = (kind[p] == IDLE -> LEFT : DEAD);
      stops_being_active(); look_at_all()
    fi
  }
leave_hint: atomic { if :: MAY_DIE :: true -> if :: state[p] == DEAD -> hint[p] = true :: else fi; goto gone_ fi }
die: atomic { killed[p] = true; if :: registry == p -> registry = 0 :: else fi }
gone_: atomic { gone[p] = true; d = 0; m = 0; x = 0; before = 0; redelivered = false }
}
