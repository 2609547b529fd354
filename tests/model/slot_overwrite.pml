/* slot_overwrite.pml - the slot protocol for spin: sequential consumers who hold ranges, and a producer who never waits for them.
 * Labels are the step names of docs/slot-protocol.md, which also says what is covered. check_model.sh builds and judges it.
 *
 * Every label is one load, one store or one compare-and-swap; before each store the process may be killed (MAY_DIE).
 * Both sides of B-hold have full fences in both barrier modes, so stores do not wait here; two seeds swap the sides' steps,
 * which is what a missing fence does.
 *
 *   processes  0 the producer, 1 its successor, 2 and 3 consumers: each is given all that it finds, or a gap
 *
 * Settings (-D):
 *   N          slots                                  LAST      no sequence number from this one on is begun
 *   CONSUMERS  1 or 2                                 CRASHES   how many are killed, at most
 *   DROPS      write handles dropped, at most         SEED_...  a seeded error; the table is in the document
 */
#ifndef N
#define N 3
#endif
#ifndef LAST
#define LAST 5
#endif
#ifndef CONSUMERS
#define CONSUMERS 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef DROPS
#define DROPS 0
#endif

#define BATCH 2
#define SEQUENCES (LAST + 1)
#define NONE 255
#define p _pid
#define slot(s) ((s) % N)

/* ---- memory ---- */
byte role;                     /* the entry in role */
byte head[2];
byte claim[2];
byte position_of[4];           /* the totals records: two per producer */
byte voids_of[4];
byte label[N];                 /* sequence + 1 + 16 * epoch, which is that of its only producer */
byte label_voids[N];
byte whole[N];                 /* sequence + 1 whose payload is complete, 0: torn */
byte hold[4];                  /* the first of the range + 1, 0: none */
byte cursor[4];
bool counts[4] = true;         /* an active entry */

/* ---- ghosts: nobody acts on them ---- */
bool data[SEQUENCES];          /* committed: by its label, or by head if there are voids before it */
byte void_count;               /* sequence numbers below head without data */
bool killed[4];
bool ended[2];
byte crashes, drops;

/* ---- what must hold; named, so that pan's message tells which one did not ---- */
bool S1_whole = true;
bool S2_uncommitted = true;
bool S2_committed = true;
bool S2_once = true;           /* a number that has been committed is not begun again */
bool S5_voids = true;
bool I2_claim = true;
bool I3_held = true;
bool I6_totals = true;

inline check(flag, condition) { flag = (condition); assert(flag) }

#define number(s) (label[slot(s)] % 16)
#define labelled(s, q) (label[slot(s)] == (s) + 1 + 16 * (q))
/* The head of the first producer, or one more. */
#ifdef SEED_LABELNOTCOUNTED
#define counted_head head[0]
#else
#define counted_head (labelled(head[0], 0) -> head[0] + 1 : head[0])
#endif

#define MAY_DIE crashes < CRASHES -> crashes++; goto die
/* s is about to be written: has its slot a sequence before it that c holds? */
#ifdef SEED_LAPONLY
#define earlier(q, s) ((q) + N == (s))
#else
#define earlier(q, s) ((q) < (s) && slot(q) == slot(s))
#endif
#define holds(c, s) (counts[c] && hold[c] && (earlier(hold[c] - 1, s) || earlier(hold[c], s)))
#define held(s) (holds(2, s) || holds(3, s))
byte valid[4];                 /* ghost: below it, what its position names has to stay */
#define in_use(c, s) (counts[c] && !killed[c] && cursor[c] <= (s) && (s) < valid[c])

