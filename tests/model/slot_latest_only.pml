/* slot_latest_only.pml - the slot protocol for spin: holds of single slots (latest_only), voids and how they are counted.
 * Labels are the step names of docs/slot-protocol.md, which also says what is covered. check_model.sh builds and judges it.
 *
 * Every label is one load, one store or one compare-and-swap; before each store the process may be killed (MAY_DIE).
 * Both sides of B-hold have full fences in both barrier modes, so stores do not wait here; two seeds swap the sides' steps,
 * which is what a missing fence does.
 *
 *   processes  0 the producer, 1 its successor, 2 a latest_only consumer, 3 another one, or a sequential one (SEQUENTIAL),
 *              whose cursor is its hold, and who is there from the start
 *
 * Settings (-D):
 *   N          slots                                  LAST      no sequence number from this one on is begun
 *   READS      attempts of each latest_only consumer  CRASHES   how many are killed, at most
 *   DROPS      write handles dropped, at most         SEED_...  a seeded error; the table is in the document
 */
#ifndef N
#define N 3
#endif
#ifndef LAST
#define LAST 5
#endif
#ifndef READS
#define READS 2
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
byte hold[4];                  /* sequence + 1, 0: none */
byte cursor;                   /* of the sequential consumer */
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
bool I5_newest_is_data = true;
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
#ifdef SEQUENTIAL
#define holds(c, i) (c == 2 && counts[2] && hold[2] && slot(hold[2] - 1) == (i))
#define room (!counts[3] || s < cursor + N)
#else
#define holds(c, i) (counts[c] && hold[c] && slot(hold[c] - 1) == (i))
#define room true
#endif
#define held(i) (holds(2, i) || holds(3, i))
bool valid[4];                 /* ghost: past H2, what it holds has to stay */
#define in_use(s) ((valid[2] && counts[2] && hold[2] == (s) + 1) || (valid[3] && counts[3] && hold[3] == (s) + 1))
#ifdef SEQUENTIAL
#define still_to_read(s) (counts[3] && cursor <= (s))
#else
#define still_to_read(s) false
#endif

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
    :: s < LAST && room -> if :: s < claimed -> goto P4 :: s >= claimed fi
#ifdef SEQUENTIAL
    :: s < LAST && !room && killed[3] -> counts[3] = false; goto P1
#endif
    fi
  }
#ifdef SEED_NOBARRIER_WRITER   /* P3 reads what was before P2 */
P3_early: atomic { remembered[slot(s)] = held(slot(s)); remembered[slot(s + 1)] = held(slot(s + 1)) }
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
P3_hold: atomic { if :: holds(2, slot(hold[2] - 1)) -> remembered[slot(hold[2] - 1)] = true :: else fi }
#ifndef SEQUENTIAL
P3_hold_3: atomic { if :: holds(3, slot(hold[3] - 1)) -> remembered[slot(hold[3] - 1)] = true :: else fi }
#endif
#endif
P4: atomic {
    c = 0;
    if
    :: s >= LAST -> goto leave
    :: s < LAST && s >= claimed -> goto P1
    :: s < LAST && s < claimed && !room -> goto P1
    :: s < LAST && s < claimed && room && !remembered[slot(s)] -> goto P5
    :: s < LAST && s < claimed && room && remembered[slot(s)]
    fi
  }
P4_look: atomic {
    if
    :: MAY_DIE
    :: !held(slot(s)) -> remembered[slot(s)] = false; goto P5
    :: held(slot(s)) && row < N - 1 ->                     /* a void */
      row++; voids++; s++;
#ifdef SEED_VOIDPUB
      head[p] = s; void_count++;
#endif
      goto P1
    :: killed[2] && holds(2, slot(s)) -> counts[2] = false /* judged, and dropped: active -> dead */
    :: killed[3] && holds(3, slot(s)) -> counts[3] = false
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
      check(I3_held, s < N || (!in_use(s - N) && !still_to_read(s - N)));
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
#ifndef SEED_VOIDPUB
      void_count = void_count + row;
#endif
      data[s] = true; s++; head[p] = s; row = 0;
      check(S5_voids, voids == void_count)
    fi
  }
  goto P1;

leave: atomic { ended[p] = true; goto gone }
die: atomic { killed[p] = true }
gone: atomic { s = 0; claimed = 0; voids = 0; row = 0; c = 0; turn = false; remembered[0] = false; remembered[1] = false; remembered[N - 1] = false }
}

active [2] proctype consumer() {
  byte r;                      /* the entry in role, as seen */
  byte h;                      /* a head, as seen */
  byte n;                      /* attempts; sequential: voids so far */

#ifdef SEQUENTIAL
  if :: p == 3 -> goto R :: p == 2 fi;
#endif

H: atomic { if :: n == READS -> goto leave :: n < READS -> r = role; n++ fi }
H_head: atomic { h = head[r]; if :: h == 0 -> goto H :: h > 0 fi }
#ifdef SEED_NOBARRIER_READER   /* H2 reads what was before H1 */
H2_early: atomic { if :: claim[role] > h - 1 + N -> goto H :: else fi }
#endif
H1: atomic { if :: MAY_DIE :: true -> hold[p] = h fi }
#ifdef SEED_NOBARRIER_READER
  goto H_label;
#endif
#ifndef SEED_OLDROLE
H2_role: atomic { r = role }
#endif
#ifndef SEED_NOVALIDATION
H2: atomic { if :: claim[r] > h - 1 + N -> goto H_release :: else fi }
#endif
H_label: atomic {
    valid[p] = true;
    check(I5_newest_is_data, number(h - 1) == h && data[h - 1]);
    check(S1_whole, whole[slot(h - 1)] == h)
  }
H_release: atomic {
    if
    :: MAY_DIE
    :: true -> if :: valid[p] -> check(S1_whole, whole[slot(h - 1)] == h) :: else fi; hold[p] = 0; valid[p] = false; goto H
    fi
  }

#ifdef SEQUENTIAL
R: atomic {
    if
    :: MAY_DIE
    :: cursor < head[role] -> goto R_label
    :: cursor >= head[role] && labelled(cursor, role) -> r = role  /* by its label; role was seen before it */
    :: cursor >= head[role] && (killed[0] || ended[0]) && (killed[1] || ended[1]) -> goto leave
    fi
  }
R_early_role: atomic { if :: role == r -> r = 0 :: role != r -> r = 0; goto R fi }
R_label: atomic {              /* without a valid label it is a void; the next label tells how many there were */
    if
    :: number(cursor) == cursor + 1 ->
      check(S2_uncommitted, data[cursor]);
      check(S1_whole, whole[slot(cursor)] == cursor + 1);
      check(S5_voids, label_voids[slot(cursor)] == n)
    :: else -> check(S2_committed, !data[cursor]); n++
    fi
  }
R_release: atomic {
    if
    :: MAY_DIE
    :: true -> check(S1_whole, !data[cursor] || whole[slot(cursor)] == cursor + 1); cursor++; goto R
    fi
  }
#endif

leave: atomic { counts[p] = false; goto gone }
die: atomic { killed[p] = true }
gone: atomic { r = 0; h = 0; n = 0; valid[p] = false }
}
