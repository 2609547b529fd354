/* slot_group.pml - the slot protocol for spin: a group whose members share the work, die at any step, and adopt from the dead.
 * Labels are the step names of docs/slot-protocol.md, which also says what is covered. check_model.sh builds and judges it.
 *
 * Every label is one load, one store or one compare-and-swap; before each store a member may be killed (MAY_DIE).
 * G3 and the steps of adoption are locked instructions, so stores do not wait here. Entries are not reused.
 *
 *   processes  0 the producer, who waits for room and claims one by one, 1 .. MEMBERS members of one group
 *   joins      a counter in the protocol; here: moved since the producer looked last
 *   member     kind, first, parity; a member takes one sequence at a time
 *
 * Settings (-D):
 *   MEMBERS  2 .. 4                            N        slots
 *   LAST     sequences 0 .. LAST-1             CRASHES  how many members are killed, at most
 *   LATE     the last member joins at any time, also when the others are dead
 *   SEED_... a seeded error; the table is in the document
 */
#ifndef MEMBERS
#define MEMBERS 3
#endif
#ifndef N
#define N 2
#endif
#ifndef LAST
#define LAST 3
#endif
#ifndef CRASHES
#define CRASHES 0
#endif

#define p _pid
#define slot(s) ((s) % N)

mtype = { FREE, ACTIVE, LEFT, DEAD, ADOPTING }   /* states of an entry */
mtype = { IDLE, INTENT, TAKEN, AGAIN }           /* of its member word */

/* ---- memory ---- */
byte head, claim;
byte whole[N];                 /* sequence + 1 whose payload is complete, 0: torn */
bool moved = true;
byte next, winner;             /* `word` of the group */
mtype state[5] = FREE;
byte adopter[5];               /* the reference in the state, while it is adopting */
mtype kind[5] = IDLE;
byte first[5];
bool parity[5];
byte counted_0[5], counted_1[5];

/* ---- ghosts: nobody acts on them ---- */
byte released[LAST];           /* how often it was counted as delivered */
bool undelivered[LAST];
bool overtaken;                /* the producer has found the group without a living member */
bool valid[5];                 /* past its check: what its word names has to stay */
bool killed[5];
bool prepared;
byte crashes;

/* ---- what must hold; named, so that pan's message tells which one did not ---- */
bool S1_whole = true;
bool S3_not_lost = true;
bool S5_once = true;
bool I1_incarnation = true;
bool I3_held = true;
bool I6_books = true;

inline check(flag, condition) { flag = (condition); assert(flag) }

#define MAY_DIE crashes < CRASHES -> crashes++; goto die
#define has(m, s) ((kind[m] == TAKEN || kind[m] == AGAIN) && first[m] == (s))
#define named(s) (has(1, s) || has(2, s) || has(3, s) || has(4, s) || (kind[winner] == INTENT && first[winner] == (s) && next == (s) + 1))
#define uses(m, s) (valid[m] && !killed[m] && has(m, s))
#define living (state[1] == ACTIVE || state[2] == ACTIVE || state[3] == ACTIVE || state[4] == ACTIVE)
#define settled(m) (kind[m] == IDLE && (!killed[m] || state[m] == LEFT || state[m] == FREE))
#define nothing_left (head == LAST && next == LAST && settled(1) && settled(2) && settled(3) && settled(4))
#define orphan(m) (killed[m] && (state[m] == ACTIVE || state[m] == DEAD || (state[m] == ADOPTING && killed[adopter[m]])))
#define books(m) (parity[m] * counted_1[m] + (1 - parity[m]) * counted_0[m])

inline audit() {
  d_step {
    byte i = 0, all = 0;
    do
    :: i < LAST -> all = all + released[i]; check(S5_once, released[i] <= 1); i++
    :: i == LAST -> break
    od;
    check(I6_books, all == books(1) + books(2) + books(3) + books(4));
    i = 0; all = 0
  }
}

