/* slot_sequential.pml - the slot protocol for spin: sequential consumers, and a producer that waits for room.
 * Labels are the step names of docs/slot-protocol.md, which also says what is covered. check_model.sh builds and judges it.
 *
 * Every label is one load, one store or one compare-and-swap; before each of them the process may be killed (MAY_DIE).
 * Barriers are asymmetric: a store waits in the store buffer of its process (first in, first out) until `memory` writes it,
 * a locked instruction of that process does, or a heavy barrier. What a killed process has stored gets to memory.
 *
 *   processes          0 the producer, 1 its successor, 2 and 3 consumers, who join at any time
 *   joins              a counter in the protocol; here per producer: moved since it looked last
 *   rd_event, wr_event the same per sleeper: rung since it looked last
 *
 * Settings (-D):
 *   MESSAGES   sequences 0 .. MESSAGES-1              CRASHES   how many are killed, at most
 *   CONSUMERS  1, or 2: one from the start             DROPS     write handles dropped without a commit, at most
 *   OLDEST     consumers may start with claim - n     LEAVES    the producer may leave the role, consumers the block
 *   BUFFER     how many stores wait, per process      FENCES    none: full fences on both sides instead
 *   SEED_...   a seeded error; the table is in the document
 */
#ifndef MESSAGES
#define MESSAGES 5
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#ifndef DROPS
#define DROPS 0
#endif
#ifndef BUFFER
#define BUFFER 2
#endif

#define N 3                    /* slots: the least that has batches of two */
#define BATCH 2
#define p _pid
#define slot(s) ((s) % N)

/* ---- memory ---- */
byte role;                     /* the entry in role */
bool vacant;
byte head[2];
byte claim[2];
byte label[N];                 /* sequence + 1 + 16 * epoch, which is that of its only producer */
byte whole[N];                 /* sequence + 1 whose payload is complete, 0: torn */
byte cursor[4];
#if CONSUMERS == 2
bool counts[4] = { false, false, true, false };
#else
bool counts[4];                /* an active entry: left, dead and never used look the same here */
#endif
bool rd_wait[4];
byte wr_target;                /* 0: none */
bool moved[2] = true;
bool rd_rung[4];
bool wr_rung;

/* ---- the stores that wait ---- */
mtype = { CLAIM, LABEL_0, HALF, WHOLE, LABEL, HEAD, CURSOR, TARGET_0 }
chan buffer[4] = [BUFFER] of { mtype, byte };
hidden mtype what;
hidden byte value;

/* ---- ghosts: nobody acts on them ---- */
bool valid[4];                 /* past J4: what its position names has to stay */
byte position[4];              /* how far it has read; `cursor` follows out of the store buffer */
byte committed;                /* below it: labelled, by whomever */
bool killed[4];
bool ended[2];
byte crashes, drops;

/* ---- what must hold; named, so that pan's message tells which one did not ---- */
bool S1_whole = true;
bool S2_once = true;           /* a number that has been committed is not begun again */
bool S3_hold_kept = true;
bool I2_claim = true;
bool I3_held = true;
bool I4_below_head = true;

inline check(flag, condition) { flag = (condition); assert(flag) }

#define MAY_DIE crashes < CRASHES -> crashes++; goto die
#define TIMEOUT crashes > 0    /* 10 ms. Before the first death nobody may need it: that would be a lost wake-up */

#define number(s) (label[slot(s)] % 16)
#define labelled(s, q) (label[slot(s)] == (s) + 1 + 16 * (q))
/* The counted head of the entry q. */
#define counted(q) (labelled(head[q], q) -> head[q] + 1 : head[q])
#define names(c, s) (counts[c] && valid[c] && position[c] <= (s))
#define over ((killed[0] || ended[0]) && (killed[1] || ended[1]))