active [2] proctype producer() {
  byte s;                      /* the next sequence */
  byte claimed;                /* its own claim */
  byte voids;                  /* all so far */
  byte row;                    /* of them, since the last commit */
  byte c;
  bool turn;                   /* which totals record is valid */
  bool remembered[N];          /* P3: slots of the batch that were held */

T: atomic {
    if
    :: p == 0 -> goto P1
    :: p == 1 && ended[0] -> goto leave
    :: p == 1 && killed[0]
    fi
  }
T1: atomic { if :: MAY_DIE :: true -> s = counted_head; head[p] = s fi }
#ifdef SEED_LOWERCLAIM
T1_claim: atomic { if :: MAY_DIE :: true -> claim[p] = s; claimed = s fi }
#else
T1_claim: atomic { if :: MAY_DIE :: true -> claimed = (claim[0] > s -> claim[0] : s); claim[p] = claimed fi }
#endif
T1_totals: atomic {            /* of the two the one with the greatest position that is not beyond head; the slots tell the rest */
    if
    :: MAY_DIE
    :: true ->
      d_step {
        c = (position_of[0] <= s && (position_of[1] > s || position_of[0] >= position_of[1]) -> 0 : 1);
        voids = voids_of[c];
        c = position_of[c];
        do
        :: c < s -> if :: number(c) != c + 1 -> voids++ :: else fi; c++
        :: c >= s -> break
        od;
        position_of[2] = s; voids_of[2] = voids;
        check(I6_totals, voids == void_count)
      }
    fi
  }
T2: atomic { if :: MAY_DIE :: true -> role = p; c = s; check(I2_claim, claim[1] >= claim[0]) fi }
#ifdef SEED_NOCLEAR
T3: atomic { c = 0 }
#else
T3: atomic {
    if
    :: MAY_DIE
    :: c < claimed -> if :: labelled(c, 0) -> label[slot(c)] = 0 :: else fi; c++; goto T3
    :: c >= claimed -> c = 0
    fi
  }
#endif
#ifndef SEED_NOSCAN
T4: goto P3;
#endif

P1: atomic {
    if
    :: s >= LAST -> goto leave
    :: s < LAST -> if :: s < claimed -> goto P4 :: s >= claimed fi
    fi
  }
#ifdef SEED_NOBARRIER_WRITER   /* P3 reads what was before P2 */
P3_early: atomic { remembered[slot(s)] = held(s); remembered[slot(s + 1)] = held(s + 1) }
#endif
P2_none: atomic {              /* the totals of what is below head, before the claim */
    if
    :: MAY_DIE
    :: position_of[2 * p + turn] == s - row -> goto P2
    :: position_of[2 * p + turn] != s - row ->
#ifndef SEED_ONERECORD
      turn = !turn;
#endif
#ifdef SEED_POSITIONFIRST
      position_of[2 * p + turn] = s - row
#else
      position_of[2 * p + turn] = NONE
#endif
    fi
  }
P2_voids: atomic { if :: MAY_DIE :: true -> voids_of[2 * p + turn] = voids - row fi }
P2_totals: atomic { if :: MAY_DIE :: true -> position_of[2 * p + turn] = s - row fi }
P2: atomic { if :: MAY_DIE :: true -> claimed = s + BATCH; claim[p] = claimed fi }
#ifdef SEED_NOBARRIER_WRITER
  goto P4;
#endif
P3: atomic {                   /* one consumer after the other, for all of the batch; after a take-over: of [head, claim) */
    c = 0;
    do
    :: c < N -> remembered[c] = false; c++
    :: c == N -> break
    od;
    c = s
  }
#ifndef SEED_NOLOOK
P3_hold: atomic { remembered[slot(c)] = remembered[slot(c)] || holds(2, c); c++; if :: c < claimed -> goto P3_hold :: c >= claimed -> c = s fi }
#if CONSUMERS == 2
P3_hold_3: atomic { remembered[slot(c)] = remembered[slot(c)] || holds(3, c); c++; if :: c < claimed -> goto P3_hold_3 :: c >= claimed -> c = s fi }
#endif
#endif
P4: atomic {
    c = 0;
    if
    :: s >= LAST -> goto leave
    :: s < LAST && s >= claimed -> goto P1
    :: s < LAST && s < claimed && !remembered[slot(s)] -> goto P5
    :: s < LAST && s < claimed && remembered[slot(s)]
    fi
  }
P4_look: atomic {
    if
    :: MAY_DIE
    :: !held(s) -> remembered[slot(s)] = false; goto P5
    :: held(s) && row < N - 1 ->                     /* a void; also the next, by the same look */
      row++; voids++; s++;
      if :: s < claimed && s < LAST && remembered[slot(s)] && row < N - 1 -> row++; voids++; s++ :: true fi;
      goto P1
    :: killed[2] && holds(2, s) -> counts[2] = false /* judged, and dropped: active -> dead */
    :: killed[3] && holds(3, s) -> counts[3] = false
    fi;
#ifdef SEED_DROPBOTH
    remembered[slot(s)] = false; goto P5
#else
    goto P4_look
#endif
  }
P5: atomic { if :: MAY_DIE :: true -> check(S2_once, !data[s]); label[slot(s)] = 0 fi }
P6: atomic {
    if
    :: MAY_DIE
    :: true ->
      check(I2_claim, role == p && s < claim[p]);
      check(I3_held, s < N || (!in_use(2, s - N) && !in_use(3, s - N)));
      whole[slot(s)] = 0
    fi
  }
P6_whole: atomic {
    if
    :: MAY_DIE
    :: drops < DROPS -> drops++; goto P1
    :: true -> whole[slot(s)] = s + 1
    fi
  }
P7: atomic { if :: MAY_DIE :: true -> label_voids[slot(s)] = voids fi }
P8: atomic { if :: MAY_DIE :: true -> label[slot(s)] = s + 1 + 16 * p; if :: row == 0 -> data[s] = true :: else fi fi }
P9: atomic {
    if
    :: MAY_DIE
    :: true ->
      void_count = void_count + row;
      data[s] = true; s++; head[p] = s; row = 0;
      check(S5_voids, voids == void_count)
    fi
  }
  goto P1;

leave: atomic { ended[p] = true; goto gone }
die: atomic { killed[p] = true }
gone: atomic { s = 0; claimed = 0; voids = 0; row = 0; c = 0; turn = false; remembered[0] = false; remembered[1] = false; remembered[2] = false }
}