active proctype producer() {
  byte s, lowest, m;
  bool alive;

P: atomic {                    /* members from the start */
    m = 1;
    do
#ifdef LATE
    :: m < MEMBERS -> state[m] = ACTIVE; m++
    :: m == MEMBERS -> break
#else
    :: m <= MEMBERS -> state[m] = ACTIVE; m++
    :: m > MEMBERS -> break
#endif
    od;
    m = 0; prepared = true
  }

P1: atomic {
    if
    :: s == LAST -> goto leave
    :: s < LAST -> moved = false; lowest = s; m = 1; alive = false
    fi
  }
#ifndef SEED_SCANORDER
P1_next: atomic { if :: next < lowest -> lowest = next :: else fi }
#endif
P1_member: atomic {            /* its slots, also those of the dead, as long as one member lives */
    if
    :: state[m] == ACTIVE -> alive = true
    :: else
    fi;
    if
    :: state[m] != FREE && state[m] != LEFT && kind[m] != IDLE && first[m] < lowest -> lowest = first[m]
    :: else
    fi;
    m++;
    if :: m <= MEMBERS -> goto P1_member :: m > MEMBERS -> m = 0 fi
  }
#ifdef SEED_SCANORDER
P1_next: atomic { if :: next < lowest -> lowest = next :: else fi }
#endif
P1_again: atomic {
    if
    :: moved -> goto P1
    :: !moved && !alive -> overtaken = true
    :: !moved && alive && s < lowest + N
    :: !moved && alive && s >= lowest + N -> goto P_park
    fi;
    if :: claim > s -> goto P5 :: else -> goto P2 fi
  }
P_park: atomic {               /* whoever is in the way is judged */
    if
    :: killed[1] && state[1] == ACTIVE -> state[1] = DEAD
    :: killed[2] && state[2] == ACTIVE -> state[2] = DEAD
    :: killed[3] && state[3] == ACTIVE -> state[3] = DEAD
    :: killed[4] && state[4] == ACTIVE -> state[4] = DEAD
    :: true
    fi;
    goto P1
  }
P2: atomic { claim = s + 1 }
P3: atomic { if :: moved -> goto P1 :: !moved fi }
P5: atomic {
    check(I3_held, s < N || (!uses(1, s - N) && !uses(2, s - N) && !uses(3, s - N) && !uses(4, s - N)));
    whole[slot(s)] = 0
  }
P6: atomic { whole[slot(s)] = s + 1 }
P9: atomic { s++; head = s; goto P1 }
leave: atomic { s = 0; lowest = 0; alive = false }
}

