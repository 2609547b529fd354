/* slot_break.pml - the slot protocol for spin: a live producer is broken, and goes on writing whenever it likes.
 * Labels are the step names of docs/slot-protocol.md, which also says what is covered. check_model.sh builds and judges it.
 *
 * Every label is one load, one store or one compare-and-swap; before each store the process may be killed (MAY_DIE).
 * Stores do not wait here: K3 and J3 are heavy barriers. SEED_CLAIMEARLY is what a missing one does.
 *
 *   processes  0 the producer in role, 1 and 2 who break it, or take over from the dead; 3 a sequential consumer, who joins at
 *              any time, its cursor being its hold; 4 anybody who finds that a producer is dead
 *
 * Settings (-D):
 *   N, BATCH  slots; how many are claimed at once  BREAKS   how many producers are broken alive, at most
 *   LAST    no sequence from here on is begun     CRASHES  how many producers are killed, at most
 *   JOINER  the consumer joins at any time; else it is there from the start
 *   INORDER 2 does nothing before 1 has the role or is dead: they are alike
 *   SEED_.. a seeded error; the table is in the document
 */
#ifndef N
#define N 3
#endif
#ifndef LAST
#define LAST 4
#endif
#ifndef BREAKS
#define BREAKS 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

#ifndef BATCH
#define BATCH 2
#endif
#define INFINITE 100
#define p _pid
#define slot(s) ((s) % N)

mtype = { ACTIVE, LEFT, DEAD, BROKEN }

/* ---- memory ---- */
byte role;                     /* index; the epoch is counted apart, and the two change together */
byte epoch = 1;
mtype state[3] = ACTIVE;
byte head[3], base[3], claim[3], previous[3];
bool settled[3] = true;
byte seal[3];                  /* + 1, 0: none */
byte epoch_of[3] = 1;          /* its epoch in role */
byte broken_claim[3];
byte label[N];                 /* sequence + 1 */
byte label_epoch[N];
byte whole[N];                 /* sequence + 1 + 16 * producer, once it is complete; 0: torn */
byte cursor;
#ifdef JOINER
bool counts, valid;
#else
bool counts = true, valid = true;
#endif

/* ---- ghosts: nobody acts on them ---- */
byte committed[LAST];          /* by whom: bits */
byte writing[3];               /* slot + 1 */
byte given;                    /* the last one that the consumer was given, + 1 */
bool killed[3];
byte crashes, breaks;

/* ---- what must hold; named, so that pan's message tells which one did not ---- */
bool S1_whole = true;
bool S2_committed = true;
bool S2_once = true;           /* a number that has been committed is not begun again, and what has been given stays committed */
bool S7_broken = true;
bool I1_incarnation = true;
bool I2_claim = true;
bool I3_held = true;
bool I3_quarantined = true;
bool I4_head = true;

inline check(flag, condition) { flag = (condition); assert(flag) }

#ifdef INORDER
#define ORDER (p == 1 || role == 1 || killed[1])
#else
#define ORDER true
#endif
#define MAY_DIE crashes < CRASHES -> crashes++; goto die
#define in(i, s) (seal[i] <= (s) + 1 && (s) < broken_claim[i])          /* in the quarantine of i */
#define covers(i, s) (state[i] == BROKEN && (in(i, s) || in(i, s - N) || in(i, s + N)))
#define counted(i, s) ((committed[s] & (1 << (i))) && (seal[i] == 0 || (s) + 1 < seal[i]))
#define data(s) (counted(0, s) || counted(1, s) || counted(2, s))
#define intact(s) ((whole[slot(s)] & 15) == (s) + 1 && counted(whole[slot(s)] >> 4, s))
#define labelled(s, e) (label[slot(s)] == (s) + 1 && label_epoch[slot(s)] == (e))
/* Does the label of slot(s) make s + 1 of the head s of i? */
#ifdef SEED_LABELANYEPOCH
#define one_more(i, s) (label[slot(s)] == (s) + 1)
#else
#define one_more(i, s) labelled(s, epoch_of[i])
#endif
#define others_write(i) ((p != 0 && writing[0] == (i) + 1) || (p != 1 && writing[1] == (i) + 1) || (p != 2 && writing[2] == (i) + 1))