active [CONSUMERS] proctype consumer() {
  byte r;                      /* the entry in role, as seen */
  byte h;                      /* a head, as seen */

#define at cursor[p]
R: atomic { r = role }
R_head: atomic { h = head[r]; if :: h <= at -> if :: hold[p] -> goto R_none :: else -> goto R_wait fi :: h > at fi }
R_range: atomic { if :: hold[p] && at < valid[p] -> goto R_label :: else fi }
#ifdef SEED_NOBARRIER_READER   /* H2 reads what was before H1 */
H2_early: atomic { if :: claim[role] > at + N -> at = claim[role] - N; goto R :: else fi }
#endif
H1: atomic { if :: MAY_DIE :: true -> valid[p] = 0; hold[p] = at + 1 fi }
#ifdef SEED_NOBARRIER_READER
  goto H2_valid;
#endif
#ifndef SEED_OLDROLE
H2_role: atomic { r = role }
#endif
#ifndef SEED_NOVALIDATION
H2: atomic {                   /* too late: a gap, and the hold moves on with it, to the oldest slot or a later one */
    if
    :: claim[r] > at + N -> at = claim[r] - N; if :: at < h -> at++ :: true fi; if :: at >= h -> goto R_none :: at < h -> goto H1 fi
    :: claim[r] <= at + N
    fi
  }
#endif
H2_valid: atomic { valid[p] = at + BATCH }
R_label: atomic {              /* without a valid label it is a void */
    if
    :: number(at) == at + 1 ->
      check(S2_uncommitted, data[at]);
      check(S1_whole, whole[slot(at)] == at + 1)
    :: else -> check(S2_committed, !data[at])
    fi
  }
R_release: atomic {
    if
    :: MAY_DIE
    :: true ->
      check(S1_whole, !data[at] || whole[slot(at)] == at + 1);
      at++;
      if :: at < h -> goto R_range :: at >= h -> goto R fi
    fi
  }
R_none: atomic { if :: MAY_DIE :: true -> hold[p] = 0; valid[p] = 0 fi }
R_wait: atomic {
    if
    :: MAY_DIE
    :: head[role] > at -> goto R
    :: head[role] <= at && (killed[0] || ended[0]) && (killed[1] || ended[1]) -> goto leave
    fi
  }

leave: atomic { counts[p] = false; goto gone }
die: atomic { killed[p] = true }
gone: atomic { r = 0; h = 0; valid[p] = 0 }
}
