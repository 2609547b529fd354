/* mutex_creation.pml - a DataBlockMutex for spin: made by several processes at once, locked, repaired, and its dead owners named.
 * Labels are the step names of docs/shared-memory-protocol.md, which also says what is covered. check_model.sh builds and judges it.
 *
 * Every label is one system call, one store or one compare-and-swap; before each of them that others can see a process may be
 * killed (MAY_DIE). `robust` is the C library's and the kernel's: who has it, and whether its last owner died.
 *
 *   process    its record is in use, or was; a reference names a process, and 0 nobody
 *   mutexes    1 .. MUTEXES, made in any order, the list of them begins at `newest`
 *   record     one for all: who attaches next takes that of a process that is gone, unless a mutex names it
 *
 * Settings (-D):
 *   N        processes, 2 .. 4                 MUTEXES  1 or 2
 *   ROUNDS   how often each of them locks      CRASHES  how many are killed, at most
 *   LOSSES   times that a process closes all its descriptors and goes on (closefrom)
 *   JOINER   another process attaches, and needs a record
 *   SEED_... a seeded error; the table is in the document
 */
#ifndef N
#define N 3
#endif
#ifndef MUTEXES
#define MUTEXES 1
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

#define p _pid
#define me (_pid + 1)

/* ---- memory ---- */
byte newest;
byte next[3];
byte written[3];               /* of `robust`: 0 zeros, 1 half of it, 2 all of it */
bool made[3];
byte owner[3];                 /* the signature; 0: nobody */
bool unrepaired[3];
byte first_lost[3], last_lost[3];

/* ---- the kernel's and the C library's ---- */
byte byte_of[3];               /* who makes the mutex at that offset */
byte robust[3];                /* who has it */
bool died[3];                  /* its owner has */
bool open[N + 1];              /* a process has its descriptors, and with them the byte of its record */

/* ---- ghosts: nobody acts on them ---- */
bool killed[N + 1], finished[N + 1], taken[N + 1];    /* taken: its record is somebody else's */
bool used[3];                  /* somebody has tried to lock it */
bool lost[3];                  /* an owner has died since the last repair */
byte first[3], last[3];        /* who died first, and who last inside */
byte in_section[N + 1];            /* the mutex whose section a process is in */
byte crashes, losses;

/* ---- what must hold; named, so that pan's message tells which one did not ---- */
bool M1_exclusion = true;
bool M3_news = true;
bool M3_names = true;
bool M4_makers = true;
bool M4_complete = true;
bool M4_listed = true;

inline check(flag, condition) { flag = (condition); assert(flag) }

#define MAY_DIE crashes < CRASHES -> crashes++; goto die

/* It is in the list once, and the list ends. */
inline check_list() {
  d_step {
    b = newest; c = 0; r = 0;
    do
    :: b != 0 && r < 3 -> if :: b == i -> c++ :: else fi; b = next[b]; r++
    :: else -> break
    od;
    check(M4_listed, b == 0 && c == 1);
    b = 0; c = 0; r = 0
  }
}
/* Whoever owns it now is told of every death since the last repair. */
inline acquired() {
  check(M1_exclusion, robust[i] == me);
  check(M3_news, unrepaired[i] == lost[i]);
  check(M3_names, !lost[i] || (first_lost[i] == first[i] && last_lost[i] == last[i]));
  check(M3_names, !lost[i] || ((first[i] == 0 || !taken[first[i] - 1]) && (last[i] == 0 || !taken[last[i] - 1])))
}