inline judge() {
  if
  :: q -> check(S7_broken, data(cursor)); check(S1_whole, intact(cursor)); given = cursor + 1
  :: !q -> check(S2_committed, !data(cursor))
  fi
}

active [3] proctype producer() {
  byte s;                      /* the next sequence */
  byte claimed;                /* its own claim */
  byte row;                    /* voids since the last commit */
  byte i;                      /* the producer before; else scratch */
  byte e;                      /* the epoch seen; then its own */
  byte c;

  if :: p == 0 -> e = 1; goto P1 :: p != 0 fi;

end_B: atomic {
    if
    :: ORDER && killed[role] && settled[role] -> e = epoch; i = role; s = 0; c = 0; goto T1
    :: ORDER && killed[role] && !settled[role] -> e = epoch; i = previous[role]
    :: ORDER && !killed[role] && settled[role] && breaks < BREAKS -> breaks++; e = epoch; i = role
#ifdef SEED_BREAKUNSETTLED
    :: ORDER && !killed[role] && !settled[role] && breaks < BREAKS -> breaks++; e = epoch; i = previous[role]
#endif
    fi;
    s = 0; c = 0
  }
  /* ---- break ---- */
K1: atomic { if :: MAY_DIE :: seal[i] != 0 -> s = seal[i] - 1 :: seal[i] == 0 -> s = head[i]; c = true fi }
K1_label: atomic {             /* nobody looks here before K2 */
    if
    :: MAY_DIE
    :: true ->
      if :: c && one_more(i, s) -> s++ :: else fi;
      c = 0; head[p] = s; base[p] = s;
      claim[p] = INFINITE;
#ifdef SEED_CLAIMEARLY
      c = claim[i];
#endif
      previous[p] = i; settled[p] = false
    fi
  }
K2: atomic {
    if
    :: MAY_DIE
    :: epoch == e -> e++; epoch = e; role = p; epoch_of[p] = e
    :: epoch != e -> goto end_B
    fi
  }
#ifndef SEED_CLAIMEARLY
K3: atomic { if :: MAY_DIE :: true -> c = claim[i] fi }
#endif
K3_head: atomic { if :: MAY_DIE :: true -> s = head[i] fi }
#ifndef SEED_SEALBYHEAD
K3_label: atomic { if :: MAY_DIE :: true -> if :: one_more(i, s) -> s++ :: else fi fi }
#endif
#ifdef SEED_NOSEAL             /* what did not count counts later */
K4: atomic { if :: MAY_DIE :: true -> check(S2_committed, seal[i] == 0 || seal[i] == s + 1); seal[i] = s + 1 fi }
#else
K4: atomic {
    if
    :: MAY_DIE
    :: seal[i] == 0 -> seal[i] = s + 1; check(S2_once, given <= s)
    :: seal[i] != 0 -> s = seal[i] - 1
    fi
  }
#endif
#ifndef SEED_NOQUAR
K5: atomic { if :: MAY_DIE :: true -> broken_claim[i] = c fi }
K5_state: atomic {
    if
    :: MAY_DIE
    :: state[i] == ACTIVE || state[i] == BROKEN -> state[i] = BROKEN
    :: state[i] != ACTIVE && state[i] != BROKEN  /* it has ended, or was found dead, meanwhile: T3 does */
    fi
  }
#endif
#ifdef SEED_HEADFIRST
K6: atomic { if :: MAY_DIE :: true -> check(I4_head, s >= head[p]); head[p] = s fi }
K6_base: atomic { if :: MAY_DIE :: true -> base[p] = s fi }
#else
K6: atomic { if :: MAY_DIE :: true -> base[p] = s fi }
K6_head: atomic { if :: MAY_DIE :: true -> check(I4_head, s >= head[p]); head[p] = s fi }
#endif
K7: atomic { if :: MAY_DIE :: true -> claimed = (c > s -> c : s); claim[p] = claimed fi }
K8: atomic { if :: MAY_DIE :: true -> settled[p] = true; c = s; goto T3 fi }

  /* ---- take-over ---- */
T1: atomic {
    if
    :: MAY_DIE
    :: true ->
      s = head[i];
#ifndef SEED_LABELNOTCOUNTED
      if :: one_more(i, s) -> s++ :: else fi;
#endif
      head[p] = s; base[p] = s; claimed = (claim[i] > s -> claim[i] : s); claim[p] = claimed; settled[p] = true
    fi
  }
T2: atomic {
    if
    :: MAY_DIE
    :: epoch == e -> e++; epoch = e; role = p; epoch_of[p] = e; c = s; check(S2_once, given <= s)
    :: epoch != e -> claimed = 0; goto end_B
    fi
  }
T3: atomic {
    if
    :: MAY_DIE
    :: c < claimed -> if :: label[slot(c)] == c + 1 && label_epoch[slot(c)] < e -> label[slot(c)] = 0 :: else fi; c++; goto T3
    :: c >= claimed -> c = 0
    fi
  }
T4: atomic { i = 0; goto P3 }

  /* ---- produce ---- */
P1: atomic {
    if
    :: s >= LAST -> goto ended
    :: s < LAST && s < claimed -> goto end_P4
    :: s < LAST && s >= claimed
    fi
  }
P2: atomic { if :: MAY_DIE :: true -> check(I2_claim, s + BATCH >= claim[p]); claimed = s + BATCH; claim[p] = claimed fi }
#ifndef SEED_NOCLAIMCHECK
P3: atomic { if :: epoch != e -> goto ended :: epoch == e fi }
#else
P3: skip;
#endif
#ifndef SEED_NOQUAR
end_P4: atomic {
    if
    :: s >= LAST -> goto ended
    :: s < LAST && s >= claimed -> goto P1
    :: s < LAST && s < claimed && !(covers(0, s) || covers(1, s) || covers(2, s))
    :: s < LAST && s < claimed && (covers(0, s) || covers(1, s) || covers(2, s)) && row < N - 1 -> s++; row++; goto end_P4
    :: state[0] == BROKEN && killed[0] -> i = 0; goto Q
    :: state[1] == BROKEN && killed[1] -> i = 1; goto Q
    :: row == N - 1 && (covers(0, s) || covers(1, s) || covers(2, s)) && epoch != e -> goto ended
    fi
  }
#else
end_P4: atomic { if :: s >= LAST -> goto ended :: s < LAST && s >= claimed -> goto P1 :: s < LAST && s < claimed fi }
#endif
  goto P1_room;
Q: atomic { c = seal[i] - 1 }
Q_clear: atomic {              /* the dead one's labels go, by compare-and-swap of number and epoch; then the quarantine */
    if
    :: MAY_DIE
    :: c < broken_claim[i] ->
#ifndef SEED_LIFTDIRTY
#ifdef SEED_CLEARBYNUMBER
      if :: label[slot(c)] == c + 1 -> label[slot(c)] = 0 :: else fi;
#else
      if :: label[slot(c)] == c + 1 && label_epoch[slot(c)] == epoch_of[i] -> label[slot(c)] = 0 :: else fi;
#endif
#endif
      c++; goto Q_clear
    :: c >= broken_claim[i] -> c = 0
    fi
  }
Q_end: atomic {
    if
    :: MAY_DIE
    :: true -> check(I1_incarnation, killed[i]); if :: state[i] == BROKEN -> state[i] = LEFT :: else fi; i = 0; goto end_P4
    fi
  }
P1_room: atomic {              /* what a joiner may do to it: slot_sequential.pml */
    if
    :: !counts || s < cursor + N
    :: epoch != e -> goto ended
    fi
  }
P5: atomic {
    if
    :: MAY_DIE
    :: true ->
      check(S2_once, epoch != e || !data(s));
      check(I3_quarantined, !others_write(slot(s)));
      check(I3_held, s < N || !valid || cursor > s - N);
      writing[p] = slot(s) + 1; label[slot(s)] = 0; whole[slot(s)] = 0
    fi
  }
P6: atomic { if :: MAY_DIE :: true -> check(I3_quarantined, !others_write(slot(s))); whole[slot(s)] = s + 1 + 16 * p fi }
P8: atomic {                   /* committed, if no voids are still to be published before it */
    if
    :: MAY_DIE
    :: true ->
      label_epoch[slot(s)] = e; label[slot(s)] = s + 1; writing[p] = 0;
      if :: row == 0 -> committed[s] = committed[s] | (1 << p) :: else fi
    fi
  }
P9: atomic { if :: MAY_DIE :: true -> committed[s] = committed[s] | (1 << p); s++; head[p] = s; row = 0; goto P1 fi }

ended: atomic { s = 0; claimed = 0; row = 0; c = 0; i = 0; e = 0 }
end_ended: atomic { if :: MAY_DIE :: state[p] == ACTIVE && role != p -> state[p] = LEFT; goto end_ended fi }
die: atomic { killed[p] = true; writing[p] = 0 }
gone: atomic { s = 0; claimed = 0; row = 0; c = 0; i = 0; e = 0 }
}