inline write_oldest(q) {
  buffer[q] ? what, value;
  if
  :: what == CLAIM -> check(I2_claim, value >= claim[q]); claim[q] = value
  :: what == LABEL_0 -> label[slot(value)] = 0
  :: what == HALF ->
    check(I2_claim, role == q && value < claim[q]);
    check(I3_held, value < N || (!names(2, value - N) && !names(3, value - N)));
    whole[slot(value)] = 0
  :: what == WHOLE -> whole[slot(value)] = value + 1
  :: what == LABEL -> label[slot(value)] = value + 1 + 16 * q; committed = value + 1
  :: what == HEAD -> head[q] = value
  :: what == CURSOR -> cursor[q] = value
  :: what == TARGET_0 -> wr_target = 0
  fi
}
inline drain(q) { do :: nempty(buffer[q]) -> write_oldest(q) :: empty(buffer[q]) -> break od; skip }
#ifdef FENCES
#define STORE(what, value) d_step { buffer[p] ! what, value; write_oldest(p) }
#else
#define STORE(what, value) nfull(buffer[p]) -> buffer[p] ! what, value
#endif
/* membarrier: a full fence in every thread, in one after the other. */
#define HEAVY(step) \
step##_heavy: atomic { d_step { drain(0); drain(p) } } \
step##_heavy_1: atomic { d_step { drain(1) } } \
step##_heavy_2: atomic { d_step { drain(2) } } \
step##_heavy_3: atomic { d_step { drain(3) } }