active [N] proctype user() {
  byte i;                      /* the mutex */
  byte b, c, r;
  byte rounds;

start: atomic {
    open[p] = true;
    if
    :: i = 1
#if MUTEXES == 2
    :: i = 2
#endif
    fi
  }

  /* ---- made by the first who needs it, or anew by the next one ---- */
K0_state: atomic { if :: made[i] -> goto K1 :: !made[i] fi }
#ifndef SEED_NOBYTE
K0_lock: atomic { if :: MAY_DIE :: byte_of[i] == 0 -> byte_of[i] = me fi }
#endif
#ifndef SEED_NOSECONDLOOK
K0_again: atomic { if :: made[i] -> goto K0_unlock :: !made[i] fi }
#endif
#ifdef SEED_STATEFIRST
K0_made_first: atomic { if :: MAY_DIE :: true -> made[i] = true fi }
#endif
K0_robust: atomic {
    if
    :: MAY_DIE
    :: true -> check(M4_makers, !used[i]); written[i] = 1
    fi
  }
K0_whole: atomic { if :: MAY_DIE :: true -> check(M4_makers, !used[i] && written[i] == 1); written[i] = 2 fi }
#ifndef SEED_NOTLISTED
K0_listed: atomic {            /* by one who was killed after that */
    b = newest; c = 0;
    do
    :: b != 0 && b != i && c < 2 -> b = next[b]; c++
    :: else -> break
    od;
    if
    :: b == i -> b = 0; c = 0; goto K0_made
    :: b != i -> b = 0; c = 0
    fi
  }
#endif
K0_newest: atomic { b = newest }
K0_next: atomic { if :: MAY_DIE :: true -> next[i] = b fi }
#ifdef SEED_PLAINPUSH
K0_push: atomic { if :: MAY_DIE :: true -> newest = i; b = 0 fi }
#else
K0_push: atomic {
    if
    :: MAY_DIE
    :: newest == b -> newest = i; b = 0
    :: newest != b -> b = 0; goto K0_newest
    fi
  }
#endif
K0_made: atomic { if :: MAY_DIE :: true -> made[i] = true; check_list() fi }
K0_unlock: atomic { if :: MAY_DIE :: true -> if :: byte_of[i] == me -> byte_of[i] = 0 :: else fi fi }

  /* ---- used ---- */
K1: atomic {
    if
    :: MAY_DIE
    :: losses < LOSSES && open[p] -> losses++; open[p] = false; goto K1
    :: robust[i] == 0 ->
      used[i] = true;
      check(M4_complete, made[i] && written[i] == 2);
      check_list();
      robust[i] = me;
      if :: died[i] -> goto R2 :: !died[i] fi
    fi
  }
K2: atomic { if :: MAY_DIE :: true -> owner[i] = me; in_section[p] = i; acquired() fi }
section: atomic {
    if
    :: MAY_DIE
    :: true -> goto out
    :: unrepaired[i] -> goto P1
    fi
  }
P1: atomic { if :: MAY_DIE :: true -> unrepaired[i] = false; lost[i] = false; first[i] = 0; last[i] = 0 fi }
repaired: atomic { if :: MAY_DIE :: true -> check(M1_exclusion, robust[i] == me) fi }
out: skip;
#ifdef SEED_UNLOCKFIRST
K4_first: atomic { if :: MAY_DIE :: true -> robust[i] = 0; died[i] = false fi }
#endif
K3: atomic { if :: MAY_DIE :: true -> owner[i] = 0; in_section[p] = 0 fi }
#ifndef SEED_UNLOCKFIRST
K4: atomic { if :: MAY_DIE :: true -> robust[i] = 0 fi }
#endif
again: atomic {
    rounds++;
    if
    :: rounds == ROUNDS * MUTEXES -> goto leave
    :: rounds < ROUNDS * MUTEXES ->
      if
      :: i = 1
#if MUTEXES == 2
      :: i = 2
#endif
      fi;
      goto K0_state
    fi
  }

  /* ---- its owner died ---- */
R2: atomic { b = owner[i]; c = unrepaired[i] }
#ifdef SEED_SIGNFIRST
R4_first: atomic { if :: MAY_DIE :: true -> owner[i] = me fi }
#endif
R2_first: atomic {
    if
    :: MAY_DIE
#ifdef SEED_FORGETFIRST
    :: true -> first_lost[i] = b
#else
    :: true -> if :: !c -> first_lost[i] = b :: else fi
#endif
    fi
  }
R2_last: atomic { if :: MAY_DIE :: true -> if :: !c || b != 0 -> last_lost[i] = b :: else fi fi }
R2_unrepaired: atomic { if :: MAY_DIE :: true -> unrepaired[i] = true; b = 0; c = 0 fi }
R3: atomic { if :: MAY_DIE :: true -> died[i] = false fi }
R4: goto K2;

leave: atomic { open[p] = false; finished[p] = true; goto gone }
die: atomic {
    /* The kernel: what it had locked is unlocked, and told to the next. */
    b = 1;
    do
    :: b <= MUTEXES ->
      if :: byte_of[b] == me -> byte_of[b] = 0 :: else fi;
      if
      :: robust[b] == me ->
        robust[b] = 0; died[b] = true;
        c = (in_section[p] == b -> me : 0);
        if :: !lost[b] -> first[b] = c; last[b] = c :: lost[b] && c != 0 -> last[b] = c :: else fi;
        lost[b] = true
      :: else
      fi;
      b++
    :: b > MUTEXES -> break
    od;
    open[p] = false; killed[p] = true; in_section[p] = 0
  }
gone: atomic { i = 0; b = 0; c = 0; r = 0; rounds = 0 }
}

#ifdef JOINER
/* Takes a record whose byte is not locked, unless its bearer is needed still. */
active proctype joiner() {
  byte q, i;

A2: atomic {
    if
    :: finished[0] || killed[0] || !open[0] -> q = 0
    :: finished[1] || killed[1] || !open[1] -> q = 1
#if N > 2
    :: finished[2] || killed[2] || !open[2] -> q = 2
#endif
    fi
  }
#ifndef SEED_NAMEDFIRST
A4_alive: atomic { if :: !killed[q] && !finished[q] -> goto gone :: killed[q] || finished[q] fi }
#endif
A4: atomic { i = newest }
A4_owner: atomic { if :: i == 0 -> goto A4_end :: i != 0 -> if :: owner[i] == q + 1 -> goto gone :: else fi fi }
A4_unrepaired: atomic { if :: !unrepaired[i] -> goto A4_next :: unrepaired[i] fi }
A4_first: atomic { if :: first_lost[i] == q + 1 -> goto gone :: else fi }
A4_last: atomic { if :: last_lost[i] == q + 1 -> goto gone :: else fi }
A4_next: atomic { i = next[i]; goto A4_owner }
A4_end: skip;
#ifdef SEED_NAMEDFIRST
A4_alive: atomic { if :: !killed[q] && !finished[q] -> goto gone :: killed[q] || finished[q] fi }
#endif
A5: atomic {
    taken[q] = true;
    check(M3_names, !(owner[1] == q + 1) && !(lost[1] && (first[1] == q + 1 || last[1] == q + 1)))
  }
gone: atomic { q = 0; i = 0 }
}
#endif