active [MEMBERS] proctype member() {
  byte g, w;                   /* the group's word, as seen */
  byte d;                      /* the dead one */
  byte m;

J: atomic {
    prepared;
    if :: state[p] == ACTIVE -> goto G :: state[p] == FREE fi
  }
J2: atomic { if :: MAY_DIE :: true -> state[p] = ACTIVE fi }
J3: atomic { if :: MAY_DIE :: true -> moved = true fi }
J4: atomic { g = next; w = winner }
#ifndef SEED_NOJOINCHECK
J4_claim: atomic { if :: claim <= g + N -> goto G :: claim > g + N -> d = claim - N fi }
J4_word: atomic {
    if
    :: MAY_DIE
    :: next == g && winner == w ->
      check(S3_not_lost, overtaken);
      m = g; do :: m < d -> undelivered[m] = true; m++ :: m == d -> break od;
      next = d; winner = p; d = 0; m = 0; goto J4
    :: next != g || winner != w -> d = 0; goto J4
    fi
  }
#endif

G: atomic {
    g = 0; w = 0; d = 0; m = 0;
    if
    :: MAY_DIE
    :: next < head -> goto G1
    :: nothing_left -> goto leave
    :: orphan(1) && p != 1 -> d = 1; goto A
    :: orphan(2) && p != 2 -> d = 2; goto A
    :: orphan(3) && p != 3 -> d = 3; goto A
    :: orphan(4) && p != 4 -> d = 4; goto A
    fi
  }
G1: atomic { g = next; w = winner }
#ifndef SEED_NOCONFIRM
G1_confirm: atomic {
    if
    :: MAY_DIE
    :: true -> if :: kind[w] == INTENT && first[w] + 1 == g -> kind[w] = TAKEN :: else fi
    fi
  }
#endif
G1_head: atomic { if :: g >= head -> goto G :: g < head fi }
G2: atomic { if :: MAY_DIE :: true -> kind[p] = INTENT; first[p] = g fi }
G3: atomic {
    if
    :: MAY_DIE
    :: next == g && winner == w -> next = g + 1; winner = p; valid[p] = true; goto G4
    :: next != g || winner != w
    fi
  }
G3_lost: atomic { if :: MAY_DIE :: true -> kind[p] = IDLE; first[p] = 0; goto G fi }
G4: atomic { if :: MAY_DIE :: true -> kind[p] = TAKEN fi }
G4_label: atomic { check(S1_whole, whole[slot(g)] == g + 1) }
G5: atomic {
    if
    :: MAY_DIE
    :: true ->
      check(S1_whole, whole[slot(g)] == g + 1);
#ifdef SEED_ONECOUNT
      if :: parity[p] -> counted_1[p]++ :: else -> counted_0[p]++ fi
#else
      if :: parity[p] -> counted_0[p] = counted_1[p] + 1 :: else -> counted_1[p] = counted_0[p] + 1 fi
#endif
    fi
  }
G5_idle: atomic {
    if
    :: MAY_DIE
    :: true ->
      d_step {
        kind[p] = IDLE; first[p] = 0; valid[p] = false; released[g]++;
#ifndef SEED_ONECOUNT
        parity[p] = !parity[p];
        if :: parity[p] -> counted_0[p] = 0 :: else -> counted_1[p] = 0 fi
#endif
      }
      audit();
      goto G
    fi
  }

  /* ---- adoption; the proof of death of d is there, and, where another one was adopting from it, of that one's ---- */
A: atomic { if :: MAY_DIE :: true -> if :: state[d] == ACTIVE -> state[d] = DEAD :: else fi fi }
A1_settle: atomic { if :: kind[d] != INTENT -> goto A1_state :: kind[d] == INTENT -> g = first[d] fi }
A1_word: atomic { w = (next == g + 1 && winner == d) }
A1_intent: atomic {
    if
    :: MAY_DIE
    :: true -> if :: kind[d] == INTENT && first[d] == g -> kind[d] = (w -> TAKEN : IDLE) :: else fi; w = 0
    fi
  }
A1_state: atomic {
    if
    :: kind[d] == INTENT || !orphan(d) -> goto G
    :: kind[d] != INTENT && orphan(d) -> w = (state[d] == ADOPTING -> adopter[d] : 0); g = first[d]; m = 1
    fi
  }
#ifndef SEED_SYMMETRIC
A1_turn: atomic {              /* a dead one, whose slots an adopting one still names, waits until that one has been seen to */
    if
    :: m > MEMBERS || w || kind[d] == IDLE
    :: else -> if :: m != d && state[m] == ADOPTING && has(m, g) -> goto G :: else -> m++; goto A1_turn fi
    fi
  }
#endif
A1: atomic {
    if
    :: MAY_DIE
    :: (state[d] == DEAD && w == 0) || (state[d] == ADOPTING && adopter[d] == w) ->
      check(I1_incarnation, killed[d] && (w == 0 || killed[w]));
      state[d] = ADOPTING; adopter[d] = p; m = 1; w = 0;
      if :: kind[d] == IDLE -> goto A5 :: else fi
    :: else -> goto G
    fi
  }
A1_look: atomic {              /* one after the other */
    if
    :: m > MEMBERS -> m = 0; goto A2
    :: m <= MEMBERS && m != d && has(m, g) -> m = 0
    :: m <= MEMBERS && (m == d || !has(m, g)) -> m++; goto A1_look
    fi
  }
#ifndef SEED_CLEARNOMOVE
A_clear_joins: atomic { if :: MAY_DIE :: true -> moved = true fi }
#endif
A_clear: atomic {
    if
    :: MAY_DIE
    :: true ->
      kind[d] = IDLE; first[d] = 0;
      check(S3_not_lost, named(g) || released[g] || undelivered[g]);
      goto A5
    fi
  }
A2: atomic { if :: MAY_DIE :: true -> kind[p] = AGAIN; first[p] = g fi }
#ifndef SEED_NOMOVES
A3: atomic { if :: MAY_DIE :: true -> moved = true fi }
#endif
A4: atomic { if :: MAY_DIE :: true -> kind[d] = IDLE; first[d] = 0 fi }
A5: atomic { if :: MAY_DIE :: true -> state[d] = LEFT; adopter[d] = 0; if :: kind[p] == AGAIN :: else -> goto G fi fi }
#ifndef SEED_NOADOPTCHECK
A6: atomic {                   /* the producer did not wait while the group had no living member */
    if
    :: claim <= g + N
    :: claim > g + N -> check(S3_not_lost, overtaken); goto A6_undelivered
    fi
  }
#endif
A6_valid: atomic { valid[p] = true; goto G4_label }
A6_undelivered: atomic {
    if
    :: MAY_DIE
    :: true -> kind[p] = IDLE; first[p] = 0; undelivered[g] = true; goto G
    fi
  }

leave: atomic {
    m = 0;
    do
    :: m < LAST -> check(S3_not_lost, released[m] || undelivered[m]); m++
    :: m == LAST -> break
    od;
    state[p] = LEFT; goto gone
  }
die: atomic { killed[p] = true; audit() }
gone: atomic { g = 0; w = 0; d = 0; m = 0 }
}