active [2] proctype producer() {
  byte s;                      /* the next sequence */
  byte lowest;                 /* as of the last scan */
  byte claimed;                /* its own claim */
  byte c;
  bool parked;

T: atomic {
    if
    :: p == 0 -> goto P1
    :: p == 1 && ended[0] && !vacant -> goto gone
    :: p == 1 && (killed[0] || vacant)
    fi
  }
#ifdef SEED_LABELNOTCOUNTED
T1: atomic { if :: MAY_DIE :: true -> s = head[0]; head[p] = s; lowest = s fi }
#else
T1: atomic { if :: MAY_DIE :: true -> s = counted(0); head[p] = s; lowest = s fi }  /* its words do not change any more */
#endif
#ifdef SEED_LOWERCLAIM
T1_claim: atomic { if :: MAY_DIE :: true -> claim[p] = s; claimed = claim[p] fi }
#else
T1_claim: atomic { if :: MAY_DIE :: true -> claim[p] = (claim[0] > s -> claim[0] : s); claimed = claim[p] fi }
#endif
T2: atomic { if :: MAY_DIE :: true -> role = p; c = s fi }
T3: atomic {
    if
    :: MAY_DIE
    :: c < claimed -> if :: labelled(c, 0) -> label[slot(c)] = 0 :: else fi; c++; goto T3
    :: c >= claimed -> c = 0
    fi
  }
#ifdef SEED_NOSCAN
T4: goto P1;
#else
T4: atomic { if :: s == MESSAGES -> goto leave :: s < MESSAGES -> goto P1_joins fi }
#endif

P1: atomic {
    if
    :: MAY_DIE
    :: s == MESSAGES -> goto leave
#ifdef LEAVES
    :: p == 0 -> d_step { drain(p); vacant = true }; goto leave
#endif
    :: s < MESSAGES && s < lowest + N -> if :: s < claimed -> goto P5 :: s >= claimed -> goto P2 fi
    :: s < MESSAGES && s >= lowest + N
    fi
  }
P1_joins: atomic { if :: MAY_DIE :: true -> moved[p] = false; lowest = s; c = 2 fi }
P1_cursor: atomic {
    if
    :: c == 4 -> c = 0
    :: c < 4 -> if :: counts[c] && cursor[c] < lowest -> lowest = cursor[c] :: else fi; c++; goto P1_cursor
    fi
  }
P1_again: atomic {
    if
    :: moved[p] -> goto P1_joins
    :: !moved[p] && s >= lowest + N -> if :: parked -> goto P_park_sleep :: !parked -> goto P_park fi
    :: !moved[p] && s < lowest + N -> if :: parked -> goto P_park_clear :: !parked -> goto P_room fi
    fi
  }
P_park: atomic { if :: MAY_DIE :: true -> wr_rung = false fi }
P_park_target: atomic { if :: MAY_DIE :: true -> d_step { drain(p); wr_target = s - N + 1; parked = true } fi }
#ifndef SEED_NOBARRIER_WRITER
  HEAVY(P_park)
#endif
P_park_look: goto P1_joins;
P_park_sleep: atomic {
    if
    :: MAY_DIE
    :: wr_rung -> wr_rung = false
    :: TIMEOUT ->
      d_step {               /* whoever is in the way is judged, and dropped if dead: active -> dead */
        c = 2;
        do
        :: c < 4 ->
#ifdef SEED_NOPROOF
          if :: counts[c] && cursor[c] == lowest -> counts[c] = false :: else fi;
#else
          if :: counts[c] && killed[c] -> counts[c] = false :: else fi;
#endif
          c++
        :: c == 4 -> break
        od;
        c = 0
      }
    fi
  }
P_park_clear: atomic { if :: MAY_DIE :: STORE(TARGET_0, 0); parked = false; if :: s < lowest + N :: else -> goto P1_joins fi fi }
P_room: atomic { if :: s < claimed -> goto P5 :: s >= claimed fi }
#ifdef SEED_CLAIMLATE
P3_early: atomic { if :: moved[p] -> goto P1_joins :: !moved[p] fi }
#endif
P2: atomic { if :: MAY_DIE :: STORE(CLAIM, s + BATCH); claimed = s + BATCH fi }
#if !defined(SEED_STALEJOIN) && !defined(SEED_CLAIMLATE)
P3: atomic { if :: moved[p] -> goto P1_joins :: !moved[p] fi }
#endif
P5: atomic { if :: MAY_DIE :: STORE(LABEL_0, s); check(S2_once, s >= committed) fi }
P6: atomic { if :: MAY_DIE :: STORE(HALF, s) fi }
P6_whole: atomic {
    if
    :: MAY_DIE
    :: drops < DROPS -> drops++; goto P1
    :: STORE(WHOLE, s)
    fi
  }
P8: atomic { if :: MAY_DIE :: STORE(LABEL, s) fi }
P9: atomic { if :: MAY_DIE :: STORE(HEAD, s + 1); s++ fi }
P10: atomic { if :: !rd_wait[2] && !rd_wait[3] -> goto P1 :: rd_wait[2] || rd_wait[3] fi }
P10_exchange: atomic { if :: MAY_DIE :: true -> d_step { drain(p); rd_wait[2] = false; rd_wait[3] = false } fi }
P10_wake: atomic { if :: MAY_DIE :: true -> rd_rung[2] = true; rd_rung[3] = true; goto P1 fi }

leave: atomic { d_step { drain(p); ended[p] = true }; goto gone }
die: atomic { d_step { drain(p); killed[p] = true; c = 0 } }
gone: atomic { s = 0; lowest = 0; claimed = 0; parked = false }
}

