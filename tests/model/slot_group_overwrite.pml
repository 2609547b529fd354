/* slot_group_overwrite.pml - the slot protocol for spin: a group, and a producer who never waits for its members, but leaves alone
 * what they name. Who is too late is told what it lost; what the dead had goes to another one, as far as it is intact.
 * Labels are the step names of docs/slot-protocol.md, which also says what is covered. check_model.sh builds and judges it.
 *
 * Every label is one load, one store or one compare-and-swap; before each store the process may be killed (MAY_DIE).
 * Both sides of B-hold have full fences in both barrier modes, so stores do not wait here; two seeds swap the sides' steps,
 * which is what a missing fence does. One member lives always.
 *
 *   processes  0 the producer, 1 its successor, 2 .. MEMBERS + 1 the members of one group
 *   member     kind, first, count: at most BATCH, or all that is lost, perhaps with some more to go on further ahead
 *
 * Settings (-D):
 *   MEMBERS  2 or 3                            N, BATCH  slots, and how many are claimed and taken at once
 *   LAST     no sequence number from this one on is begun
 *   DROPS    write handles dropped, at most    CRASHES   how many are killed, at most
 *   SEED_... a seeded error; the table is in the document
 */
#ifndef MEMBERS
#define MEMBERS 2
#endif
#ifndef N
#define N 2
#endif
#ifndef BATCH
#define BATCH 1
#endif
#ifndef LAST
#define LAST 4
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef DROPS
#define DROPS 0
#endif

#define p _pid
#define ALL (MEMBERS + 2)
#define slot(s) ((s) % N)

mtype = { ACTIVE, DEAD, LEFT }                   /* states of an entry */
mtype = { IDLE, INTENT, TAKEN, AGAIN }           /* of its member word */

/* ---- memory ---- */
byte role;                     /* the entry in role */
byte head[2];
byte claim[2];
byte label[N];                 /* sequence + 1, 0: cleared */
byte whole[N];                 /* sequence + 1 whose payload is complete, 0: torn */
byte next, winner;             /* `word` of the group */
byte adopter;
mtype state[5] = ACTIVE;
mtype kind[5] = IDLE;
byte first[5], count[5];

/* ---- ghosts: nobody acts on them ---- */
bool data[LAST];               /* committed: by its label, or by head if there are voids before it */
byte released[LAST];           /* how often it was counted: delivered, lost or void */
bool valid[5];                 /* past its look at the claim: what its word names, from `intact` on, has to stay */
byte intact[5];
bool killed[5];
bool ended[2];
byte crashes, drops;

/* ---- what must hold; named, so that pan's message tells which one did not ---- */
bool S1_whole = true;
bool S2_uncommitted = true;
bool S2_committed = true;
bool S2_once = true;           /* a number that has been committed is not begun again */
bool S3_not_lost = true;
bool S5_once = true;
bool I2_claim = true;
bool I3_held = true;

inline check(flag, condition) { flag = (condition); assert(flag) }

#define MAY_DIE crashes < CRASHES && (p < 2 || killed[2] + killed[3] + killed[4] < MEMBERS - 1) -> crashes++; killed[p] = true; goto gone
#define least(a, b) ((a) < (b) -> (a) : (b))
/* In whatever lap: the producer goes by the slot. */
#define covers(m, s) (kind[m] != IDLE && ((s) + N * LAST - first[m]) % N < count[m])
#define has(m) (kind[m] == TAKEN || kind[m] == AGAIN)
#define orphan(m) (killed[m] && state[m] != LEFT && m != p)
#define idle(m) (kind[m] == IDLE && (!killed[m] || state[m] == LEFT))
/* The fourth is nobody where there are two members: its words are as they are at the beginning. */
#define unheld(s) ((s) < N && !covers(2, s) && !covers(3, s) && !covers(4, s))
#define an_orphan (orphan(2) || orphan(3) || orphan(4))
#define nothing_named (idle(2) && idle(3) && idle(4))
#define is_over(q) (killed[q] || ended[q])