active proctype consumer() {
  byte r, e, h, b, q;

#ifdef JOINER
J1: atomic { r = role; e = epoch }
J2_start: atomic { cursor = head[r] }
J2_label: atomic { if :: labelled(cursor, e) -> cursor++ :: true fi }   /* from its head on, or from its counted head */
#ifndef SEED_STALEHEAD
J2_role: atomic { if :: epoch == e :: epoch != e -> goto J1 fi }
#endif
J2: atomic { counts = true }
J4: atomic { r = role; e = epoch }
J4_claim: atomic { h = claim[r] }
J4_role: atomic {
    if
    :: e == epoch && h <= cursor + N -> valid = true
    :: e == epoch && h > cursor + N && h != INFINITE -> cursor = h - N; goto J4
    :: e != epoch || h == INFINITE -> goto J4
    fi
  }
#endif

end_R: atomic { r = role; e = epoch; h = 0; b = 0; q = 0 }
#ifdef SEED_BASEFIRST
R_base_early: atomic { b = base[r] }
#endif
R_head: atomic { h = head[r] }
#ifndef SEED_NOSECOND
R_role: atomic { if :: e == epoch :: e != epoch -> goto end_R fi }
#endif
end_R_wait: atomic {
    if
    :: h > cursor -> goto R_base
    :: h <= cursor && (head[role] > cursor || epoch != e) -> goto end_R
    :: labelled(cursor, e)     /* by its label: what the head is makes no difference */
    fi
  }
#ifndef SEED_LABELNOROLE
R_early_role: atomic { if :: epoch == e :: epoch != e -> goto end_R fi }
#endif
R_early: atomic { q = true; judge(); goto R_release }
#ifndef SEED_BASEFIRST
R_base: atomic { b = base[r] }
#else
R_base: skip;
#endif
#ifndef SEED_LABELFIRST
#ifndef SEED_NOQCHECK
R_quarantine: atomic { q = (state[0] == BROKEN && in(0, cursor)) || (state[1] == BROKEN && in(1, cursor)) }
#endif
R_label: atomic {
    q = (label[slot(cursor)] == cursor + 1 && (label_epoch[slot(cursor)] == e || (cursor < b && !q)));
    judge()
  }
#else
R_label: atomic { h = label_epoch[slot(cursor)]; q = (label[slot(cursor)] == cursor + 1 && (h == e || cursor < b)) }
R_quarantine: atomic {
    q = (q && (h == e || !(state[0] == BROKEN && in(0, cursor)) && !(state[1] == BROKEN && in(1, cursor))));
    judge()
  }
#endif
R_release: atomic {
    check(S1_whole, !q || intact(cursor));
    cursor++; r = 0; e = 0; h = 0; b = 0; q = 0; goto end_R
  }
}

active proctype anybody() {
end:
  do
  :: atomic { killed[0] && state[0] == ACTIVE -> state[0] = DEAD }
  :: atomic { killed[1] && state[1] == ACTIVE && role != 1 -> state[1] = DEAD }
  od
}