active [CONSUMERS] proctype consumer() {
  byte r;                      /* the entry in role, as seen */
  byte h;                      /* its head, or claim, as seen */
  bool joined;

#if CONSUMERS == 2
J0: atomic { if :: p == 2 -> valid[p] = true; goto R :: p == 3 fi }
#endif
J1: atomic { if :: MAY_DIE :: true -> r = role fi }
J2_start: atomic {
    if
    :: position[p] = head[r]
#ifdef OLDEST
    :: position[p] = (claim[r] > N -> claim[r] - N : 0); goto J2
#endif
    fi
  }
J2_label: atomic { if :: labelled(position[p], r) :: true -> goto J2 fi }    /* from its head on, or from its counted head */
J2_role: atomic { if :: role == r -> position[p]++ :: role != r -> goto J1 fi }
J2: atomic { if :: MAY_DIE :: true -> cursor[p] = position[p] fi }
J2_active: atomic {
    if
    :: MAY_DIE
    :: true -> counts[p] = true; if :: joined :: !joined -> joined = true; goto J3 fi
    fi
  }
J2_target: atomic { if :: wr_target && position[p] >= wr_target -> wr_target = 0; wr_rung = true :: else fi }
#ifdef SEED_NOEPOCH
J3: skip;
#else
J3: atomic { if :: MAY_DIE :: true -> moved[0] = true; moved[1] = true fi }
#endif
#ifndef SEED_NOBARRIER_JOIN
  HEAVY(J3)
#endif
J4: atomic { r = role }
J4_claim: atomic { h = claim[r] }
J4_role: atomic {
    if
#ifdef SEED_NOVALIDATION
    :: true -> valid[p] = true
#else
    :: h <= position[p] + N && r == role -> valid[p] = true
    :: else -> if :: h > position[p] + N -> position[p] = h - N :: else fi; goto J2
#endif
    fi;
    joined = false
  }

R: atomic {
    if
    :: MAY_DIE
    :: position[p] == MESSAGES -> goto leave
#ifdef LEAVES
    :: true -> goto leave
#endif
    :: position[p] < MESSAGES -> r = role
    fi
  }
R_head: atomic { h = head[r] }
R_early: atomic {              /* by its label, or by head: what the head is meanwhile makes no difference to the first */
    if
    :: labelled(position[p], r)
    :: h > position[p] -> goto R_label
    :: h <= position[p] -> goto R_park
    fi
  }
R_early_role: atomic { if :: role == r -> h = position[p] + 1 :: role != r -> goto R fi }
R_label: atomic {
    check(S3_hold_kept, counts[p]);
    check(I4_below_head, position[p] < head[role] || (position[p] == head[role] && labelled(position[p], role)));
    check(S1_whole, number(position[p]) == position[p] + 1 && whole[slot(position[p])] == position[p] + 1)
  }
R_release: atomic {
    if
    :: MAY_DIE
    :: STORE(CURSOR, position[p] + 1);
      check(S1_whole, number(position[p]) == position[p] + 1 && whole[slot(position[p])] == position[p] + 1);
      position[p]++
    fi
  }
R_target: atomic { if :: wr_target && position[p] >= wr_target :: else -> goto R_next fi }
R_clear: atomic { if :: MAY_DIE :: true -> d_step { drain(p); wr_target = 0 } fi }
R_wake: atomic { if :: MAY_DIE :: true -> wr_rung = true fi }
R_next: atomic { if :: position[p] < h -> goto R_label :: position[p] >= h -> goto R fi }

R_park: atomic { if :: MAY_DIE :: true -> rd_rung[p] = false fi }
R_park_bit: atomic { if :: MAY_DIE :: true -> d_step { drain(p); rd_wait[p] = true } fi }
#ifndef SEED_NOBARRIER_READER
  HEAVY(R_park)
#endif
R_park_look: atomic { if :: head[role] > position[p] -> goto R :: head[role] <= position[p] fi }
R_park_label: atomic { if :: labelled(position[p], r) -> goto R :: true fi }  /* who goes by head only is woken, too */
R_park_sleep: atomic {
    if
    :: MAY_DIE
    :: rd_rung[p] -> goto R
    :: TIMEOUT ->
      if :: over -> goto leave :: !over && head[role] > position[p] -> goto R :: labelled(position[p], r) -> goto R fi
    fi
  }

leave: atomic { if :: MAY_DIE :: true -> d_step { drain(p); counts[p] = false } fi }
#ifndef SEED_NOLEAVEWAKE
leave_target: atomic { if :: MAY_DIE :: true -> if :: wr_target -> wr_target = 0; wr_rung = true :: else fi; goto gone fi }
#else
  goto gone;
#endif
die: atomic { d_step { drain(p); killed[p] = true } }
gone: atomic { r = 0; h = 0; joined = false; valid[p] = false; rd_rung[p] = false }
}

active proctype memory() {
end:
  do
  :: d_step { nempty(buffer[0]) -> write_oldest(0) }
  :: d_step { nempty(buffer[1]) -> write_oldest(1) }
  :: d_step { nempty(buffer[2]) -> write_oldest(2) }
  :: d_step { nempty(buffer[3]) -> write_oldest(3) }
  od
}