active [2] proctype producer() {
  byte s;                      /* the next sequence */
  byte claimed;                /* its own claim */
  byte row;                    /* voids since the last commit */
  byte c, m;
  byte seen[N];                /* P3: by whom the slots of the batch were held, a bit for each */

T: atomic {
    if
    :: p == 0 -> goto P1
    :: p == 1 && ended[0] -> goto leave
    :: p == 1 && killed[0]
    fi
  }
#ifdef SEED_LABELNOTCOUNTED
T1: atomic { if :: MAY_DIE :: true -> s = head[0]; head[p] = s fi }
#else                          /* the counted head; all labels are the first producer's */
T1: atomic { if :: MAY_DIE :: true -> s = head[0] + (label[slot(head[0])] == head[0] + 1 -> 1 : 0); head[p] = s fi }
#endif
T1_claim: atomic { if :: MAY_DIE :: true -> claimed = (claim[0] > s -> claim[0] : s); claim[p] = claimed fi }
T2: atomic { if :: MAY_DIE :: true -> role = p; c = s fi }
T3: atomic {
    if
    :: MAY_DIE
    :: c < claimed -> if :: label[slot(c)] == c + 1 -> label[slot(c)] = 0 :: else fi; c++; goto T3
    :: c >= claimed -> c = 0
    fi
  }
#ifndef SEED_NOSCAN
T4: goto P3;
#endif

P1: atomic {
    c = 0;
    if
    :: s >= LAST -> goto leave
    :: s < LAST && s < claimed -> goto P4
    :: s < LAST && s >= claimed
    fi
  }
#ifdef SEED_NOBARRIER_WRITER   /* P3 reads what was before P2 */
  c = s + BATCH; goto P3_scan;
P2: atomic { if :: MAY_DIE :: true -> claimed = s + BATCH; claim[p] = claimed; goto P4 fi }
#else
P2: atomic { if :: MAY_DIE :: true -> claimed = s + BATCH; claim[p] = claimed fi }
#endif
P3: c = claimed;
P3_scan: atomic {              /* one member after the other, for all of the batch; after a take-over: of [head, claim) */
    m = 0;
    do
    :: m < N -> seen[m] = 0; m++
    :: m == N -> break
    od;
    m = 2
  }
P3_member: atomic {
    if
#ifdef SEED_DEADSKIPPED
    :: m < ALL && state[m] == ACTIVE ->
#else
    :: m < ALL && state[m] != LEFT ->
#endif
      d_step {
        byte q = s;
        do
        :: q < c -> if :: covers(m, q) -> seen[slot(q)] = seen[slot(q)] | (1 << m) :: else fi; q++
        :: q >= c -> break
        od;
        q = 0
      }
    :: else
    fi;
    m++;
    if :: m < ALL -> goto P3_member :: m == ALL -> m = 0; c = 0 fi
  }
#ifdef SEED_NOBARRIER_WRITER
  if :: s >= claimed -> goto P2 :: s < claimed fi;
#endif
P4: atomic {
    m = 2;
    if
    :: s >= LAST -> goto leave
    :: s < LAST && s >= claimed -> goto P1
    :: s < LAST && s < claimed && seen[slot(s)] == 0 -> m = 0; goto P5
    :: s < LAST && s < claimed && seen[slot(s)] != 0
    fi
  }
P4_look: atomic {              /* whose hold was seen: is it there still? */
    do
    :: (seen[slot(s)] & (1 << m)) == 0 -> m++
    :: else -> break
    od;
    if
    :: !covers(m, s) -> seen[slot(s)] = seen[slot(s)] & (255 - (1 << m)); goto P4
    :: covers(m, s) && row + 1 + BATCH <= N ->                       /* a void; also the next, by the same look */
      row++; s++;
      if :: s < claimed && s < LAST && (seen[slot(s)] & (1 << m)) != 0 && row + 1 + BATCH <= N -> row++; s++ :: true fi;
      goto P1
    :: covers(m, s) && row + 1 + BATCH > N -> s = s - row; row = 0   /* all are held */
    fi
  }
P_wait: atomic {
    m = 0;
    if
    :: MAY_DIE
    :: unheld(0) || unheld(1) || unheld(2) || unheld(3) -> goto P3
    fi
  }
P5: atomic { if :: MAY_DIE :: true -> check(S2_once, !data[s]); label[slot(s)] = 0 fi }
P6: atomic {
    if
    :: MAY_DIE
    :: true ->
      check(I2_claim, role == p && s < claim[p]);
      d_step {
        m = 2;
        do
        :: m < ALL ->
          if
          :: valid[m] && has(m) ->
            c = intact[m];
            do
            :: c < first[m] + count[m] -> check(I3_held, c >= s || slot(c) != slot(s)); c++
            :: else -> break
            od
          :: else
          fi;
          m++
        :: m == ALL -> break
        od;
        m = 0; c = 0
      }
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
P8: atomic { if :: MAY_DIE :: true -> label[slot(s)] = s + 1; if :: row == 0 -> data[s] = true :: else fi fi }
P9: atomic { if :: MAY_DIE :: true -> data[s] = true; s++; head[p] = s; row = 0 fi }
  goto P1;

leave: atomic { ended[p] = true }
gone: atomic { s = 0; claimed = 0; row = 0; c = 0; m = 0; d_step { do :: m < N -> seen[m] = 0; m++ :: m == N -> break od }; m = 0 }
}

active [MEMBERS] proctype member() {
  byte g, n;                   /* first, and how many */
  byte w;                      /* the group's winner, as seen */
  byte r, h, c;                /* role, head and claim, as seen */
  byte d;                      /* the dead one */
  byte i;
  bool late;                   /* so it takes what is lost, and nothing else */

R: atomic {
    late = false;
    g = 0; n = 0; w = 0; r = 0; h = 0; c = 0; d = 0; i = 0;
    if
    :: MAY_DIE
    :: an_orphan && (adopter == 0 || killed[adopter]) -> adopter = p; d = 2; goto A   /* A1 */
    :: next < head[role] -> goto G1
    :: next >= head[role] && kind[p] == INTENT -> kind[p] = IDLE; first[p] = 0; count[p] = 0; goto R
    :: next >= head[role] && is_over(0) && is_over(1) && nothing_named -> goto leave
    fi
  }
G1: atomic { g = next; w = winner }
#ifndef SEED_NOCONFIRM
G1_confirm: atomic {
    if
    :: MAY_DIE
    :: true -> if :: w != p && kind[w] == INTENT && first[w] + count[w] == g -> kind[w] = TAKEN :: else fi
    fi
  }
#endif
G1_role: atomic { r = role }
G1_head: atomic { h = head[r] }
G1_claim: atomic { c = claim[r] }
G1_again: atomic {
    if
    :: role != r -> goto R
    :: role == r ->
      i = (c <= N -> 0 : least(c - N, h));       /* the oldest */
      late = i > g;
      n = (late -> i - g : (h > g -> least(h - g, BATCH) : 0));
      i = 0;
      if :: n == 0 -> goto R :: n != 0 :: late && g + n < h -> n = least(h - g, n + N / 2) fi
    fi
  }
G2: atomic { if :: MAY_DIE :: true -> kind[p] = INTENT; first[p] = g; count[p] = n fi }
G3: atomic {
    if
    :: MAY_DIE
    :: next == g && winner == w -> next = g + n; winner = p
    :: next != g || winner != w -> goto R
    fi
  }
G4: atomic { if :: MAY_DIE :: true -> kind[p] = TAKEN; w = 0; if :: late -> goto L :: !late fi fi }
#ifndef SEED_NOBARRIER_READER  /* the claim is what it was before the word named them */
#ifndef SEED_OLDROLE
L_role: atomic { r = role }
#endif
L_claim: atomic { c = claim[r] }
#ifndef SEED_OLDROLE
L_again: atomic { if :: role != r -> goto L_role :: role == r fi }
#endif
#endif
L: atomic {
#ifdef SEED_NOVALIDATION
    i = (late -> g + n : g);
#else
    i = (late -> g + n : (c <= g + N -> g : least(c - N, g + n)));
#endif
    r = 0; h = 0; c = 0;
    intact[p] = i; valid[p] = true
  }
read: atomic {
    if
    :: i >= g + n -> i = g
    :: i < g + n ->
      if
      :: label[slot(i)] == i + 1 -> check(S2_uncommitted, data[i]); check(S1_whole, whole[slot(i)] == i + 1)
      :: else -> check(S2_committed, !data[i])
      fi;
      i++;
      goto read
    fi
  }
G5: atomic {
    if
    :: MAY_DIE
    :: true ->
      d_step {
        do
        :: i < g + n ->
          check(S1_whole, i < intact[p] || !data[i] || whole[slot(i)] == i + 1);
          released[i]++;
          check(S5_once, released[i] == 1);
          i++
        :: i >= g + n -> break
        od;
        kind[p] = IDLE; first[p] = 0; count[p] = 0; valid[p] = false; intact[p] = 0
      };
      goto R
    fi
  }

  /* ---- adoption; the proof of death of d is there ---- */
A: atomic {
    do
    :: d < ALL && !orphan(d) -> d++
    :: d < ALL && orphan(d) -> break
    :: d == ALL -> goto A6
    od;
    if :: MAY_DIE :: true -> state[d] = DEAD fi
  }
A_settle: atomic { if :: kind[d] != INTENT -> goto A_orphan :: kind[d] == INTENT -> g = first[d]; n = count[d] fi }
A_word: atomic { w = (next == g + n && winner == d) }
A_intent: atomic {
    if
    :: MAY_DIE
    :: true ->
      if
      :: kind[d] == INTENT && w -> kind[d] = TAKEN
      :: kind[d] == INTENT && !w -> kind[d] = IDLE; first[d] = 0; count[d] = 0
      :: else
      fi;
      w = 0
    fi
  }
A_orphan: atomic {
    g = 0; n = 0;
    if :: kind[d] == IDLE -> goto A5 :: kind[d] != IDLE -> g = first[d]; n = count[d]; i = 2 fi
  }
A_others: atomic {             /* named by two: an adopter died between A2 and A4 */
    if
    :: i == ALL -> i = 0
    :: i < ALL && i != p && i != d && has(i) && first[i] == g -> i = 0; g = 0; n = 0; goto A4
    :: i < ALL && !(i != p && i != d && has(i) && first[i] == g) -> i++; goto A_others
    fi
  }
#ifdef SEED_ORPHANEARLY        /* the claim is what it was before the own word named them */
A_claim: atomic { r = role; h = head[r]; c = claim[r] }
#endif
A2: atomic { if :: MAY_DIE :: true -> kind[p] = AGAIN; first[p] = g; count[p] = n fi }
A4: atomic { if :: MAY_DIE :: true -> kind[d] = IDLE; first[d] = 0; count[d] = 0; valid[d] = false; intact[d] = 0 fi }
A5: atomic { if :: MAY_DIE :: true -> state[d] = LEFT; if :: n == 0 -> d++; goto A :: n != 0 fi fi }
A6: atomic { if :: MAY_DIE :: true -> adopter = 0; d = 0; if :: n == 0 -> goto R :: n != 0 fi fi }
#ifndef SEED_ORPHANEARLY
O_role: atomic { r = role }
O_head: atomic { h = head[r] }
O_claim: atomic { c = claim[r] }
O_again: atomic { if :: role != r -> goto O_role :: role == r -> i = g + n fi }
#else
  i = g + n;
#endif
O_label: atomic {              /* from the last one down: lost is all up to the first that is not intact for certain */
    if
    :: i > g ->
      d = (h <= i - 1 -> i - 1 : i - 1 + (h - (i - 1) + N - 1) / N * N);           /* the next turn of its slot */
      if
      :: c > i - 1 + N && (0
#ifndef SEED_NOTURN
         || c > d
#endif
#ifndef SEED_NOZERO
         || label[slot(i - 1)] == 0
#endif
#ifndef SEED_NOLABEL
         || label[slot(i - 1)] > i
#endif
         ) -> d = 0; goto O
      :: else -> d = 0; i--; goto O_label
      fi
    :: i == g
    fi
  }
O: atomic { r = 0; h = 0; c = 0; intact[p] = i; valid[p] = true; goto read }

leave: atomic {
    late = false; i = 0;
    do
    :: i < next -> check(S3_not_lost, released[i] == 1); i++
    :: i == next -> break
    od;
    state[p] = LEFT
  }
gone: atomic { g = 0; n = 0; w = 0; r = 0; h = 0; c = 0; d = 0; i = 0; late = false }
}
